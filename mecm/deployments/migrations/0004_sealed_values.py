from django.db import migrations

from core.sealing.fields import SealedJSONField
from core.sealing.migrating import sealed


class Migration(migrations.Migration):

    # Rows are sealed in batches, each in a transaction of its own.
    atomic = False

    dependencies = [
        ('deployments', '0003_given_up'),
        ('sealing', '0001_keys'),
    ]

    operations = [
        *sealed('deployments', 'Deployment', values=SealedJSONField(blank=True, default=dict)),
        *sealed(
            'deployments',
            'DeploymentRevision',
            values=SealedJSONField(blank=True, default=dict, bound_to=('deployment', 'generation')),
        ),
    ]
