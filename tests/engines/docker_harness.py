"""The contract's view of the docker engine, and a runtime that is asked directly."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from pathlib import Path

import docker

from engines.contract import EngineSettings
from engines.docker import DockerEngine
from tests.contracts.engine import Harness


class DockerHarness(Harness):
    """One node of its own on a runtime that may have others."""

    engine: DockerEngine
    patience = 40.0

    def __init__(self, socket: str, state_dir: Path) -> None:
        self.socket = socket
        self.node = f"test{secrets.token_hex(4)}"
        self.namespace = f"t-{secrets.token_hex(3)}"
        self.settings = EngineSettings(name=self.node, socket=socket, state_dir=state_dir, restart_backoff=0.5)
        self.engine = DockerEngine(self.settings)
        self.client = docker.APIClient(base_url=f"unix://{socket}", version="auto")

    def get(self, name: str, path: str) -> str:
        """Return what the Service of a release answers on its loopback port; empty when it does not."""
        self.engine.supervise()
        for endpoint in self.engine.status(name, self.namespace).endpoints:
            if endpoint.port:
                try:
                    url = f"http://{endpoint.address}:{endpoint.port}{path}"
                    with urllib.request.urlopen(url, timeout=5) as answer:
                        return str(answer.read().decode())
                except (urllib.error.URLError, OSError):
                    return ""
        return ""

    def about(self, name: str) -> dict[str, str]:
        words = self.get(name, "/cgi-bin/about").strip()
        pairs = (
            words.replace(" password=", "\npassword=").replace(" file=", "\nfile=").replace(" message=", "\nmessage=")
        )
        pairs = pairs.replace(" namespace=", "\nnamespace=")
        return dict(line.split("=", 1) for line in pairs.splitlines() if "=" in line)

    def break_liveness(self, name: str) -> None:
        self.get(name, "/cgi-bin/break")

    def containers(self, **labels: str) -> list[dict[str, object]]:
        wanted = {"node": self.node, **labels}
        filters = {"label": [f"io.breakwater.{key}={value}" for key, value in wanted.items()]}
        return list(self.client.containers(all=True, filters=filters))

    def pods(self, name: str) -> list[str]:
        found = self.containers(namespace=self.namespace, release=name)
        return sorted({str(each["Labels"]["io.breakwater.pod"]) for each in found})  # type: ignore[index]

    def give(self, archive: Path) -> None:
        """Load an image as the node's owner does, with the names in the archive."""
        with archive.open("rb") as stream:
            list(self.client.load_image(stream))

    def image_of(self, name: str) -> str:
        found = [each for each in self.containers(release=name) if each["Labels"]["io.breakwater.container"] != "POD"]  # type: ignore[index]
        newest = max(found, key=lambda each: int(str(each["Created"])), default=None)
        return str(newest["ImageID"]) if newest else ""

    def images(self) -> set[str]:
        held = self.client.images(name=self.engine.keeper.images.repository)
        pause = self.engine.keeper.images.pause()
        return {str(each["Id"]) for each in held} - {pause}

    def left(self, name: str) -> list[str]:
        filters = {"label": [f"io.breakwater.node={self.node}"]}
        mine = f"{self.namespace}.{name}"
        left = [str(each["Names"]) for each in self.containers(release=name)]
        left += [
            volume["Name"] for volume in self.client.volumes(filters=filters)["Volumes"] or [] if mine in volume["Name"]
        ]
        root = self.engine.files.root
        left += [str(path) for path in root.rglob("*") if mine in str(path)] if root.exists() else []
        if not self.engine.releases():
            left += [network["Name"] for network in self.client.networks(filters=filters)]
        return left

    def close(self) -> None:
        """Leave nothing in the runtime, whatever the test did."""
        self.engine.halt()
        self.engine.close()
        for volume in self.client.volumes(filters={"label": [f"io.breakwater.node={self.node}"]})["Volumes"] or []:
            self.client.remove_volume(volume["Name"], force=True)
        held = self.engine.keeper.images.repository
        for tag in [tag for image in self.client.images(name=held) for tag in image["RepoTags"]]:
            if tag.startswith(f"{held}:"):
                self.client.remove_image(tag)
        self.client.close()
