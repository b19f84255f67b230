"""The conftest.py of each side. The runner copies one of them into the sample project."""
