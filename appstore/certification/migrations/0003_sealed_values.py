from django.db import migrations

from core.sealing.fields import SealedJSONField
from core.sealing.migrating import sealed


class Migration(migrations.Migration):

    # Rows are sealed in batches, each in a transaction of its own.
    atomic = False

    dependencies = [
        ('certification', '0002_signed_revocations'),
        ('sealing', '0001_keys'),
    ]

    operations = [
        *sealed('certification', 'Profile', values=SealedJSONField(default=dict)),
        *sealed('certification', 'Run', profile=SealedJSONField(default=dict)),
    ]
