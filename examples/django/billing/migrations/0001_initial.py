from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Bill",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("product", models.BigIntegerField()),
                ("euros", models.IntegerField(default=9)),
            ],
        ),
    ]
