"""When a key gets a new version, and why. Every reason is remembered on the version that was made for it, never in a status."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from sluice_operator import names
from sluice_operator.ledger import Ledger, Version
from sluice_operator.model import ApiKey
from sluice_operator.times import Clock

Reason = Literal["First", "Lost", "Digest", "Requested", "Due"]
# Of a version that is handed out although what it was made for was taken back since.
WITHDRAWN = "Withdrawn"
# What goes first when not all may go at once.
URGENCY: dict[Reason, int] = {"First": 0, "Lost": 1, "Digest": 2, "Requested": 3, "Due": 4}
# Keys that were made together do not rotate together: up to this part of the period earlier, never later.
SPREAD = 0.1


def reason(ledger: Ledger, clock: Clock) -> Reason | None:
    """Why `ledger.key` needs a new version now; None: it does not, or one is on its way."""
    return None if ledger.staged is not None else why(ledger, clock)


def why(ledger: Ledger, clock: Clock) -> Reason | None:
    """Why its active version needs a successor, be there one already or not."""
    active, key = ledger.active, ledger.key
    if active is None:
        return "First"
    if lost(ledger):
        return "Lost"
    if key.spec.delivery.mode == "Provided":
        return "Digest" if active.digest != key.spec.delivery.digest else None
    if requested(key, active):
        return "Requested"
    date = due(key, active)
    return "Due" if date is not None and clock.earliest >= date else None


def since(ledger: Ledger, clock: Clock) -> datetime | None:
    """When that came about, where a date tells: when the ApiKey was made, or when its rotation was due."""
    reason, active = why(ledger, clock), ledger.active
    if reason == "First":
        return ledger.key.metadata.creation_timestamp
    return due(ledger.key, active) if reason == "Due" and active is not None else None


def lost(ledger: Ledger) -> bool:
    """Whether the plaintext that clients mount is nowhere any more. Its digest is still published."""
    active = ledger.active
    if active is None or ledger.key.spec.delivery.mode != "Retain":
        return False
    return not active.plaintext and not ledger.held_by_client(active)


def requested(key: ApiKey, active: Version) -> bool:
    """Whether ROTATE has another value than the active version was made for. A forgotten one counts as done."""
    value = key.metadata.annotations.get(names.ROTATE)
    return bool(value) and active.made_for is not None and active.made_for != fingerprint(key)


def fingerprint(key: ApiKey) -> str:
    """The value of ROTATE, 64 bits of its SHA-256: anything can stand in an annotation of other people."""
    value = key.metadata.annotations.get(names.ROTATE, "")
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def due(key: ApiKey, active: Version) -> datetime | None:
    """When the active version is old enough, by the server's date on its Secret, which nobody can edit."""
    period = key.spec.rotation.period
    if period is None or active.secret is None or key.spec.delivery.mode == "DropAfter":
        return None  # who copied a key by hand does not notice a new one: theirs would end
    return active.secret.metadata.creation_timestamp + period * (1 - SPREAD * share(active.digest or ""))


def share(seed: str) -> float:
    """A number from 0 up to 1, always the same for the same seed.

    Seeded by the digest, not by the ApiKey's uid: a re-created ApiKey has another uid, and must not rotate for that.
    """
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 2**32
