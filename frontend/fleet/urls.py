"""Pages of the fleet."""

from django.urls import path

from frontend.account import audit
from frontend.fleet import alarms, backup, dashboard

urlpatterns = [
    path("fleet", dashboard.fleet_page, name="fleet"),
    path("alarms", alarms.alarms_page, name="alarms"),
    path("alarms/download", alarms.download_alarms, name="download-alarms"),
    path("alarms/acknowledge", alarms.acknowledge, name="acknowledge-alarms"),
    path("alarms/<uuid:pk>", alarms.alarm_page, name="alarm"),
    path("audit/download", audit.download_audit, name="download-audit"),
    path("backup", backup.backup_page, name="backup"),
]
