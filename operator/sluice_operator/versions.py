"""What is known of each version of a key, put together from all places that hold a part of it.

A fact is kept in two places, so that any one object can be lost:

| fact | first | second |
|---|---|---|
| digest of a version | published entry | version Secret: annotation, and its data |
| plaintext | version Secret | client Secret (only of the active version) |
| which version is active | client Secret: annotation, data | version Secret: `activated-at` |
| when a superseded version ends | version Secret: `ends-at` | published entry: notAfter |
| which request a version was made for | version Secret: `made-for` | client Secret: `made-for` |

The published document counts when it is authentic (world.seal); what somebody else wrote there adds no version, changes none and
revokes none.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from sluice import keys
from sluice_operator import api_types, world
from sluice_operator.api_types import ApiKey
from sluice_operator.world import Secret, World

DIGEST, FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}"), re.compile(r"[0-9a-f]{16}")

# staged: made and published, not handed out yet. active: what clients get. superseded: accepted until its end.
# stray: nobody can have been given it, or it was revoked: neither published nor kept.
Role = Literal["staged", "active", "superseded", "stray"]


class Version(Struct, frozen=True, kw_only=True):
    """One version of a key.

    digest: "" when nothing tells it
    entry: what the authentic document says of it
    activated: it was, or may have been, handed out; `activated_at` when that is known
    ends_at: of a superseded version, when its end is set already
    """

    number: int
    digest: str
    role: Role = "stray"
    secret: Secret | None = None
    entry: keys.KeyEntry | None = None
    activated: bool = False
    activated_at: datetime | None = None
    ends_at: datetime | None = None
    made_for: str | None = None

    @property
    def plaintext(self) -> bool:
        """Whether its Secret holds the key."""
        return self.secret is not None and self.secret.digest == self.digest


class Ledger(Struct, frozen=True, kw_only=True):
    """All versions of one key, the lowest first. `client`: the client Secret, if it is ours. `foreign`: names that others hold.

    `highest`: the highest version number that was ever seen; the next one is above it.
    """

    key: ApiKey
    versions: tuple[Version, ...] = ()
    client: Secret | None = None
    foreign: tuple[str, ...] = ()
    highest: int = 0

    @property
    def active(self) -> Version | None:
        return next(iter(self.having("active")), None)

    @property
    def staged(self) -> Version | None:
        return next(iter(self.having("staged")), None)

    def having(self, role: Role) -> tuple[Version, ...]:
        return tuple(version for version in self.versions if version.role == role)

    @property
    def live(self) -> tuple[Version, ...]:
        return tuple(version for version in self.versions if version.role != "stray")

    def held_by_client(self, version: Version) -> bool:
        return self.client is not None and self.client.digest == version.digest


class Traces(Struct, frozen=True, kw_only=True):
    """What there is of one key before anything is made of it, by version number. `revoked`: digests, of whatever key."""

    key: ApiKey
    secrets: Mapping[int, Secret]
    entries: Mapping[int, keys.KeyEntry]
    revoked: Container[str]
    authentic: bool
    client: Secret | None

    @property
    def claim(self) -> int | None:
        """The version that the client Secret says it holds."""
        text = self.client.note(api_types.VERSION) if self.client else None
        return int(text) if text and re.fullmatch(r"[1-9][0-9]{0,8}", text) else None


def read_all(seen: World) -> tuple[Ledger, ...]:
    """A ledger for each key, the oldest key first."""
    entries: dict[str, dict[int, keys.KeyEntry]] = defaultdict(dict)
    for entry in world.entries(seen):
        entries[entry.key_id][entry.version] = entry
    secrets: dict[str, dict[int, Secret]] = defaultdict(dict)
    for secret in seen.secrets.values():
        if (found := api_types.version_of(secret.name)) is not None:
            secrets[found[0]][found[1]] = secret
    holders, revoked = claimants(seen), {entry.digest for entry in world.entries(seen) if entry.state == "revoked"}
    return tuple(read(key, secrets[key.name], entries[key.name], revoked, seen, holders) for key in ordered(seen.keys))


def ordered(found: Iterable[ApiKey]) -> list[ApiKey]:
    """The oldest first."""
    return sorted(found, key=lambda key: (key.metadata.creation_timestamp, key.name))


def claimants(seen: World) -> dict[str, str]:
    """Which ApiKey may have each client Secret: the one that has it, else the oldest that asks for it."""
    wanted = {key.client_secret: key.name for key in reversed(ordered(seen.keys)) if key.client_secret is not None}
    live = {key.name for key in seen.keys}
    for name in wanted:
        if (secret := seen.secrets.get(name)) is not None and (holder := holder_of(secret, live)) is not None:
            wanted[name] = holder
    return wanted


def holder_of(secret: Secret, live: Container[str | None]) -> str | None:
    """The ApiKey that a Secret belongs to; "" for something that is none of ours; None when anyone may adopt it."""
    if secret.type != api_types.KEY_TYPE:
        return ""
    for owner in secret.metadata.owner_references:
        return owner.name if owner.kind == api_types.API_KEY else ""
    label = secret.metadata.labels.get(api_types.LABEL_API_KEY)
    return label if label in live else None


def read(
    key: ApiKey,
    secrets: Mapping[int, Secret],
    entries: Mapping[int, keys.KeyEntry],
    revoked: Container[str],
    seen: World,
    holders: Mapping[str, str],
) -> Ledger:
    """The ledger of `key` from the Secrets that are named for its versions and the entries that are published of it."""
    ours = {number: secret for number, secret in secrets.items() if holder_of(secret, ()) in (None, key.name)}
    foreign = [secret.name for number, secret in sorted(secrets.items()) if number not in ours]
    client = None
    if key.client_secret is not None and holders[key.client_secret] == key.name:
        client = seen.secrets.get(key.client_secret)
    elif key.client_secret is not None:
        foreign.append(key.client_secret)
    traces = Traces(key=key, secrets=ours, entries=entries, revoked=revoked, authentic=seen.authentic, client=client)
    versions = tuple(version(traces, number) for number in sorted(numbers(traces)))
    return Ledger(
        key=key,
        versions=tuple(assigned(traces, versions)),
        client=client,
        foreign=tuple(foreign),
        highest=max([*secrets, *entries, traces.claim or 0], default=0),
    )


def numbers(traces: Traces) -> set[int]:
    """The versions that there are: with a Secret, published by us, or, where neither is left, in the client Secret."""
    found = set(traces.secrets)
    found.update(number for number, entry in traces.entries.items() if entry.state != "revoked")
    claim, client = traces.claim, traces.client
    if not found and claim is not None and client is not None and client.digest and claim not in traces.entries:
        found.add(claim)
    return found


def version(traces: Traces, number: int) -> Version:
    """All that is known of one version but its role."""
    secret, client = traces.secrets.get(number), traces.client
    digest = digest_of(traces, number)
    # What it says of a version that can still be handed out is not believed when it holds another key: one from a backup.
    there = secret is not None and secret.digest == digest
    claimed = client is not None and traces.claim == number and (client.digest == digest or not there)
    holders = [secret, client if claimed else None]
    activated_at = first_stamp(holders, api_types.ACTIVATED_AT)
    notes = (holder.note(api_types.MADE_FOR) or "" for holder in holders if holder)
    marked = activated_at is not None or first_stamp([secret], api_types.ENDS_AT) is not None
    return Version(
        number=number,
        digest=digest,
        secret=secret,
        entry=traces.entries.get(number),
        activated=marked or claimed or (client is not None and client.digest == digest),
        activated_at=activated_at,
        made_for=next((note for note in notes if FINGERPRINT.fullmatch(note)), None),
    )


def digest_of(traces: Traces, number: int) -> str:
    """The digest of a version: what we published of it, else what its Secret says, else where else it can be."""
    if number in traces.entries:
        return traces.entries[number].digest
    secret = traces.secrets.get(number)
    if secret is None:
        return (traces.client.digest if traces.client else None) or ""
    noted = secret.note(api_types.DIGEST) or ""
    return noted if DIGEST.fullmatch(noted) else secret.digest or traces.key.spec.delivery.digest or ""


def first_stamp(secrets: Iterable[Secret | None], annotation: str) -> datetime | None:
    stamps = (api_types.read_stamp(secret.note(annotation)) for secret in secrets if secret is not None)
    return next((stamp for stamp in stamps if stamp is not None), None)


def assigned(traces: Traces, versions: tuple[Version, ...]) -> Iterable[Version]:
    """Each version with its role, strays that cannot be used first."""
    candidates = followed([each for each in versions if not is_dead(traces, each, versions)])
    active = active_of(traces, candidates)
    above = [each for each in candidates if active is None or each.number > active.number]
    staged = next((each for each in reversed(above) if usable(traces, each)), None)
    superseded = superseded_by(traces, active, candidates) if active is not None else []
    yield from (each for each in versions if is_dead(traces, each, versions))
    for each in candidates:
        if each is active:
            yield replace(each, role="active")
        elif each is staged:
            yield replace(each, role="staged")
        elif active is not None and each in superseded:
            yield replace(each, role="superseded", ends_at=end_of(each, active))
        else:
            yield each


def is_dead(traces: Traces, version: Version, versions: Iterable[Version]) -> bool:
    """Revoked, of unknown digest, or made again: a later version has the same digest (Provided: it came back)."""
    again = any(other.digest == version.digest and other.number > version.number for other in versions)
    return not version.digest or version.digest in traces.revoked or again


def active_of(traces: Traces, candidates: list[Version]) -> Version | None:
    """The version that clients have: the highest that was handed out.

    Where nothing tells which was, it is the lowest that could be handed out again: its clients and those of the next are both
    accepted then, and the next passes the gate (again). A lone version that can still be handed out waits for the gate.
    """
    activated = [each for each in candidates if each.activated]
    if activated:
        return activated[-1]
    lower = [each for each in candidates[:-1] if usable(traces, each)]
    if lower:
        return lower[0]
    if candidates and usable(traces, candidates[-1]):
        return candidates[-2] if len(candidates) > 1 else None
    return candidates[-1] if candidates else None


def usable(traces: Traces, version: Version) -> bool:
    """Whether it can be handed out: its Secret holds the key, or (Provided) the digest that is asked for."""
    if traces.key.spec.delivery.mode == "Provided":
        return version.secret is not None and version.digest == traces.key.spec.delivery.digest
    return version.plaintext


def superseded_by(traces: Traces, active: Version, candidates: list[Version]) -> list[Version]:
    """Those that clients may have below the active one. What was below one that was handed out had ended before its successor."""
    below = [each for each in candidates if each.number < active.number and was_accepted(traces, each)]
    first = next((number for number in reversed(range(len(below))) if below[number].activated), 0)
    return below[first:]


def was_accepted(traces: Traces, version: Version) -> bool:
    """Whether one below the active one may be accepted still.

    What the authentic document left out has ended, although its Secret may come back from a backup; one with its end on it may
    have been left out because its ApiKey was gone.
    """
    noted = first_stamp([version.secret], api_types.ENDS_AT) is not None
    return noted or version.entry is not None or not traces.authentic


def followed(candidates: list[Version]) -> list[Version]:
    """With `activated` also where a version below was given an end: that is done only when its successor was handed out."""
    ended = [False, *(end_of(lower, upper) is not None for lower, upper in itertools.pairwise(candidates))]
    return [replace(each, activated=each.activated or follows) for each, follows in zip(candidates, ended, strict=False)]


def end_of(version: Version, successor: Version) -> datetime | None:
    """The end that was set for `version`: on its Secret, else in its entry (where a date that both have is the key's expiry)."""
    noted = first_stamp([version.secret], api_types.ENDS_AT)
    if noted is not None or version.entry is None or successor.entry is None:
        return noted
    return None if version.entry.not_after == successor.entry.not_after else version.entry.not_after
