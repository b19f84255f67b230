"""The fixtures: ``databases`` up to the worker's database, ``engines`` on top of it.

``factory`` makes one set of them for each database.
"""

__all__ = ["databases", "engines", "factory", "template_build"]
