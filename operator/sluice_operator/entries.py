"""The key set that should be published, and which keys get versions at all: a function of the live ApiKeys and the clock.

To refuse a key stops what is new; it never takes a running key away: revoke or suspend does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from sluice import keys
from sluice_operator import api_types, schedule, world
from sluice_operator.api_types import ApiKey, Clock, KeySetSpec
from sluice_operator.versions import Ledger, Version
from sluice_operator.world import World

MAX_TOMBSTONES = 500
# A Secret holds 1 MiB. New versions stop here; what is in may still grow by a scope.
MAX_BYTES = 1_000_000
# A generous guess at the bytes of an entry that is still to come.
ENTRY_BYTES = 600


def wanted(seen: World, spec: KeySetSpec, ledgers: Iterable[Ledger], clock: Clock) -> tuple[keys.KeyEntry, ...]:
    """All entries in canonical order. Of two with one digest or one name the first stays: the document is always valid."""
    ledgers = tuple(ledgers)
    digests: set[str] = set()
    versions: set[tuple[str, int]] = set()
    chosen = []
    for entry in (
        *living(seen, spec, ledgers, clock),
        *tombstones(seen, ledgers, clock),
        *(each for each in left(seen) if not seen.aside[each.key_id].revoked),
    ):
        if entry.digest in digests or (entry.key_id, entry.version) in versions:
            continue
        digests.add(entry.digest)
        versions.add((entry.key_id, entry.version))
        chosen.append(entry)
    return keys.canonical(chosen)


def living(seen: World, spec: KeySetSpec, ledgers: Iterable[Ledger], clock: Clock) -> Iterator[keys.KeyEntry]:
    """Of each key that is not revoked, every version that clients may have."""
    for ledger in ledgers:
        if ledger.key.spec.revoked:
            continue
        for version in reversed(ledger.live):
            ends_at = schedule.end(ledger, version, seen, clock) if version.role == "superseded" else None
            if ends_at is not None and clock.earliest >= schedule.removal(ledger.key, ends_at):
                continue
            if (made := entry(ledger.key, spec, version, ends_at)) is not None:
                yield made


def entry(key: ApiKey, spec: KeySetSpec, version: Version, ends_at: datetime | None) -> keys.KeyEntry | None:
    """One version of `key`; None when its dates leave it no time at all."""
    not_after = min((date for date in (ends_at, key.spec.expires_at) if date is not None), default=None)
    if key.spec.not_before and not_after and key.spec.not_before >= not_after:
        return None
    scopes = key.spec.scopes & spec.allowed_scopes
    return keys.KeyEntry(
        digest=version.digest,
        key_id=key.name,
        version=version.number,
        owner=key.spec.owner,
        scopes=scopes or key.spec.scopes,
        rate_limit=key.spec.rate_limit,
        state="suspended" if key.spec.suspended or not scopes else "active",
        not_before=key.spec.not_before,
        not_after=not_after,
    )


def left(seen: World) -> Iterator[keys.KeyEntry]:
    """What is published of ApiKeys that cannot be planned: it stays, for their clients cannot help it; but these two are obeyed.

    Of a document that no operator wrote, only entries count whose digest a version Secret confirms.
    """
    document = seen.published.document if seen.published is not None and seen.published.ours else None
    for entry in document.entries if document is not None else ():
        aside, secret = seen.aside.get(entry.key_id), seen.secrets.get(api_types.version_secret(entry.key_id, entry.version))
        if (
            aside is None
            or entry.state == "revoked"
            or not (seen.authentic or (secret is not None and secret.digest == entry.digest))
        ):
            continue
        yield replace(entry, state="suspended") if aside.suspended else entry


def tombstones(seen: World, ledgers: Iterable[Ledger], clock: Clock) -> Iterator[keys.KeyEntry]:
    """The entries of revoked keys, the latest first, each for world.TOMBSTONE, also when its ApiKey is gone."""
    known = world.entries(seen)
    old = [replace(entry, not_after=entry.not_after or clock.latest) for entry in known if entry.state == "revoked"]
    fresh = [each for ledger in ledgers if ledger.key.spec.revoked for each in revoked(seen, ledger, clock)]
    fresh += [ended(entry, clock) for entry in left(seen) if seen.aside[entry.key_id].revoked]
    dated = ((entry.not_after, entry) for entry in (*old, *fresh) if entry.not_after is not None)
    young = [(date, entry) for date, entry in dated if clock.earliest < date + world.TOMBSTONE]
    young.sort(key=lambda each: each[0], reverse=True)
    return (entry for _, entry in young[:MAX_TOMBSTONES])


def revoked(seen: World, ledger: Ledger, clock: Clock) -> Iterator[keys.KeyEntry]:
    """A tombstone for each version of a key that is revoked now."""
    published = {(entry.key_id, entry.version) for entry in world.entries(seen) if entry.state == "revoked"}
    key = ledger.key
    for version in ledger.versions:
        if version.digest and (key.name, version.number) not in published:
            found = keys.KeyEntry(
                digest=version.digest, key_id=key.name, version=version.number, owner=key.spec.owner, scopes=key.spec.scopes
            )
            yield ended(found, clock)


def ended(entry: keys.KeyEntry, clock: Clock) -> keys.KeyEntry:
    """Its tombstone, from now on."""
    return replace(entry, state="revoked", rate_limit=None, not_before=None, not_after=clock.latest)


def room(entries: Iterable[keys.KeyEntry]) -> int:
    """How many more versions fit into the document."""
    return max(0, MAX_BYTES - len(keys.encode_canonical(entries))) // ENTRY_BYTES


Refusal = Literal["NotSelected", "ScopesNotAllowed", "SecretNotOwned", "DigestTaken", "KeySetFull"]


def refusals(seen: World, spec: KeySetSpec, ledgers: Iterable[Ledger], room: int, clock: Clock) -> dict[str, Refusal]:
    """Why each key that is refused is; the newest are refused when there are too many, or `room` for no more versions.

    `ledgers`: the oldest key first. One that ended before it had a version will never have one, and takes no place.
    """
    ledgers = tuple(ledgers)
    digests = digests_of(seen, ledgers)
    counted = [each for each in ledgers if not each.key.spec.revoked and (each.live or not expired(each.key, clock))]
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
    if not spec.selector.match_labels.items() <= key.metadata.labels.items():
        return "NotSelected"
    if not key.spec.scopes <= spec.allowed_scopes:
        return "ScopesNotAllowed"
    if ledger.foreign:
        return "SecretNotOwned"
    digest = key.spec.delivery.digest
    return "DigestTaken" if digest is not None and digests.get(digest, key.name) != key.name else None


def digests_of(seen: World, ledgers: Iterable[Ledger]) -> dict[str, str]:
    """Whose each digest is that may be accepted or was revoked: nobody else may bring it. Revoked ones are nobody's ("")."""
    owners = {version.digest: ledger.key.name for ledger in ledgers for version in ledger.live}
    return owners | {entry.digest: "" for entry in world.entries(seen) if entry.state == "revoked"}


def expired(key: ApiKey, clock: Clock) -> bool:
    """By both clocks; the service holds every key to its own clock anyway."""
    return key.spec.expires_at is not None and clock.earliest >= key.spec.expires_at


def valid_now(entry: keys.KeyEntry, clock: Clock) -> bool:
    """Whether a Pod should accept this entry, whichever clock is right: only then can `whoami` prove anything."""
    return not any(keys.refusal(entry, moment) for moment in (clock.earliest, clock.latest))
