"""The keys that one worker accepts: the plain ones of API_KEYS and the operator's key set, polled from its file.

Request threads call `verify`; one thread calls `poll` once a second, and once before the first request. A new set is
parsed as a whole and swapped in as one reference, so nothing here needs a lock. Of a key only the digest is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from sluice import errors, keys

log = structlog.get_logger()

# Twice what a Secret can hold.
MAX_BYTES = 2 << 20
# modification time in nanoseconds, inode, size
Signature = tuple[int, int, int]

DETAILS = {
    "malformed": "this is not a whole API key; send it exactly as it was issued",
    "unknown": "this API key is not known here; check that it was issued for this service and environment",
    "revoked": "this API key was revoked; ask for a new one",
    "suspended": "this API key is suspended; ask its owner to have it resumed",
    "not_yet_valid": "this API key is not valid yet; use the version before it",
    "expired": "this API key has expired; use its newest version or ask for a new one",
}


class KeyUsage:
    """When a key version was last accepted, and last refused. Shared by the old and the new set: a swap forgets neither."""

    __slots__ = ("at", "refused_at")

    def __init__(self) -> None:
        self.at: datetime | None = None
        self.refused_at: datetime | None = None


class KeyUse(msgspec.Struct, frozen=True):
    """When each key version was last accepted, and refused: RFC 3339 to the second, by `keyId/version`."""

    last_used: dict[str, str] = {}
    last_refused: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class KeyState:
    entry: keys.KeyEntry
    use: KeyUsage


class LastKey:
    """The key that a connection presented last, with its digest: most clients send the same one again.

    Checked is it every time. It stays in memory as long as its connection, as the headers of the last request do.
    """

    __slots__ = ("_digest", "_presented")

    def __init__(self) -> None:
        self._presented = self._digest = ""

    def digest_of(self, presented: str) -> str:
        if not (presented.isascii() and hmac.compare_digest(presented, self._presented)):
            self._digest = digest_of(presented)
            self._presented = presented
        return self._digest


@dataclass(frozen=True, slots=True)
class KeySet:
    """All that changes when a document is loaded; `slots` by digest, never changed after it is made."""

    slots: Mapping[str, KeyState] = field(default_factory=dict)
    revision: str | None = None
    loaded_at: datetime | None = None


class Keyring:
    """`plain`: keys of any form, all scopes, for ever. `file`: the published document; it wins over a plain key.

    `last_good`: where the workers of a pod keep the document that they loaded last, for one that starts while the file is bad.
    `last_error`: why the file that is there now could not be loaded, in words without its content, or None.
    """

    def __init__(
        self, plain: Sequence[str], file: Path | None, clock: Callable[[], datetime], last_good: Path | None = None
    ) -> None:
        self.last_error: str | None = None
        self._plain = [plain_entry(key) for key in plain]
        self._file = file
        self._last_good = last_good
        self._clock = clock
        self._seen: Signature | None = None
        self._warned: str | None = None
        self._set = KeySet(slots_of(self._plain, {}))

    def verify(self, presented: str, last: LastKey | None = None) -> keys.KeyEntry:
        """The entry of a key that is valid now. `last`: what this connection presented before, and is replaced.

        Raises Unauthorized with `reason` malformed, unknown, revoked, suspended, not_yet_valid or expired;
        ServiceUnavailable when the key is unknown and no key set could be loaded yet: a 401 would make its client throw
        good events away.
        """
        digest = last.digest_of(presented) if last is not None else digest_of(presented)
        slot = self._set.slots.get(digest)
        if slot is None or not hmac.compare_digest(slot.entry.digest, digest):
            raise self._unknown()
        now = self._clock()
        reason = keys.refusal(slot.entry, now)
        if reason is not None:
            slot.use.refused_at = now
            raise errors.Unauthorized(DETAILS[reason], reason=reason)
        slot.use.at = now
        return slot.entry

    def current(self, digest: str) -> keys.KeyEntry:
        """The entry of a key that was verified before, if it is still valid; raises Unauthorized with its reason.

        For what outlives the request that presented the key: it keeps the digest, and not the key. Not its name: who makes keys
        may call one as a key of API_KEYS is called, or as one that is gone.
        """
        slot = self._set.slots.get(digest)
        if slot is None:
            raise self._unknown()
        if (reason := keys.refusal(slot.entry, self._clock())) is not None:
            raise errors.Unauthorized(DETAILS[reason], reason=reason)
        return slot.entry

    def poll(self) -> bool:
        """Load the file if it changed; True when a set was swapped in. A missing or bad one keeps the last good set."""
        if self._file is None:
            return False
        try:
            # Kubernetes swaps the symlink ..data, never the file: stat and open both look behind it.
            if signature_of(os.stat(self._file)) == self._seen:
                return False
            data, self._seen = read(self._file)
        except OSError as error:
            self._seen = None
            return self._keep(f"the key set file cannot be read ({type(error).__name__}); mount it, or correct KEYSET_FILE")
        return self._load(data)

    @property
    def loaded(self) -> bool:
        """Whether every source of keys was read at least once."""
        return self._file is None or self._set.revision is not None

    @property
    def revision(self) -> str | None:
        return self._set.revision

    @property
    def entries(self) -> int:
        """How many keys are known, plain and refused ones counted."""
        return len(self._set.slots)

    @property
    def loaded_at(self) -> datetime | None:
        return self._set.loaded_at

    def known(self) -> list[keys.KeyEntry]:
        """Every key version that is known, by its name; refused ones too."""
        return sorted((slot.entry for slot in self._set.slots.values()), key=lambda entry: (entry.key_id, entry.version))

    def use(self) -> KeyUse:
        """By this worker, of the keys of the set: who has none causes no refusal here, so there are as many as entries."""
        slots = self._set.slots.values()
        return KeyUse(
            dated((slot.entry, slot.use.at) for slot in slots), dated((slot.entry, slot.use.refused_at) for slot in slots)
        )

    def _unknown(self) -> errors.ApiError:
        if self.loaded:
            return errors.Unauthorized(DETAILS["unknown"], reason="unknown")
        detail = "no key set is loaded yet; try again shortly"
        return errors.ServiceUnavailable(detail, error="keyset_not_loaded", headers={"Retry-After": "2"})

    def _load(self, data: bytes) -> bool:
        try:
            document = parse(data)
        except keys.InvalidKeySet as error:
            return self._keep(str(error), hashlib.sha256(data).hexdigest())
        self._swap(document)
        self.last_error = self._warned = None
        if self._last_good is not None:
            # Without room for it, a worker that starts while the file is bad has to wait for a good one.
            with contextlib.suppress(OSError):
                new = self._last_good.with_suffix(f".{os.getpid()}")
                new.write_bytes(data)
                new.replace(self._last_good)
        return True

    def _swap(self, document: keys.KeySetDocument) -> None:
        self._set = KeySet(slots_of([*self._plain, *document.entries], self._uses()), document.revision, self._clock())
        log.info("key set loaded", revision=document.revision, entries=len(document.entries))

    def _uses(self) -> dict[str, KeyUsage]:
        return {name_of(slot.entry): slot.use for slot in self._set.slots.values()}

    def _keep(self, problem: str, content: str = "") -> bool:
        """Remember why the last good set stays, or load it; warn once per content, for this happens every second."""
        self.last_error = problem
        about = content or problem
        if about != self._warned:
            self._warned = about
            log.warning("key set not loaded, the last good one stays", problem=problem, file=str(self._file))
        if self._set.revision is None and self._last_good is not None and self._last_good.exists():
            self._swap(parse(self._last_good.read_bytes()))
            return True
        return False


def digest_of(presented: str) -> str:
    """Raises Unauthorized for what is no key of any service."""
    if keys.fault(presented) is not None:
        raise errors.Unauthorized(DETAILS["malformed"], reason="malformed")
    return keys.digest(presented)


def check_plain(plain: Sequence[str]) -> list[str]:
    """What is wrong with the keys of API_KEYS, one sentence each, that names a key by its position only."""
    if plain and plain[0][0] == plain[-1][-1] and plain[0][0] in "\"'":
        return ["API_KEYS is in quotation marks; remove them: docker's --env-file takes them for a part of the keys"]
    faults = ((position, keys.fault(key)) for position, key in enumerate(plain, start=1))
    return [f"API_KEYS: key {position} {fault}" for position, fault in faults if fault is not None]


def plain_entry(key: str) -> keys.KeyEntry:
    digest = keys.digest(key)
    key_id = f"env-{digest.removeprefix('sha256:')[:8]}"
    return keys.KeyEntry(digest=digest, key_id=key_id, owner="environment", scopes=frozenset(keys.SCOPES))


def slots_of(entries: Iterable[keys.KeyEntry], uses: Mapping[str, KeyUsage]) -> dict[str, KeyState]:
    """By digest, a later entry in the place of an earlier one; a key version that was there before keeps its KeyUsage."""
    return {entry.digest: KeyState(entry, uses.get(name_of(entry)) or KeyUsage()) for entry in entries}


def dated(uses: Iterable[tuple[keys.KeyEntry, datetime | None]]) -> dict[str, str]:
    return {name_of(entry): rfc3339(at) for entry, at in uses if at is not None}


def name_of(entry: keys.KeyEntry) -> str:
    return f"{entry.key_id}/{entry.version}"


def read(path: Path) -> tuple[bytes, Signature]:
    """The bytes of the file, at most one more than MAX_BYTES, and its signature at the time it was opened."""
    with path.open("rb") as stream:
        signature = signature_of(os.fstat(stream.fileno()))
        return stream.read(MAX_BYTES + 1), signature


def signature_of(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_ino, status.st_size


def parse(data: bytes) -> keys.KeySetDocument:
    if len(data) > MAX_BYTES:
        raise keys.InvalidKeySet(f"the key set has more than {MAX_BYTES >> 20} MiB; publish fewer keys")
    return keys.parse_document(data)


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
