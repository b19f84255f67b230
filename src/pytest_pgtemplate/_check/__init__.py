"""Migrations tested: each revision up, down and up again, in a scratch database.

``items`` are the tests that pytest collects, and ``checks`` answers what they ask. ``plan`` says
what is left to prove, in which pieces. ``shared_results`` holds results that workers share,
``walk`` runs the child process, ``snapshot`` compares whole databases, and ``verdicts`` words the
results. The SQL reads the catalogs.
"""

__all__ = ["items"]
