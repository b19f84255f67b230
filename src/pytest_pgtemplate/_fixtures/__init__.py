"""The fixtures: ``databases`` up to the worker's database, ``engines`` on top of it, and
``bindings`` for ``pg_bind``.

``factory`` makes one set of fixtures per database, and ``template_build`` builds the template.
"""

__all__ = ["bindings", "databases", "engines", "factory", "template_build"]
