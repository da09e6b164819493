"""The life of one release: where it is, what may be done with it, and who did what, when and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.packages import life, states
from appstore.packages.models import Package, ReleaseEvent
from appstore.releases import gate, services
from appstore.releases.api import recallable
from core.accounts import access
from core.accounts.access import Actor
from core.errors import Missing
from core.recalls import ACTIONS, SEVERITIES
from frontend import tenancy
from frontend.deeds import Question, answered
from frontend.page import View, page, paged
from frontend.releases import visibility as visibility_of
from frontend.releases.forms import RECALL, DeedForm, NotesForm, RecallForm, VisibilityForm, successors_of
from frontend.store.packages import PACKAGES, visible

MOST = 50
EVENTS = 20
#: What the deeds of the history are called.
WORDS = {
    "publish": gettext_lazy("published"),
    "submit": gettext_lazy("sent to review"),
    "approve": gettext_lazy("approved and published"),
    "decline": gettext_lazy("declined"),
    "retract": gettext_lazy("taken back from review"),
    "deprecate": gettext_lazy("deprecated"),
    "undeprecate": gettext_lazy("recommended again"),
    "yank": gettext_lazy("yanked"),
    "unyank": gettext_lazy("put back"),
    "quarantine": gettext_lazy("quarantined"),
    "unquarantine": gettext_lazy("set free"),
    "recall": gettext_lazy("recalled"),
    "unrecall": gettext_lazy("recall lifted"),
    "visibility": gettext_lazy("shown to"),
    "notes": gettext_lazy("notes changed"),
}
#: Deeds of the publisher, and of reviewers.
PUBLISHERS = ("deprecate", "undeprecate", "yank", "unyank")
REVIEWERS = ("quarantine", "unquarantine")


@require_GET
@page
def package_life(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show where a release is in its life, and how it came there."""
    actor, package = tenancy.actor_of(request), visible(request, pk)
    return render(request, "frontend/releases/life.html", life_facts(request, package, actor))


def _deed(name: str, does: Callable[..., Package], done: Any, *, reviewers: bool = False, advice: bool = False) -> View:
    """Return the action that does one deed of the life, with the reason that was typed."""

    @require_POST
    @page
    def act(request: HttpRequest, pk: Any) -> HttpResponseBase:
        actor = tenancy.actor_of(request)
        if reviewers:
            package = PACKAGES.filter(pk=pk).first()
            if package is None:
                raise Missing(_("There is no such package, or you may not see it."))
            life.stands(actor, "packages.review", package)
        else:
            package = access.get(PACKAGES, actor, "packages.publish", pk)
        dialog = next(each for each in DIALOGS if each["deed"] == name)
        form = DeedForm(request.POST, package=package, must=dialog["needs_reason"], advice=advice)
        return answered(
            request, form, Question(dialog["title"], dialog["label"], dialog["text"], dialog["danger"]),
            act=lambda **typed: does(package, actor=actor, **typed),
            back=_life_of(pk), done=done.format(package),
        )  # fmt: skip

    act.__name__ = name
    return act


deprecate = _deed(
    "deprecate", life.deprecate, gettext_lazy("{} is deprecated; it stays in the catalogue, with a note."), advice=True
)
undeprecate = _deed("undeprecate", life.undeprecate, gettext_lazy("{} is recommended again."))
yank = _deed("yank", life.yank, gettext_lazy("{} is yanked; what runs already keeps running."), advice=True)
unyank = _deed("unyank", life.unyank, gettext_lazy("{} is back where it was."))
quarantine = _deed(
    "quarantine", life.quarantine, gettext_lazy("{} is quarantined; nobody deploys it meanwhile."), reviewers=True
)
unquarantine = _deed("unquarantine", life.unquarantine, gettext_lazy("{} is free again."), reviewers=True)


@require_POST
@page
def show_to(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Change who sees a release."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.publish", pk)
    return answered(
        request, VisibilityForm(request.POST), Question(_("Who shall see it?"), _("Change who sees it")),
        act=lambda visibility, reason: life.show_to(package, visibility, actor=actor, reason=reason),
        back=_life_of(pk), done=_("Who sees it is changed."),
    )  # fmt: skip


@require_POST
@page
def annotate(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Change the publisher's notes."""
    actor = tenancy.actor_of(request)
    package = access.get(PACKAGES, actor, "packages.publish", pk)
    return answered(
        request, NotesForm(request.POST), Question(_("Notes of the publisher"), _("Keep the notes")),
        act=lambda notes: life.annotate(package, notes, actor=actor),
        back=_life_of(pk), done=_("The notes are changed."),
    )  # fmt: skip


@require_POST
@page
def recall(request: HttpRequest, pk: Any) -> HttpResponseBase:
    """Recall this release, and show how far that gets."""
    actor = tenancy.actor_of(request)
    (package,) = recallable(actor, [pk])

    def act(**typed: Any) -> HttpResponse:
        return redirect("frontend:recall", services.recall([package], actor=actor, **typed).pk)

    question = Question(_("Recall this release?"), _("Recall"), RECALL, danger=True)
    form = RecallForm(request.POST, package=package)
    return answered(
        request, form, question, act=act, back=_life_of(pk), done=_("{package} is recalled.").format(package=package)
    )


def life_facts(request: HttpRequest, package: Package, actor: Actor) -> dict[str, Any]:
    """Return the template context; a fixed number of queries."""
    deeds = set(states.deeds(package.state))
    publisher = actor.may("packages.publish", package.organisation_id)
    store = life.in_the_store(actor)
    store_reviews, store_recalls = "packages.review" in store, "packages.recall" in store
    reviewer = store_reviews or actor.may("packages.review", package.organisation_id)
    recaller = store_recalls or actor.may("packages.recall", package.organisation_id)
    member = actor.may("packages.read", package.organisation_id) or store_reviews
    events = paged(request, package.events.select_related("by") if member else ReleaseEvent.objects.none(), EVENTS)
    may = {deed for deed in PUBLISHERS if publisher and deed in deeds}
    may |= {deed for deed in REVIEWERS if reviewer and deed in deeds}
    may |= {"recall"} if recaller and "recall" in deeds else set()
    until = gate.open_until(package)
    return {
        "section": "packages" if member and not package.released else "catalogue",
        "package": package,
        "member": member,
        "publisher": publisher,
        "may_do": may,
        "events": [_told(event, package, may, first=number == 0) for number, event in enumerate(events)],
        "rows": events,
        "visibilities": visibility_of.choices(),
        "open_until": until,
        "may_annotate": publisher and package.state != states.IN_REVIEW and (until is None or timezone.now() < until),
        "recalls": list(services.of_package(package)) if member else [],
        "review": package.reviews.first() if member else None,
        "successors": _successors(package) if may & {"deprecate", "yank", "recall"} else [],
        "severities": SEVERITIES,
        "actions": ACTIONS,
        "dialogs": [dialog for dialog in DIALOGS if dialog["deed"] in may],
        "recall_text": RECALL,
    }


DIALOGS: tuple[dict[str, Any], ...] = (
    {
        "deed": "deprecate",
        "label": gettext_lazy("Deprecate"),
        "mark": "archive",
        "advice": True,
        "needs_reason": True,
        "title": gettext_lazy("Deprecate this release?"),
        "danger": False,
        "text": gettext_lazy("It stays in the catalogue and deployable, with a note that advises against it."),
    },
    {
        "deed": "undeprecate",
        "label": gettext_lazy("Recommend again"),
        "mark": "arrow-back-up",
        "advice": False,
        "needs_reason": False,
        "title": gettext_lazy("Recommend this release again?"),
        "danger": False,
        "text": gettext_lazy("The note that advises against it goes."),
    },
    {
        "deed": "yank",
        "label": gettext_lazy("Yank"),
        "mark": "ban",
        "advice": True,
        "needs_reason": True,
        "title": gettext_lazy("Yank this release?"),
        "danger": True,
        "text": gettext_lazy(
            "It leaves the catalogue and is deployed nowhere anew. Who runs it keeps it, and may go back to it."
        ),
    },
    {
        "deed": "unyank",
        "label": gettext_lazy("Put back"),
        "mark": "arrow-back-up",
        "advice": False,
        "needs_reason": False,
        "title": gettext_lazy("Put this release back?"),
        "danger": False,
        "text": gettext_lazy("It is again what it was before it was yanked."),
    },
    {
        "deed": "quarantine",
        "label": gettext_lazy("Quarantine"),
        "mark": "lock",
        "advice": False,
        "needs_reason": True,
        "title": gettext_lazy("Quarantine this release?"),
        "danger": True,
        "text": gettext_lazy(
            "Nobody deploys it until it is set free or recalled. What runs goes on, and those who run it are told."
        ),
    },
    {
        "deed": "unquarantine",
        "label": gettext_lazy("Set free"),
        "mark": "lock-open",
        "advice": False,
        "needs_reason": True,
        "title": gettext_lazy("Set this release free?"),
        "danger": False,
        "text": gettext_lazy("It is again what it was before."),
    },
)


def _told(event: ReleaseEvent, package: Package, may: set[str], *, first: bool) -> dict[str, Any]:
    undo = states.UNDO.get(event.deed, "")
    here = event.after == package.state and package.state_at is not None and event.at >= package.state_at
    return {
        "event": event,
        "words": WORDS.get(event.deed, event.deed),
        "undo": undo if undo in may and here else "",
        "show_again": event.before
        if first and event.deed == "visibility" and package.visibility == event.after
        else "",
        "recall": event.facts.get("recall", ""),
    }


def _successors(package: Package) -> list[Package]:
    return list(successors_of(package)[:MOST])


def _life_of(pk: Any) -> str:
    return reverse("frontend:package-life", args=[pk])
