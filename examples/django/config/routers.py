class BillingRouter:
    """The app billing has a database of its own."""

    def db_for_read(self, model, **hints):
        return "billing" if model._meta.app_label == "billing" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "billing") == (app_label == "billing")
