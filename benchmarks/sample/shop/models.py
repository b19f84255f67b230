"""The tables of ../models.py as Django models, and those of the benchmark of shared rows."""

from __future__ import annotations

from typing import Any

from django.db import models
from models import TABLES


def _model(number: int) -> type:
    parent = f"Item{(number - 1) // 2:04}"
    fields: dict[str, Any] = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"db_table": f"item_{number:04}"}),
        "name": models.TextField(db_index=True),
        "amount": models.IntegerField(default=0),
    }
    if number:
        fields["parent"] = models.ForeignKey(parent, models.CASCADE, null=True)
    return type(f"Item{number:04}", (models.Model,), fields)


ITEM = [_model(number) for number in range(TABLES)]


class Organization(models.Model):  # type: ignore[misc]
    """With users and products: what the tests of the benchmark of shared rows need."""

    name = models.TextField()


class User(models.Model):  # type: ignore[misc]
    """Of an organization."""

    organization = models.ForeignKey(Organization, models.CASCADE)
    email = models.TextField(unique=True)


class Product(models.Model):  # type: ignore[misc]
    """Of an organization."""

    organization = models.ForeignKey(Organization, models.CASCADE)
    name = models.TextField()
    price = models.IntegerField()
