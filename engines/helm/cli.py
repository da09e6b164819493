"""Helm through a binary: a process per call, so safe in any process model, at about 0.1 s a call."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import Invalid, Missing, Rejected, TimedOut, Unavailable
from core.words import say
from engines.helm import chartfile, schemas
from engines.helm.errors import SchemaBroken, translate
from engines.helm.helper import ADDRESS_SPACE, CHECK_SECONDS, SECONDS
from engines.helm.hooks import by_source, documents_of, hooks_in, update_problems, without_hooks
from engines.helm.manifests import load_all, manifests
from engines.helm.port import Cluster, Helm, HelmRelease, Rendered, check_names, moment, plain

LARGEST_OUTPUT = 64 << 20
#: Takes a limit of address space from its arguments and becomes the program named after it.
_LIMITED = """import os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except FileNotFoundError:
    sys.exit(127)
"""


class OutOfMemory(Unavailable):
    """The helm process needed more memory than it may have."""


class CliHelm(Helm):
    """The adapter over a `helm` binary of version 3 or 4."""

    def __init__(self, binary: str = "helm") -> None:
        self.binary = binary

    def version(self) -> str:
        return f"Helm {self._run(['version', '--short'], timeout=15).strip()}"

    def render(self, chart: Path, values: Mapping[str, Any], *, name: str, namespace: str) -> Rendered:
        check_names(name, namespace)
        chartfile.check(chart)
        about = load_all(self._run(["show", "chart", str(chart)], timeout=SECONDS), "Chart.yaml")
        facts = about[0] if about and isinstance(about[0], Mapping) else {}
        with _files(values=values) as given:
            arguments = ["template", name, str(chart), "--namespace", namespace, *given]
            try:
                text = self._run(arguments, timeout=SECONDS)
                crds = self._run(["show", "crds", str(chart)], timeout=SECONDS)
                updated, problem = self._for_update(arguments)
            except TimedOut:
                raise Invalid(
                    say("Helm cannot render the chart: it needs more than {seconds} s", seconds=SECONDS)
                ) from None
            except OutOfMemory:
                raise Invalid(
                    say(
                        "Helm cannot render the chart: it needs more than {address_space} GiB",
                        address_space=ADDRESS_SPACE >> 30,
                    )
                ) from None
        documents = documents_of(by_source(text))
        found, unknown = hooks_in([*documents, *documents_of(by_source(updated))])
        return Rendered(
            manifests=without_hooks(documents),
            hooks=found,
            unknown_hooks=unknown,
            crds=manifests(crds),
            problems=update_problems(problem),
            chart_name=str(facts.get("name", "")),
            chart_version=str(facts.get("version", "")),
            app_version=str(facts.get("appVersion", "") or ""),
        )

    def _for_update(self, arguments: list[str]) -> tuple[str, str]:
        """Return what the chart renders to as for an update, or why it does not without a cluster to look at."""
        try:
            return self._run([*arguments, "--is-upgrade"], timeout=SECONDS), ""
        except Invalid as problem:
            return "", problem.detail

    def problems(self, chart: Path, values: Mapping[str, Any]) -> list[schemas.Problem]:
        chartfile.check(chart)
        with _files(values=values) as given:
            try:
                self._run(
                    ["template", "check", str(chart), "--no-hooks", "--skip-tests", *given], timeout=CHECK_SECONDS
                )
            except (TimedOut, OutOfMemory):
                raise Invalid(
                    say(
                        "Helm needs more than {check_seconds} s to hold values against the chart's schema",
                        check_seconds=CHECK_SECONDS,
                    )
                ) from None
            except Invalid as error:
                # A template that fails with these values is told by the plan; here only the schema speaks.
                return schemas.problems(error.told) if isinstance(error, SchemaBroken) else []
        return []

    def install(
        self,
        cluster: Cluster,
        chart: Path,
        values: Mapping[str, Any],
        *,
        name: str,
        namespace: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: int = 60,
    ) -> HelmRelease:
        verb = ["install", name, str(chart), "--create-namespace"]
        return self._change(verb, cluster, chart, values, name, namespace, description, labels, timeout)

    def upgrade(
        self,
        cluster: Cluster,
        chart: Path,
        values: Mapping[str, Any],
        *,
        name: str,
        namespace: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: int = 60,
    ) -> HelmRelease:
        verb = ["upgrade", name, str(chart), "--reset-values", "--history-max", "10"]
        return self._change(verb, cluster, chart, values, name, namespace, description, labels, timeout)

    def rollback(self, cluster: Cluster, *, name: str, namespace: str, revision: int, timeout: int = 60) -> None:
        check_names(name, namespace)
        with _files(cluster) as given:
            self._run(["rollback", name, str(revision), "--namespace", namespace, *given], timeout=timeout)

    def uninstall(self, cluster: Cluster, *, name: str, namespace: str, timeout: int = 60) -> None:
        check_names(name, namespace)
        with _files(cluster) as given:
            self._run(["uninstall", name, "--namespace", namespace, *given], timeout=timeout)

    def history(self, cluster: Cluster, *, name: str, namespace: str) -> list[HelmRelease]:
        check_names(name, namespace)
        with _files(cluster) as given:
            answer = self._json(["history", name, "--namespace", namespace, *given])
        found = [_entry(entry, name, namespace) for entry in answer]
        if not found:
            raise Missing(say("There is no release {name} in {namespace}", name=name, namespace=namespace))
        return sorted(found, key=lambda release: release.revision)

    def release(self, cluster: Cluster, *, name: str, namespace: str) -> HelmRelease:
        check_names(name, namespace)
        with _files(cluster) as given:
            answer = self._json(["status", name, "--namespace", namespace, *given])
            info = answer.get("info") or {}
            manifest = self._run(["get", "manifest", name, "--namespace", namespace, *given], timeout=60)
        return HelmRelease(
            name=name,
            namespace=namespace,
            revision=int(answer.get("version") or 0),
            status=str(info.get("status", "")),
            description=str(info.get("description", "") or ""),
            updated_at=moment(info.get("last_deployed")),
            manifest=manifest,
        )

    def releases(self, cluster: Cluster, *, namespace: str = "") -> list[HelmRelease]:
        where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        with _files(cluster) as given:
            answer = self._json(["list", "--all", *where, *given])
        return [_entry(entry, str(entry.get("name", "")), str(entry.get("namespace", ""))) for entry in answer]

    def _change(
        self,
        verb: list[str],
        cluster: Cluster,
        chart: Path,
        values: Mapping[str, Any],
        name: str,
        namespace: str,
        description: str,
        labels: Mapping[str, str] | None,
        timeout: int,
    ) -> HelmRelease:
        check_names(name, namespace)
        chartfile.check(chart)
        more = ["--namespace", namespace, "--timeout", f"{timeout}s", "--output", "json"]
        if description:
            more += ["--description", description]
        if labels:
            more += ["--labels", ",".join(f"{key}={value}" for key, value in sorted(labels.items()))]
        with _files(cluster, values) as given:
            answer = json.loads(self._run([*verb, *more, *given], timeout=timeout))
        info = answer.get("info") or {}
        facts = (answer.get("chart") or {}).get("metadata") or {}
        return HelmRelease(
            name=name,
            namespace=namespace,
            revision=int(answer.get("version") or 0),
            status=str(info.get("status", "")),
            chart_name=str(facts.get("name", "")),
            chart_version=str(facts.get("version", "")),
            description=str(info.get("description", "") or ""),
            updated_at=moment(info.get("last_deployed")),
            manifest=str(answer.get("manifest", "") or ""),
        )

    def _json(self, arguments: Sequence[str]) -> Any:
        try:
            return json.loads(self._run([*arguments, "--output", "json"], timeout=60))
        except ValueError:
            raise Rejected(say("helm answered something that is no JSON")) from None

    def _run(self, arguments: Sequence[str], *, timeout: float) -> str:
        with tempfile.TemporaryDirectory(prefix="breakwater-helm-") as home:
            # Nothing of the caller's own Helm or kubectl configuration takes part.
            surroundings = {
                "PATH": os.environ.get("PATH", ""),
                "HOME": home,
                "HELM_CACHE_HOME": home,
                "HELM_CONFIG_HOME": home,
                "HELM_DATA_HOME": home,
                "KUBECONFIG": os.devnull,
            }
            command = [self.binary, *arguments]
            if arguments[0] == "template":
                # Templates are written by strangers: what renders them gets a limit of memory.
                command = [sys.executable, "-I", "-c", _LIMITED, str(ADDRESS_SPACE), *command]
            try:
                done = subprocess.run(
                    command,
                    env=surroundings,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=timeout + 5,
                    check=False,
                )
            except FileNotFoundError:
                raise Unavailable(
                    say("There is no program {binary}; install Helm or use the sdk adapter", binary=repr(self.binary))
                ) from None
            except PermissionError:
                raise Unavailable(say("{binary} is not a program that we may run", binary=repr(self.binary))) from None
            except subprocess.TimeoutExpired:
                raise TimedOut(
                    say(
                        "helm {arguments} did not finish in {timeout} s",
                        arguments=arguments[0],
                        timeout=format(timeout, "g"),
                    )
                ) from None
        if done.returncode != 0 and b"out of memory" in done.stderr:
            raise OutOfMemory(say("helm ran out of memory"))
        if done.returncode != 0:
            raise translate("HelmReleaseError", done.stderr[-4000:].decode(errors="replace").removeprefix("Error: "))
        if len(done.stdout) > LARGEST_OUTPUT:
            raise Rejected(
                say(
                    "helm {arguments} answered more than {largest_output} MiB",
                    arguments=arguments[0],
                    largest_output=LARGEST_OUTPUT >> 20,
                )
            )
        return done.stdout.decode(errors="replace")


@contextlib.contextmanager
def _files(cluster: Cluster | None = None, values: Mapping[str, Any] | None = None) -> Iterator[list[str]]:
    """Yield the options that name kubeconfig and values: files that only we read, never the command line."""
    with tempfile.TemporaryDirectory(prefix="breakwater-helm-") as folder:
        options: list[str] = []
        for option, name, text in (
            ("--kubeconfig", "kubeconfig", cluster.kubeconfig if cluster else None),
            ("--values", "values.json", None if values is None else json.dumps(plain(values))),
        ):
            if text is not None:
                path = Path(folder) / name
                path.touch(mode=0o600)
                path.write_text(text)
                options += [option, str(path)]
        if cluster and cluster.context:
            options += ["--kube-context", cluster.context]
        yield options


def _entry(entry: Mapping[str, Any], name: str, namespace: str) -> HelmRelease:
    chart, _, version = str(entry.get("chart", "")).rpartition("-")
    return HelmRelease(
        name=name,
        namespace=namespace,
        revision=int(entry.get("revision") or 0),
        status=str(entry.get("status", "")),
        chart_name=chart,
        chart_version=version,
        description=str(entry.get("description", "") or ""),
        updated_at=moment(entry.get("updated")),
    )
