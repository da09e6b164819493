"""A visitor with a phone who reads Chinese: catalogue, filters, a search with a slip, an application; not one English word."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.walks import goods
from tests.browser.walks.quay import Quay
from tests.browser.walks.reading import foreign
from tests.browser.walks.walker import Walker
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.live, pytest.mark.timeout(300 * PATIENCE)]

#: Name, provider, what it says of itself, category, licence.
APPS = [
    ("crane-view", "Harbour Cams", "Shows cranes with a delay under forty milliseconds.", "Video", "Apache-2.0"),
    ("gate-reader", "Harbour Cams", "Reads the codes of containers at the gate.", "Video", "MIT"),
    ("tide-hub", "Tide Works", "Collects water levels along the quay.", "Sensors", "Apache-2.0"),
]
#: Everything on these pages that publishers wrote; names and versions are in the packages as well.
CONTENT = [
    *(text for app in APPS for text in app), *(f"{app[0]}-data" for app in APPS), "A quieter start.", "Quay Store",
    "Requirements", "One core and a view of the water.",
    "Deployment/app-crane-view", "/apps/operator/Harbour%20Cams/crane-view", "crane view",
]  # fmt: skip


@pytest.fixture(scope="module")
def shelf(quay: Quay) -> Quay:
    """Three applications in the catalogue, one of which asks for more than is usual."""
    quay.publish(
        *(
            goods.csar(
                name, "1.0.0", provider=provider, about=about, category=category, licence=licence,
                host_network=name == "crane-view",
            )
            for name, provider, about, category, licence in APPS
        ),
        goods.csar(
            "crane-view", "1.1.0", provider="Harbour Cams", about=APPS[0][2], category="Video", host_network=True
        ),
    )  # fmt: skip
    return quay


def test_a_visitor_reads_the_catalogue_in_chinese_on_a_phone(shelf: Quay, walker: Callable[..., Walker]) -> None:
    others = [row for row in shelf.names() if row not in {app[0] for app in APPS}]
    visitor = walker(shelf.url, width="phone", locale="zh-CN", has_touch=True, is_mobile=True)
    said: list[str] = []

    def reads() -> None:
        visitor.mind()
        assert visitor.page.evaluate("document.documentElement.lang") == "zh-hans"
        said.extend(f"{visitor.now}: {line}" for line in foreign(visitor.page, [*CONTENT, *others]))

    with visitor.step("opens the catalogue"):
        visitor.go("/")
        visitor.heads("应用目录")
        visitor.sees("crane-view")
        reads()
    with visitor.step("filters by a facet"):
        visitor.press("筛选")
        visitor.sees("类别")
        reads()
        visitor.tick("Sensors")
        visitor.press("显示 1 个应用")
        visitor.sees("tide-hub")
        visitor.sees_no("gate-reader")
        reads()
    with visitor.step("clears the filter and searches with a slip of the pen"):
        visitor.follow("全部清除")
        visitor.sees("gate-reader")
        visitor.fill("搜索应用目录", "crame-veiw")
        visitor.sees("crane-view")
        visitor.sees_no("tide-hub")
        reads_content = foreign(visitor.page, [*CONTENT, *others, "crame-veiw"])
        said.extend(f"{visitor.now}: {line}" for line in reads_content)
    with visitor.step("opens an application: versions, permissions, README"):
        visitor.follow("crane-view")
        visitor.heads("crane-view")
        visitor.sees("1.0.0")
        visitor.sees("1.1.0")
        visitor.sees("版本")
        visitor.sees("One core and a view of the water.")
        visitor.sees("Deployment/")
        reads()
    with visitor.step("searches everything"):
        visitor.follow("全局搜索")
        visitor.dialog()
        visitor.page.keyboard.type("tide")
        visitor.sees("tide-hub", within=visitor.page.get_by_role("dialog"))
        reads()
        visitor.page.keyboard.press("Escape")
    with visitor.step("looks at the door"):
        visitor.follow("登录")
        visitor.sees("用户名")
        reads()
    with visitor.step("asks for a page that is not there", refused=404):
        visitor.go("/no/such/page")
        reads()
    with visitor.step("changes to English, and back"):
        visitor.go("/")
        visitor.choose("语言", "English")
        visitor.heads("Catalogue")
        visitor.choose("Language", "简体中文")
        visitor.heads("应用目录")
        reads()
    assert said == [], "words that are not Chinese:\n" + "\n".join(dict.fromkeys(said))


def test_the_language_menu_is_enough_for_a_phone_that_prefers_another(
    shelf: Quay, walker: Callable[..., Walker]
) -> None:
    visitor = walker(shelf.url, width="phone", locale="pt-BR", has_touch=True, is_mobile=True)
    with visitor.step("chooses Chinese, which is kept on the next page"):
        visitor.go("/")
        visitor.choose("Language", "简体中文")
        visitor.heads("应用目录")
        visitor.follow("tide-hub")
        visitor.sees("版本")
