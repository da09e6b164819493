"""The console's pages."""

from django.urls import path

from mep.console import alarms, deliveries, dnsrules, door, instances, language, logs, offers, overview, traffic

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("sign-in", door.sign_in, name="sign-in"),
    path("sign-out", door.sign_out, name="sign-out"),
    path("language", language.choose, name="language"),
    path("apps", instances.instances, name="apps"),
    path("apps/<str:key>", instances.instance, name="app"),
    path("apps/<str:key>/end", instances.end, name="app-end"),
    path("services", offers.services, name="services"),
    path("services/<str:key>", offers.service, name="service"),
    path("subscriptions", deliveries.subscriptions, name="subscriptions"),
    path("subscriptions/<str:key>", deliveries.subscription, name="subscription"),
    path("subscriptions/<str:key>/end", deliveries.end, name="subscription-end"),
    path("dns", dnsrules.dns, name="dns"),
    path("dns/new", dnsrules.new, name="dns-new"),
    path("dns/<int:pk>", dnsrules.rule, name="dns-rule"),
    path("dns/<int:pk>/switch", dnsrules.switch, name="dns-switch"),
    path("dns/<int:pk>/remove", dnsrules.remove, name="dns-remove"),
    path("traffic", traffic.traffic, name="traffic"),
    path("traffic/new", traffic.new, name="traffic-new"),
    path("traffic/<int:pk>", traffic.rule, name="traffic-rule"),
    path("traffic/<int:pk>/switch", traffic.switch, name="traffic-switch"),
    path("traffic/<int:pk>/remove", traffic.remove, name="traffic-remove"),
    path("alarms", alarms.alarms, name="alarms"),
    path("alarms/<int:pk>/acknowledge", alarms.acknowledge, name="alarm-acknowledge"),
    path("alarms/<int:pk>/clear", alarms.clear, name="alarm-clear"),
    path("logs", logs.logs, name="logs"),
]
handler400 = "mep.console.errors.bad_request"
handler403 = "mep.console.errors.denied"
handler404 = "mep.console.errors.not_found"
handler500 = "mep.console.errors.failed"
