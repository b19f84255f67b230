"""The fixtures: ``databases`` up to the worker's database, ``engines`` on top of it, and
``bindings`` for ``pg_bind``.

``factory`` makes one set of fixtures per database. ``steps`` has what the fixtures of ``databases``
do, ``preparation`` does it while pytest collects, and ``template_build`` builds the template.
"""

__all__ = [
    "bindings",
    "databases",
    "engines",
    "factory",
    "preparation",
    "steps",
    "template_build",
]
