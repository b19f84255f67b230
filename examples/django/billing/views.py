from django.http import JsonResponse

from billing.models import Bill


def bill(request, product):
    return JsonResponse({"id": Bill.objects.create(product=product).id})
