"""What others do to our objects, each with how it is told that all is as it should be again."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.cluster.kube import Document
from tests.integration.waiting import until
from tests.operator.figures import Figure, bounded, timed
from tests.operator.hand import Hand
from tests.operator.stand import KEYSET, Stand

PUBLISHED = f"{KEYSET}-published"
BOUND_SECONDS = 2.0


@dataclass(frozen=True)
class Drift:
    """`secret`: what is touched, with `{}` for the key's name."""

    what: str
    secret: str
    act: Callable[[Hand, str], None]


def delete(hand: Hand, secret: str) -> None:
    hand.delete("secret", secret)


def edit(hand: Hand, secret: str) -> None:
    hand.patch("secret", secret, {"data": {"key": base64.b64encode(b"edited").decode()}})


def empty(hand: Hand, secret: str) -> None:
    """A key set without keys, and well-formed: the service would take it."""
    document = {"schema": 1, "revision": "0" * 64, "generatedAt": "2026-01-01T00:00:00Z", "entries": []}
    data = base64.b64encode(json.dumps(document).encode()).decode()
    hand.patch("secret", secret, {"data": {"keyset.json": data}})


def disown(hand: Hand, secret: str) -> None:
    hand.patch("secret", secret, {"metadata": {"ownerReferences": None}})


def stomp(hand: Hand, secret: str) -> None:
    hand.patch("secret", secret, {"metadata": {"labels": {"sluice.dev/keyset": None, "sluice.dev/apikey": "other"}}})


DRIFTS = (
    Drift("client Secret deleted", "{}", delete),
    Drift("client Secret edited", "{}", edit),
    Drift("version Secret deleted", "{}-v1", delete),
    Drift("published key set deleted", PUBLISHED, delete),
    Drift("published key set emptied", PUBLISHED, empty),
    Drift("ownerReference taken off", "{}", disown),
    Drift("labels stomped", "{}-v1", stomp),
)


def repaired(stand: Stand, hand: Hand, drift: Drift) -> Figure:
    """Do it to a key of its own, and wait until everything is as it was."""
    name = f"drift-{DRIFTS.index(drift)}"
    hand.key(name)
    stand.active(name)
    stand.until_condition(KEYSET, "Ready", "Published", 60, "keyset")
    secret = drift.secret.format(name)
    before = essence(stand.reader.get("secret", secret))
    drift.act(hand, secret)
    taken = timed(
        lambda: until(lambda: essence(stand.reader.get("secret", secret)) == before, 60, f"{drift.what}: it is as it was")
    )
    return bounded(f"{drift.what}: repaired", taken, BOUND_SECONDS)


def essence(secret: Document) -> Document:
    """What of it is ours, and can be made again: of a revoked key that is gone nobody else knows."""
    metadata, data = secret.get("metadata", {}), secret.get("data", {})
    published = data.get("keyset.json")
    entries = json.loads(base64.b64decode(published))["entries"] if published else []
    return {
        "data": [entry for entry in entries if entry["state"] != "revoked"] if published else data,
        "labels": metadata.get("labels"),
        "owners": [owner["uid"] for owner in metadata.get("ownerReferences", [])],
    }
