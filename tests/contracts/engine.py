"""The contract of engines: what each one must do, whatever runs behind it.

A test module of an engine subclasses `EngineContract` and gives it a fixture `harness`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, Invalid, Missing
from core.findings import Level
from engines.contract import Engine, EngineSettings, Reason, Release, ReleaseStatus, State
from engines.facts import tenancy_of
from tests.contracts.image import IMAGE
from tests.waiting import until

CHARTS = Path(__file__).parent / "charts"
ROOT = Path(__file__).parents[2]
MISSING_IMAGE = "localhost/breakwater/there-is-no-such-image:1"


class Harness(ABC):
    """What the suite needs to know about one engine."""

    #: How long the runtime may take to do one thing, in seconds.
    patience: float = 30.0

    #: Whether images may travel in packages; else they come from a registry.
    carries_images: bool = True

    engine: Engine
    settings: EngineSettings
    namespace: str

    def reopen(self) -> Engine:
        """Return a new engine on the same state and runtime, as after a restart of the process."""
        self.engine.close()
        self.engine = type(self.engine)(self.settings)
        return self.engine

    def trouble(self, kind: str) -> dict[str, Any]:
        """Return values of the chart `web` that lead to `image-missing`, `probe-failing` or `oom`."""
        return {
            "image-missing": {"image": MISSING_IMAGE},
            "probe-failing": {"ready": False},
            # One buffer of 200 MB, touched all over, under a limit of 32 MiB.
            "oom": {"script": "dd if=/dev/zero of=/dev/null bs=200M count=1", "memory": "32Mi"},
        }[kind]

    @abstractmethod
    def about(self, name: str) -> dict[str, str]:
        """Return what a container of the release sees: pod, namespace, message, password, file; empty if unreachable."""

    @abstractmethod
    def break_liveness(self, name: str) -> None:
        """Make the liveness probe of a pod of the release fail."""

    @abstractmethod
    def pods(self, name: str) -> list[str]:
        """Return the pods of the release that the runtime has, as the runtime says."""

    def image_of(self, name: str) -> str:
        """Return the ID of the image that the newest container of the release runs; empty when there is none."""
        return ""

    def images(self) -> set[str]:
        """Return the IDs of the packages' images that the node holds."""
        return set()

    @abstractmethod
    def left(self, name: str) -> list[str]:
        """Return everything of the release that the runtime or the engine's folders still have."""


class EngineContract:
    """The suite."""

    # Helpers

    def release(self, harness: Harness, name: str = "one", generation: int = 1, **values: Any) -> Release:
        given = {"image": IMAGE, **values}
        return Release(name, harness.namespace, CHARTS / "web", given, generation=generation)

    def look(self, harness: Harness, name: str = "one") -> ReleaseStatus:
        harness.engine.supervise()
        return harness.engine.status(name, harness.namespace)

    def wait_ready(self, harness: Harness, name: str = "one", revision: int = 1) -> ReleaseStatus:
        return until(
            lambda: status if (status := self.look(harness, name)).state is State.READY else None,
            harness.patience,
            every=0.1,
            what=f"{name} to be ready, which is {harness.engine.status(name, harness.namespace)}",
        )

    def wait_reason(self, harness: Harness, reason: Reason, name: str = "one") -> ReleaseStatus:
        def see() -> ReleaseStatus | None:
            status = self.look(harness, name)
            assert status.state is not State.READY, f"said to be ready: {status}"
            return status if status.reason is reason else None

        return until(see, harness.patience, every=0.1, what=f"{reason}")

    def wait_gone(self, harness: Harness, name: str = "one") -> None:
        until(lambda: self.look(harness, name).state is State.ABSENT, harness.patience, every=0.1)

    # Installing

    def test_an_installed_chart_becomes_ready(self, harness: Harness) -> None:
        revision = harness.engine.apply(self.release(harness, generation=7))
        assert (revision.number, revision.generation, revision.chart, revision.chart_version) == (1, 7, "web", "1.0.0")
        assert harness.engine.status("one", harness.namespace).state is not State.ABSENT

        status = self.wait_ready(harness)

        assert (status.revision, status.generation, status.reason, status.message) == (1, 7, Reason.NONE, "")
        (workload,) = status.workloads
        assert (workload.kind, workload.name, workload.wanted, workload.ready) == ("Deployment", "one-web", 1, 1)
        assert len(workload.pods) == 1
        assert harness.engine.history("one", harness.namespace)[0].status == "deployed"
        assert (harness.namespace, "one") in harness.engine.releases()

    def test_the_same_wish_twice_is_one_revision(self, harness: Harness) -> None:
        first = harness.engine.apply(self.release(harness))
        again = harness.engine.apply(self.release(harness))
        assert first.number == again.number == 1
        self.wait_ready(harness)
        assert harness.engine.apply(self.release(harness)).number == 1
        assert len(harness.engine.history("one", harness.namespace)) == 1

    def test_nothing_is_known_about_what_was_never_installed(self, harness: Harness) -> None:
        assert harness.engine.status("never", harness.namespace).state is State.ABSENT
        with pytest.raises(Missing):
            harness.engine.history("never", harness.namespace)
        with pytest.raises(Missing):
            harness.engine.rollback("never", harness.namespace)
        harness.engine.remove("never", harness.namespace)

    def test_a_plan_tells_what_would_run_and_touches_nothing(self, harness: Harness) -> None:
        plan = harness.engine.plan(
            CHARTS / "web", {"image": IMAGE, "replicas": 3}, name="planned", namespace=harness.namespace
        )
        assert [manifest.kind for manifest in plan.manifests] == ["Secret", "ConfigMap", "Service", "Deployment"]
        assert plan.images == (IMAGE,)
        assert (plan.compute.cpu_millis, plan.compute.memory_bytes) == (1500, 3 * (64 << 20))
        assert not [finding for finding in plan.findings if finding.level is Level.ERROR]
        assert harness.engine.status("planned", harness.namespace).state is State.ABSENT
        assert harness.left("planned") == []

    def test_config_map_and_secret_reach_the_container(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, message="how are you", password="s3cret!"))
        self.wait_ready(harness)
        seen = until(lambda: harness.about("one"), harness.patience, every=0.2)
        assert (seen["message"], seen["password"], seen["file"]) == ("how are you", "s3cret!", "s3cret!")
        assert seen["namespace"] == harness.namespace

    def test_replicas_are_made_and_taken_away(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, replicas=3))
        assert self.wait_ready(harness).workloads[0].ready == 3
        assert len(harness.pods("one")) == 3

        harness.engine.apply(self.release(harness, replicas=1, generation=2))

        status = until(
            lambda: (
                status
                if (status := self.look(harness)).state is State.READY and len(harness.pods("one")) == 1
                else None
            ),
            harness.patience,
            every=0.1,
        )
        assert (status.workloads[0].wanted, status.workloads[0].ready) == (1, 1)

    def test_two_releases_of_one_chart_live_side_by_side(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, "one", message="first"))
        harness.engine.apply(self.release(harness, "two", message="second"))
        self.wait_ready(harness, "one")
        self.wait_ready(harness, "two")
        assert until(lambda: harness.about("one"), harness.patience)["message"] == "first"
        assert until(lambda: harness.about("two"), harness.patience)["message"] == "second"

        harness.engine.remove("one", harness.namespace)
        self.wait_gone(harness, "one")

        assert self.look(harness, "two").state is State.READY
        assert harness.about("two")["message"] == "second"

    def test_logs_and_events_tell_what_happened(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, message="in the log"))
        self.wait_ready(harness)
        lines = until(lambda: harness.engine.logs("one", harness.namespace), harness.patience, every=0.2)
        assert lines[-1].container == "web"
        assert lines[-1].pod in harness.pods("one")
        assert harness.engine.logs("one", harness.namespace, workload="no-such-workload") == []
        events = until(lambda: harness.engine.events("one", harness.namespace), harness.patience, every=0.2)
        assert any(event.object.startswith("Pod/") for event in events)
        assert events == sorted(events, key=lambda event: event.at, reverse=True)

    # Changing

    def test_an_upgrade_replaces_what_runs(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, message="old"))
        self.wait_ready(harness)
        before = set(harness.pods("one"))

        assert harness.engine.apply(self.release(harness, message="new", generation=2)).number == 2

        until(
            lambda: self.look(harness).state is State.READY and not before & set(harness.pods("one")), harness.patience
        )
        assert until(lambda: harness.about("one"), harness.patience)["message"] == "new"
        status = self.look(harness)
        assert (status.revision, status.generation) == (2, 2)
        assert [entry.status for entry in harness.engine.history("one", harness.namespace)] == [
            "superseded",
            "deployed",
        ]

    def test_a_failing_upgrade_is_never_ready_and_a_rollback_mends_it(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, message="good"))
        self.wait_ready(harness)
        harness.engine.apply(self.release(harness, generation=2, message="bad", **harness.trouble("image-missing")))
        self.wait_reason(harness, Reason.IMAGE_MISSING)
        # The old pod goes on serving while the new one cannot.
        assert harness.about("one")["message"] == "good"

        revision = harness.engine.rollback("one", harness.namespace, generation=3)

        assert revision.number == 3
        status = self.wait_ready(harness)
        assert (status.revision, status.generation) == (3, 3)
        until(lambda: self.look(harness) and len(harness.pods("one")) == 1, harness.patience, every=0.1)
        assert until(lambda: harness.about("one"), harness.patience)["message"] == "good"

    def test_a_rollback_goes_to_the_revision_that_is_named(self, harness: Harness) -> None:
        for generation, message in enumerate(("a", "b", "c"), start=1):
            harness.engine.apply(self.release(harness, generation=generation, message=message))
            self.wait_ready(harness)
        assert harness.engine.rollback("one", harness.namespace, 1, generation=4).number == 4
        self.wait_ready(harness)
        until(lambda: self.look(harness) and harness.about("one").get("message") == "a", harness.patience, every=0.2)
        with pytest.raises(Missing):
            harness.engine.rollback("one", harness.namespace, 99, generation=5)

    def test_there_is_nothing_to_roll_back_to_after_the_first_install(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness))
        with pytest.raises((Conflict, Missing)):
            harness.engine.rollback("one", harness.namespace)

    def test_removal_leaves_nothing(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness))
        self.wait_ready(harness)
        assert harness.left("one") != []

        harness.engine.remove("one", harness.namespace)
        self.wait_gone(harness)

        assert harness.left("one") == []
        assert (harness.namespace, "one") not in harness.engine.releases()
        with pytest.raises(Missing):
            harness.engine.history("one", harness.namespace)
        harness.engine.remove("one", harness.namespace)

    def test_a_release_can_come_back_after_its_removal(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, message="before"))
        self.wait_ready(harness)
        harness.engine.remove("one", harness.namespace)
        self.wait_gone(harness)
        assert harness.engine.apply(self.release(harness, message="after")).number == 1
        self.wait_ready(harness)
        assert until(lambda: harness.about("one"), harness.patience)["message"] == "after"

    # What goes wrong

    def test_a_failing_liveness_probe_restarts_the_container(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness))
        self.wait_ready(harness)
        harness.break_liveness("one")
        status = until(
            lambda: status if (status := self.look(harness)).workloads[0].restarts else None,
            harness.patience,
            every=0.1,
        )
        assert status.workloads[0].restarts >= 1
        self.wait_ready(harness)

    def test_an_app_that_does_not_say_ready_is_not_ready(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, **harness.trouble("probe-failing")))
        status = self.wait_reason(harness, Reason.PROBE_FAILING)
        assert status.workloads[0].ready == 0
        assert status.message
        assert harness.engine.history("one", harness.namespace)[-1].status != "deployed"

    def test_too_little_memory_is_told_as_that(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, **harness.trouble("oom")))
        # A container without probes may count as ready for a moment in some runtimes, so only the reason is awaited.
        until(lambda: self.look(harness).reason is Reason.OOM_KILLED, harness.patience, every=0.1)

    def test_a_missing_image_is_told_as_that(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, **harness.trouble("image-missing")))
        status = self.wait_reason(harness, Reason.IMAGE_MISSING)
        assert status.state in {State.PROGRESSING, State.FAILED}
        assert status.workloads[0].ready == 0

    def test_what_cannot_run_is_refused_as_a_whole_before_anything_starts(self, harness: Harness) -> None:
        release = Release("no", harness.namespace, CHARTS / "refused", {})
        with pytest.raises(Invalid) as refused:
            harness.engine.apply(release)
        places = {finding["place"].split("/")[0] for finding in refused.value.context["findings"]}
        assert {"ClusterRole", "Namespace", "DaemonSet"} <= places
        assert harness.engine.status("no", harness.namespace).state is State.ABSENT
        assert harness.left("no") == []
        planned = harness.engine.plan(CHARTS / "refused", {}, name="no", namespace=harness.namespace)
        assert {"host-privileged", "host-hostnetwork"} <= {finding.code for finding in planned.findings}

    def test_values_that_break_the_schema_are_refused(self, harness: Harness) -> None:
        with pytest.raises(Invalid) as refused:
            harness.engine.apply(self.release(harness, replicas="many"))
        assert "replicas" in refused.value.detail
        assert harness.engine.status("one", harness.namespace).state is State.ABSENT

    def test_a_chart_that_leaves_its_folder_is_refused(self, harness: Harness, tmp_path: Path) -> None:
        hostile = tmp_path / "hostile-1.0.0.tgz"
        with tarfile.open(hostile, "w:gz") as tar:
            tar.add(CHARTS / "web", "web")
            link = tarfile.TarInfo("web/templates/passwd.yaml")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        with pytest.raises(Invalid):
            harness.engine.apply(Release("one", harness.namespace, hostile, {"image": IMAGE}))
        with pytest.raises(Invalid):
            harness.engine.plan(tmp_path / "not-there.tgz", {})

    def test_what_keeps_tenants_apart_is_told_and_named_or_not_known(self, harness: Harness) -> None:
        told = tenancy_of(harness.engine)
        assert told["isolation"]["state"] in {"enforced", "not-enforced", "unknown"}
        assert bool(told["isolation"]["by"]) == (told["isolation"]["state"] != "unknown")
        assert not told["limits"] or told["limits"]["memory"] > 0

    def test_a_name_that_is_no_name_is_refused(self, harness: Harness) -> None:
        for name in ("Upper", "with space", "../up", "a" * 54, ""):
            with pytest.raises(Invalid):
                harness.engine.apply(self.release(harness, name))

    # The caller dies

    def test_a_new_process_finds_what_the_old_one_made(self, harness: Harness) -> None:
        harness.engine.apply(self.release(harness, message="still here"))
        self.wait_ready(harness)
        pods = harness.pods("one")
        harness.reopen()
        assert self.wait_ready(harness).revision == 1
        assert harness.pods("one") == pods
        assert until(lambda: harness.about("one"), harness.patience)["message"] == "still here"

    @pytest.mark.parametrize("moment", [0.0, 0.15, 0.4])
    def test_a_second_apply_converges_after_the_caller_was_killed(self, harness: Harness, moment: float) -> None:
        release = self.release(harness, replicas=2, message="twice")
        self.kill_while_applying(harness, release, moment)

        harness.reopen()
        revision = harness.engine.apply(release)

        assert revision.number <= 2
        self.wait_ready(harness)
        until(lambda: self.look(harness) and len(harness.pods("one")) == 2, harness.patience, every=0.1)
        assert until(lambda: harness.about("one"), harness.patience)["message"] == "twice"
        harness.engine.remove("one", harness.namespace)
        self.wait_gone(harness)
        assert harness.left("one") == []

    @staticmethod
    def kill_while_applying(harness: Harness, release: Release, moment: float) -> None:
        """Apply in another process, and kill it `moment` seconds after it began."""
        harness.engine.close()
        wish = {
            "engine": type(harness.engine).name,
            "settings": {key: _plain(value) for key, value in asdict(harness.settings).items()},
            "release": {key: _plain(value) for key, value in asdict(release).items()},
        }
        caller = subprocess.Popen(
            [sys.executable, "-m", "tests.contracts.caller"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert caller.stdin is not None
        assert caller.stdout is not None
        caller.stdin.write(json.dumps(wish))
        caller.stdin.close()
        assert caller.stdout.readline() == "applying\n"
        with pytest.raises(subprocess.TimeoutExpired):
            caller.wait(moment + 0.001)
        caller.kill()
        caller.wait()
        caller.stdout.close()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else dict(value) if isinstance(value, Mapping) else value
