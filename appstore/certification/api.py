"""Certification over HTTP: suites, profiles, runs and the decisions of people."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from appstore.certification import deciding, junit, profiles, sandboxes, services, suites
from appstore.certification.api_certificates import attached
from appstore.certification.models import LEVELS, CheckResult, Evidence, Run, Suite
from appstore.packages import blobs
from appstore.packages.models import Package
from core.accounts import access
from core.errors import BreakwaterError, Invalid, Missing
from core.http import ApiView, organisation_for, paginated, problem_response, request_actor, sse
from core.live.hub import Topic
from core.operations.models import Operation
from core.words import say


class SuiteOut(serializers.ModelSerializer[Suite]):
    """A suite with its checks."""

    class Meta:
        model = Suite
        fields = ["name", "version", "title", "digest", "builtin", "checks", "created_at"]


class ResultOut(serializers.ModelSerializer[CheckResult]):
    """One check of a run."""

    name = serializers.CharField(source="check_name")
    title = serializers.SerializerMethodField()
    kind = serializers.SerializerMethodField()
    group = serializers.SerializerMethodField()
    version = serializers.SerializerMethodField()

    class Meta:
        model = CheckResult
        fields = [
            "name", "title", "kind", "group", "version", "suites", "options", "outcome", "findings", "seconds", "note",
            "percent", "doing", "carried_from", "answers", "decided_at",
        ]  # fmt: skip

    def get_title(self, row: CheckResult) -> str:
        return str(row.described.get("title", ""))

    def get_kind(self, row: CheckResult) -> str:
        return str(row.described.get("kind", ""))

    def get_group(self, row: CheckResult) -> str:
        return str(row.described.get("group", ""))

    def get_version(self, row: CheckResult) -> str:
        return str(row.described.get("version", ""))


class RunOut(serializers.ModelSerializer[Run]):
    """A run without its results."""

    suites = serializers.JSONField(source="wanted")
    certificate = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = [
            "id", "package", "sha256", "state", "suites", "verdict", "level", "levels", "reasons", "problem",
            "environment", "walls", "node_id", "created_at", "started_at", "finished_at", "certificate",
        ]  # fmt: skip

    @extend_schema(responses=OpenApiTypes.UUID)
    def get_certificate(self, run: Run) -> UUID | None:
        found = getattr(run, "certificate", None)
        return found.pk if found else None


class RunWithResults(RunOut):
    """A run with its results."""

    results = ResultOut(many=True)

    class Meta(RunOut.Meta):
        fields = [*RunOut.Meta.fields, "results"]


class StartIn(serializers.Serializer[Any]):
    """What is to be certified, and how."""

    package = serializers.UUIDField()
    suites = serializers.ListField(child=serializers.CharField(max_length=60), required=False, max_length=12)
    node = serializers.CharField(max_length=64, required=False, allow_blank=True, default="")
    fresh = serializers.BooleanField(default=False)


class DecideIn(serializers.Serializer[Any]):
    """The decision of a manual check; files are given on its page."""

    passed = serializers.BooleanField()
    answers = serializers.DictField(default=dict)
    note = serializers.CharField(max_length=1000, allow_blank=True, default="")


class ProfileIn(serializers.Serializer[Any]):
    """What an organisation demands; members that are not given stay as they are."""

    suites = serializers.ListField(child=serializers.CharField(max_length=60), required=False)
    levels = serializers.DictField(required=False)
    options = serializers.DictField(required=False)
    values = serializers.DictField(required=False)
    publish_level = serializers.ChoiceField(choices=["", *LEVELS], required=False)
    deploy_level = serializers.ChoiceField(choices=["", *LEVELS], required=False)
    import_level = serializers.ChoiceField(choices=["", *LEVELS], required=False)
    valid_days = serializers.IntegerField(required=False)


def runs() -> QuerySet[Run]:
    """Return the runs with what their JSON needs."""
    return Run.objects.select_related("certificate", "package")


class SuitesView(ApiView):
    """The newest version of every suite."""

    permission_required = "packages.read"

    @extend_schema(responses=SuiteOut(many=True))
    def get(self, request: Request) -> Response:
        """List suites with their checks and options."""
        organisation_for(request, self.permission)
        suites.ensure_builtin()
        return Response(SuiteOut(suites.all_newest(), many=True).data)


class SandboxOut(serializers.Serializer[Any]):
    """A node that an organisation lends for trials."""

    id = serializers.CharField()
    name = serializers.CharField()
    engine = serializers.CharField()
    simulated = serializers.BooleanField(help_text="nothing real runs there")


class NodesView(ApiView):
    """Nodes on which live checks may run."""

    permission_required = "certification.run"

    @extend_schema(responses=SandboxOut(many=True))
    def get(self, request: Request) -> Response:
        """List the sandbox nodes of an organisation."""
        return Response(sandboxes.nodes(organisation_for(request, self.permission).pk))


class RunsView(ApiView):
    """Runs of one's own organisations."""

    permission_required = {"GET": "packages.read", "POST": "certification.run"}

    @extend_schema(parameters=[OpenApiParameter("package", OpenApiTypes.UUID)], responses=RunOut(many=True))
    def get(self, request: Request) -> Response:
        """List runs, newest first."""
        rows = access.scoped(runs(), self.actor, self.permission)
        package = request.GET.get("package")
        if package:
            try:
                rows = rows.filter(package_id=UUID(package))
            except ValueError:
                raise Invalid(say("package must be an id"), field="package") from None
        return paginated(self, rows, lambda found: RunOut(found, many=True).data)

    @extend_schema(request=StartIn, responses={202: RunWithResults})
    def post(self, request: Request) -> Response:
        """Certify a package; the run goes on in a worker (202)."""
        said = StartIn(data=request.data)
        said.is_valid(raise_exception=True)
        wanted = said.validated_data
        package = Package.objects.visible_to(self.actor).filter(pk=wanted["package"]).first()
        if package is None:
            raise Missing(say("There is no such package, or you may not see it."))
        run = services.start(
            package,
            actor=self.actor,
            wanted=wanted.get("suites", []),
            node_id=wanted["node"],
            fresh=wanted["fresh"],
        )
        return Response(RunWithResults(run).data, status.HTTP_202_ACCEPTED)


class RunView(ApiView):
    """One run."""

    permission_required = "packages.read"

    @extend_schema(responses=RunWithResults)
    def get(self, request: Request, pk: UUID) -> Response:
        """Return a run with the result of each check."""
        return Response(RunWithResults(access.get(runs(), self.actor, self.permission, pk)).data)


class CancelView(ApiView):
    """Stop a run."""

    permission_required = "certification.run"

    @extend_schema(request=None, responses=RunWithResults)
    def post(self, request: Request, pk: UUID) -> Response:
        """Stop the run; its checks are ended at once."""
        run = access.get(runs(), self.actor, self.permission, pk)
        return Response(RunWithResults(services.cancel(run, actor=self.actor)).data)


class DecideView(ApiView):
    """A manual check."""

    permission_required = "certification.decide"

    @extend_schema(request=DecideIn, responses=ResultOut)
    def post(self, request: Request, pk: UUID, name: str) -> Response:
        """Decide a manual check; 403 for whoever uploaded the package."""
        run = access.get(runs(), self.actor, self.permission, pk)
        row = run.results.filter(check_name=name).first()
        if row is None:
            raise Missing(say("This run has no such check."))
        said = DecideIn(data=request.data)
        said.is_valid(raise_exception=True)
        return Response(ResultOut(deciding.decide(row, actor=self.actor, **said.validated_data)).data)


class EvidenceView(ApiView):
    """A file that was given as evidence."""

    permission_required = "packages.read"

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: UUID, evidence: UUID) -> HttpResponseBase:
        """Download it; never shown inside a page of ours."""
        run = access.get(runs(), self.actor, self.permission, pk)
        kept = Evidence.objects.filter(pk=evidence, result__run=run).first()
        if kept is None or not blobs.path_of(kept.blob_id).exists():
            raise Missing(say("There is no such file."))
        file = blobs.path_of(kept.blob_id).open("rb")
        response = FileResponse(
            file, as_attachment=True, filename=kept.filename, content_type="application/octet-stream"
        )
        response["X-Content-Type-Options"] = "nosniff"
        return response


class JUnitView(ApiView):
    """A run as a JUnit file."""

    permission_required = "packages.read"

    @extend_schema(responses={(200, "application/xml"): OpenApiTypes.STR})
    def get(self, request: Request, pk: UUID) -> HttpResponse:
        """Return the JUnit file."""
        run = access.get(runs(), self.actor, self.permission, pk)
        return attached(
            junit.document(run, run.results.all()), f"certification-{str(run.pk)[:8]}.xml", "application/xml"
        )


class ProfileView(ApiView):
    """What an organisation demands."""

    permission_required = {"GET": "packages.read", "PUT": "certification.manage"}

    @extend_schema(responses=ProfileIn)
    def get(self, request: Request) -> Response:
        """Return the profile in force."""
        return Response(profiles.of(organisation_for(request, self.permission).pk))

    @extend_schema(request=ProfileIn, responses=ProfileIn)
    def put(self, request: Request) -> Response:
        """Change it; what ran already is not judged again."""
        organisation = organisation_for(request, self.permission)
        said = ProfileIn(data=request.data)
        said.is_valid(raise_exception=True)
        suites.ensure_builtin()
        profiles.save(organisation, actor=self.actor, **said.validated_data)
        return Response(profiles.of(organisation.pk))


def stream(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """Follow a run as server-sent events: what changed, until it is over or waits for people."""
    try:
        actor = request_actor(request)
        access.get(Run.objects.all(), actor, "packages.read", pk)
    except BreakwaterError as error:
        return problem_response(error, request)

    def look() -> dict[str, Any] | None:
        run = Run.objects.filter(pk=pk).first()
        if run is None:
            return None
        rows = list(run.results.values_list("check_name", "outcome", "percent"))
        operation = Operation.objects.about(services.target_of(run)).first()
        over = run.ended or run.state == Run.State.WAITING or (operation is not None and operation.finished)
        return {
            "state": run.state,
            "ended": sum(bool(outcome) for _, outcome, _ in rows),
            "checks": len(rows),
            "progress": {name: percent for name, outcome, percent in rows if not outcome},
            "level": run.level,
            "finished": over,
        }

    return sse(request, Topic("certification", pk, look), actor)
