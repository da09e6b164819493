"""The store that is walked through: real processes, a person of each role, nodes whose agents run nothing for real."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import databases
from tests.flows.edgelab import MANAGE, ROOT, Process
from tests.flows.storelab import Store
from tests.waiting import until

#: Who is there; each is named after what they do.
_SEED = """
from core.accounts.models import Membership, Organisation, User
organisation = Organisation.objects.create(slug="operator", name={name!r})
for role in ("admin", "developer", "certifier", "operator"):
    user = User.objects.create_user(username=role, password={password!r})
    Membership.objects.create(user=user, organisation=organisation, role=role)
"""
#: As `storelab` does it: a release by the services that the pages use. Walks that are about something else start from it.
_PUBLISH = """
from pathlib import Path
from appstore.packages import services
from core.accounts.access import SYSTEM
from core.accounts.services import operator
from core.operations.models import Operation
from tests.waiting import until
made = [
    services.receive([path.read_bytes()], actor=SYSTEM, organisation=operator(), filename=path.name)
    for path in sorted(Path({folder!r}).iterdir())
]
# The worker of this store checks them and looks inside.
until(lambda: not Operation.objects.filter(finished_at=None).exists(), 120, 0.2, what="the packages to be checked")
for package in made:
    package.refresh_from_db()
    assert package.state == "checked", package.findings
    services.publish(package, actor=SYSTEM)
"""
_WORDS = """
import json
from appstore.contents.models import Contents
for found in Contents.objects.select_related("package"):
    row = found.package
    services = [each["serName"] for each in row.descriptor.get("appServiceProduced", [])]
    said = [found.facts.get("category", ""), *found.facts.get("licences", [])]
    print(json.dumps([row.name, row.provider, row.description, *services, *said]))
"""
_JOIN = """
from core.accounts.access import SYSTEM
from core.accounts.services import operator
from mecm.edge import services as edge
from mecm.nodes.models import Node
for name, labels in {nodes!r}.items():
    made = Node.objects.create(organisation=operator(), name=name, engine="memory", link="agent", labels=labels)
    print("join", name, edge.join_string(made, actor=SYSTEM)[0])
"""
_ONLINE = """
from mecm.nodes.models import Node
print("online", sum(node.state == "online" and bool(node.engine_version) for node in Node.objects.all()))
"""


class Quay(Store):
    """A store with people; `publish` and `join` prepare what a walk does not tell about."""

    seed = _SEED

    def __enter__(self) -> Quay:
        self._agents: list[Process] = []
        super().__enter__()
        return self

    def __exit__(self, *left: object) -> None:
        for agent in self._agents:
            agent.end(signal.SIGKILL)
        super().__exit__(*left)

    def publish(self, *packages: bytes) -> None:
        """Publish packages (`.csar`) as the platform itself."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for number, content in enumerate(packages):
                (Path(folder) / f"{number}.csar").write_bytes(content)
            self.tell(_PUBLISH.format(folder=folder))

    def names(self) -> list[str]:
        """Return names and words of everything that is in the catalogue, also of what other walks brought."""
        return [text for line in self.tell(_WORDS).splitlines() for text in json.loads(line)]

    def join(self, nodes: dict[str, dict[str, str]]) -> None:
        """Make nodes with these labels, each with a real agent on the simulated runtime, and wait until all are linked."""
        told = self.tell(_JOIN.format(nodes=nodes))
        strings = dict(line.split()[1:] for line in told.splitlines() if line.startswith("join "))
        database = self.folder / "edge.sqlite3"
        databases.fresh("edge", database)
        for name in strings:
            (self.folder / name).mkdir()
            shutil.copyfile(database, self.folder / name / "mep.sqlite3")
        # Two at a time: the machine has no more cores, and all at once would wait for each other at the centre.
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._enrol, strings, strings.values()))
        for name in strings:
            log = self.folder / f"{name}.log"
            self._agents.append(Process([sys.executable, MANAGE, "agent"], self._edge(name), log))
        until(lambda: f"online {len(nodes)}" in self.tell(_ONLINE), 120, 0.5, what="the nodes to be online")

    def _enrol(self, name: str, string: str) -> None:
        command = [sys.executable, MANAGE, "enrol", string]
        subprocess.run(command, env=self._edge(name), cwd=ROOT, check=True, capture_output=True, timeout=180)

    def _edge(self, name: str) -> dict[str, str]:
        keep = {key: value for key, value in self.environment.items() if not key.startswith("BREAKWATER_")}
        return {
            **keep, "DJANGO_SETTINGS_MODULE": "mep.settings", "MEP_VAR": str(self.folder / name), "MEP_ENGINE": "memory",
            "MEP_CONSOLE_PORT": "0", "MEP_LINK_PAUSE": "1",
        }  # fmt: skip
