"""The sample project as a Django application."""
