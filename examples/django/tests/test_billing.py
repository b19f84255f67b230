import pytest
from billing.models import Bill


@pytest.mark.django_db(databases=["default", "billing"])
@pytest.mark.parametrize("product", [1, 2])
def test_a_bill_is_in_its_own_database(client, product):
    assert client.post(f"/bills/{product}").json() == {"id": 1}
    assert list(Bill.objects.values_list("product", flat=True)) == [product]
