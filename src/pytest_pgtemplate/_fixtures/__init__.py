"""The fixtures: ``databases`` up to the worker's database, ``engines`` on top of it, and
``bindings`` for ``pg_bind``.

``factory`` makes one set of them for each database.
"""

__all__ = ["bindings", "databases", "engines", "factory", "template_build"]
