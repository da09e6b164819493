from django.db import migrations

from core.sealing.fields import SealedJSONField
from core.sealing.migrating import sealed


class Migration(migrations.Migration):

    # Rows are sealed in batches, each in a transaction of its own.
    atomic = False

    dependencies = [
        ('rollouts', '0001_rollouts'),
        ('sealing', '0001_keys'),
    ]

    operations = [
        *sealed(
            'rollouts',
            'Rollout',
            values=SealedJSONField(blank=True, help_text='null: each deployment keeps its own', null=True),
        ),
    ]
