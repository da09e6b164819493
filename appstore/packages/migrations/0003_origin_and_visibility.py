

from django.conf import settings
from importlib import import_module

from django.db import migrations, models


# SQLite rebuilds the table, and the trigger of 0002 would go with it.
_immutable = import_module("appstore.packages.migrations.0002_immutable_releases")


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('packages', '0002_immutable_releases'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(_immutable.drop, _immutable.add),
        migrations.RemoveConstraint(
            model_name='package',
            name='the_same_bytes_are_one_package',
        ),
        migrations.RemoveConstraint(
            model_name='package',
            name='a_release_is_published_once',
        ),
        migrations.AddField(
            model_name='package',
            name='origin',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AddField(
            model_name='package',
            name='origin_ref',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AddField(
            model_name='package',
            name='visibility',
            field=models.CharField(choices=[('public', 'Public'), ('organisation', 'Organisation'), ('partners', 'Partners')], default='public', max_length=12),
        ),
        migrations.AddConstraint(
            model_name='package',
            constraint=models.UniqueConstraint(fields=('organisation', 'origin', 'sha256'), name='the_same_bytes_are_one_package'),
        ),
        migrations.AddConstraint(
            model_name='package',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('published', 'withdrawn'))), fields=('organisation', 'origin', 'provider', 'name', 'version'), name='a_release_is_published_once'),
        ),
        migrations.AddConstraint(
            model_name='package',
            constraint=models.CheckConstraint(condition=models.Q(('visibility__in', ['public', 'organisation', 'partners'])), name='package_visibility_is_known'),
        ),
        migrations.RunPython(_immutable.add, _immutable.drop),
    ]
