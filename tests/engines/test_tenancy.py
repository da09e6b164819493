"""Walls between tenants: the policies of a cluster, hosts that charts claim, and limits on one machine."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from core.errors import Invalid, Rejected
from core.findings import Level, blocking
from engines import hosts
from engines.contract import EngineSettings, HostClaim, Manifest
from engines.docker.daemon import Daemon
from engines.kubernetes import enforcing, policies
from engines.kubernetes.api import Api
from engines.kubernetes.guard import Guard
from engines.kubernetes.kubeconfig import Access
from engines.limits import Limits
from engines.pods.limits import limit_findings
from engines.pods.wanted import Container, PodTemplate, Wanted, Workload
from tests.engines.test_kubernetes_access import kubeconfig

Object = dict[str, Any]

NODE = {
    "spec": {"podCIDRs": ["10.42.1.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}, {"address": "edge-7"}]},
}
GROUND = policies.ground([NODE], ue=["10.42.9.0/24"])


# What NetworkPolicies mean (networking.k8s.io/v1), told a second time so that ours can be judged by it.


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(
        {
            "In": labels.get(each["key"]) in each.get("values", ()),
            "NotIn": labels.get(each["key"]) not in each.get("values", ()),
            "Exists": each["key"] in labels,
            "DoesNotExist": each["key"] not in labels,
        }[each["operator"]]
        for each in selector.get("matchExpressions", ())
    )


def lets_in(there: list[Object], labels: Mapping[str, str], who: Mapping[str, Any]) -> bool:
    """Say whether a pod with `labels` in `t-acme`, which has these policies, may be reached by `who`."""
    ruling = [each["spec"] for each in there if "Ingress" in each["spec"]["policyTypes"]]
    ruling = [spec for spec in ruling if selects(spec["podSelector"], labels)]

    def is_one(peer: Mapping[str, Any]) -> bool:
        if "ipBlock" in peer:
            address = ipaddress.ip_address(who["address"])
            return address in ipaddress.ip_network(peer["ipBlock"]["cidr"]) and not any(
                address in ipaddress.ip_network(each) for each in peer["ipBlock"].get("except", ())
            )
        if "namespace" not in who:
            return False
        if "namespaceSelector" in peer:
            inside = selects(peer["namespaceSelector"], who["namespace"])
        else:
            inside = who["namespace"].get("kubernetes.io/metadata.name") == "t-acme"
        return inside and selects(peer.get("podSelector", {}), who.get("labels", {}))

    return not ruling or any(is_one(peer) for spec in ruling for rule in spec["ingress"] for peer in rule["from"])


OURS = {"app.kubernetes.io/managed-by": "breakwater"}
OWN = {
    "address": "10.42.1.20",
    "namespace": {**OURS, "kubernetes.io/metadata.name": "t-acme"},
    "labels": {"app": "web"},
}
OTHERS = [
    {"address": "10.42.1.30", "namespace": {**OURS, "kubernetes.io/metadata.name": "t-rival"}},
    {"address": "10.42.1.31", "namespace": {policies.TENANT: "t-old", "kubernetes.io/metadata.name": "t-old"}},
]
PLATFORM = {"address": "10.42.1.2", "namespace": {"kubernetes.io/metadata.name": "ingress-nginx"}}
OUTSIDE = [{"address": "203.0.113.5"}, {"address": "10.42.9.8"}, {"address": "192.0.2.10"}, {"address": "10.42.1.1"}]


def test_other_tenants_are_kept_out_and_everybody_else_comes_in() -> None:
    made = policies.wanted("t-acme", [], GROUND)
    assert [each["spec"]["policyTypes"] for each in made] == [["Ingress"], ["Egress"]]
    assert [lets_in(made, {"app": "db"}, who) for who in (OWN, PLATFORM, *OUTSIDE)] == [True] * 6
    assert [lets_in(made, {"app": "db"}, who) for who in OTHERS] == [False, False]


def test_a_cluster_that_does_not_tell_where_its_pods_are_lets_no_private_address_in() -> None:
    (made,) = policies.wanted("t-acme", [], policies.ground([{"status": NODE["status"]}], ue=["10.45.0.0/16"]))
    reached = [lets_in([made], {}, {"address": each}) for each in ("10.42.1.30", "10.45.0.9", "203.0.113.5")]
    assert reached == [False, True, True]


def own_policy(selector: Object, peers: list[Object], name: str = "db") -> Object:
    """Return a chart's policy as the cluster keeps it."""
    annotations = {"meta.helm.sh/release-name": "one"}
    spec = {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{"from": peers}]}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


WEB_ONLY = [{"podSelector": {"matchLabels": {"app": "web"}}}]


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"app": "db"}},
        {"matchLabels": {"app": "db", "release": "one"}},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "cache"]}]},
        {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}, {"key": "app", "operator": "Exists"}]},
        {},
    ],
)  # fmt: skip
def test_a_charts_own_policy_narrows_and_no_pod_is_left_without_one(selector: Object) -> None:
    charts = [own_policy(selector, WEB_ONLY), own_policy({"matchLabels": {"app": "queue"}}, WEB_ONLY, "queue")]
    there = [*charts, *policies.wanted("t-acme", charts, GROUND)]
    stranger = {**OWN, "labels": {"app": "other"}}
    for labels in ({"app": "db", "release": "one"}, {"app": "queue"}):
        assert (lets_in(there, labels, OWN), lets_in(there, labels, stranger)) == (True, False)
    for labels in (
        {},
        {"app": "web"},
        {"app": "db"},
        {"app": "db", "release": "two"},
        {"release": "one"},
        {"app": "queue"},
    ):
        assert not any(lets_in(there, labels, who) for who in OTHERS)
    assert lets_in(there, {"app": "web", "release": "two"}, PLATFORM) == (selector != {})


def test_more_policies_than_can_be_told_apart_close_the_namespace_all_the_same() -> None:
    charts = [own_policy({"matchLabels": {f"a{at}": "x", f"b{at}": "y"}}, WEB_ONLY, f"p{at}") for at in range(8)]
    made = policies.wanted("t-acme", charts, GROUND)
    assert [each["spec"]["podSelector"] for each in made] == [{}, {}]


def named(*names: str) -> Object:
    expressions = [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(names)}]
    return {"namespaceSelector": {"matchExpressions": expressions}}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"ingress": [{"from": [*WEB_ONLY, named("t-acme", "ingress-nginx")]}]}, []),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}]}, []),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.42.0.0/16"]}}]}]}, []),
        ({"ingress": []}, []),
        ({"ingress": [{}]}, [Level.ERROR]),
        ({"ingress": [{"ports": [{"port": 80}]}]}, [Level.ERROR]),
        ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, [Level.ERROR]),
        ({"ingress": [{"from": [named("t-acme", "t-rival")]}]}, [Level.ERROR]),
        ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}]}, [Level.ERROR]),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}, [Level.ERROR]),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.42.1.0/28"]}}]}]}, [Level.ERROR]),
        ({"egress": [{}]}, [Level.WARNING]),
    ],
)
def test_a_charts_policy_that_lets_other_tenants_in_is_refused(spec: Object, found: list[Level]) -> None:
    policy = Manifest("NetworkPolicy", "own", "networking.k8s.io/v1", {"spec": spec})
    told = list(policies.policy_findings([policy], "t-acme", GROUND))
    assert [each.level for each in told] == found
    assert all(each.code == "policy-widens" and each.remedy and "spec." in each.place for each in told)


def test_the_names_of_our_policies_are_ours() -> None:
    policy = Manifest("NetworkPolicy", "breakwater-tenant-ingress", "networking.k8s.io/v1", {"spec": {"ingress": []}})
    assert [each.code for each in policies.policy_findings([policy], "t", GROUND)] == ["name-reserved"]


# Keeping them so


class Shelf:
    """An API server that keeps NetworkPolicies and shows one node."""

    def __init__(self) -> None:
        self.kept: dict[str, Object] = {}
        self.done: list[str] = []
        self.forbids = False
        self.api = Api(Access.read(kubeconfig()), httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        path, _, name = request.url.path.partition("/networkpolicies")
        if request.method == "GET" and path == "/api/v1/nodes":
            return httpx2.Response(200, json={"kind": "NodeList", "items": [NODE]})
        if path == "/apis/networking.k8s.io/v1" and request.method == "GET":
            listed = [{"kind": "NetworkPolicy", "name": "networkpolicies", "namespaced": True}]
            return httpx2.Response(200, json={"resources": listed})
        assert path == "/apis/networking.k8s.io/v1/namespaces/t-acme"
        if self.forbids:
            status = {"kind": "Status", "apiVersion": "v1", "code": 403, "message": "networkpolicies is forbidden"}
            return httpx2.Response(403, json=status)
        if request.method == "GET":
            return httpx2.Response(200, json={"kind": "List", "items": list(self.kept.values())})
        if request.method == "DELETE":
            self.done.append(f"delete {name[1:]}")
            return httpx2.Response(200, json=self.kept.pop(name[1:]))
        body = json.loads(request.content)
        self.done.append(f"{request.method} {body['metadata']['name']}".lower())
        self.kept[body["metadata"]["name"]] = body
        return httpx2.Response(200, json=body)


def test_what_somebody_removed_or_changed_comes_back_and_nothing_is_written_twice() -> None:
    shelf = Shelf()
    guard = Guard(shelf.api, EngineSettings())
    guard.keep("t-acme")
    assert sorted(shelf.kept) == ["breakwater-tenant-egress", "breakwater-tenant-ingress"]
    del shelf.kept["breakwater-tenant-egress"]
    shelf.kept["breakwater-tenant-ingress"]["spec"]["ingress"] = [{}]
    shelf.done.clear()

    guard.keep("t-acme")
    guard.keep("t-acme")

    assert shelf.done == ["put breakwater-tenant-ingress", "post breakwater-tenant-egress"]
    assert shelf.kept["breakwater-tenant-ingress"]["spec"]["ingress"] != [{}]
    shelf.api.close()


def test_a_user_who_may_not_keep_policies_is_told_what_it_needs() -> None:
    shelf = Shelf()
    shelf.forbids = True
    with pytest.raises(
        Rejected, match=r"networkpolicies is forbidden.*needs to list, create, change and delete NetworkPolicies"
    ):
        Guard(shelf.api, EngineSettings()).keep("t-acme")
    shelf.api.close()


def test_what_the_clusters_owner_closed_stays_closed() -> None:
    shelf = Shelf()
    shelf.kept["deny"] = {
        "metadata": {"name": "deny"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": []},
    }
    Guard(shelf.api, EngineSettings()).keep("t-acme")
    assert not any(lets_in(list(shelf.kept.values()), {"app": "db"}, who) for who in (OWN, PLATFORM, *OUTSIDE))
    shelf.api.close()


def test_a_policy_of_a_chart_is_not_counted_on_once_it_goes() -> None:
    shelf = Shelf()
    guard = Guard(shelf.api, EngineSettings())
    shelf.kept["db"] = own_policy({"matchLabels": {"app": "db"}}, WEB_ONLY)
    guard.keep("t-acme")
    db = {"app": "db"}
    assert not lets_in(list(shelf.kept.values()), db, PLATFORM)
    shelf.done.clear()

    guard.keep("t-acme", guard.going("one", "t-acme", ()))

    assert [each.split()[0] for each in shelf.done] == ["post", "delete"], "no moment without a policy"
    del shelf.kept["db"]
    assert lets_in(list(shelf.kept.values()), db, OWN)
    assert not any(lets_in(list(shelf.kept.values()), db, who) for who in OTHERS)
    shelf.api.close()


def daemon_set(name: str, namespace: str = "kube-system", *arguments: str) -> Object:
    pod = {"containers": [{"name": "agent", "args": list(arguments)}]}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"template": {"spec": pod}}}


def k3s(arguments: str) -> Object:
    info = {"nodeInfo": {"kubeletVersion": "v1.31.2+k3s1"}}
    return {"metadata": {"annotations": {"k3s.io/node-args": arguments}}, "status": info}


@pytest.mark.parametrize(
    ("daemon_sets", "nodes", "state"),
    [
        ([daemon_set("calico-node", "calico-system")], [], "enforced"),
        ([daemon_set("kube-flannel-ds", "kube-flannel"), daemon_set("kube-router")], [], "enforced"),
        ([daemon_set("kube-flannel-ds", "kube-flannel")], [], "not-enforced"),
        ([daemon_set("aws-node", "kube-system", "--enable-network-policy=true")], [], "enforced"),
        ([daemon_set("aws-node", "kube-system", "--enable-network-policy=false")], [], "not-enforced"),
        ([], [k3s('["server"]')], "enforced"),
        ([], [k3s('["server","--disable-network-policy"]')], "not-enforced"),
        ([daemon_set("calico-node", "t-rival")], [NODE], "unknown"),
    ],
)
def test_what_enforces_policies_is_told_by_what_runs(
    daemon_sets: list[Object], nodes: list[Object], state: str
) -> None:
    assert enforcing.isolation(daemon_sets, nodes).state == state


# Hosts


def ingress(name: str = "web", namespace: str = "", created: str = "", **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "creationTimestamp": created}, "spec": spec}


def claims(**spec: Any) -> tuple[HostClaim, ...]:
    return hosts.claims([Manifest("Ingress", "web", "networking.k8s.io/v1", ingress(**spec))])


def test_an_ingress_claims_only_names_of_the_apps_dns_rules() -> None:
    names = ["Shop.example.", "play.example"]
    assert list(hosts.unasked(claims(rules=[{"host": "SHOP.example"}, {"host": "play.example"}]), names)) == []
    refused = list(
        hosts.unasked(claims(rules=[{"host": "bank.example"}, {}], tls=[{"hosts": ["*.example"]}]), names)
    )  # fmt: skip
    assert [each.place for each in refused] == [
        "Ingress/web spec.rules[0].host",
        "Ingress/web spec.rules[1].host",
        "Ingress/web spec.tls[0].hosts",
    ]
    assert "'bank.example'" in refused[0].message
    assert "every host" in refused[1].message
    alias = ingress(rules=[{"host": "shop.example"}])
    alias["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/server-alias": "bank.example, shop.example"}
    aliased = hosts.claims([Manifest("Ingress", "web", "networking.k8s.io/v1", alias)])
    assert [each.place for each in hosts.unasked(aliased, names)] == [
        "Ingress/web metadata.annotations[nginx.ingress.kubernetes.io/server-alias]"
    ]


def test_of_two_who_claim_a_host_the_first_keeps_it() -> None:
    rules = [{"host": "shop.example"}]
    wild = ingress("b", "t-rival", "2026-01-02T00:00:00Z", rules=[{"host": "*.example"}])
    present = [ingress("a", "t-acme", "2026-01-01T00:00:00Z", rules=rules), wild]
    assert list(hosts.taken(claims(rules=rules), present, "t-acme")) == []
    assert [each.code for each in hosts.taken(claims(rules=rules), present, "t-rival")] == ["host-taken"]
    assert [each.code for each in hosts.taken(claims(rules=rules), present[1:], "t-acme")] == ["host-taken"]


# Limits


def wants(memory: int = 0, replicas: int = 1) -> Wanted:
    template = PodTemplate("d", {}, (Container("web", "image", memory=memory),))
    return Wanted((Workload("Deployment", "web", replicas, template),))


def test_a_container_without_limits_gets_the_nodes_and_nobody_more_than_there_is() -> None:
    assert (Limits().memory_for(0), Limits().memory_for(2 << 30)) == (512 << 20, 2 << 30)
    assert Limits(memory=0).memory_for(0) == 0
    assert Limits(container_memory=256 << 20).memory_for(0) == 256 << 20

    (told,) = limit_findings(wants(), Limits())
    assert (told.level, told.code, told.place) == (Level.WARNING, "memory-by-default", "Deployment/web/web")
    assert "512 MiB" in told.message
    assert list(limit_findings(wants(64 << 20), Limits())) == []

    capped = Limits(container_memory=1 << 30, tenant_memory=3 << 30)
    assert capped.memory_for(2 << 30) == 1 << 30, "a revision from before the cap"
    whole = Limits(tenant_memory=1 << 30)
    assert [each.code for each in limit_findings(wants(2 << 30), whole)] == ["tenant-memory"]
    assert [each.code for each in limit_findings(wants(2 << 30), capped)] == ["memory-above-cap"]
    assert list(limit_findings(wants(1 << 30, replicas=2), capped, taken=1 << 30)) == []
    assert [each.code for each in blocking(limit_findings(wants(1 << 30, 2), capped, taken=2 << 30))] == [
        "tenant-memory"
    ]


class Refusing(Daemon):
    """A daemon whose driver may be asked for a size and, like overlay2 on xfs without pquota, then has none."""

    def __init__(self, driver: str, filesystem: str = "", refuses: str = "") -> None:
        super().__init__("unused")
        self.driver, self.filesystem, self.refuses = driver, filesystem, refuses
        self.asked: list[Any] = []

    def info(self) -> dict[str, Any]:
        return {"Driver": self.driver, "DriverStatus": [["Backing Filesystem", self.filesystem]]}

    def create(self, *, host: Mapping[str, Any], **more: Any) -> str:
        self.asked.append(host.get("storage_opt"))
        if self.refuses and "storage_opt" in host:
            raise Invalid(self.refuses)
        return "made"


def test_the_disk_is_bounded_where_the_driver_can_and_nowhere_is_that_claimed_else() -> None:
    able, unable = Refusing("btrfs"), Refusing("overlay2", "extfs")
    for daemon in (able, unable):
        assert daemon.create_sized(5 << 30, name="n", image="i", host={}) == "made"
    assert (able.asked, able.sizes_disk()) == ([{"size": str(5 << 30)}], True)
    assert (unable.asked, unable.sizes_disk()) == ([None], False)

    why = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
    surprised = Refusing("overlay2", "xfs", why)
    for _ in range(2):
        assert surprised.create_sized(5 << 30, name="n", image="i", host={}) == "made"
    assert (surprised.asked, surprised.sizes_disk()) == ([{"size": str(5 << 30)}, None, None], False)

    # One that is too small for its image says nothing of the containers of others.
    small = Refusing("zfs", refuses="zfs set quota=1: size is less than current used or reserved space")
    assert small.create_sized(1, name="n", image="i", host={}) == "made"
    assert small.sizes_disk()

    other = Refusing("btrfs", refuses="no such image")
    with pytest.raises(Invalid, match="no such image"):
        other.create_sized(5 << 30, name="n", image="i", host={})
