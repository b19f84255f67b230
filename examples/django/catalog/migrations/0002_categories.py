from django.db import migrations


def add_categories(apps, schema_editor):
    category = apps.get_model("catalog", "Category")
    category.objects.bulk_create([category(name="games"), category(name="books")])


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]
    operations = [migrations.RunPython(add_categories, migrations.RunPython.noop)]
