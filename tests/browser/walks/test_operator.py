"""An operator finds an application, deploys it, rolls it out in waves, and takes a bad release back.

Six nodes with real agents on the wire; their runtime is the simulated one (`memory`), so no container runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.browser.walks import goods
from tests.browser.walks.quay import Quay
from tests.browser.walks.walker import Walker
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.live, pytest.mark.timeout(300 * PATIENCE)]

PROVIDER, ABOUT = "Lock Systems", "Watches the gates of a lock."
NODES = {f"lock-{number}": {"region": "canal", "number": str(number)} for number in range(1, 7)}
WAIT = 90_000 * PATIENCE


@pytest.fixture(scope="module")
def canal(quay: Quay) -> Quay:
    """Two releases, of which the second fails where the values say `trouble`, and six nodes."""
    quay.publish(
        goods.csar("lock-watch", "1.0.0", provider=PROVIDER, about=ABOUT, trouble='""', schema=False),
        goods.csar("lock-watch", "2.0.0", provider=PROVIDER, about=ABOUT, schema=False),
    )
    quay.join(NODES)
    return quay


def test_an_operator_finds_deploys_in_waves_and_rolls_back(canal: Quay, walker: Callable[..., Walker]) -> None:
    operator = walker(canal.url, "operator")
    with operator.step("finds the application from anywhere by the keyboard"):
        operator.follow("Nodes")
        operator.sees("lock-6")
        operator.page.keyboard.press("Control+k")
        palette = operator.dialog()
        operator.page.keyboard.type("lock-watch")
        operator.sees("Lock Systems", within=palette)
        operator.mind()
        operator.pick(re.compile("^lock-watch .*Lock Systems"), within=palette)
        operator.heads("lock-watch")
    with operator.step("opens the release before the newest"):
        operator.follow("1.0.0")
        operator.heads("1.0.0")
    with operator.step("is told while typing that these values fit nowhere"):
        operator.follow("Deploy")
        operator.sees("lock-5")
        operator.fill("Name", "watch")
        operator.fill("replicas", "900")
        operator.sees(re.compile("none of your nodes|fits on none|does not fit"))
    with operator.step("deploys to one node, and sees it become ready without loading the page again"):
        operator.fill("replicas", "1")
        operator.fill("trouble", "image-missing")
        operator.tick(re.compile("lock-5"), "radio")
        operator.press("Deploy")
        operator.heads("watch")
        operator.marks()
        operator.sees("ready", exact=True)
        operator.sees("1 of 1")
        assert operator.stayed(), "somebody loaded the page again"
    with operator.step("plans the same release for all nodes with a label, and sees the plan before anything is done"):
        operator.follow("Rollouts")
        operator.follow("New rollout")
        operator.follow("lock-watch 1.0.0")
        operator.fill("Name of the deployment", "watch")
        operator.fill("Labels", "region=canal")
        operator.fill("Waves", "1, 2, rest")
        operator.fill("Pause between waves, in seconds", "60")
        operator.fill("Title", "The watch for the canal")
        plan = operator.page.get_by_role("main")
        operator.sees("no change", within=plan)
        operator.sees("lock-6", within=plan)
        operator.press("Write the plan down")
        operator.heads("The watch for the canal")
        operator.sees("0 of 5 nodes have ended")
    with operator.step("starts it, and sees the first wave end without loading the page again"):
        operator.marks()
        operator.press("Start")
        operator.agrees("Start it")
        operator.heads("The watch for the canal")
        operator.sees("1 of 5 nodes have ended", timeout=WAIT)
        operator.sees("The next wave begins")
    with operator.step("pauses between the waves"):
        operator.press("Pause")
        operator.agrees("Pause it")
        operator.sees("paused", exact=True)
    with operator.step("goes on, and sees all of them ready"):
        operator.press("Go on")
        operator.agrees("Go on")
        operator.marks()
        operator.sees("3 of 5 nodes have ended", timeout=WAIT)
        operator.sees("The next wave begins")
        assert operator.stayed(), "somebody loaded the page again"
        operator.press("Pause")
        operator.agrees("Pause it")
        operator.press("Go on")
        operator.agrees("Go on")
        operator.sees("5 of 5 nodes have ended", timeout=WAIT)
        operator.sees("done", exact=True)
    with operator.step("rolls the next release out, one node at a time"):
        operator.follow("Catalogue")
        operator.follow("lock-watch")
        operator.follow("Roll out")
        operator.tick(re.compile("^Deployments of this application"), "radio")
        operator.fill("Waves", "2, rest")
        operator.fill("At most at once", "1")
        operator.fill("Pause between waves, in seconds", "0")
        operator.fill("Title", "The second release")
        operator.sees("upgrade", within=operator.page.get_by_role("main"))
        operator.press("Write the plan down")
        operator.heads("The second release")
        operator.press("Start")
        operator.agrees("Start it")
    with operator.step("sees it stop by itself at the node that fails"):
        operator.heads("The second release")
        operator.marks()
        operator.sees("held", exact=True, timeout=WAIT)
        operator.sees(re.compile("1 of [0-9] failed in wave 2; none may"))
        operator.sees("ImagePullBackOff")
        assert operator.stayed(), "somebody loaded the page again"
    with operator.step("takes everything back that it changed"):
        operator.press("Roll back")
        operator.agrees("Roll back")
        operator.sees("rolled back", exact=True, timeout=WAIT)
        operator.sees(re.compile("[0-9] back as before"))
    with operator.step("reads the history of the rollout, and that of a deployment"):
        operator.sees("History")
        operator.follow("Rollouts")
        operator.sees("The watch for the canal")
        operator.follow("Deployments")
        operator.follow("watch", within=operator.page.get_by_role("row").filter(has_text="lock-1"))
        operator.sees("Generations")
        operator.sees(re.compile("lock-watch 2.0.0"))
        operator.follow("Audit log")
        operator.sees("operator")
