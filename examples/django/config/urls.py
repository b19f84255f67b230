from billing.views import bill
from catalog.views import add, products
from django.urls import path

urlpatterns = [
    path("products", products),
    path("products/add/<str:name>", add),
    path("bills/<int:product>", bill),
]
