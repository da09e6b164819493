"""Partner stores: who they are, how we stand, meeting and parting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from appstore.federation import edgegallery, identity, meeting, recommendations, services
from appstore.federation.models import Agreement, Peer, RemoteRelease
from appstore.federation.models_peers import OutMessage
from core.accounts import access
from core.accounts.access import Actor
from core.accounts.models import Organisation
from core.errors import BreakwaterError, Denied, Missing
from core.words import say
from frontend import tables, tenancy
from frontend.deeds import Question, ReasonForm, answered
from frontend.federation.forms import FingerprintForm, FollowForm, MeetForm
from frontend.page import page, paged, told, words_of

PEERS: QuerySet[Peer] = Peer.objects.select_related("acquaintance", "sync", "organisation")
TABS = (
    ("overview", "partner", gettext_lazy("Overview")),
    ("agreement", "partner-agreement", gettext_lazy("Agreement")),
    ("offers", "partner-offers", gettext_lazy("Offers")),
    ("ours", "partner-ours", gettext_lazy("Our releases")),
    ("recommendations", "partner-recommendations", gettext_lazy("Recommendations")),
)


def managing(request: HttpRequest) -> tuple[Actor, Organisation]:
    """Return who asks and the organisation that runs this store, if they manage its partners; `Denied` otherwise."""
    actor = tenancy.actor_of(request)
    try:
        return actor, meeting.manager(actor)
    except Missing:
        raise Denied(_("Partner stores are managed by the organisation that runs this store.")) from None


def partner_of(request: HttpRequest, pk: Any) -> Peer:
    """Return the partner, if the person manages it."""
    return access.get(PEERS, tenancy.actor_of(request), "federation.manage", pk)


def frame(peer: Peer, active: str, **context: Any) -> dict[str, Any]:
    """Return the context that every page about one partner has."""
    tabs = TABS if peer.kind == "breakwater" else tuple(each for each in TABS if each[0] in ("overview", "offers"))
    return {
        "section": "partners",
        "peer": peer,
        "tabs": tabs,
        "tab": active,
        "may_act": peer.state == "active",
        **context,
    }


@require_GET
@page
def partners_page(request: HttpRequest) -> HttpResponse:
    """List the partners; those that wait for an answer of ours come first."""
    organisation = managing(request)[1]
    words, state = words_of(request), request.GET.get("state", "")
    rows = PEERS.filter(organisation=organisation)
    if words:
        rows = rows.filter(Q(name__icontains=words) | Q(url__icontains=words) | Q(store_id__startswith=words.lower()))
    rows = rows.filter(state=state) if state in Peer.State.values else rows.exclude(state="ended")
    rows = rows.annotate(
        offered=Count("offers", filter=Q(offers__state="published"), distinct=True),
        unsent=Count("messages", filter=Q(messages__sent_at=None, messages__refusal__isnull=True), distinct=True),
    ).prefetch_related(Prefetch("agreements", Agreement.objects.filter(state__in=["accepted", "proposed"]), "present"))
    context = {
        "section": "partners",
        "rows": paged(request, rows.order_by("-state", "name", "pk"), table=tables.PARTNERS),
        "waiting": Peer.objects.filter(
            organisation=organisation, state="pending", confirmed_at=None, kind="breakwater"
        ).order_by("created_at")[:20],
        "q": words,
        "state_wanted": state,
        "states": Peer.State.values,
        **_ourselves(),
        "invitation": identity.invitation(),
    }
    return render(request, "frontend/federation/partners.html", context)


@page
def meet(request: HttpRequest) -> HttpResponse:
    """Look who answers at an address, then confirm it by its fingerprint."""
    actor = managing(request)[0]
    form, status, found = MeetForm(request.POST or None), 200, None
    confirming = FingerprintForm(request.POST if "fingerprint" in request.POST else None)
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                found = meeting.look(form.cleaned_data["url"], actor=actor)
            except BreakwaterError as error:
                form.blame(error)
            else:
                status = 200
        if found is not None and confirming.is_bound:
            status = 400
            if confirming.is_valid():
                try:
                    peer = meeting.introduce(found.url, fingerprint=confirming.cleaned_data["fingerprint"], actor=actor)
                except BreakwaterError as error:
                    confirming.blame(error)
                else:
                    return redirect("frontend:partner", peer.pk)
    context = {
        "section": "partners",
        "form": form,
        "found": found,
        "found_fingerprint": identity.fingerprint(found.store_id) if found else "",
        "confirming": confirming,
        "following": FollowForm(),
        **_ourselves(),
    }
    return render(request, "frontend/federation/meet.html", context, status=status)


@require_POST
@page
def follow(request: HttpRequest) -> HttpResponse:
    """Follow a store of EdgeGallery."""
    actor = managing(request)[0]
    form = FollowForm(request.POST)
    if form.is_valid():
        try:
            peer = edgegallery.add(url=form.cleaned_data["url"], name=form.cleaned_data["name"], actor=actor)
        except BreakwaterError as error:
            form.blame(error)
        else:
            return redirect("frontend:partner", peer.pk)
    context = {"section": "partners", "form": MeetForm(), "following": form, **_ourselves()}
    return render(request, "frontend/federation/meet.html", context, status=400)


@require_POST
@page
def change_key(request: HttpRequest) -> HttpResponse:
    """Change the key of this store and tell all partners."""
    actor = managing(request)[0]
    with told(request, _("This store signs with a new key now; every partner is told by the old one.")):
        meeting.change_key(actor=actor)
    return redirect("frontend:partners")


@require_GET
@page
def partner_page(request: HttpRequest, pk: Any) -> HttpResponse:
    """Show one partner."""
    return _partner(request, partner_of(request, pk), FingerprintForm())


@require_POST
@page
def confirm(request: HttpRequest, pk: Any) -> HttpResponse:
    """Confirm the fingerprint of a store that introduced itself."""
    peer, form = partner_of(request, pk), FingerprintForm(request.POST)
    if form.is_valid():
        try:
            meeting.confirm(peer, fingerprint=form.cleaned_data["fingerprint"], actor=tenancy.actor_of(request))
        except BreakwaterError as error:
            form.blame(error)
        else:
            return redirect("frontend:partner", pk)
    return _partner(request, peer, form, status=400)


def _deed(act: Callable[..., Any], done: str, question: Question) -> Callable[..., HttpResponseBase]:
    """Return the view of a step between two stores that the other one is told the reason of."""

    @require_POST
    @page
    def view(request: HttpRequest, pk: Any) -> HttpResponseBase:
        peer, actor = partner_of(request, pk), tenancy.actor_of(request)
        return answered(
            request,
            ReasonForm(request.POST),
            question,
            act=lambda reason: act(peer, actor=actor, reason=reason),
            back=reverse("frontend:partner", args=[pk]),
            done=done.format(peer=peer),
        )

    return view


REFUSE = Question(
    gettext_lazy("Refuse this store?"),
    gettext_lazy("Refuse"),
    gettext_lazy("It is told so, and may introduce itself again after a day."),
    danger=True,
)
SUSPEND = Question(
    gettext_lazy("Suspend this partner?"),
    gettext_lazy("Suspend"),
    gettext_lazy(
        "From this moment it gets nothing and we ask it for nothing. What was fetched stays. "
        "You can resume it at any time."
    ),
    danger=True,
)
END = Question(
    gettext_lazy("End the partnership?"),
    gettext_lazy("End it"),
    gettext_lazy(
        "The agreement ends for good. What was fetched stays, marked with its origin. To be partners again, both stores meet "
        "anew."
    ),
    danger=True,
)
refuse = _deed(meeting.refuse, "{peer} is refused and told so.", REFUSE)
suspend = _deed(meeting.suspend, "{peer} is suspended: nothing is exchanged any more.", SUSPEND)
end = _deed(meeting.end, "The partnership with {peer} has ended.", END)


@require_POST
@page
def resume(request: HttpRequest, pk: Any) -> HttpResponse:
    """Take a suspended partner up again."""
    peer = partner_of(request, pk)
    with told(request, say("{peer} is taken up again.", peer=peer)):
        meeting.resume(peer, actor=tenancy.actor_of(request))
    return redirect("frontend:partner", pk)


@require_POST
@page
def deliver(request: HttpRequest, pk: Any) -> HttpResponse:
    """Try again to deliver what waits."""
    peer = partner_of(request, pk)
    with told(request, _("It is tried again now.")):
        services.request_delivery(peer, actor=tenancy.actor_of(request))
    return redirect("frontend:partner", pk)


@require_POST
@page
def sync(request: HttpRequest, pk: Any) -> HttpResponse:
    """Look now what the partner offers."""
    peer, actor = partner_of(request, pk), tenancy.actor_of(request)
    with told(request, _("{partner} is asked now; its offers are here in a moment.").format(partner=peer)):
        if peer.kind == edgegallery.KIND:
            edgegallery.request_list(peer, actor=actor)
        else:
            recommendations.port(recommendations.SYNC)(peer, actor=actor)
    back = "partner-offers" if request.POST.get("back") == "offers" else "partner"
    return redirect(f"frontend:{back}", pk)


def _partner(request: HttpRequest, peer: Peer, form: FingerprintForm, status: int = 200) -> HttpResponse:
    unsent = list(
        OutMessage.objects.filter(peer=peer).filter(Q(sent_at=None) | Q(refusal__isnull=False)).order_by("-id")[:10]
    )
    states = dict(RemoteRelease.objects.filter(peer=peer).values_list("state").annotate(Count("pk")))
    agreement = peer.agreement()
    context = frame(
        peer,
        "overview",
        form=form,
        fingerprint=identity.fingerprint(peer.store_id),
        agreement=agreement,
        agreed=agreement.read() if agreement else None,
        proposals=peer.agreements.filter(state="proposed").count() if agreement is None else 0,
        offered=states.get("published", 0),
        unsent=[each for each in unsent if each.refusal is None],
        refused=[each for each in unsent if each.refusal is not None],
        can_sync=peer.kind == edgegallery.KIND or recommendations.can(recommendations.SYNC),
        strange=identity.fingerprint(peer.acquaintance.strange_key) if getattr(peer, "acquaintance", None) else "",
        must_confirm=peer.state == "pending" and peer.confirmed_at is None,
        **_ourselves(),
    )
    return render(request, "frontend/federation/partner.html", context, status=status)


def _ourselves() -> dict[str, Any]:
    mine = identity.ours()
    return {"ours": mine, "our_fingerprint": identity.fingerprint(mine.store_id)}
