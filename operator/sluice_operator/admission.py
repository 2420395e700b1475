"""Which keys get versions at all. A refusal stops what is new; it never takes a running key away: revoke or suspend does that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from sluice import keys
from sluice_operator import world
from sluice_operator.ledger import Ledger
from sluice_operator.model import ApiKey, KeySetSpec
from sluice_operator.times import Clock
from sluice_operator.world import World

Refusal = Literal["NotSelected", "ScopesNotAllowed", "SecretNotOwned", "DigestTaken", "KeySetFull"]


def refusals(seen: World, spec: KeySetSpec, ledgers: Iterable[Ledger], room: int) -> dict[str, Refusal]:
    """Why each key that is refused is; the newest are refused when there are too many, or `room` for no more versions.

    `ledgers`: the oldest key first.
    """
    ledgers = tuple(ledgers)
    digests = digests_of(seen, ledgers)
    counted = [ledger for ledger in ledgers if not ledger.key.spec.revoked]
    places = min(room, spec.max_keys - sum(bool(ledger.live) for ledger in counted))
    found: dict[str, Refusal] = {}
    for ledger in counted:
        why = refusal(ledger, spec, digests)
        if why is None and not ledger.live:
            places -= 1
            why = "KeySetFull" if places < 0 else None
        if why is not None:
            found[ledger.key.name] = why
        elif ledger.key.spec.delivery.digest is not None:
            digests.setdefault(ledger.key.spec.delivery.digest, ledger.key.name)
    return found


def refusal(ledger: Ledger, spec: KeySetSpec, digests: Mapping[str, str]) -> Refusal | None:
    key = ledger.key
    if not selected(key, spec):
        return "NotSelected"
    if not key.spec.scopes <= spec.allowed_scopes:
        return "ScopesNotAllowed"
    if ledger.foreign:
        return "SecretNotOwned"
    digest = key.spec.delivery.digest
    return "DigestTaken" if digest is not None and digests.get(digest, key.name) != key.name else None


def selected(key: ApiKey, spec: KeySetSpec) -> bool:
    labels = key.metadata.labels
    return all(labels.get(label) == value for label, value in spec.selector.match_labels.items())


def digests_of(seen: World, ledgers: Iterable[Ledger]) -> dict[str, str]:
    """Whose each digest is that may be accepted or was revoked: nobody else may bring it. Revoked ones are nobody's ("")."""
    owners = {version.digest: ledger.key.name for ledger in ledgers for version in ledger.live if version.digest is not None}
    return owners | {entry.digest: "" for entry in world.entries(seen) if entry.state == "revoked"}


def expired(key: ApiKey, clock: Clock) -> bool:
    """By both clocks; the service holds every key to its own clock anyway."""
    return key.spec.expires_at is not None and clock.earliest >= key.spec.expires_at


def valid_now(entry: keys.KeyEntry | None, clock: Clock) -> bool:
    """Whether a Pod should accept this entry, whichever clock is right: only then can `whoami` prove anything."""
    return entry is not None and not any(keys.refusal(entry, moment) for moment in (clock.earliest, clock.latest))
