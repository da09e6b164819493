from django.db import migrations

from core.sealing.fields import SealedJSONField
from core.sealing.migrating import sealed


class Migration(migrations.Migration):

    # Rows are sealed in batches, each in a transaction of its own.
    atomic = False

    dependencies = [
        ('edge', '0001_initial'),
        ('sealing', '0001_keys'),
    ]

    operations = [
        *sealed('edge', 'DesiredObject', spec=SealedJSONField(default=dict, bound_to=('node', 'kind', 'key'))),
        *sealed(
            'edge',
            'ReportedObject',
            status=SealedJSONField(
                default=dict, bound_to=('node', 'kind', 'key'), open_if=('kind', ('mep', 'recalls'))
            ),
        ),
    ]
