"""Aligned tables, and files that report the progress of a process. Independent of pytest."""

__all__ = ["progress_file", "progress_line", "tables"]
