"""What TS 29.522, TS 29.514 and TS 29.571 (Rel-17) demand of the bodies that an AF sends, in our own compact words.

Everything that we do not send is left out, and unknown members are refused, so that a slip of the pen is seen.
"""

from __future__ import annotations

from typing import Any

import jsonschema

TEXT = {"type": "string", "minLength": 1}
FLAG = {"type": "boolean"}
URI = {"type": "string", "pattern": "^https?://[^/]+/"}
FEATURES = {"type": "string", "pattern": "^[0-9A-Fa-f]+$"}
IPV4 = {"type": "string", "pattern": r"^(\d{1,3}\.){3}\d{1,3}$"}
IPV6 = {"type": "string", "pattern": "^[0-9a-f:]*:[0-9a-f:]*$"}
SIDE = r"(any|[0-9a-f.:]+(/\d{1,3})?)( \d{1,5}(-\d{1,5})?)?"
#: IPFilterRule as far as TS 29.214 5.3.8 allows it; a protocol is a number (RFC 6733 4.3.1) or what peers took instead.
FLOW = {"type": "string", "pattern": rf"^permit (in|out) (ip|\d{{1,3}}|udp|tcp|sctp) from {SIDE} to {SIDE}$"}
PAIR = {"type": "array", "items": FLOW, "minItems": 1, "maxItems": 2}


def thing(required: tuple[str, ...] = (), **members: Any) -> dict[str, Any]:
    """Return the schema of an object with these members and no others."""
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": False}


def exactly_one(*names: str) -> dict[str, Any]:
    """Return the condition that one of these members is there and no second."""
    return {"oneOf": [{"required": [name]} for name in names]}


def optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that also takes null, as in a merge patch."""
    return {"anyOf": [schema, {"type": "null"}]}


SNSSAI = thing(("sst",), sst={"type": "integer", "minimum": 0, "maximum": 255}, sd={"pattern": "^[0-9A-Fa-f]{6}$"})
ROUTE_INFO = {
    **thing(("portNumber",), ipv4Addr=IPV4, ipv6Addr=IPV6, portNumber={"type": "integer", "minimum": 0}),
    "anyOf": [{"required": ["ipv4Addr"]}, {"required": ["ipv6Addr"]}],
}
ROUTE = {
    **thing(("dnai",), dnai=TEXT, routeInfo=ROUTE_INFO, routeProfId=TEXT),
    **exactly_one("routeInfo", "routeProfId"),
}
ROUTES = {"type": "array", "items": ROUTE, "minItems": 1}

TRAFFIC_INFLUENCE = {
    **thing(
        (),
        afServiceId=TEXT,
        afAppId=TEXT,
        afTransId=TEXT,
        appReloInd=FLAG,
        dnn=TEXT,
        snssai=SNSSAI,
        ipv4Addr=IPV4,
        ipv6Addr=IPV6,
        gpsi=TEXT,
        externalGroupId={"type": "string", "pattern": "^.+@.+$"},
        anyUeInd=FLAG,
        subscribedEvents={"type": "array", "items": {"enum": ["UP_PATH_CHANGE"]}, "minItems": 1},
        dnaiChgType={"enum": ["EARLY", "LATE", "EARLY_LATE"]},
        notificationDestination=URI,
        trafficFilters={
            "type": "array",
            "minItems": 1,
            "items": thing(("flowId", "flowDescriptions"), flowId={"type": "integer"}, flowDescriptions=PAIR),
        },
        ethTrafficFilters={"type": "array", "minItems": 1},
        trafficRoutes=ROUTES,
        afAckInd=FLAG,
        suppFeat=FEATURES,
    ),
    "allOf": [
        exactly_one("afAppId", "trafficFilters", "ethTrafficFilters"),
        exactly_one("ipv4Addr", "ipv6Addr", "macAddr", "gpsi", "externalGroupId", "anyUeInd"),
        {"anyOf": [{"not": {"required": ["subscribedEvents"]}}, {"required": ["notificationDestination"]}]},
        {"anyOf": [{"required": ["afServiceId"]}, {"required": ["dnn", "snssai"]}]},
    ],
}
AF_ACK = thing(
    ("afTransId", "ackResult"),
    afTransId=TEXT,
    gpsi=TEXT,
    ackResult=thing(
        ("afStatus",),
        afStatus={"enum": ["SUCCESS", "TEMPORARY_CONGESTION", "RELOC_NO_ALLOWED", "OTHER"]},
        trafficRoute=ROUTE,
    ),
)

BANDWIDTH = {"type": "string", "pattern": r"^\d+(\.\d+)? (bps|Kbps|Mbps|Gbps|Tbps)$"}
STATUS = {"enum": ["ENABLED-UPLINK", "ENABLED-DOWNLINK", "ENABLED", "DISABLED", "REMOVED"]}
KINDS = ["AUDIO", "VIDEO", "DATA", "APPLICATION", "CONTROL", "TEXT", "MESSAGE", "OTHER"]
NUMBER = {"type": "integer", "minimum": 0, "maximum": 65535}
EVENT = thing(
    ("event",),
    event={"enum": ["SUCCESSFUL_RESOURCES_ALLOCATION", "FAILED_RESOURCES_ALLOCATION"]},
    notifMethod={"enum": ["EVENT_DETECTION", "ONE_TIME"]},
)


def media(patch: bool) -> dict[str, Any]:
    """Return the schema of medComponents; in a patch members may be null."""
    maybe = optional if patch else (lambda schema: schema)
    part = thing(
        ("fNum",),
        fNum=NUMBER,
        fDescs=maybe(PAIR),
        fStatus=STATUS,
        flowUsage={"enum": ["NO_INFO", "RTCP", "AF_SIGNALLING"]},
        tosTrCl=maybe({"type": "string", "pattern": "^[0-9A-F]{4}$"}),
    )
    parts = {"type": "object", "minProperties": 1, "additionalProperties": maybe(part)}
    component = thing(
        ("medCompN",),
        medCompN=NUMBER,
        fStatus=STATUS,
        medType={"enum": KINDS},
        marBwUl=maybe(BANDWIDTH),
        marBwDl=maybe(BANDWIDTH),
        qosReference=maybe(TEXT),
        medSubComps=parts,
    )
    return {"type": "object", "minProperties": 1, "additionalProperties": maybe(component)}


ROUTING = thing((), appReloc=FLAG, routeToLocs=ROUTES)
APP_SESSION = thing(
    ("ascReqData",),
    ascReqData={
        **thing(
            ("notifUri", "suppFeat"),
            notifUri=URI,
            suppFeat=FEATURES,
            ueIpv4=IPV4,
            ueIpv6=IPV6,
            dnn=TEXT,
            sliceInfo=SNSSAI,
            afAppId=TEXT,
            afRoutReq=ROUTING,
            evSubsc=thing(("events",), events={"type": "array", "items": EVENT, "minItems": 1}, notifUri=URI),
            medComponents=media(patch=False),
        ),
        **exactly_one("ueIpv4", "ueIpv6", "ueMac"),
    },
)
#: AppSessionContextUpdateDataPatch: whom the session is about and where it tells cannot be changed.
APP_SESSION_PATCH = thing(
    ("ascReqData",),
    ascReqData=thing((), afAppId=TEXT, afRoutReq=optional(ROUTING), medComponents=media(patch=True)),
)


def complaint(body: Any, schema: dict[str, Any]) -> str:
    """Return what is wrong with a body, empty when nothing is."""
    error = jsonschema.Draft202012Validator(schema).iter_errors(body)
    return "; ".join(f"{each.json_path}: {each.message}"[:300] for each in error)
