"""Test the migrations: each revision up, down and up again, in a scratch database.

``items`` are the tests that pytest collects, and ``checks`` computes their verdicts. ``plan``
divides the revisions among the workers, ``shared_results`` shares results between them, ``walk``
runs the child process, and ``verdicts`` formats the results.
"""

__all__ = ["items"]
