"""What a cluster says of one release: state, endpoints, logs, events. Reads only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from core.errors import BreakwaterError, Invalid, Missing, Unavailable
from engines.contract import Endpoint, Event, LogLine, Manifest, Reason, ReleaseStatus, State, WorkloadStatus
from engines.kubernetes import status as judge
from engines.kubernetes.api import Api, Object
from engines.kubernetes.kept import NOTHING, PENDING, Content, Releases
from engines.planning import WORKLOADS, containers, items, mapping

#: Logs of this many containers are read at most, and lines are cut at this length.
MOST_CONTAINERS, LONGEST_LINE = 20, 4096
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


class Look:
    """Observes releases; a few API calls for each."""

    def __init__(self, api: Api, releases: Releases, deadline: timedelta) -> None:
        self._api, self._releases, self._deadline = api, releases, deadline
        self._address = ""

    def status(self, name: str, namespace: str, now: datetime) -> ReleaseStatus:
        """Return the observed state; `absent` for a release that is not there."""
        revisions = self._releases.revisions(namespace, name)
        present = revisions[-1] if revisions else None
        if present is None or present.status == "uninstalled":
            return ReleaseStatus(name, namespace, State.ABSENT)
        try:
            content = self._releases.content(present)
        except Missing:  # removed between the two looks
            return ReleaseStatus(name, namespace, State.ABSENT)
        workloads = self._workloads(content.manifests, namespace, now)
        if not present.was_ready and now - content.deployed_at > self._deadline:
            workloads = [judge.late(each) for each in workloads]
        state, reason, message = judge.overall(workloads)
        if state is State.READY and present.status == "deployed" and not present.was_ready:
            with contextlib.suppress(BreakwaterError):  # removed or replaced just now; the next look will tell
                self._releases.mark(present, ready=str(present.number))
        if present.status in PENDING or present.status == "uninstalling":
            state, reason, message = State.PROGRESSING, Reason.STARTING, present.status
        elif present.status != "deployed":
            # What runs is an older revision at best: never ready, and the workloads' reason where there is one.
            told = f"revision {present.number} {present.status}: {content.description}"
            state, reason = State.FAILED, reason if state is State.FAILED else Reason.UNKNOWN
            message = f"{told}; {message}" if message else told
        return ReleaseStatus(
            name=name,
            namespace=namespace,
            state=state,
            revision=present.number,
            generation=present.generation,
            reason=reason,
            message=message,
            workloads=tuple(workloads),
            endpoints=tuple(self._endpoints(content.manifests, namespace)),
        )

    def _workloads(self, manifests: Sequence[Manifest], namespace: str, now: datetime) -> list[WorkloadStatus]:
        wanted = [each for each in manifests if each.kind in WORKLOADS]
        if not wanted:
            return []
        live = {
            kind: {_name(each): each for each in self._api.all(kind, namespace)}
            for kind in {each.kind for each in wanted} | {"Pod"}
        }
        sets = self._api.all("ReplicaSet", namespace) if "Deployment" in live else []
        pods = list(live["Pod"].values())
        ready = {_name(pod) for pod in pods if judge.pod_state(pod, (), now).ready}
        # Events are asked for only when some pod has to explain itself.
        events = self._api.all("Event", namespace) if len(ready) < len(pods) else []
        found = []
        for each in wanted:
            thing = live[each.kind].get(each.name)
            mine = judge.pods_of(each.kind, thing, pods, sets) if thing else []
            states = [judge.pod_state(pod, _events_of(pod, events), now) for pod in mine]
            found.append(judge.workload_status(each.kind, each.name, thing, states))
        return found

    def _endpoints(self, manifests: Sequence[Manifest], namespace: str) -> list[Endpoint]:
        names = {each.name for each in manifests if each.kind == "Service"}
        if not names:
            return []
        found = []
        for service in self._api.all("Service", namespace):
            if _name(service) not in names:
                continue
            spec = mapping(service.get("spec"))
            outside = _balancer(service)
            for port in items(spec.get("ports")):
                node_port = judge.number(port.get("nodePort"), 0)
                address, outer = self._node_address() if node_port else "", node_port
                if outside:
                    address, outer = outside, judge.number(port.get("port"), 0)
                found.append(
                    Endpoint(
                        service=_name(service),
                        port_name=str(port.get("name", "")),
                        protocol=str(port.get("protocol", "TCP")),
                        cluster_host=f"{_name(service)}.{namespace}.svc",
                        cluster_port=judge.number(port.get("port"), 0),
                        address=address,
                        port=outer if address else 0,
                    )
                )
        return found

    def _node_address(self) -> str:
        if not self._address:
            told = [
                (each.get("type"), str(each.get("address", "")))
                for node in self._api.all("Node")
                for each in items(mapping(node.get("status")).get("addresses"))
            ]
            by_type = dict(reversed(told))  # the first node's
            self._address = by_type.get("ExternalIP") or by_type.get("InternalIP") or ""
        return self._address

    def logs(self, name: str, namespace: str, workload: str, tail: int) -> list[LogLine]:
        """Return the last lines over all containers, oldest first; `workload` is `Kind/name` or a name."""
        lines: list[LogLine] = []
        asked = 0
        for owner, pod in self._pods(name, namespace):
            if workload and workload not in {f"{owner.kind}/{owner.name}", owner.name}:
                continue
            for container in containers(mapping(pod.get("spec"))):
                if asked >= MOST_CONTAINERS or tail <= 0:
                    break
                asked += 1
                own = str(container.get("name", ""))
                try:
                    texts = self._api.log(_name(pod), namespace, own, min(tail, 5000))
                except (Missing, Invalid, Unavailable):  # gone meanwhile, or it has not started yet
                    continue
                lines += [_line(text, _name(pod), own) for text in texts]
        lines.sort(key=lambda line: line.at.timestamp() if line.at else 0.0)
        return lines[-tail:] if tail > 0 else []

    def events(self, name: str, namespace: str, limit: int) -> list[Event]:
        """Return what happened to the objects of the release, newest first."""
        content = self._content(name, namespace)
        own = {(each.kind, each.name) for each in content.manifests}
        pods = re.compile(
            "|".join(rf"{re.escape(each.name)}-[a-z0-9-]+" for each in content.manifests if each.kind in WORKLOADS)
            or r"(?!)"
        )
        found = []
        for event in self._api.all("Event", namespace):
            kind, of = str(mapping(event.get("involvedObject")).get("kind")), _about(event)
            if (kind, of) in own or (kind in {"Pod", "ReplicaSet", "Job"} and pods.fullmatch(of)):
                found.append(_event(event, kind, of))
        found.sort(key=lambda event: event.at, reverse=True)
        return found[: max(limit, 0)]

    def running(self, name: str, namespace: str) -> set[str]:
        """Return the uids of the release's pods and of what makes them."""
        found = self._pods(name, namespace)
        owners = {
            str(owner.get("uid"))
            for _, pod in found
            for owner in items(mapping(pod.get("metadata")).get("ownerReferences"))
        }
        return owners | {str(_uid(pod)) for _, pod in found}

    def pods(self, name: str, namespace: str) -> list[Object]:
        """Return the pods of the release."""
        return [pod for _, pod in self._pods(name, namespace)]

    def still_there(self, namespace: str, uids: set[str]) -> bool:
        """Say whether any of these pods, or of what made them, is still in the namespace."""
        return any(str(_uid(each)) in uids for kind in ("Pod", "ReplicaSet") for each in self._api.all(kind, namespace))

    def _pods(self, name: str, namespace: str) -> list[tuple[Manifest, Object]]:
        content = self._content(name, namespace)
        wanted = [each for each in content.manifests if each.kind in WORKLOADS]
        pods = self._api.all("Pod", namespace) if wanted else []
        sets = self._api.all("ReplicaSet", namespace) if pods else []
        jobs = self._api.all("Job", namespace) if any(each.kind == "CronJob" for each in wanted) else []
        found = []
        for each in wanted:
            thing = self._api.find(each.kind, each.name, namespace)
            uid = mapping(mapping(thing).get("metadata")).get("uid")
            owners = [uid, *(_uid(one) for one in (*sets, *jobs) if judge.owned(one, uid))]
            found += [(each, pod) for pod in pods if _uid(pod) == uid or any(judge.owned(pod, one) for one in owners)]
        return found

    def _content(self, name: str, namespace: str) -> Content:
        """Return the present revision; an empty one for a release that is not there, of which nothing can be told."""
        revisions = self._releases.revisions(namespace, name)
        try:
            return self._releases.content(revisions[-1]) if revisions else NOTHING
        except Missing:  # removed between the two looks
            return NOTHING


def _event(event: Object, kind: str, of: str) -> Event:
    series = mapping(event.get("series"))
    at = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    at = at or mapping(event.get("metadata")).get("creationTimestamp")
    return Event(
        at=_moment(at) or datetime.fromtimestamp(0, UTC),
        type=str(event.get("type") or "Normal"),
        reason=str(event.get("reason") or ""),
        object=f"{kind}/{of}",
        message=str(event.get("message") or "")[:1000],
        count=judge.number(event.get("count"), judge.number(series.get("count"), 1)),
    )


def _line(text: str, pod: str, container: str) -> LogLine:
    stamp, _, rest = text.partition(" ")
    at = _moment(stamp)
    return LogLine(at, pod, container, (rest if at else text).rstrip("\r\n")[:LONGEST_LINE])


def _events_of(pod: Object, events: Sequence[Object]) -> list[Object]:
    uid = _uid(pod)
    return [event for event in events if mapping(event.get("involvedObject")).get("uid") == uid]


def _balancer(service: Object) -> str:
    given = items(mapping(mapping(service.get("status")).get("loadBalancer")).get("ingress"))
    return str(given[0].get("ip") or given[0].get("hostname") or "") if given else ""


def _about(event: Object) -> str:
    return str(mapping(event.get("involvedObject")).get("name", ""))


def _name(each: Object) -> str:
    return str(mapping(each.get("metadata")).get("name", ""))


def _uid(each: Object) -> Any:
    return mapping(each.get("metadata")).get("uid")


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_NANOSECONDS.sub(r"\1", str(text)))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
