from django.db import migrations


def say_hello(apps, schema_editor):
    apps.get_model("entries", "Entry").objects.create(
        name="The guestbook",
        message="Hello! This first entry comes from a migration, so the database works.",
    )


class Migration(migrations.Migration):
    dependencies = (("entries", "0001_initial"),)
    operations = (migrations.RunPython(say_hello, migrations.RunPython.noop),)
