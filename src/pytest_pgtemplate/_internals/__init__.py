"""Code that relies on internals of other projects: one module per project, nothing else in it.

Each use says which public API was considered, why it is not enough, and which versions were tested.
tests/test_internals.py has a test for each use; its name says what breaks if the project changes.
"""

__all__ = ["alembic", "asyncio", "asyncpg", "cpython", "pytest", "sqlalchemy"]
