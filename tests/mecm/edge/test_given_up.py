"""A node that was given up on comes back: over the real hub it is told to remove, and what it says is believed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mecm.deployments import services
from mecm.deployments.models import Deployment
from mecm.nodes.models import Node
from tests.mecm.deployments.conftest import deploy, make_package, package
from tests.mecm.edge.conftest import Machine
from tests.mecm.edge.test_hub import Talk, in_thread, play

__all__ = ["deploy", "make_package", "package"]

pytestmark = pytest.mark.usefixtures("threads_db")


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_node_that_comes_back_is_told_to_remove_and_its_word_ends_it(
    machine: Machine, node: Node, deploy: Any, actor: Any, acknowledged: bool
) -> None:
    """Also when it had acknowledged the end and comes back from an older disk, which knows nothing of that."""
    Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now())
    deployment = deploy()
    key = str(deployment.pk)

    def state() -> str:
        return Deployment.objects.values_list("state", flat=True).get(pk=deployment.pk)

    async def said(talk: Talk, seq: int, generation: int, told: str) -> None:
        item = {"seq": seq, "kind": "app", "key": key, "observed_generation": generation, "status": {"state": told}}
        talk.say("REPORT", seq=seq, items=[item])
        assert (await talk.until("RACK"))["seq"] == seq

    def give_up() -> None:
        Node.objects.filter(pk=node.pk).update(last_seen_at=timezone.now() - timedelta(days=30))
        if not acknowledged:
            services.remove(deployment, actor=actor)
        services.abandon(Deployment.objects.select_related("node").get(pk=key), actor=actor)

    async def scene() -> None:
        talk = Talk(machine)
        epoch = (await talk.linked())["epoch"]
        had = await talk.until("END")
        talk.say("ACK", rev=had["rev"])
        await said(talk, 1, 1, "ready")
        if acknowledged:
            await in_thread(services.remove, deployment, actor=actor)
            end = (await talk.until("PUT"))["objs"][-1]
            assert (end["key"], end["deleted"]) == (key, True)
            talk.say("ACK", rev=end["rev"])
            await said(talk, 2, 2, "progressing")
        await talk.end()
        await in_thread(give_up)
        assert await in_thread(state) == "abandoned"

        back = Talk(machine)
        assert (await back.heard())["type"] == "websocket.accept"
        back.hello(epoch=epoch, last_rev=had["rev"])
        welcome = await back.until("WELCOME")
        assert welcome["mode"] == ("snapshot" if acknowledged else "delta")
        wanted = [each for each in (await back.until("PUT"))["objs"] if each["key"] == key]
        assert [(each["deleted"], each["generation"]) for each in wanted] == [(True, 2)]
        back.say("ACK", rev=wanted[0]["rev"])
        await said(back, 3, 2, "progressing")
        assert await in_thread(state) == "abandoned"
        await said(back, 4, 2, "absent")
        await back.end()

    play(scene)
    known = Deployment.objects.get(pk=key)
    assert (known.state, bool(known.removed_at), bool(known.abandoned_at)) == ("removed", True, True)
