"""The Docker Engine API (dockerd, or podman's compatible socket), its errors in our words."""

from __future__ import annotations

import contextlib
import io
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import docker
import docker.errors
import requests
import urllib3.exceptions

from core.errors import BreakwaterError, Conflict, Invalid, Missing, Rejected, TimedOut, Unavailable
from core.words import say

DEFAULT_SOCKET = "/var/run/docker.sock"
#: Storage drivers that bound the layer of a container; overlay2 does on xfs with pquota.
_SIZING = frozenset(["btrfs", "zfs", "devicemapper"])


class ImageMissing(Missing):
    """The runtime has no such image; nothing is ever pulled."""

    code, title = "image-missing", say("The image is not on the node")


class Daemon:
    """A thin client: one method per thing that the engine does."""

    def __init__(self, socket: str, timeout: float = 60.0) -> None:
        self.url = f"unix://{socket or DEFAULT_SOCKET}" if "://" not in socket else socket
        self.timeout = timeout
        self._client: docker.APIClient | None = None
        self._lock = threading.Lock()
        self.podman = False
        self.architecture = ""
        #: Whether this daemon bounds the layer that a container writes into; None until somebody asked.
        self._sizes: bool | None = None

    @property
    def api(self) -> docker.APIClient:
        """Return the connected client; the first use asks the daemon who it is."""
        with self._lock:
            if self._client is None:
                with talking():
                    client = docker.APIClient(
                        base_url=self.url, version="auto", timeout=int(self.timeout), num_pools=32
                    )
                    about = client.version()
                    parts = [str(part.get("Name", "")) for part in about.get("Components") or []]
                    self.podman = any("podman" in part.lower() for part in parts)
                    self.architecture = str(about.get("Arch", ""))
                self._client = client
            return self._client

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def version(self) -> str:
        with talking():
            about = self.api.version()
        return f"{'Podman' if self.podman else 'Docker Engine'} {about.get('Version', '?')}"

    def machine(self) -> str:
        """Return the architecture that the daemon runs on."""
        return self.architecture if self.api and self.architecture else "amd64"

    def info(self) -> dict[str, Any]:
        with talking():
            return dict(self.api.info())

    # Containers

    def containers(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return every container, running or not, that carries these labels."""
        with talking():
            wanted = [f"{key}={value}" for key, value in labels.items()]
            return list(self.api.containers(all=True, filters={"label": wanted}))

    def create(self, *, name: str, image: str, host: Mapping[str, Any], called: str = "", **more: Any) -> str:
        """Make a container and return its id; the one of this name that is there already is as good.

        `image` is an ID, and `called` what people call it.
        """
        api = self.api
        try:
            with talking(image=called or image):
                made = api.create_container(image=image, name=name, host_config=api.create_host_config(**host), **more)
            return str(made["Id"])
        except Conflict:
            return str(self.inspect(name)["Id"])

    def sizes_disk(self) -> bool:
        """Return whether the storage driver can bound what a container writes, as far as is known."""
        if self._sizes is None:
            told = self.info()
            about = {str(row[0]): str(row[1]) for row in told.get("DriverStatus") or [] if len(row) > 1}
            driver = str(told.get("Driver") or "")
            on_xfs = driver == "overlay2" and about.get("Backing Filesystem") == "xfs"
            self._sizes = not self.podman and (on_xfs or driver in _SIZING)
        return self._sizes

    def create_sized(self, disk: int, *, host: Mapping[str, Any], **more: Any) -> str:
        """Make a container as `create` does, whose layer grows to `disk` bytes at most where the driver can do that."""
        if disk and self.sizes_disk():
            try:
                return self.create(host={**host, "storage_opt": {"size": str(disk)}}, **more)
            except (Invalid, Rejected) as problem:
                # overlay2 tells only now whether its xfs was mounted with pquota, and that holds for all containers; that zfs
                # takes no size below the image's holds for this one.
                if "storage-opt" in problem.detail:
                    self._sizes = False
                elif "quota" not in problem.detail:
                    raise
        return self.create(host=host, **more)

    def start(self, container: str) -> None:
        with talking():
            self.api.start(container)

    def stop(self, container: str, grace: int) -> None:
        with talking(), contextlib.suppress(docker.errors.NotFound):
            self.api.stop(container, timeout=grace)

    def kill(self, container: str) -> None:
        """Kill a container at once; `Conflict` or `Missing` when it does not run."""
        with talking():
            self.api.kill(container)

    def stats(self, container: str) -> dict[str, Any]:
        """Return what a container takes at this moment; the daemon waits for no second look."""
        with talking():
            return dict(self.api.stats(container, stream=False, one_shot=True))

    def remove(self, container: str) -> None:
        """Kill and remove a container; gone already is fine, and so is being on its way."""
        with talking():
            try:
                self.api.remove_container(container, force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as problem:
                if problem.status_code != 409 or "already in progress" not in str(problem.explanation):
                    raise

    def inspect(self, container: str) -> dict[str, Any]:
        with talking():
            return dict(self.api.inspect_container(container))

    def logs(self, container: str, tail: int) -> tuple[bytes, bytes]:
        """Return the last lines of standard output and standard error, each with its time."""
        with talking():
            both = [
                self.api.logs(container, stdout=out, stderr=not out, timestamps=True, tail=tail)
                for out in (True, False)
            ]
        return both[0], both[1]

    def run(self, container: str, command: tuple[str, ...], timeout: float) -> int:
        """Run a command in a container and return its exit code; `TimedOut` when it does not end in time.

        The command goes on in its container then: the Docker API cannot end it.
        """
        deadline = time.monotonic() + timeout
        with talking():
            made = self.api.exec_create(container, list(command), stdout=False, stderr=False)
            self.api.exec_start(made["Id"], detach=True)
            pause_between = 0.02
            while True:
                seen = self.api.exec_inspect(made["Id"])
                if not seen.get("Running"):
                    return int(seen.get("ExitCode") or 0)
                if time.monotonic() > deadline:
                    raise TimedOut(say("no answer within {timeout} s", timeout=format(timeout, "g")))
                time.sleep(pause_between)
                pause_between = min(0.2, pause_between * 2)

    def folders(self, container: str, modes: Mapping[str, tuple[int, int]]) -> None:
        """Set mode and group of folders (relative to the root) in a container that was made."""
        if not modes:
            return
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path, (mode, group) in modes.items():
                info = tarfile.TarInfo(path)
                info.type, info.mode, info.gid = tarfile.DIRTYPE, mode, group
                tar.addfile(info)
        with talking():
            self.api.put_archive(container, "/", out.getvalue())

    # Networks and volumes

    def networks(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        with talking():
            return list(self.api.networks(filters={"label": [f"{key}={value}" for key, value in labels.items()]}))

    def make_network(self, name: str, labels: Mapping[str, str], *, internal: bool) -> dict[str, Any]:
        with talking():
            made = self.api.create_network(
                name, driver="bridge", internal=internal, labels=dict(labels), check_duplicate=True
            )
            return dict(self.api.inspect_network(made["Id"]))

    def network(self, name: str) -> dict[str, Any]:
        with talking():
            return dict(self.api.inspect_network(name))

    def remove_network(self, network: str) -> None:
        with talking(), contextlib.suppress(docker.errors.NotFound):
            self.api.remove_network(network)

    def make_volume(self, name: str, labels: Mapping[str, str], options: Mapping[str, str] | None = None) -> None:
        """Make a volume; the one of this name that is there already is kept."""
        with talking():
            self.api.create_volume(name, driver="local", driver_opts=dict(options or {}) or None, labels=dict(labels))

    def volumes(self, labels: Mapping[str, str]) -> list[str]:
        with talking():
            found = self.api.volumes(filters={"label": [f"{key}={value}" for key, value in labels.items()]})
        return [str(each["Name"]) for each in found.get("Volumes") or []]

    def remove_volume(self, name: str) -> None:
        with talking(), contextlib.suppress(docker.errors.NotFound):
            self.api.remove_volume(name, force=True)

    # Images

    def load(self, chunks: Iterable[bytes]) -> None:
        """Load a docker-archive, streaming; `Invalid` when the daemon does not take it."""
        # Unpacking may be silent for a long time, so this client waits longer than others.
        with talking(), contextlib.closing(docker.APIClient(base_url=self.url, version="auto", timeout=900)) as patient:
            for message in patient.load_image(iter(chunks)):
                if "error" in message:
                    raise Invalid(say("The runtime cannot load the image: {error}", error=str(message["error"])[:300]))

    def image(self, name: str) -> dict[str, Any]:
        """Return what the daemon knows of an image; `Missing` when it has none of this name or ID."""
        with talking(image=name):
            return dict(self.api.inspect_image(name))

    def tag(self, image: str, repository: str, tag: str) -> None:
        with talking(image=image):
            self.api.tag(image, repository, tag)

    def tags(self, repository: str) -> list[str]:
        """Return the names of images in a repository."""
        with talking():
            found = self.api.images(name=repository)
        names = [str(name) for each in found for name in each.get("RepoTags") or []]
        return sorted({name for name in names if name.startswith(f"{repository}:")})

    def untag(self, name: str) -> None:
        """Take a name away, and the image with it when that was its last; `Conflict` when a container needs it."""
        with talking(), contextlib.suppress(docker.errors.ImageNotFound):
            self.api.remove_image(name)


@contextlib.contextmanager
def talking(image: str = "") -> Iterator[None]:
    """Translate whatever goes wrong between us and the daemon."""
    try:
        yield
    except docker.errors.APIError as problem:
        raise _translated(problem, image) from None
    except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError):
        raise TimedOut(say("The container runtime did not answer in time")) from None
    except (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        docker.errors.DockerException,
        OSError,
    ) as problem:
        raise Unavailable(say("The container runtime does not answer: {problem}", problem=str(problem)[:200])) from None


def _translated(problem: docker.errors.APIError, image: str) -> BreakwaterError:
    sentence = " ".join(str(problem.explanation or problem).split())[:500]
    status = problem.status_code or 0
    if status == 404 and image and ("image" in sentence.lower() or "manifest" in sentence.lower()):
        return ImageMissing(say("The image {image} is not on the node", image=image), image=image)
    if status == 404:
        return Missing(say("The container runtime knows no such thing: {sentence}", sentence=sentence))
    if status == 409:
        return Conflict(say("The container runtime refuses this now: {sentence}", sentence=sentence))
    if status == 400:
        return Invalid(say("The container runtime does not take this: {sentence}", sentence=sentence))
    return Rejected(say("The container runtime failed: {sentence}", sentence=sentence))
