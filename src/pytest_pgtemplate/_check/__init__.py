"""Migrations tested: each revision up, down and up again, in a scratch database.

``items`` are the tests that pytest collects, and ``checks`` answers what they ask. ``plan`` says
what is left to prove, in which pieces; ``board`` holds what workers share; ``walk`` lets a child process
walk; ``snapshot`` compares whole databases; ``verdicts`` puts into words what came of it. The SQL
reads the catalogs.
"""

__all__ = ["items"]
