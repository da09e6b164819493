"""A stranger's README can be read, and do nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appstore.contents import markdown

OURS = {"shot.png": "/api/v1/packages/x/media/a.png"}
_TAGS = markdown._TAGS
_ALLOWED = {"a": {"href", "title", "rel"}, "img": {"src", "alt", "title", "loading"}, "ol": {"start"}}

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css';</style>",
    "<form action=/packages/1/publish method=post><button>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<body onload=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><script>alert(1)</script-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<div hx-get=/packages hx-trigger=load>x</div>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](  javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "[x](/packages/1/publish)",
    "[x](//evil.example)",
    "[x](\\\\evil.example)",
    "[x](https:evil)",
    "[x](file:///etc/passwd)",
    '[x](https://a.example "onmouseover=alert(1) \\" onmouseover=alert(1)")',
    "[x](https://a.example/\"onmouseover=\"alert(1))",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "![x](//evil.example/pixel.png)",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "![x](data:image/png;base64,AAAA)",
    "![x](/api/v1/accounts/me)",
    "![x](../../sign-out)",
    '![x" onerror="alert(1)](shot.png)',
    '![x](shot.png "t\\" onerror=\\"alert(1)")',
    "![<script>alert(1)</script>](https://evil.example/x.png)",
    "[![x](https://evil.example/a.png)](javascript:alert(1))",
    "`<script>alert(1)</script>`",
    "```\"><script>alert(1)</script>\n<script>alert(1)</script>\n```",
    "```html onload=alert(1)\nx\n```",
    "~~<b onclick=alert(1)>x~~",
    "|a|b|\n|:-:|-:|\n|<script>alert(1)</script>|[x](javascript:alert(1))|",
    "# <img src=x onerror=alert(1)>",
    "<https://a.example/\"><script>alert(1)</script>>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\\<script>alert(1)\\</script>",
    "1. <script>alert(1)</script>\n\n<div>\n*x*\n</div>",
    "\u2028<script>alert(1)</script>",
    "<scr\0ipt>alert(1)</script>",
    "<a\x0bhref=javascript:alert(1)>x",
    "{% load x %}{{ settings.SECRET_KEY }}",
]  # fmt: skip


class Page(HTMLParser):
    """Collects what a page would do."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.pictures: list[str] = []
        self.links: list[dict[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given_ = {name: value or "" for name, value in attrs}
        if tag not in _TAGS:
            self.wrong.append(tag)
        self.wrong += [f"{tag} {name}" for name in given_ if name not in _ALLOWED.get(tag, set())]
        if tag == "img":
            self.pictures.append(given_.get("src", ""))
        if tag == "a":
            self.links.append(given_)

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"comment {data}")


def harmless(html: str) -> Page:
    """Check that a page does nothing, and return it."""
    page = Page(html)
    assert page.wrong == []
    assert set(page.pictures) <= {*OURS.values(), ""}
    for link in page.links:
        assert link.get("rel") == "noopener nofollow ugc"
        assert re.match(r"(?i)(https?://[^/]|mailto:)", link.get("href", "mailto:"))
    return page


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_comes_out_harmless(text: str) -> None:
    harmless(markdown.rendered(text, OURS))
    harmless(markdown.clean(text, allowed_pictures=frozenset(OURS.values())))


MARKS = ["\n", "\n\n", "> ", "- ", "    ", "*", "`", "|", "[", "](", ")", "<", ">", '"', "'"]


@given(st.lists(st.sampled_from([*ATTACKS, *MARKS]), max_size=6))
def test_attacks_come_out_harmless_in_every_mixture(parts: list[str]) -> None:
    harmless(markdown.rendered("".join(parts), OURS))


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_the_last_filter_holds_whatever_it_is_given(text: str) -> None:
    for html in (text, f"<a href='{text}'>x</a>", f'<img src="{text}" alt="{text}">', f"<p title={text}>", f"<{text}>"):
        harmless(markdown.clean(html, allowed_pictures=frozenset(OURS.values())))


def test_what_authors_want_is_there() -> None:
    text = "# Title\n\n**bold** [site](https://a.example) ![Window](shot.png)\n\n|a|\n|-|\n|1|\n\n```\ncode\n```\n"
    html = markdown.rendered(text, OURS)
    page = harmless(html)
    assert page.pictures == [OURS["shot.png"]]
    assert page.links == [{"href": "https://a.example", "rel": "noopener nofollow ugc"}]
    for part in ("<h2>Title</h2>", "<strong>bold</strong>", "<td>1</td>", "<code>code", 'alt="Window"'):
        assert part in html


def test_a_picture_from_elsewhere_is_its_words() -> None:
    html = markdown.rendered("![The window](https://evil.example/x.png)", OURS)
    assert "[The window]" in html
    assert "evil.example" not in html


def test_pictures_are_found_wherever_they_stand() -> None:
    assert markdown.pictures_of("![a](a.png)\n\n- [![b](b.png)](x)\n\n[c]: c.png\n![c]\n`![d](d.png)`") == [
        "a.png", "b.png", "c.png",
    ]  # fmt: skip


def test_a_text_that_keeps_the_parser_busy_is_found_out() -> None:
    assert markdown.bearable("# usual\n\n" + "some *words* and [links](https://a.example) here\n\n" * 200)
    assert not markdown.bearable("![[" * 60_000, seconds=0.05)


def test_words_for_a_search_have_no_marks() -> None:
    assert markdown.plain("# Title\n\n**bold** [site](https://a.example)") == "Title bold site"
