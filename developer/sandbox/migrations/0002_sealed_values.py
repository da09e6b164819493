from django.db import migrations

from core.sealing.fields import SealedJSONField
from core.sealing.migrating import sealed


class Migration(migrations.Migration):

    # Rows are sealed in batches, each in a transaction of its own.
    atomic = False

    dependencies = [
        ('developer_sandbox', '0001_test_deployments'),
        ('sealing', '0001_keys'),
    ]

    operations = [
        *sealed(
            'developer_sandbox',
            'TestDeployment',
            values=SealedJSONField(blank=True, default=dict),
            seen=SealedJSONField(blank=True, default=dict),
        ),
    ]
