"""Accounts over HTTP."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout
from django.middleware.csrf import get_token
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from core.accounts import access, services
from core.accounts.models import ApiToken, Membership, Organisation, Role
from core.errors import Denied, Missing, Unauthenticated
from core.http import ApiView, JsonParser, organisation_for, paginated
from core.sign_in import factors
from core.sign_in import services as sign_in
from core.words import say


class SignIn(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=400, trim_whitespace=False, write_only=True)
    code = serializers.CharField(
        max_length=40, required=False, default="", write_only=True, help_text="of the second factor, for who has one"
    )


class OrganisationOut(serializers.ModelSerializer[Organisation]):
    class Meta:
        model = Organisation
        fields = ["id", "slug", "name", "created_at"]


class OrganisationIn(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=40)
    name = serializers.CharField(max_length=120)


class Me(serializers.Serializer[Any]):
    username = serializers.CharField()
    organisations = serializers.ListField(child=serializers.DictField())
    csrf = serializers.CharField()


class TokenIn(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(child=serializers.CharField(max_length=40), required=False, default=list)
    organisation = serializers.CharField(required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class TokenOut(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = [
            "id",
            "name",
            "hint",
            "scopes",
            "organisation",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
        ]


class TokenMade(TokenOut):
    token = serializers.CharField(read_only=True, help_text="the token itself, shown this once")

    class Meta(TokenOut.Meta):
        fields = [*TokenOut.Meta.fields, "token"]


class MembershipOut(serializers.ModelSerializer[Membership]):
    username = serializers.CharField(source="user.username")

    class Meta:
        model = Membership
        fields = ["id", "username", "role", "created_at"]


class MembershipIn(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(choices=Role.choices)


def me(view: ApiView) -> dict[str, Any]:
    """Return who asks, with roles and permissions by organisation, and the CSRF token for their session."""
    actor = view.actor
    mine = Organisation.objects.filter(pk__in=actor.roles)
    return {
        "username": actor.user.username if actor.user else "",
        "organisations": [
            {
                **OrganisationOut(row).data,
                "roles": sorted(actor.roles[row.pk]),
                "permissions": sorted(actor.permissions(row.pk)),
            }
            for row in mine
        ],
        "csrf": get_token(view.request._request),
    }


@method_decorator(sensitive_post_parameters("password", "code"), name="dispatch")
class SessionView(ApiView):
    """Sign in, see who one is, sign out."""

    public = True
    # No forms: any site can send one, and would sign its visitors in as somebody else.
    parser_classes = [JsonParser]

    @extend_schema(responses=Me)
    def get(self, request: Request) -> Response:
        """Return who is signed in; 401 when nobody is."""
        if not self.actor.authenticated:
            raise Unauthenticated(say("Nobody is signed in."))
        return Response(me(self))

    @extend_schema(request=SignIn, responses={200: Me})
    def post(self, request: Request) -> Response:
        """Sign in with name and password, and the code of the second factor; the answer sets the session cookie."""
        wanted = SignIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        facts = wanted.validated_data
        code = facts.pop("code")
        http, address = request._request, sign_in.address_of(request._request)
        user = services.sign_in(http, address=address, **facts)
        missing = sign_in.admit(http, user, how="password")
        if missing == "enrol":
            http.session.flush()
            raise Denied(
                say(
                    "Your organisation wants a second factor, and you have none yet. Sign in at the "
                    "portal to set it up."
                )
            )
        if missing and not code:
            http.session.flush()
            raise Unauthenticated(say("Send the code of your second factor as well."), field="code")
        if missing:
            sign_in.complete(http, by=factors.verify(user, code, address=address))
        self.actor = access.Actor(user)
        return Response(me(self))

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Sign out."""
        logout(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class OrganisationsView(ApiView):
    """The organisations of the one who asks."""

    @extend_schema(responses=OrganisationOut(many=True))
    def get(self, request: Request) -> Response:
        """List the organisations that one is a member of."""
        mine = Organisation.objects.filter(pk__in=self.actor.roles)
        return paginated(self, mine, lambda rows: OrganisationOut(rows, many=True).data)

    @extend_schema(request=OrganisationIn, responses={201: OrganisationOut})
    def post(self, request: Request) -> Response:
        """Found an organisation; one becomes its administrator."""
        wanted = OrganisationIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        made = services.found_organisation(actor=self.actor, **wanted.validated_data)
        return Response(OrganisationOut(made).data, status.HTTP_201_CREATED)


class MembersView(ApiView):
    """The people of one organisation."""

    def _organisation(self, pk: Any, permission: str) -> Organisation:
        self.actor.require(permission, pk)
        return Organisation.objects.get(pk=pk)

    @extend_schema(responses=MembershipOut(many=True))
    def get(self, request: Request, pk: Any) -> Response:
        """List members and their roles."""
        organisation = self._organisation(pk, "packages.read")
        rows = Membership.objects.filter(organisation=organisation).select_related("user")
        return paginated(self, rows, lambda page: MembershipOut(page, many=True).data)

    @extend_schema(request=MembershipIn, responses={201: MembershipOut})
    def post(self, request: Request, pk: Any) -> Response:
        """Give another role to a member, or one to a member of another organisation of yours; others are invited."""
        organisation = self._organisation(pk, "accounts.manage")
        wanted = MembershipIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        made = services.give_role(organisation, actor=self.actor, **wanted.validated_data)
        return Response(MembershipOut(made).data, status.HTTP_201_CREATED)


class MemberView(ApiView):
    """One role of one member."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: Any, membership: int) -> Response:
        """Take the role away."""
        self.actor.require("accounts.manage", pk)
        row = (
            Membership.objects.filter(organisation_id=pk, pk=membership).select_related("organisation", "user").first()
        )
        if row is None:
            raise Missing(say("There is no such membership."))
        services.withdraw_role(row, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)


class TokensView(ApiView):
    """One's own API tokens."""

    @extend_schema(responses=TokenOut(many=True))
    def get(self, request: Request) -> Response:
        """List one's tokens; the tokens themselves are not shown again."""
        rows = ApiToken.objects.filter(user=self.actor.user)
        if self.actor.token is not None and self.actor.token.organisation_id:
            rows = rows.filter(organisation=self.actor.token.organisation_id)
        return paginated(self, rows, lambda page: TokenOut(page, many=True).data)

    @extend_schema(request=TokenIn, responses={201: TokenMade})
    def post(self, request: Request) -> Response:
        """Make a token; the answer is the only time that it is shown."""
        wanted = TokenIn(data=request.data)
        wanted.is_valid(raise_exception=True)
        facts = wanted.validated_data
        organisation = organisation_for(request, "packages.read") if facts.pop("organisation", None) else None
        assert self.actor.user is not None
        token, secret = services.issue_token(self.actor.user, actor=self.actor, organisation=organisation, **facts)
        return Response({**TokenOut(token).data, "token": secret}, status.HTTP_201_CREATED)


class TokenView(ApiView):
    """One API token."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: Any) -> Response:
        """Revoke the token; it opens nothing from now on."""
        token = ApiToken.objects.filter(pk=pk, user=self.actor.user).first()
        if token is None:
            raise Missing(say("There is no such token, or it is not yours."))
        services.revoke_token(token, actor=self.actor)
        return Response(status=status.HTTP_204_NO_CONTENT)
