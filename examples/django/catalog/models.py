from django.db import models


class Category(models.Model):
    name = models.TextField(unique=True)


class Product(models.Model):
    name = models.TextField(unique=True)
    category = models.ForeignKey(Category, on_delete=models.PROTECT)
