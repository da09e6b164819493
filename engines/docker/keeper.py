"""Acts on one pod at a time: makes it, starts what should run in it, takes it away."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.errors import BreakwaterError, Missing
from core.words import say
from engines.contract import EngineSettings, Reason
from engines.docker import decide
from engines.docker.daemon import Daemon, ImageMissing
from engines.docker.files import Files
from engines.docker.images import Images
from engines.docker.networks import Networks
from engines.docker.seen import HOLDER, PREFIX, ContainerKey, Exit, Fate, Pod, PodKey, Seen
from engines.pods.wanted import Container, PodTemplate, Volume, Workload
from engines.store import Store

#: A run this long means that the trouble before it is over.
LONG_RUN = 600.0
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")


@dataclass
class Memory:
    """What this process knows about containers beyond what the runtime lists."""

    exits: dict[str, Exit] = field(default_factory=dict)
    fates: dict[ContainerKey, Fate] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)

    def fate(self, pod: PodKey, container: str) -> Fate:
        return self.fates.setdefault((*pod, container), Fate())


class Keeper:
    """Makes pods so. Every method may be interrupted at any point and called again."""

    def __init__(self, settings: EngineSettings, daemon: Daemon, store: Store, files: Files, memory: Memory) -> None:
        self.settings, self.daemon, self.store, self.files, self.memory = settings, daemon, store, files, memory
        self.networks = Networks(settings, daemon)
        self.images = Images(settings.name, daemon, store)

    # Names and labels

    def labels(self, **more: str) -> dict[str, str]:
        return {PREFIX + "node": self.settings.name, **{PREFIX + key: value for key, value in more.items()}}

    def _name(self, *parts: str) -> str:
        return ".".join(("bw", self.settings.name, *parts))

    # Pods

    def advance(self, workload: Workload, pod: Pod) -> None:
        """Do for a pod all that can be done now."""
        template = workload.template
        for _ in range(2 * (len(template.containers) + len(template.init)) + 4):
            steps = decide.next_steps(*self.circumstances(workload, pod))
            if not steps:
                return
            for step in steps:
                self._do(step, workload, pod)

    def circumstances(
        self, workload: Workload, pod: Pod
    ) -> tuple[PodTemplate, Pod, Mapping[str, Exit], Callable[[str], Fate], float, int | None]:
        """Return what the decision about a pod's next step needs to know."""
        limit = workload.retries if workload.kind == "Job" else None
        return (
            workload.template,
            pod,
            self.memory.exits,
            lambda name: self.memory.fate(pod.key, name),
            time.monotonic(),
            limit,
        )

    def _do(self, step: decide.Step, workload: Workload, pod: Pod) -> None:
        if step.verb == "rebuild":
            self.clear(pod)
        if step.verb in {"rebuild", "hold"}:
            self._hold(workload, pod)
            return
        container = workload.template.container(step.container)
        if container is None:
            return
        try:
            if step.verb == "learn":
                self._learn(workload, pod, container)
            elif step.verb == "create":
                self._create(workload, pod, container)
            elif step.verb == "start":
                self._start(pod, container, again=False)
            elif step.verb == "restart":
                self._start(pod, container, again=True)
        except ImageMissing as problem:
            self._trouble(pod, container.name, Reason.IMAGE_MISSING, problem.detail, "Failed")
        except BreakwaterError as problem:
            if problem.retryable:
                raise
            self._trouble(pod, container.name, Reason.CONFIG_ERROR, problem.detail, "Failed")

    def _hold(self, workload: Workload, pod: Pod) -> None:
        template = workload.template
        self.files.write(pod.key, template)
        if pod.holder is None:
            image = self.images.pause()
            network, gateway = self.networks.get(pod.namespace)
            mounts = self._volumes(workload, pod)
            aliases = list(template.aliases)
            if workload.service:
                aliases += [f"{pod.name}.{alias}" for alias in template.aliases if alias.startswith(workload.service)]
            hosts = {"mep": gateway} if gateway else {}
            hosts.update(dict(template.hosts))
            made = self.daemon.create(
                name=self._name(pod.namespace, pod.release, pod.name, HOLDER),
                image=image,
                stop_signal="SIGKILL",  # it has nothing to tidy up, and a daemon that stops waits for it otherwise
                hostname=pod.name[:63],
                labels=self._pod_labels(pod, HOLDER),
                networking_config={"EndpointsConfig": {network: {"Aliases": aliases}}},
                host={
                    "network_mode": network,
                    "extra_hosts": hosts,
                    "binds": mounts,
                    "cap_drop": ["ALL"],
                    "security_opt": ["no-new-privileges"],
                    "mem_limit": 16 << 20,
                    "log_config": {"Type": "none"} if not self.daemon.podman else None,
                },
            )
            pod.holder = Seen(made, HOLDER, "created")
            group = template.group
            self.daemon.folders(
                made,
                {
                    f"volumes/{volume.name}": (0o777 if volume.kind == "empty" or group is None else 0o2775, group or 0)
                    for volume in template.volumes
                    if volume.kind != "files"
                },
            )
        try:
            self.daemon.start(pod.holder.id)
        except Missing:
            # Its network is gone: the next one gets a new network.
            self.networks.forget(pod.namespace)
            self.clear(pod)
            raise
        pod.holder.state = "running"
        networks = (self.daemon.inspect(pod.holder.id).get("NetworkSettings") or {}).get("Networks") or {}
        pod.address = next((str(each["IPAddress"]) for each in networks.values() if each.get("IPAddress")), "")

    def _pod_labels(self, pod: Pod, container: str) -> dict[str, str]:
        return self.labels(
            namespace=pod.namespace,
            release=pod.release,
            pod=pod.name,
            workload=pod.workload,
            digest=pod.digest,
            container=container,
        )

    def _volumes(self, workload: Workload, pod: Pod) -> list[str]:
        """Make the pod's volumes and return the binds that let the holder reach them."""
        binds = []
        for volume in workload.template.volumes:
            if volume.kind == "files":
                continue
            mine = self.labels(namespace=pod.namespace, release=pod.release)
            options = {}
            if volume.kind == "empty":
                mine[PREFIX + "pod"] = pod.name
                if volume.in_memory:
                    size = f",size={volume.size}" if volume.size else ""
                    options = {"type": "tmpfs", "device": "tmpfs", "o": f"mode=1777{size}"}
            name = self._volume_name(workload, pod, volume)
            self.daemon.make_volume(name, mine, options)
            binds.append(f"{name}:/volumes/{volume.name}:rw")
        return binds

    def _volume_name(self, workload: Workload, pod: Pod, volume: Volume) -> str:
        if volume.kind == "claim" and volume.claim not in workload.claims:
            return self._name(pod.namespace, pod.release, "claim", volume.claim)
        return self._name(pod.namespace, pod.release, pod.name, volume.kind, volume.name)

    # Containers

    def _create(self, workload: Workload, pod: Pod, container: Container) -> None:
        assert pod.holder is not None
        image = self.images.find(pod.namespace, pod.release, container)
        if container.must_not_be_root:
            user = (container.user or self.images.user(image)).partition(":")[0]
            if user in {"", "0", "root"}:
                self._trouble(
                    pod, container.name, Reason.CONFIG_ERROR, say("must not run as root, but its image does"), "Failed"
                )
                return
        surroundings = self._environment(container, pod, workload.template)
        made = self.daemon.create_sized(
            self.settings.limits.disk_for(container.disk),
            name=self._name(pod.namespace, pod.release, pod.name, container.name),
            image=image,
            called=container.image,
            entrypoint=[expand(each, surroundings) for each in container.entrypoint] or None,
            command=[expand(each, surroundings) for each in container.arguments] or None,
            environment=surroundings,
            working_dir=container.workdir or None,
            user=container.user or None,
            tty=container.tty,
            stdin_open=container.stdin,
            stop_timeout=workload.template.grace,
            labels=self._pod_labels(pod, container.name),
            host=self._host(workload, pod, container),
        )
        pod.members[container.name] = Seen(made, container.name, "created", image)
        self._start(pod, container, again=False)

    def _host(self, workload: Workload, pod: Pod, container: Container) -> dict[str, Any]:
        assert pod.holder is not None
        security = ["no-new-privileges"] if container.no_new_privileges else []
        limits = self.settings.limits
        memory = self._memory_of(container)
        host: dict[str, Any] = {
            "network_mode": f"container:{pod.holder.id}",
            "binds": self._binds(workload, pod, container),
            "cap_add": list(container.added) or None,
            "cap_drop": list(container.dropped) or None,
            "security_opt": security or None,
            "read_only": container.read_only_root,
            "group_add": list(container.groups) or None,
            "pids_limit": limits.pids or None,
            "nano_cpus": container.nano_cpus or None,
            # Equal limits: an app may not push its node into swap.
            "mem_limit": memory or None,
            "memswap_limit": memory or None,
        }
        if not self.daemon.podman:
            # The oldest half goes when the newest is full.
            kept = {"max-size": str(max(1, limits.log // 2)), "max-file": "2"} if limits.log else {}
            host["log_config"] = {"Type": "json-file", "Config": kept}
        return host

    def _binds(self, workload: Workload, pod: Pod, container: Container) -> list[str]:
        volumes = {volume.name: volume for volume in workload.template.volumes}
        binds = []
        for mount in container.mounts:
            volume = volumes.get(mount.volume)
            if volume is None:
                continue
            if volume.kind == "files":
                source = str(self.files.volume(pod.key, volume.name, mount.sub_path))
                binds.append(f"{source}:{mount.path}:ro")
            else:
                name = self._volume_name(workload, pod, volume)
                binds.append(f"{name}:{mount.path}:{'ro' if mount.read_only else 'rw'}")
        return binds

    def _environment(self, container: Container, pod: Pod, template: PodTemplate) -> dict[str, str]:
        found: dict[str, str] = {}
        for variable in container.variables:
            if variable.pod_field:
                found[variable.name] = self._field(variable.pod_field, pod, template)
            else:
                found[variable.name] = expand(variable.value, found)
        return found

    def _field(self, field_path: str, pod: Pod, template: PodTemplate) -> str:
        if field_path.startswith("metadata.labels["):
            return template.labels.get(field_path.partition("[")[2].strip("]'\""), "")
        assert pod.holder is not None
        return {
            "metadata.name": pod.name,
            "metadata.namespace": pod.namespace,
            "metadata.uid": pod.holder.id[:32],
            "status.podIP": pod.address,
            "status.podIPs": pod.address,
            "status.hostIP": self.networks.gateway(pod.namespace),
            "spec.nodeName": self.settings.name,
            "spec.serviceAccountName": "default",
        }.get(field_path, "")

    def _start(self, pod: Pod, container: Container, *, again: bool) -> None:
        seen = pod.members[container.name]
        fate = self.memory.fate(pod.key, container.name)
        self.daemon.start(seen.id)
        seen.state = "running"
        self.memory.exits.pop(seen.id, None)
        self.memory.killed.discard(seen.id)
        fate.waiting = False
        if again:
            fate.restarts += 1
            fate.level += 1
            self._keep_fate(pod, container.name)
        elif fate.reason in {Reason.IMAGE_MISSING, Reason.CONFIG_ERROR}:
            self.memory.fates[(*pod.key, container.name)] = Fate(restarts=fate.restarts)
        verb = "Restarted" if again else "Started"
        self._event(pod, "Normal", "Started", say("{verb} container {name}", verb=verb, name=container.name))

    def _learn(self, workload: Workload, pod: Pod, container: Container) -> None:
        """Find out how a container ended and when it may start again."""
        seen = pod.members[container.name]
        state = self.daemon.inspect(seen.id).get("State") or {}
        if state.get("Running"):
            seen.state = "running"
            return
        code = int(state.get("ExitCode") or 0)
        killed = seen.id in self.memory.killed
        # Podman leaves OOMKilled false: there a kill that nobody ordered, under a limit, is taken for it.
        oom = bool(state.get("OOMKilled")) or (
            self.daemon.podman and code == 137 and not killed and bool(self._memory_of(container))
        )
        ended = Exit(code, oom, _ran(state))
        self.memory.exits[seen.id] = ended
        fate = self.memory.fate(pod.key, container.name)
        if ended.ran > LONG_RUN:
            fate.level = 0
        policy = workload.template.restart
        if container in workload.template.init:
            policy = "Never" if policy == "Never" else "OnFailure"
        if not decide.starts_again(policy, ended):
            if code != 0:
                fate.reason, fate.message = _why(ended, self._memory_of(container), killed)
                self._event(
                    pod,
                    "Warning",
                    "Failed",
                    say("Container {name} {message}", name=container.name, message=fate.message),
                )
                self._keep_fate(pod, container.name)
            else:
                fate.reason, fate.message = Reason.NONE, ""
            return
        wait = decide.pause_before_restart(fate.level, self.settings.restart_backoff)
        fate.due, fate.waiting = time.monotonic() + wait, wait > 0
        fate.reason, fate.message = _why(ended, self._memory_of(container), killed)
        self._keep_fate(pod, container.name)
        what = "OOMKilled" if oom else "BackOff" if wait else "Exited"
        self._event(pod, "Warning", what, say("Container {name} {message}", name=container.name, message=fate.message))

    def _memory_of(self, container: Container) -> int:
        return self.settings.limits.memory_for(container.memory)

    def _trouble(self, pod: Pod, container: str, reason: Reason, message: str, event: str) -> None:
        fate = self.memory.fate(pod.key, container)
        fate.level += 1
        wait = decide.pause_before_restart(fate.level, min(self.settings.restart_backoff, 2.0), longest=60.0)
        fate.due, fate.waiting = time.monotonic() + wait, True
        fate.reason, fate.message = reason, message
        self._keep_fate(pod, container)
        self._event(
            pod, "Warning", event, say("Container {container}: {message}", container=container, message=message)
        )

    def _keep_fate(self, pod: Pod, container: str) -> None:
        fate = self.memory.fate(pod.key, container)
        self.store.set_fate((*pod.key, container), fate.restarts, str(fate.reason), fate.message)

    def _event(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        self.store.event(pod.namespace, pod.release, kind, reason, f"Pod/{pod.name}", message)

    def kill(self, pod: Pod, container: str, why: str, grace: int) -> None:
        """Stop a container whose liveness or startup probe failed; it starts again by its policy."""
        seen = pod.members.get(container)
        if seen is None:
            return
        self.memory.killed.add(seen.id)
        self._event(
            pod, "Warning", "Unhealthy", say("Container {container} is stopped: {why}", container=container, why=why)
        )
        self.daemon.stop(seen.id, grace)
        seen.state = "exited"

    def clear(self, pod: Pod) -> None:
        """Remove whatever is left of a pod whose holder died; its volumes stay for the one that follows."""
        for seen in pod.all():
            self.daemon.remove(seen.id)
            self.memory.exits.pop(seen.id, None)
        pod.members.clear()
        pod.holder = None

    def take(self, pod: Pod, grace: int) -> None:
        """Stop a pod with grace and remove it with what only it had."""
        for seen in pod.members.values():
            self.memory.killed.add(seen.id)
        running = [seen for seen in pod.members.values() if seen.state == "running"]
        threads = [threading.Thread(target=self._stop_quietly, args=(seen.id, grace), daemon=True) for seen in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.clear(pod)
        for name in self.daemon.volumes(self.labels(namespace=pod.namespace, release=pod.release, pod=pod.name)):
            self.daemon.remove_volume(name)
        self.files.discard(pod.key)
        for key in [key for key in self.memory.fates if key[:3] == pod.key]:
            del self.memory.fates[key]

    def _stop_quietly(self, container: str, grace: int) -> None:
        try:
            self.daemon.stop(container, grace)
        except BreakwaterError:
            return  # it is removed by force right after


def expand(text: str, surroundings: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by a variable as Kubernetes does: unknown ones stay, `$$` is a dollar sign."""
    return _REFERENCE.sub(lambda found: "$" if found[0] == "$$" else surroundings.get(found[1], found[0]), text)


def _why(ended: Exit, memory: int, killed: bool) -> tuple[Reason, str]:
    if ended.oom:
        limit = say("its limit of {memory} MiB", memory=memory >> 20) if memory else say("the node's memory")
        return Reason.OOM_KILLED, f"was killed because it needed more than {limit}"
    if killed:
        return Reason.PROBE_FAILING, "was stopped because its probe failed"
    return Reason.CRASH_LOOP, f"ended with exit code {ended.code}"


def _ran(state: Mapping[str, Any]) -> float:
    moments = []
    for key in ("StartedAt", "FinishedAt"):
        try:
            # Nanoseconds are more than fromisoformat takes.
            moments.append(datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", str(state.get(key)))))
        except ValueError:
            return 0.0
    return max(0.0, (moments[1] - moments[0]).total_seconds())
