"""The life of a release over HTTP: each deed is a POST below the package, with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.packages import life
from appstore.packages.api import PackageOut, answer, rows
from appstore.packages.models import Package
from core.accounts import access
from core.accounts.access import Actor
from core.errors import Invalid, Missing
from core.http import ApiView
from core.words import say


class ReasonIn(serializers.Serializer[Any]):
    """Why."""

    reason = serializers.CharField(max_length=500)


class MayReasonIn(serializers.Serializer[Any]):
    """Why, if there is anything to say."""

    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class AdviceIn(ReasonIn):
    """Why, and what to take instead."""

    successor = serializers.UUIDField(required=False, allow_null=True, default=None)


class VisibilityIn(MayReasonIn):
    """Who shall see the release."""

    visibility = serializers.ChoiceField(Package.Visibility.choices)


class NotesIn(serializers.Serializer[Any]):
    """Notes of the publisher, as Markdown."""

    notes = serializers.CharField(max_length=life.MOST_NOTES, allow_blank=True)


class _Deed(ApiView):
    """One deed of the publisher; `deed` gets the package, the actor and what was sent."""

    permission_required = "packages.publish"
    form: ClassVar[type[serializers.Serializer[Any]]] = MayReasonIn
    deed: ClassVar[Callable[..., Package]]

    def post(self, request: Request, pk: UUID) -> Response:
        """Do it, and return the package as it is then."""
        return self.done(request, access.get(rows(), self.actor, self.permission, pk))

    def done(self, request: Request, package: Package) -> Response:
        """Read what was sent, do the deed, answer."""
        said = self.form(data=request.data)
        said.is_valid(raise_exception=True)
        given = dict(said.validated_data)
        if "successor" in given:
            given["successor"] = successor_of(self.actor, given["successor"])
        return answer(type(self).deed(package, actor=self.actor, **given), self.actor)


@extend_schema(request=AdviceIn, responses=PackageOut)
class DeprecateView(_Deed):
    """Advise against a release; it stays deployable."""

    form, deed = AdviceIn, staticmethod(life.deprecate)


@extend_schema(request=MayReasonIn, responses=PackageOut)
class UndeprecateView(_Deed):
    """Recommend a release again."""

    deed = staticmethod(life.undeprecate)


@extend_schema(request=AdviceIn, responses=PackageOut)
class YankView(_Deed):
    """Take a release out of the catalogue; what runs keeps running. `withdraw` is the older name of this path."""

    form, deed = AdviceIn, staticmethod(life.yank)


@extend_schema(request=MayReasonIn, responses=PackageOut)
class UnyankView(_Deed):
    """Put a yanked release back."""

    deed = staticmethod(life.unyank)


@extend_schema(request=VisibilityIn, responses=PackageOut)
class VisibilityView(_Deed):
    """Change who sees a release."""

    form, deed = VisibilityIn, staticmethod(life.show_to)


@extend_schema(request=NotesIn, responses=PackageOut)
class NotesView(_Deed):
    """Change the publisher's notes; 409 once the time for late changes is over."""

    form, deed = NotesIn, staticmethod(life.annotate)


class _ByReviewers(_Deed):
    """A deed of those who review: of the package's organisation, or of the one that runs the store."""

    permission_required = "packages.review"
    form = ReasonIn

    def post(self, request: Request, pk: UUID) -> Response:
        """Do it, and return the package as it is then."""
        package = rows().filter(pk=pk).first()
        if package is None:
            raise Missing(say("There is no such object, or you may not see it."))
        life.stands(self.actor, self.permission, package)
        return self.done(request, package)


@extend_schema(request=ReasonIn, responses=PackageOut)
class QuarantineView(_ByReviewers):
    """Hold a release: nobody deploys it until it is set free or recalled."""

    deed = staticmethod(life.quarantine)


@extend_schema(request=ReasonIn, responses=PackageOut)
class UnquarantineView(_ByReviewers):
    """Set a release free."""

    deed = staticmethod(life.unquarantine)


def successor_of(actor: Actor, pk: Any) -> Package | None:
    """Return the package that is named as successor; `Invalid` when the actor sees none."""
    if pk is None:
        return None
    found: Package | None = Package.objects.visible_to(actor).filter(pk=pk).first()
    if found is None:
        raise Invalid(say("There is no such successor"), errors=[{"field": "successor", "detail": say("is not known")}])
    return found
