import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name='VaultKey',
            fields=[
                ('id', models.CharField(help_text='names the key and tells nothing of it', max_length=16, primary_key=True, serialize=False)),
                ('since', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={'ordering': ['-since', 'id']},
        ),
    ]
