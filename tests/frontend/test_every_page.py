"""What holds for each page there is, and for each that will be added: the list is read from the addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from html.parser import HTMLParser
from typing import Any

import pytest
from django.urls import URLPattern, reverse

from frontend.urls import urlpatterns
from tests.frontend.conftest import Objects
from tests.frontend.test_downloads import NONE_NEEDED, offers_its_list

PUBLIC = {"sign-in", "sign-out"}
#: Where visitors get in, too, and see what is public; tests/frontend/test_visitors.py.
VISITED = {"catalogue", "catalogue-app", "app-by-name", "search", "choose-language", "reference", "reference-group"}
VISITED |= {"compare"}
PUBLIC = {"sign-in", "sign-out", "passkey-question", "sign-in-with", "invitation"}
ACTIONS = {
    "sign-out",
    "choose-organisation",
    "decide-device",
    "revoke-token",
    "passkey-question",
    "passkey-answer",
    "remove-application",
    "renew-recovery-codes",
    "remove-passkey",
    "end-session",
    "end-sessions",
    "connect-identity",
    "disconnect-identity",
    "set-sign-in-policy",
    "set-member-roles",
    "remove-member",
    "recover-member",
    "renew-invitation",
    "withdraw-invitation",
    "disconnect-provider",
    "check",
    "publish",
    "deprecate",
    "undeprecate",
    "yank",
    "withdraw",
    "unyank",
    "quarantine",
    "unquarantine",
    "show-to",
    "annotate",
    "recall-package",
    "set-release-policy",
    "approve-review",
    "decline-review",
    "retract-review",
    "lift-recall",
    "discard",
    "deploy-plan",
    "upgrade-plan",
    "package-values",
    "upgrade-values",
    "preview-rollout",
    "start-rollout",
    "replan-rollout",
    "pause-rollout",
    "resume-rollout",
    "abort-rollout",
    "roll-back-rollout",
    "retry-rollout",
    "join-node",
    "revoke-node",
    "import-kubeconfig",
    "set-mep",
    "probe-node",
    "remove-node",
    "remove-orphan",
    "set-sandbox",
    "remove-deployment",
    "abandon-deployment",
    "cancel-operation",
    "retry-operation",
    "inspect-package",
    "cancel-certification",
    "revoke-certificate",
    "distrust-lab",
    "follow-store",
    "change-store-key",
    "confirm-partner",
    "refuse-partner",
    "suspend-partner",
    "resume-partner",
    "end-partner",
    "deliver-to-partner",
    "sync-partner",
    "accept-agreement",
    "decline-agreement",
    "end-agreement",
    "import-offer",
    "recommend",
    "grant-release",
    "answer-recommendation",
    "set-trust-policy",
    "add-anchor",
    "add-crl",
    "add-distrust",
    "end-anchor",
    "revoke-anchor",
    "remove-distrust",
    "claim-publisher",
    "prove-publisher",
    "confirm-publisher",
    "withdraw-publisher",
    "create-authority",
    "refresh-crl",
    "issue-certificate",
    "revoke-signer",
    "sign-package",
    "favour-app",
    "follow-app",
    "read-notices",
    "unfollow",
    "write-review",
    "answer-review",
    "report-review",
    "hide-review",
    "ping-webhook",
    "resend-webhook",
    "remove-webhook",
    "choose-language",
    "acknowledge-alarms",
    "import-sites",
    "remove-site",
    "place-node",
    "take-node-away",
    "connect-site",
    "tell-link",
    "disconnect-site",
    "cancel-upload",
    "prolong-sandbox-test",
    "end-sandbox-test",
    "preview-rule",
    "switch-rule",
    "reset-rule",
    "remove-rule",
}
#: What everybody may do who sees the thing: it changes nothing but one's own lists.
ONES_OWN = {"choose-language", "decide-device", "favour-app", "follow-app", "read-notices", "unfollow"} | {
    "passkey-question",
    "passkey-answer",
    "remove-application",
    "renew-recovery-codes",
    "remove-passkey",
    "end-session",
    "end-sessions",
    "connect-identity",
    "disconnect-identity",
}
#: Pages that only lead to another one.
LEADS_ON = (
    "sign-in", "app-by-name", "app-of-package", "feedback", "second-factor", "enrol-at-sign-in", "sign-in-with",
    "sign-in-callback", "connect-now",
)  # fmt: skip
NAMES = [pattern.name for pattern in urlpatterns]
READABLE = [name for name in NAMES if name not in ACTIONS]
ABOUT_ONE = [pattern.name for pattern in urlpatterns if "pk" in pattern.pattern.converters]


def address(name: str, objects: Objects) -> str:
    """Return the address of a page about the objects at hand."""
    pattern: URLPattern = next(each for each in urlpatterns if each.name == name)
    given: dict[str, Any] = {}
    if "pk" not in pattern.pattern.converters:
        objects.everything()
    else:
        given["pk"] = objects[str(pattern.pattern).split("/")[0]].pk
    for number in {"generation", "version"} & set(pattern.pattern.converters):
        given[number] = 1
    if "generation" in pattern.pattern.converters:
        given["generation"] = 1
    if "secret" in pattern.pattern.converters:
        given["secret"] = objects["invitation-links"].link.rpartition("/")[2]
    if "app" in pattern.pattern.converters:
        given["app"] = objects["catalogue"].pk
    if "group" in pattern.pattern.converters:
        given["group"] = "nodes"
    if "kind" in pattern.pattern.converters:
        given["kind"] = "traffic"
    if "rule" in pattern.pattern.converters:
        given["rule"] = "tr-1"
    if name == "remove-orphan":
        given |= {"namespace": "t-acme", "name": "old"}
    if name == "app-by-name":
        app = objects["catalogue"]
        given |= {"organisation": app.slug, "provider": app.provider, "name": app.name}
    return reverse(f"frontend:{name}", kwargs=given)


class Page(HTMLParser):
    """Collects what a strict page must not have, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in = tag
        self.inline += [f"{tag} {name}" for name in given if name.startswith("on") or name in ("style", "srcdoc")]
        self.inline += [f"{tag} {name}" for name in given if name.startswith("hx-on")]
        if tag == "style":
            self.inline.append("a style element")
        for name in ("src", "href", "action", "srcset", "poster", "data", "formaction"):
            if name in given:
                self.loads.append(given[name])
        if "id" in given:
            self.ids.append(given["id"])

    def handle_data(self, data: str) -> None:
        if self._in == "script" and data.strip():
            self.inline.append(f"script {data.strip()[:40]}")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""


def each(names: Iterable[str], look: Callable[[str], None]) -> None:
    """Try every page in one world, which is made once, and tell of all that are wrong."""
    wrong = []
    for name in names:
        try:
            look(name)
        except (AssertionError, pytest.fail.Exception) as problem:
            wrong.append(f"{name}: {str(problem).splitlines()[0] if str(problem) else 'failed'}")
    assert not wrong, "\n".join(wrong)


def is_page(answer: Any, *statuses: int) -> None:
    assert answer.status_code in statuses, f"answered {answer.status_code}"


def is_strict(response: Any) -> None:
    """Demand that a page has no code within, loads nothing from outside, and names nothing twice."""
    page = Page(response.content.decode())
    assert page.inline == [], f"has inline {page.inline}"
    outside = [url for url in page.loads if re.match(r"(?:[a-z]+:)?//", url, re.IGNORECASE)]
    assert outside == [], f"loads from outside: {outside}"
    assert "'unsafe-inline'" not in response.headers["Content-Security-Policy"], "lets inline code run"
    assert "'unsafe-eval'" not in response.headers["Content-Security-Policy"], "lets text be run as code"
    assert len(page.ids) == len(set(page.ids)), "has an id twice"


# One walk for all, in a world with many rows: to render every page takes seconds, to look at what was rendered takes none.


@pytest.mark.long
def test_an_administrator_gets_every_page_whose_rows_cost_no_queries_strict_and_its_tables_as_files(
    pages: Any,
    objects: Objects,
    make_node: Any,
    make_package: Any,
    actor: Any,
    organisation: Any,
    settings: Any,
    django_assert_max_num_queries: Any,
) -> None:
    from mecm.deployments import services

    # A long walk would meet the one write that says when a session was last seen.
    settings.SESSION_SEEN_EVERY = 3600
    objects.everything()
    for number in range(5):
        extra = make_package("hello", f"1.{number}.9")
        spare = make_node(f"spare-{number}")
        for where in (spare, objects["nodes"]):
            services.request(actor=actor, organisation=organisation, node=where, package=extra, name=f"more-{number}")
    with_table: set[str] = set()

    def look(name: str) -> None:
        url = address(name, objects)
        # Session, user, roles, organisations and unread notices are five of them. (Where it fits asks every gate as well,
        # see test_where.py; the tail of a deployment writes down that somebody looks.)
        counted = name not in (*LEADS_ON, "map-report", "deploy", "package-where", "deployment-tail")
        with django_assert_max_num_queries(13) if counted else nullcontext():
            response = pages.get(url)
        # Whoever is signed in needs no sign-in page.
        is_page(response, 302 if name in LEADS_ON else 200)
        if name in (*LEADS_ON, "map-report"):
            return
        is_strict(response)
        if offers_its_list(name, pages, url, response.content.decode(), django_assert_max_num_queries):
            with_table.add(name)

    each(READABLE, look)
    assert set(NONE_NEEDED) - with_table == set(), "these have no table any more"


def test_nobody_gets_in_without_signing_in(client: Any, objects: Objects) -> None:
    def look(name: str) -> None:
        url = address(name, objects)
        response = client.post(url) if name in ACTIONS else client.get(url)
        is_page(response, 302)
        assert response.headers["Location"].startswith("/sign-in")

    each((name for name in NAMES if name not in PUBLIC | VISITED), look)


def test_another_tenants_things_are_not_found(
    browser_of: Any, stranger: Any, objects: Objects, make_package: Any, bare: None
) -> None:
    # A published release is for everybody; what is not published is its owner's.
    objects["packages"] = make_package("draft", state="checked")
    browser = browser_of(stranger)

    def look(name: str) -> None:
        url = address(name, objects)
        answered = {method: getattr(browser, method)(url).status_code for method in ("get", "post")}
        # A page may take only one of the two methods, and does not find the thing by that one.
        assert 404 in answered.values(), f"answered {answered}"
        assert set(answered.values()) <= {404, 405}, f"answered {answered}"

    each(ABOUT_ONE, look)


def test_a_viewer_changes_nothing(
    browser_of: Any, make_user: Any, organisation: Any, objects: Objects, bare: None
) -> None:
    viewer = browser_of(make_user("viewer", organisation, "viewer"))
    deeds = sorted(ACTIONS - {"sign-out", "choose-organisation", "revoke-token"} - ONES_OWN)
    each(deeds, lambda name: is_page(viewer.post(address(name, objects)), 403))


def test_a_viewer_gets_no_form_that_changes_something(
    browser_of: Any, make_user: Any, organisation: Any, objects: Objects, bare: None
) -> None:
    viewer = browser_of(make_user("viewer", organisation, "viewer"))
    forms = ["new-node", "change-node", "upload", "deploy", "upgrade", "rollback", "start-certification"]
    forms += ["new-rollout", "make-rollout"]
    forms += ["package-where"]
    forms += ["new-site", "change-site"]
    forms += ["new-rule", "change-rule"]
    each(forms, lambda name: is_page(viewer.get(address(name, objects)), 403))


def test_a_viewer_reads_everything_but_the_audit_log(
    browser_of: Any, make_user: Any, organisation: Any, objects: Objects
) -> None:
    viewer = browser_of(make_user("viewer", organisation, "viewer"))
    read = ["catalogue", "packages", "package", "nodes", "map", "node", "deployments", "deployment", "operations"]
    read += ["rollouts", "rollout", "compare-revisions"]
    read += ["node-rules", "deployment-rules"]
    each(read, lambda name: is_page(viewer.get(address(name, objects)), 200))
    is_page(viewer.get(address("audit", objects)), 403)


def test_a_mere_link_changes_nothing(pages: Any, objects: Objects) -> None:
    each(sorted(ACTIONS), lambda name: is_page(pages.get(address(name, objects)), 405))


def test_a_form_from_elsewhere_is_refused(admin: Any, objects: Objects, bare: None) -> None:
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin)

    def look(name: str) -> None:
        response = strict.post(address(name, objects))
        is_page(response, 403)
        assert "no longer valid" in response.content.decode()

    each(sorted(ACTIONS - {"deploy-plan"}), look)


def test_somebody_in_no_organisation_is_told_so_and_sees_no_error(
    browser_of: Any, make_user: Any, objects: Objects, request: pytest.FixtureRequest
) -> None:
    lonely = browser_of(make_user("lonely"))
    # Its menu is that of each page: one look is enough.
    is_page(lonely.get("/"), 200)
    request.getfixturevalue("bare")
    each(READABLE, lambda name: is_page(lonely.get(address(name, objects)), 200, 302, 403, 404))


def test_a_wrong_address_gets_a_page_for_people(pages: Any, client: Any) -> None:
    for browser in (pages, client):
        response = browser.get("/no/such/page")
        assert response.status_code == 404
        assert "There is no page at this address" in response.content.decode()


def test_odd_queries_are_no_errors(pages: Any, objects: Objects) -> None:
    objects.everything()
    odd = ["q=%00", "q=%F0%9F%8C%8A", "page=-1", "page=x", "page=99999", "state=%00", "q=" + "a" * 5000]
    lists = ["/nodes", "/packages", "/deployments", "/operations", "/audit", "/"]
    each((f"{where}?{query}" for where in lists for query in odd), lambda url: is_page(pages.get(url), 200))


def test_the_banner_says_when_nothing_runs_for_real(pages: Any, settings: Any) -> None:
    assert "Simulated runtime" not in pages.get("/").content.decode()
    settings.SIMULATED_RUNTIME = True
    assert "Simulated runtime" in pages.get("/").content.decode()
