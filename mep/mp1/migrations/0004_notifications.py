import django.db.models.deletion
import mep.mp1.models
from django.db import migrations, models


def carry_on(apps, schema_editor):
    """Keep the ids under which notices were tried already, and write down what subscriptions listen for."""
    notice = apps.get_model("mp1", "Notice")
    for each in notice.objects.only("pk", "subscription_id").iterator():
        notice.objects.filter(pk=each.pk).update(tag=f"{each.subscription_id}-{each.pk}")
    interest = apps.get_model("mp1", "Interest")
    availability = "SerAvailabilityNotificationSubscription"
    for each in apps.get_model("mp1", "Subscription").objects.filter(kind=availability).iterator():
        named = {
            "id": each.criteria.get("serInstanceIds"),
            "name": each.criteria.get("serNames"),
            "category": [one["id"] for one in each.criteria.get("serCategories") or ()],
        }
        keys = {f"{what}={value}"[:270] for what, values in named.items() for value in values or ()} or {"*"}
        interest.objects.bulk_create([interest(subscription=each, key=key) for key in sorted(keys)])


class Migration(migrations.Migration):

    dependencies = [
        ('mp1', '0002_alarms_origins_and_enforcement'),
    ]

    operations = [
        migrations.CreateModel(
            name='Interest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(db_index=True, help_text='name=, id= or category= something; or *', max_length=270)),
                ('subscription', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='interests', to='mp1.subscription')),
            ],
        ),
        migrations.AddField(
            model_name='notice',
            name='tag',
            field=models.CharField(default=mep.mp1.models.new_id, help_text='the same at every try; subscribers drop repetitions', max_length=64),
        ),
        migrations.AlterField(
            model_name='notice',
            name='created_at',
            field=models.FloatField(db_index=True),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='next_try_at',
            field=models.FloatField(db_index=True, default=0),
        ),
        migrations.AddField(
            model_name='subscription',
            name='room',
            field=models.IntegerField(default=0, help_text='notifications that may come before the waiting ones are counted'),
        ),
        migrations.RunPython(carry_on, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name='notice',
            constraint=models.UniqueConstraint(fields=('subscription', 'tag'), name='one_notice_per_tag'),
        ),
    ]
