"""A backend whose engine is made while it is imported, from the parts of a URL."""
