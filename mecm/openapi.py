"""Examples of the OpenAPI document for what is asked most, and the groups of its operations.

A test compares each example with the schema that it stands at.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_PACKAGE, _NODE, _DEPLOYMENT = (
    "0f8b1c1e-5a07-4a55-9d0e-7a4e6a1f3b10",
    "5f1d9a3c-2b57-4f0d-8a39-0c2f6e8d4b71",
    "b3c7e2d4-91aa-4c56-8f21-6d5e4f3a2b19",
)
_OPERATION, _RUN = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "d94f3f01-6a1b-4f64-9c1c-1f6f0f8a2c55"
_AT = "2026-11-24T09:30:00Z"
_OPERATION_OUT: dict[str, Any] = {
    "id": _OPERATION,
    "kind": "package.check",
    "target": f"package:{_PACKAGE}",
    "state": "running",
    "percent": 40,
    "note": "reading the chart",
    "attempts": 1,
    "cancel_requested": False,
    "problem": None,
    "requested_by": "harbour-operator",
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": None,
}
_NODE_REF = {"id": _NODE, "name": "berth-7", "state": "online", "engine": "docker", "link": "agent"}
_PACKAGE_REF = {
    "id": _PACKAGE,
    "name": "positioning",
    "version": "1.1.0",
    "provider": "Harbour Apps",
    "state": "published",
    "state_reason": "",
    "successor": None,
}
_DEPLOYMENT_OUT: dict[str, Any] = {
    "id": _DEPLOYMENT,
    "organisation": "harbour",
    "node": _NODE_REF,
    "package": _PACKAGE_REF,
    "name": "positioning",
    "namespace": "t-harbour",
    "generation": 2,
    "observed_generation": 1,
    "wish": "present",
    "state": "progressing",
    "reason": "",
    "message": "",
    "app_instance_id": "2f0c7a4e-33d1-4b8c-9a58-5d7e8c1b6f02",
    "cpu_millis": 500,
    "memory_bytes": 268435456,
    "storage_bytes": 0,
    "created_at": _AT,
    "updated_at": _AT,
    "reported_at": _AT,
    "removed_at": None,
    "abandoned_at": None,
    "abandoned_by": None,
    "values": {"replicas": 2},
    "revision": 7,
    "workloads": [],
    "endpoints": [],
}
_ORGANISATION = {"id": "9b2f4c1d-7e3a-4d5b-8c6f-1a2b3c4d5e6f", "slug": "harbour", "name": "Harbour Edge"}

#: Request and answer by operation id.
EXAMPLES: dict[str, dict[str, Any]] = {
    "device_authorization_create": {
        "request": {"client_id": "breakwater-cli", "client_name": "breakwater on quay-pc", "scope": "nodes.read"},
        "answer": {
            "device_code": "b1Zt3x0YwqkD5cRr4mF2Jv8nQpLs6HgTAe9uXyKiOoM",
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://store.example/device",
            "verification_uri_complete": "https://store.example/device?user_code=WDJB-MJHT",
            "expires_in": 600,
            "interval": 5,
        },
    },
    "packages_check_create": {"answer": _OPERATION_OUT},
    "packages_publish_create": {"request": {"visibility": "public"}},
    "packages_deprecate_create": {"request": {"reason": "1.1.0 answers faster", "successor": _PACKAGE}},
    "packages_yank_create": {"request": {"reason": "It looks up the wrong zone", "successor": None}},
    "operations_retrieve": {"answer": _OPERATION_OUT},
    "operations_cancel_create": {"answer": {**_OPERATION_OUT, "cancel_requested": True}},
    "operations_retry_create": {"answer": {**_OPERATION_OUT, "state": "pending", "percent": 0, "attempts": 0}},
    "nodes_create": {
        "request": {
            "name": "berth-7",
            "engine": "docker",
            "link": "agent",
            "labels": {"dock": "north"},
            "latitude": 60.155,
            "longitude": 24.92,
            "organisation": "harbour",
        }
    },
    "nodes_partial_update": {"request": {"labels": {"dock": "south"}, "cpu_millis": 8000}},
    "nodes_enrolment_tokens_create": {
        "answer": {"join": "bwj1.eyJ1cmwiOiJodHRwczovL3N0b3JlLmV4YW1wbGUifQ", "expires_at": _AT}
    },
    "nodes_probe_create": {"answer": {"operation": _OPERATION}},
    "deployments_plan_create": {
        "request": {"package": _PACKAGE, "nodes": [_NODE], "values": {"replicas": 2}},
        "answer": {
            "fits": 0,
            "results": [
                {
                    "node": _NODE_REF,
                    "fits": False,
                    "reasons": [{"code": "memory", "message": "it needs 256 MiB of memory and 128 MiB are free"}],
                    "remarks": [],
                }
            ],
        },
    },
    "deployments_create": {
        "request": {"package": _PACKAGE, "node": _NODE, "name": "positioning", "values": {"replicas": 2}},
        "answer": {**_DEPLOYMENT_OUT, "generation": 1, "observed_generation": 0, "state": "pending"},
    },
    "deployments_retrieve": {"answer": {**_DEPLOYMENT_OUT, "observed_generation": 2, "state": "ready"}},
    "deployments_partial_update": {"request": {"package": _PACKAGE}, "answer": _DEPLOYMENT_OUT},
    "deployments_rollback_create": {"request": {"revision": 1}, "answer": {**_DEPLOYMENT_OUT, "generation": 3}},
    "deployments_destroy": {"answer": {**_DEPLOYMENT_OUT, "wish": "absent", "state": "removing"}},
    "deployments_logs_retrieve": {
        "answer": {
            "lines": [{"at": _AT, "pod": "positioning-0", "container": "app", "text": "ready to answer"}],
            "reported_at": _AT,
            "watching_until": 1795512630.5,
        }
    },
    "certification_runs_create": {"request": {"package": _PACKAGE, "suites": ["static-full"], "fresh": False}},
    "certification_runs_checks_decide_create": {
        "request": {
            "passed": True,
            "note": "The operator reached the support desk.",
            "answers": {"contact": "desk@harbour.example"},
        }
    },
    "certificates_verify_create": {
        "request": {"envelope": {"payloadType": "application/json", "payload": "e30=", "signatures": []}, "sha256": ""},
        "answer": {
            "valid": False,
            "reason": "It is not signed by a lab that this store trusts.",
            "level": "",
            "lab": "",
            "sha256": "",
            "valid_until": "",
            "simulated": False,
        },
    },
    "organisations_create": {
        "request": {"slug": "harbour", "name": "Harbour Edge"},
        "answer": {**_ORGANISATION, "created_at": _AT},
    },
    "organisations_members_create": {"request": {"username": "harbour-operator", "role": "developer"}},
    "tokens_create": {"request": {"name": "pipeline", "scopes": ["packages.write"], "expires_at": None}},
    "recall_issue": {
        "request": {
            "packages": [_PACKAGE],
            "reason": "It tells positions to everybody",
            "severity": "high",
            "action": "stop",
            "advice": "Go to 1.1.0",
        }
    },
}

TAGS = {
    "session": "Who is signed in.",
    "device": "Sign-in of programs by a code (RFC 8628).",
    "tokens": "API tokens of programs.",
    "organisations": "Tenants, their people and roles.",
    "catalogue": "Applications, their releases, reviews and followers.",
    "feedback": "Reviews: answers and moderation.",
    "notices": "What happened to applications that one follows.",
    "webhooks": "Signed messages to other servers.",
    "packages": "From an uploaded file to a release, and what becomes of it.",
    "uploads": "Files that come in parts, by the tus protocol.",
    "reviews": "Packages that a second person looks at.",
    "release-policy": "When a second person must look.",
    "recalls": "Recalled releases.",
    "certification": "Runs, suites, profiles and labs.",
    "certificates": "What a certification ends with.",
    "trust": "Whose signatures count.",
    "federation": "Partner stores; most of it is what stores say to each other.",
    "nodes": "Edge nodes and clusters.",
    "geo": "Nodes on the map.",
    "deployments": "What should run where, and what does.",
    "operations": "Long work.",
    "rollouts": "One release for many nodes, wave by wave.",
    "sandbox": "Test deployments on sandbox nodes.",
    "sites": "Places of the network, the areas that they serve, and the nodes that stand there.",
    "site-links": "Connections between sites.",
    "map": "Sites and nodes as maps read them.",
    "alarms": "What is wrong in the fleet.",
    "fleet": "The fleet as a whole, live.",
    "figures": "How the fleet was over time.",
    "sessions": "Where one is signed in.",
    "audit": "Who did what.",
    "edge": "What edge nodes fetch.",
    "enrol": "How a machine becomes a node.",
}


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add the examples and the groups to the document."""
    used = set()
    for path in result["paths"].values():
        for operation in path.values():
            used |= set(operation["tags"])
            given = EXAMPLES.get(operation["operationId"], {})
            if "request" in given:
                for content in operation["requestBody"]["content"].values():
                    content["example"] = given["request"]
            if "answer" in given:
                good = next(code for code in operation["responses"] if code.startswith("2"))
                operation["responses"][good]["content"]["application/json"]["example"] = given["answer"]
    result["tags"] = [{"name": name, "description": text} for name, text in TAGS.items() if name in used]
    return result


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document; made once a process, because it takes seconds. It is read, never changed."""
    from drf_spectacular.generators import SchemaGenerator  # it reads the URL table, which imports us

    return dict(SchemaGenerator().get_schema(request=None, public=True))


class Kept:
    """Answers with the document that the process keeps, where drf-spectacular would make one for each request."""

    def __init__(self, **_: Any) -> None:
        """Take what the view tells of versions and urls; there is one of each."""

    def get_schema(self, **_: Any) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return document()
