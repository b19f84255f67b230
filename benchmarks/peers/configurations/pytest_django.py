"""pytest-django: ``django_db(transaction=True)``, which is Django's TransactionTestCase.

After each test Django flushes the database: one TRUNCATE of all tables. The application "shop" has
the sample project's tables as models, and no other application is installed.
"""
