"""Everything in the database that stands sealed by the key of this installation, in whatever room it is."""

from __future__ import annotations

from appstore.catalog.models import Webhook
from appstore.keys.models import SigningKey
from appstore.trust.models import Authority, SignerCertificate
from core.sealing.columns import Column
from core.sealing.services import columns
from core.sign_in.models import Provider, Totp
from mecm.nodes.models import Node


def everything() -> list[Column]:
    """Return every sealed column: JSON that is sealed as a whole, and secrets of their own."""
    return [
        *columns(),
        Column.of_bytes(Node, "kubeconfig", lambda pk: f"node:{pk}:kubeconfig"),
        Column.of_bytes(Node, "mep_token", lambda pk: f"node:{pk}:mep_token"),
        Column.of_bytes(Webhook, "sealed_secret", lambda pk: f"webhook:{pk}"),
        Column.of_bytes(SigningKey, "sealed", lambda purpose: f"signing-key:{purpose}", bound="purpose"),
        Column.of_bytes(Authority, "sealed", lambda pk: f"store-ca:{pk}"),
        Column.of_bytes(SignerCertificate, "sealed", lambda pk: f"signer:{pk}"),
        Column.of_bytes(Provider, "sealed_secret", lambda pk: f"provider:{pk}:secret"),
        Column.of_bytes(Totp, "sealed_secret", lambda user: f"user:{user}:totp", bound="user"),
    ]
