"""A stranger's README as HTML that can do nothing but be read.

CommonMark with raw HTML off; what comes out is filtered again by an allow list of elements and attributes. Pictures
are those of the package, served by ourselves; every other one becomes its text. Links never get our session's context.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

#: Longer texts are cut before they are read.
LONGEST = 128 << 10
_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "img", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "img": {"src", "alt", "title", "loading"}, "ol": {"start"}}
_REL = "noopener nofollow ugc"
_SCHEMES = {"http", "https", "mailto"}


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20}).enable(
        ["table", "strikethrough"]
    )


def pictures_of(text: str) -> list[str]:
    """Return the addresses of the pictures that a text shows, each once."""
    found: dict[str, None] = {}
    for token in _walk(_parser().parse(text[:LONGEST])):
        if token.type == "image":
            found[str(token.attrGet("src") or "")] = None
    return [address for address in found if address]


def rendered(text: str, pictures: Mapping[str, str]) -> str:
    """Return safe HTML; `pictures` maps the address in the text to the one that we serve, all others are left out."""
    return _rendered(text[:LONGEST], tuple(sorted(pictures.items())))


@lru_cache(maxsize=32)
def _rendered(text: str, pictures: tuple[tuple[str, str], ...]) -> str:
    ours = dict(pictures)
    parser = _parser()
    environment: dict[str, Any] = {}
    tokens = parser.parse(text, environment)
    for token in _walk(tokens):
        if token.type in ("heading_open", "heading_close"):
            # The page has its own h1.
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        elif token.type == "image":
            _own_picture(token, ours)
        elif token.type == "link_open":
            _harmless_link(token)
        elif token.type in ("th_open", "td_open"):
            token.attrs = {}  # alignment comes as a style, which the policy of our pages refuses
    html = parser.renderer.render(tokens, parser.options, environment)
    return clean(html, allowed_pictures=frozenset(ours.values()))


def clean(html: str, *, allowed_pictures: frozenset[str] = frozenset()) -> str:
    """Return only what the allow list lets through; the last word, whatever the renderer made."""
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        attribute_filter=_only(allowed_pictures),
        strip_comments=True,
        link_rel=_REL,
        url_schemes=_SCHEMES,
    )


def _only(pictures: frozenset[str]) -> Callable[[str, str, str], str | None]:
    def keep(element: str, attribute: str, value: str) -> str | None:
        if attribute == "rel":
            return _REL
        if attribute not in _ATTRIBUTES.get(element, set()):
            return None  # the library lets `lang` and `title` through everywhere
        if attribute == "src":
            return value if value in pictures else None
        if attribute == "loading":
            return "lazy"
        if attribute == "href":
            return value if _safe_address(value) else None
        return value

    return keep


def _walk(tokens: list[Token]) -> list[Token]:
    return [each for token in tokens for each in (token, *(_walk(token.children) if token.children else ()))]


def _own_picture(token: Token, ours: Mapping[str, str]) -> None:
    """Point the picture to our copy, or turn it into its text."""
    address = ours.get(str(token.attrGet("src") or ""))
    if address:
        token.attrs = {**token.attrs, "src": address, "loading": "lazy"}
        return
    said = token.content.strip()
    token.type, token.tag, token.children, token.attrs = "text", "", None, {}
    token.content = f"[{said}]" if said else ""


def _harmless_link(token: Token) -> None:
    address = str(token.attrGet("href") or "")
    if not _safe_address(address):
        token.attrs = {name: value for name, value in token.attrs.items() if name != "href"}


def _safe_address(address: str) -> bool:
    """Links lead out by http, https or mail; a path of our own site would act in the reader's name."""
    address = address.strip()
    if re.search(r"[\x00-\x20\\]", address):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if parts.scheme.lower() == "mailto":
        return not parts.netloc
    return parts.scheme.lower() in ("http", "https") and bool(parts.netloc)


def bearable(text: str, seconds: float = 1.0) -> bool:
    """Return whether the text can be laid out in so many seconds of a processor: some are written to take long.

    Asked once, by a worker; a text that fails is shown as it is.
    """
    started = time.thread_time()
    try:
        # The time for a bad text grows faster than the text, so a part of it is told sooner.
        for share in (8, 4, 2, 1):
            _parser().render(text[: LONGEST // share])
            if time.thread_time() - started > seconds:
                return False
    except Exception:
        # A mistake of the parser that only a strange text finds: shown unformatted, nothing is lost.
        return False
    return True


def plain(text: str) -> str:
    """Return the words of a text without its marks, for a full-text search."""
    words = [
        token.content
        for token in _walk(_parser().parse(text[:LONGEST]))
        if token.type in ("text", "code_inline", "fence")
    ]
    return " ".join(" ".join(words).split())


__all__ = ["LONGEST", "bearable", "clean", "pictures_of", "plain", "rendered"]
