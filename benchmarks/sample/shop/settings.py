"""Django's settings, with no application but this one."""

from __future__ import annotations

import os

from sqlalchemy import make_url

_URL = make_url(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "django",
        "USER": _URL.username,
        "PASSWORD": _URL.password,
        "HOST": _URL.host,
        "PORT": _URL.port,
    }
}
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
