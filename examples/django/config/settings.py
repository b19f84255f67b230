"""Two databases on one server, whose address is in the environment when this is imported."""

import os

SERVER = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": os.environ["DB_HOST"],
    "PORT": os.environ["DB_PORT"],
    "USER": os.environ["DB_USER"],
    "PASSWORD": os.environ["DB_PASSWORD"],
}
DATABASES = {
    "default": {**SERVER, "NAME": os.environ["DB_NAME"]},
    "billing": {**SERVER, "NAME": os.environ["BILLING_DB_NAME"]},
}
DATABASE_ROUTERS = ["config.routers.BillingRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "catalog", "billing"]
ROOT_URLCONF = "config.urls"
SECRET_KEY = "only for this example"
USE_TZ = True
