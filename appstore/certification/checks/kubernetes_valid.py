"""Check `kubernetes-valid`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from appstore.certification.checks import _support as support
from appstore.certification.contract import Check, Option, Part, Progress, Subject, Tools
from core.findings import Finding
from core.words import say


class KubernetesValid(Check):
    """Every object is valid for each Kubernetes version that the operator runs, by its published schemas."""

    name = "kubernetes-valid"
    title = say("Objects are valid Kubernetes")
    reason = say("A misspelled member is dropped silently, and what it should do is not done.")
    group = "quality"
    parts: ClassVar[frozenset[Part]] = frozenset({Part.CHART})
    options = (
        Option("versions", ["1.35"], "Kubernetes versions, such as 1.35"),
        Option("strict", True, "members that the schema does not know are errors"),
    )

    def run(self, subject: Subject, options: Mapping[str, Any], tools: Tools) -> Iterator[Finding | Progress]:
        import kubernetes_validate

        versions = [str(each) for each in options["versions"]] or [_newest()]
        for version in versions:
            for each in support.manifests(tools):
                place = f"{each.kind}/{each.name}"
                try:
                    kubernetes_validate.validate(dict(each.body), version, strict=bool(options["strict"]))
                except kubernetes_validate.ValidationError as problem:
                    message = say(
                        "Kubernetes {version}: {message}", version=version, message=str(problem.message)[:300]
                    )
                    where = ".".join(str(part) for part in problem.path)
                    yield support.error("kubernetes-invalid", f"{place}: {where}"[:200], message, say("Correct it"))
                except kubernetes_validate.SchemaNotFoundError:
                    yield support.warning(
                        "kind-unknown",
                        place,
                        say(
                            "Kubernetes {version} has no {api_version} {kind}",
                            version=version,
                            api_version=each.api_version,
                            kind=each.kind,
                        ),
                    )
                except kubernetes_validate.InvalidSchemaError:
                    yield support.info(
                        "kind-not-judged", place, say("There is no usable schema of {kind}", kind=each.kind)
                    )


def _newest() -> str:
    import kubernetes_validate

    return str(kubernetes_validate.latest_version())
