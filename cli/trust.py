"""`breakwater trust`: whose signatures count, and who may publish under which name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.errors import BAD_USE, Stop
from cli.show import Answer, Column, ago
from cli.wiring import ORGANISATION, REASON, Given, Organisation, Session, body_of, command, file_text, verb

app = typer.Typer(no_args_is_help=True, help="Trust lists, signature policy, publishers, the store's own authority.")
anchors = typer.Typer(no_args_is_help=True, help="Certificates that are trusted.")
publishers = typer.Typer(no_args_is_help=True, help="Who may publish under a provider's name.")
signers = typer.Typer(no_args_is_help=True, help="Signer certificates of the store's own authority.")
authority = typer.Typer(no_args_is_help=True, help="The store's own authority.")
for _inner, _name in ((anchors, "anchors"), (publishers, "publishers"), (signers, "signers"), (authority, "authority")):
    app.add_typer(_inner, name=_name)

verb(app, "policy", "GET", "/trust/policy", "Show which signatures are demanded.", query=[ORGANISATION])


@command(app, "set-policy")
def set_policy(
    session: Session,
    publish_least: Annotated[str, typer.Option(help="unsigned, unknown or trusted.")] = "",
    deploy_least: Annotated[str, typer.Option(help="unsigned, unknown or trusted.")] = "",
    import_least: Annotated[str, typer.Option(help="unsigned, unknown or trusted.")] = "",
    inherits: Annotated[bool | None, typer.Option(help="The store's trust list counts as well.")] = None,
    strict_revocation: Annotated[bool | None, typer.Option(help="Late revocation lists count as revoked.")] = None,
    domain_proofs: Annotated[bool | None, typer.Option(help="Domains prove provider names.")] = None,
    organisation: Organisation = "",
) -> Answer:
    """Say which signatures are demanded."""
    wanted = body_of(publish_least=publish_least, deploy_least=deploy_least, import_least=import_least)
    wanted |= body_of(inherits=inherits, strict_revocation=strict_revocation, domain_proofs=domain_proofs)
    if not wanted:
        raise Stop("Say what is to change.", BAD_USE)
    return Answer(session.patch("/trust/policy", json=wanted, params={"organisation": session.mine(organisation)}))


@command(app, "export")
def export(session: Session, organisation: Organisation = "") -> Answer:
    """Show the trust list as PEM."""
    params = {"organisation": session.mine(organisation)}
    pem = session.centre.send("GET", "/trust/export", params=params).text
    return Answer({"pem": pem}, say=pem)


@command(anchors, "add")
def add_anchor(
    session: Session,
    file: Annotated[str, typer.Argument(help="The certificate in PEM; - is stdin.")],
    name: Annotated[str, typer.Option(help="What it is called.")] = "",
    purpose: Annotated[str, typer.Option(help="publisher or timestamp.")] = "",
    note: Annotated[str, typer.Option(help="Why it is trusted.")] = "",
    expires_at: Annotated[str, typer.Option(help="Until when (ISO 8601).")] = "",
    organisation: Organisation = "",
) -> Answer:
    """Trust a certificate."""
    facts = body_of(name=name, purpose=purpose, note=note, expires_at=expires_at)
    facts["certificate"] = file_text(session, file, "certificate")
    return Answer(session.post("/trust/anchors", json=facts, params={"organisation": session.mine(organisation)}))


verb(anchors, "list", "GET", "/trust/anchors", "List trusted certificates.", query=[ORGANISATION],
     columns=(Column("id", "id"), Column("name", "name"), Column("purpose", "purpose"), Column("counts", "counts"),
              Column("fingerprint", "fingerprint")))  # fmt: skip
verb(anchors, "expire", "PATCH", "/trust/anchors/{anchor}", "Say until when a certificate is trusted.",
     body=[Given("expires_at", "ISO 8601.", required=True)])  # fmt: skip
verb(anchors, "revoke", "POST", "/trust/anchors/{anchor}/revoke", "Trust a certificate no longer.", body=[REASON],
     confirm="Revoke it? What it signed counts no longer.")  # fmt: skip


@command(app, "add-crl")
def add_crl(
    session: Session,
    file: Annotated[str, typer.Argument(help="The revocation list in PEM; - is stdin.")],
    organisation: Organisation = "",
) -> Answer:
    """Add a revocation list."""
    wanted = {"crl": file_text(session, file, "crl")}
    return Answer(session.post("/trust/crls", json=wanted, params={"organisation": session.mine(organisation)}))


verb(app, "crls", "GET", "/trust/crls", "List revocation lists.", query=[ORGANISATION],
     columns=(Column("id", "id"), Column("issuer", "issuer"), Column("number", "number"), Column("late", "late")))  # fmt: skip
verb(app, "distrusts", "GET", "/trust/distrusts", "List certificates that are distrusted by name.", query=[ORGANISATION],
     columns=(Column("id", "id"), Column("fingerprint", "fingerprint"), Column("reason", "reason")))  # fmt: skip
verb(app, "distrust", "POST", "/trust/distrusts", "Distrust one certificate.", query=[ORGANISATION],
     body=[Given("fingerprint", "SHA-256 in hex.", required=True), REASON])  # fmt: skip
verb(app, "undistrust", "DELETE", "/trust/distrusts/{distrust}", "Take that back.", say="Taken back.")

verb(publishers, "list", "GET", "/trust/publishers", "List claims of provider names.", query=[ORGANISATION],
     columns=(Column("id", "id"), Column("provider", "provider"), Column("method", "method"), Column("state", "state"),
              Column("problem", "problem")))  # fmt: skip
verb(publishers, "claim", "POST", "/trust/publishers", "Claim a provider's name.", query=[ORGANISATION],
     body=[Given("provider", "The name in packages.", required=True), Given("method", "key, web or dns.", required=True),
           Given("domain", "The domain that proves it.")])  # fmt: skip
verb(
    publishers,
    "confirm",
    "POST",
    "/trust/publishers/{claim}/confirm",
    "Confirm a claim by hand (the store's operator).",
)
verb(
    publishers,
    "withdraw",
    "POST",
    "/trust/publishers/{claim}/withdraw",
    "Withdraw a claim.",
    confirm="Withdraw the claim?",
)


@command(publishers, "prove")
def prove(
    session: Session,
    claim: Annotated[str, typer.Argument(metavar="CLAIM")],
    signature: Annotated[str, typer.Option(metavar="FILE", help="Signature of the challenge, for method key.")] = "",
    certificate: Annotated[str, typer.Option(metavar="FILE", help="Certificate of the key, in PEM.")] = "",
) -> Answer:
    """Prove a claim: by a signature, or by what is at the domain now."""
    wanted: dict[str, Any] = {}
    if signature:
        wanted["signature"] = file_text(session, signature, "signature")
    if certificate:
        wanted["certificate"] = file_text(session, certificate, "certificate")
    return Answer(session.post("/trust/publishers/{id}/prove", {"id": claim}, json=wanted))


verb(authority, "show", "GET", "/trust/authority", "Show the store's authority.")
verb(
    authority,
    "create",
    "POST",
    "/trust/authority",
    "Make the store's authority.",
    confirm="Make an authority of the store?",
)
verb(authority, "refresh-crl", "POST", "/trust/authority/crl", "Sign its revocation list anew.")


@command(authority, "crl")
def crl(session: Session) -> Answer:
    """Show its revocation list in PEM."""
    pem = session.centre.send("GET", "/trust/authority/crl").text
    return Answer({"pem": pem}, say=pem)


@command(signers, "issue")
def issue(
    session: Session,
    for_organisation: Annotated[str, typer.Argument(metavar="ORGANISATION", help="Who gets it (slug or id).")],
    name: Annotated[str, typer.Option(help="Name in the certificate.")] = "",
    csr: Annotated[
        str, typer.Option(metavar="FILE", help="A request in PEM; the store keeps a key when left out.")
    ] = "",
) -> Answer:
    """Issue a signer certificate."""
    facts = body_of(for_organisation=for_organisation, name=name)
    if csr:
        facts["csr"] = file_text(session, csr, "csr")
    return Answer(session.post("/trust/certificates", json=facts))


verb(signers, "list", "GET", "/trust/certificates", "List signer certificates.", query=[ORGANISATION],
     columns=(Column("id", "id"), Column("organisation", "organisation"), Column("subject", "subject"),
              Column("usable", "usable"), Column("ends", lambda row: ago(row["not_after"]))))  # fmt: skip
verb(signers, "revoke", "POST", "/trust/certificates/{certificate}/revoke", "Revoke a signer certificate.", body=[REASON],
     confirm="Revoke the certificate?")  # fmt: skip
