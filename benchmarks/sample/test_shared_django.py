"""Data that tests share, in Django's style: built by each test, or once for the class.

The same rows and the same test as in ../layers.py. The runner makes a copy for each module.
"""

from __future__ import annotations

from typing import Any

from django.test import TestCase
from shop.models import Organization, Product, User

TESTS = 25


def create_rows() -> list[Organization]:
    organizations = [Organization.objects.create(name=f"organization {n}") for n in range(3)]
    for n in range(10):
        User.objects.create(organization=organizations[n % 3], email=f"{n}@example.org")
    for n in range(30):
        Product.objects.create(organization=organizations[n % 3], name=f"product {n}", price=n)
    return organizations


class TestFunction(TestCase):  # type: ignore[misc]
    """Each test builds the rows."""

    organizations: list[Organization]

    def setUp(self) -> None:
        self.organizations = create_rows()


class TestClass(TestCase):  # type: ignore[misc]
    """The rows are built once for the class."""

    organizations: list[Organization]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.organizations = create_rows()


def _add_test(number: int) -> None:
    def test(self: Any) -> None:
        assert Product.objects.count() == 30
        Product.objects.create(organization=self.organizations[0], name="mine", price=number)
        Product.objects.filter(price=number).delete()

    for case in (TestFunction, TestClass):
        setattr(case, f"test_{number}", test)


for _number in range(TESTS):
    _add_test(_number)
