"""The page about how a node was: drawings with words, a table, a file; and what people copy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from frontend.operator.node_health import drawings
from mecm.fleet import figures
from mecm.fleet.models import NodeSample

pytestmark = pytest.mark.django_db


def sample(node: Any, minutes: int, resolution: str = "five", **facts: Any) -> NodeSample:
    given = {"online": True, "silence": 5, "deployments": 3, "not_ready": 1, "failed": 1, "cpu_millis": 4000, **facts}
    at = timezone.now() - timedelta(minutes=minutes)
    return NodeSample.objects.create(node=node, resolution=resolution, at=at, cpu_taken=1000, **given)


def test_a_node_without_samples_says_when_there_will_be_some(pages: Any, node: Any) -> None:
    assert "Nothing was measured yet" in pages.get(f"/nodes/{node.pk}/health").content.decode()


def test_drawings_have_words_a_table_and_a_file(
    pages: Any, node: Any, browser_of: Any, stranger: Any, django_assert_max_num_queries: Any
) -> None:
    for minutes in range(0, 1200, 5):
        sample(node, minutes)
    sample(node, 3000, "hour", heard=40)
    where = f"/nodes/{node.pk}/health"
    with django_assert_max_num_queries(12):
        text = pages.get(where).content.decode()
    assert text.count("<polyline") == 6
    assert 'aria-label="Applications; ready: 2, not ready yet: 0, failed: 1"' in text
    assert text.count('scope="row"') <= 70
    assert "style=" not in text[text.index("health-title") :]
    part = pages.get(where, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert "40 %" in pages.get(f"{where}?span=week").content.decode()
    lines = pages.get(f"{where}/file").content.decode().splitlines()
    assert lines[0] == ",".join(("at", *figures.NODE_COLUMNS))
    assert len(lines) == 241
    outside = browser_of(stranger)
    assert [outside.get(each).status_code for each in (where, f"{where}/file")] == [404, 404]


def test_where_nothing_was_measured_there_is_a_gap() -> None:
    at = [0, 300, 600, 3600, 3900]
    series = {name: [0] * 5 for name in figures.NODE_COLUMNS} | {"heard": [100, 100, 50, 0, None]}
    heard = drawings(at, series, 300)[0].lines[0]
    assert heard.parts[0] == "0.0,0.0 46.2,0.0 92.3,60.0"
    assert heard.parts[1].startswith("553.8,120.0 ")
    assert len(heard.parts) == 2
    assert heard.last == "0 %"


def test_what_people_paste_into_tickets_is_there_to_copy(pages: Any, node: Any) -> None:
    node.mep_url = "https://mep.example/<b>"
    node.save()
    text = pages.get(f"/nodes/{node.pk}").content.decode()
    for name, words in (("id", str(node.pk)), ("name", f"acme/{node.name}"), ("mep", "https://mep.example/&lt;b&gt;")):
        assert f'<code id="copy-{name}">{words}</code>' in text
        assert f'data-copy="copy-{name}"' in text
    assert f"/nodes/{node.pk}/health" in text
