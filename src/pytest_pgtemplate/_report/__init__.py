"""A run, told afterwards: as a page with a timeline, as Trace Events, in figures.

``recorder`` collects what is known of the run in a ``recording``, and ``findings`` what can be
learnt from it. ``page``, ``trace`` and ``figures`` write it down. ``sql_log`` shows the statements
of a failing test.
"""

__all__ = ["recorder", "sql_log"]
