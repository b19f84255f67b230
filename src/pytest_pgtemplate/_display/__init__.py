"""What people see: aligned tables, and how far a process has come. It knows no pytest."""

__all__ = ["progress_file", "progress_line", "tables"]
