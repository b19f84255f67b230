"""Migrations tested: each revision up, down and up again, in a scratch database.

``items`` are the tests that pytest collects, and ``checks`` answers what they ask. ``plan`` says
what is left to prove, in which pieces. ``shared_results`` holds results that workers share,
``walk`` runs the child process, and ``verdicts`` words the results.
"""

__all__ = ["items"]
