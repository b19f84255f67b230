"""Reports of a run: an HTML page with a timeline, Trace Events, and the lines of ``--pg-stats``.

``recorder`` collects a ``recording``, ``findings`` analyses it, and ``page``, ``trace`` and
``figures`` write the reports. ``sql_log`` adds the SQL statements to the report of a failed test.
"""

__all__ = ["recorder", "sql_log"]
