from django.db import models


class Bill(models.Model):
    product = models.BigIntegerField()  # of the other database
    euros = models.IntegerField(default=9)
