"""Helpers of the tests: projects for child runs, servers, databases, clients, a browser, chaos.

Nothing in this package is a test. ``tests`` is on the path, so that tests and benchmarks write
``from support.projects import Project``.
"""
