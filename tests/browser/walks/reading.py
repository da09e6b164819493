"""What a page says, and what of it is not in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

#: Every visible text, and what is said to those who do not see: names, hints, pictures' words. Texts that say themselves
#: that they are in another language (names of languages) are left out.
SAID = """
() => {
  const own = document.documentElement.lang, said = [document.title];
  const foreign = (e) => (e.closest('[lang]')?.lang || own) !== own;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!e || ['SCRIPT', 'STYLE', 'NOSCRIPT', 'TEMPLATE'].includes(e.tagName) || !e.checkVisibility() || foreign(e)) continue;
    const text = walk.currentNode.textContent.replace(/\\s+/g, ' ').trim();
    if (text) said.push(text);
  }
  for (const e of document.querySelectorAll('[aria-label], [placeholder], [title], [alt]')) {
    if (!e.checkVisibility() || foreign(e)) continue;
    for (const name of ['aria-label', 'placeholder', 'title', 'alt']) if (e.getAttribute(name)) said.push(e.getAttribute(name));
  }
  return said;
}
"""
#: Names and signs that are the same in every language; levels of certification are named as certificates name them.
NAMES = frozenset(
    {
        "API", "Apache", "B", "Breakwater", "CPU", "CSAR", "Ctrl", "DNS", "ETSI", "Enter", "Esc", "GiB", "Helm", "ID", "K",
        "KiB", "Kubernetes", "MEC", "MEP", "MiB", "README", "SBOM", "SHA", "TiB", "UTC", "amd", "arm", "basic", "standard",
        "telco",
    }
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z][A-Za-z'’]+")


def foreign(page: Any, content: Iterable[str]) -> list[str]:
    """Return the texts of a page that hold words of our alphabet which are neither content nor names, each with these words."""
    known = sorted({text.strip() for text in content if text.strip()}, key=len, reverse=True)
    found = []
    for said in page.evaluate(SAID):
        rest = said
        for text in known:
            rest = rest.replace(text, " ")
        left = [word for word in _WORD.findall(rest) if word not in NAMES]
        if left:
            found.append(f"{said[:120]!r}: {' '.join(left)}")
    return list(dict.fromkeys(found))
