"""The ``pgtemplate`` command: ``main`` is its entry point."""
