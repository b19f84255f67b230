"""Code that relies on internals of other projects: one module per project (two for SQLAlchemy),
and ``clocks`` for those that replace the clocks.

A comment at each use names the public API that was considered, the reason why it is not enough, and
the tested versions. tests/test_internals.py has a test for each use, which fails if the project
changes.
"""

__all__ = [
    "alembic",
    "asyncio",
    "asyncpg",
    "clocks",
    "cpython",
    "pg8000",
    "pytest",
    "sqlalchemy",
    "sqlalchemy_sessions",
]
