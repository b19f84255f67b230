from django.http import JsonResponse

from catalog.models import Category, Product


def products(request):
    """A sync view."""
    names = Product.objects.order_by("id").values_list("name", flat=True)
    return JsonResponse(list(names), safe=False)


async def add(request, name):
    """An async view: Django runs its queries in another thread, over that thread's connection."""
    games = await Category.objects.aget(name="games")
    product = await Product.objects.acreate(name=name, category=games)
    return JsonResponse({"id": product.id})
