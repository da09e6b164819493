"""A host belongs to the application that has the name, and on one node to one tenant."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.errors import Conflict
from mecm.deployments import plan, requirements
from mecm.deployments.models import Deployment
from tests.mecm.deployments.conftest import chart

pytestmark = pytest.mark.django_db

DOOR = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: door}
spec:
  rules: [{host: shop.example}]
"""
NAME = [{"dnsRuleId": "d1", "domainName": "Shop.example", "ipAddressType": "IP_V4", "ipAddress": "192.0.2.1"}]


def with_door() -> bytes:
    return chart(templates__door_yaml=DOOR)


def test_a_host_that_is_no_name_of_the_app_is_refused_where_something_serves_it(
    make_package: Any, make_node: Any, deploy: Any
) -> None:
    package = make_package("2.0.0", packed=with_door())
    cluster = make_node("cluster", engine="kubernetes")
    with pytest.raises(Conflict) as refused:
        deploy(package=package, node=cluster)
    (reason,) = refused.value.context["reasons"]
    assert reason["message"].startswith("Ingress/door spec.rules[0].host: claims the host 'shop.example'")
    assert "appDNSRule" in reason["message"]
    deploy(package=package, node=make_node("machine", engine="memory"))


def test_a_host_of_another_tenant_is_refused_without_saying_whose(
    make_package: Any, make_node: Any, deploy: Any
) -> None:
    package = make_package("2.0.0", packed=with_door(), appDNSRule=NAME)
    first, second = make_node("cluster", engine="kubernetes"), make_node("other", engine="kubernetes")
    held = deploy(package=package, node=first)
    deploy(package=package, node=first, name="twice")  # its own tenant may
    Deployment.objects.filter(pk=held.pk).update(namespace="t-rival")

    with pytest.raises(Conflict) as refused:
        deploy(package=package, node=first, name="mine")
    assert [each["code"] for each in refused.value.context["reasons"]] == ["host-taken"]
    assert "rival" not in str(refused.value.problem())
    deploy(package=package, node=second, name="mine")


def test_only_charts_with_hosts_cost_a_query_more(make_package: Any, make_node: Any) -> None:
    node = make_node("cluster", engine="kubernetes")
    counted = []
    for version, packed in (("1.0.0", chart()), ("2.0.0", with_door())):
        package = make_package(version, packed=packed, appDNSRule=NAME)
        needed = requirements.of(package, {}, engine="kubernetes", name="x", namespace="t-acme")
        with CaptureQueriesContext(connection) as asked:
            plan.judge([plan.Case(node, needed)] * 3)
        counted.append(len(asked))
    assert counted == [3, 4]
