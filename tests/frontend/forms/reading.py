"""Reads the forms of a page as a browser does: controls with their labels, values, errors, and the data that they send."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.urls import Resolver404, resolve

VOID = {
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
}  # fmt: skip
#: What is sent, and is nothing that a person typed.
UNSEEN = ("hidden", "submit", "button", "image", "reset")


@dataclass
class Control:
    """One thing that a form sends."""

    name: str
    kind: str
    attrs: dict[str, str]
    value: str = ""
    #: What is said about the group that it is one of.
    group: dict[str, str] = field(default_factory=dict)
    options: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def checked(self) -> bool:
        """Whether a box or a radio button is on."""
        return "checked" in self.attrs

    @property
    def messages(self) -> list[str]:
        """The ids of what describes it, or its group."""
        return f"{self.attrs.get('aria-describedby', '')} {self.group.get('aria-describedby', '')}".split()

    @property
    def sent(self) -> str | None:
        """What a browser would send for it; None for nothing."""
        if self.kind in ("checkbox", "radio"):
            return self.value if self.checked else None
        if self.kind == "select":
            chosen = [value for value, selected in self.options if selected]
            return (chosen or [self.options[0][0] if self.options else ""])[0]
        return self.value


@dataclass
class Form:
    """One form of a page."""

    attrs: dict[str, str]
    page: str
    #: The id of the dialog that it is in.
    dialog: str = ""
    controls: list[Control] = field(default_factory=list)
    buttons: list[Control] = field(default_factory=list)

    @property
    def method(self) -> str:
        """Return `get` or `post`."""
        return self.attrs.get("method", "get").lower()

    @property
    def url(self) -> str:
        """Where it is sent."""
        action = self.attrs.get("action", "").partition("#")[0]
        return action or self.page

    @property
    def target(self) -> str:
        """The name of the view that it is sent to, which is what the form is known by."""
        try:
            return str(resolve(self.url.partition("?")[0]).url_name)
        except Resolver404:
            return self.url

    @property
    def visible(self) -> dict[str, list[Control]]:
        """The controls that a person fills in, by name."""
        seen: dict[str, list[Control]] = {}
        for control in self.controls:
            if control.kind not in UNSEEN:
                seen.setdefault(control.name, []).append(control)
        return seen

    @property
    def data(self) -> dict[str, Any]:
        """What a browser would send if nothing were touched."""
        sent: dict[str, Any] = {}
        for control in self.controls:
            if control.name == "csrfmiddlewaretoken" or control.kind == "file" or control.sent is None:
                continue
            if control.name in sent and control.kind == "checkbox":
                before = sent[control.name]
                sent[control.name] = [*(before if isinstance(before, list) else [before]), control.sent]
            else:
                sent[control.name] = control.sent
        for button in self.buttons[:1]:
            if button.name and "formaction" not in button.attrs:
                sent[button.name] = button.value
        return sent

    def control(self, name: str) -> Control | None:
        """Return the first control of that name."""
        return next((each for each in self.controls if each.name == name), None)


class Page(HTMLParser):
    """A page with its forms, the text of each element that has an id, and the links inside it."""

    def __init__(self, html: str, url: str = "/") -> None:
        super().__init__(convert_charrefs=True)
        self.url = url
        self.forms: list[Form] = []
        self.texts: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.sheets = ""
        #: Dialogs that nothing may open in the present state.
        self.idle: set[str] = set()
        #: The dialogs that a button opens.
        self.openers: set[str] = set()
        #: Elements that say at the top what is wrong: their text, the fragments that they link to, whether they have the focus.
        self.summaries: list[dict[str, Any]] = []
        self.focused: list[str] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self._form: Form | None = None
        self._loose: list[tuple[str, Control]] = []
        self._select: Control | None = None
        self._area: Control | None = None
        self.feed(html)
        self.close()
        for owner, control in self._loose:
            for form in self.forms:
                if form.attrs.get("id") == owner:
                    (form.buttons if control.kind in ("submit", "button") else form.controls).append(control)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append((tag, given))
        if "id" in given:
            self.texts.setdefault(given["id"], "")
        if "autofocus" in given:
            self.focused.append(given.get("id", tag))
        if "data-error-summary" in given:
            self.summaries.append({"text": "", "links": [], "focus": "autofocus" in given, "role": given.get("role")})
        elif tag == "a" and self._within("data-error-summary"):
            self.summaries[-1]["links"].append(given.get("href", ""))
        if tag == "dialog" and "data-idle" in given:
            self.idle.add(given.get("id", ""))
        if tag == "link":
            self.sheets += f" {given.get('href', '')}"
        if tag == "form":
            self._form = Form(given, self.url, self._inside("dialog").get("id", ""))
            self.forms.append(self._form)
        elif tag == "input":
            self._keep(Control(given.get("name", ""), given.get("type", "text"), given, self._value(given)))
        elif tag == "button":
            if given.get("command") == "show-modal":
                self.openers.add(given.get("commandfor", ""))
            self._keep(Control(given.get("name", ""), given.get("type", "submit"), given, given.get("value", "")))
        elif tag == "textarea":
            self._area = Control(given.get("name", ""), "textarea", given)
            self._keep(self._area)
        elif tag == "select":
            self._select = Control(given.get("name", ""), "select", given)
            self._keep(self._select)
        elif tag == "option" and self._select is not None:
            self._select.options.append((given.get("value", ""), "selected" in given))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place][0] == tag:
                del self._open[place:]
                break

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            # The first line break after the tag is none of the text.
            self._area.value += data if self._area.value else data.removeprefix("\r\n").removeprefix("\n")
        for _tag, given in self._open:
            if "id" in given:
                self.texts[given["id"]] += data
            if "for" in given:
                self.labels[given["for"]] = self.labels.get(given["for"], "") + data
        if self._within("data-error-summary"):
            self.summaries[-1]["text"] += data

    def _inside(self, tag: str) -> dict[str, str]:
        return next((given for name, given in reversed(self._open) if name == tag), {})

    def _within(self, mark: str) -> bool:
        return any(mark in given for _tag, given in self._open)

    @staticmethod
    def _value(given: dict[str, str]) -> str:
        return given.get("value", "on" if given.get("type") in ("checkbox", "radio") else "")

    def _keep(self, control: Control) -> None:
        if "disabled" in control.attrs:
            return
        control.group = self._inside("fieldset")
        if "form" in control.attrs:
            self._loose.append((control.attrs["form"], control))
        elif self._form is not None:
            (self._form.buttons if control.kind in ("submit", "button") else self._form.controls).append(control)
