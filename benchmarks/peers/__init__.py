"""pytest-pgtemplate beside its alternatives: see ``__main__`` for how to run it."""
