"""The API key and the published key set: the contract between the operator and the service.

Pure: the clock and the randomness are parameters, nothing here does I/O. The operator imports this and,
for the look of its log lines, sluice.logs.

A key reads `slk_<environment>_<43 base62><6 base62>`: 256 random bits, then the CRC-32 of all before it, so that a
mistyped or cut key differs from an unknown one, and a scanner recognises a leaked one. Only
`sha256:<hex>` of it is kept: from 112 random bits on a plain hash is enough (NIST SP 800-63B section 5.1.2.2).
"""

from __future__ import annotations

import codecs
import hashlib
import re
import secrets
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from sluice import errors

PREFIX = "slk_"
# Longer than any key we know of, and short enough that a header full of it costs nothing.
MAX_LENGTH = 512
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_BYTES, SECRET_LENGTH, CHECKSUM_LENGTH = 32, 43, 6
ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}")
# What a secret scanner should look for.
PATTERN = re.compile(r"slk_[a-z0-9]{1,16}_[0-9A-Za-z]{49}")

Scope = Literal["ingest", "read", "admin", "tasks", "sources"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
# What every release knows. A document with any other scope is of schema 2, which a release that knows these only refuses.
SCHEMA_1_SCOPES: frozenset[Scope] = frozenset(("ingest", "read", "admin"))
State = Literal["active", "suspended", "revoked"]
Refusal = Literal["unknown", "revoked", "suspended", "not_yet_valid", "expired"]

# `(?!\n)`: in Python `$` also matches before a last newline; \Z would be unknown to the readers of a JSON Schema.
Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")]
# Not a key: the id of a key stands in logs and rows.
KeyId = Annotated[str, Meta(pattern=r"^(?!slk_)[A-Za-z0-9][A-Za-z0-9._/-]*$(?!\n)", max_length=253)]
# A control character would be obeyed by the terminal that shows it.
Owner = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]+$(?!\n)", max_length=255)]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]
PerMinute = Annotated[int, Meta(ge=0, le=10**9)]
Moment = Annotated[datetime, Meta(tz=True)]


class InvalidKeySet(errors.SluiceError):
    """A key set, or an entry of one, breaks a rule. The text names place and fix, never a value of it."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one key may do in a minute; None: the service's own limit, 0: no limit."""

    requests_per_minute: PerMinute | None = None
    events_per_minute: PerMinute | None = None


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One version of one key: valid from `not_before` (included) to `not_after` (excluded); None: no such bound."""

    digest: Digest
    key_id: KeyId
    version: Version = 1
    owner: Owner
    scopes: Annotated[frozenset[Scope], Meta(min_length=1)]
    rate_limit: RateLimit | None = None
    state: State = "active"
    not_before: Moment | None = None
    not_after: Moment | None = None


class KeySetDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the operator publishes. `revision`: SHA-256, in hex, of the canonical JSON of `entries`.

    A reader ignores fields that it does not know, so that operator and service may be one release apart. A field that
    restricts a key, or a new value of a field, raises `schema`: an older reader refuses such a document and keeps its
    last good one. `publish` raises it only where an entry has such a value, so that older readers take all other documents.
    """

    schema: Literal[1, 2] = 1
    revision: str
    generated_at: Moment
    entries: tuple[KeyEntry, ...]


ENTRY_FIELDS, LIMIT_FIELDS = frozenset(KeyEntry.__struct_encode_fields__), frozenset(RateLimit.__struct_encode_fields__)

# Names sorted and no white space, so that anyone can check a revision: jq -jcS .entries keyset.json | sha256sum
encode_canonical = msgspec.json.Encoder(order="sorted").encode
decode_document = msgspec.json.Decoder(KeySetDocument).decode
# Lenient in types only ("60" for 60): what people write by hand comes through here.
decode_entries = msgspec.json.Decoder(list[KeyEntry], strict=False).decode


def mint(environment: str, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new key; raises ValueError when `environment` is not [a-z0-9]{1,16}. `random`: that many random bytes."""
    if not ENVIRONMENT.fullmatch(environment):
        raise ValueError("the environment must be 1 to 16 characters out of a-z and 0-9")
    secret = base62(int.from_bytes(random(SECRET_BYTES), "big"), SECRET_LENGTH)
    body = f"{PREFIX}{environment}_{secret}"
    return body + checksum(body)


def checksum(body: str) -> str:
    return base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def base62(number: int, width: int) -> str:
    """`number` in `width` digits, padded with 0; the caller knows that it fits."""
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return digits


def digest(key: str) -> str:
    """`sha256:` and 64 hex digits: all that is ever kept of a key."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def has_prefix(key: str) -> bool:
    """Whether `key` claims to be one that `mint` made."""
    return key.startswith(PREFIX)


def checksum_ok(key: str) -> bool:
    """Whether `key` has the form of ours and its checksum is right; the work is bounded whatever `key` is."""
    return PATTERN.fullmatch(key) is not None and key[-CHECKSUM_LENGTH:] == checksum(key[:-CHECKSUM_LENGTH])


def fault(key: str) -> str | None:
    """Why no service will look `key` up, as the end of a sentence that does not repeat it; None: it may be good."""
    if len(key) > MAX_LENGTH:
        return f"has more than {MAX_LENGTH} characters; use a shorter one"
    if not (key.isascii() and key.isprintable()):
        return "has characters that an HTTP header cannot carry; use printable ASCII only"
    if has_prefix(key) and not checksum_ok(key):
        return f"starts with {PREFIX} and its checksum is wrong: it was mistyped or cut; copy it again, whole"
    return None


def refusal(entry: KeyEntry | None, now: datetime) -> Refusal | None:
    """Why a key with this entry is not accepted at `now`, or None."""
    if entry is None:
        return "unknown"
    if entry.state != "active":
        return entry.state
    if entry.not_before is not None and now < entry.not_before:
        return "not_yet_valid"
    if entry.not_after is not None and now >= entry.not_after:
        return "expired"
    return None


def publish(entries: Iterable[KeyEntry], now: datetime) -> bytes:
    """The canonical document of `entries`; raises InvalidKeySet when the service would refuse it.

    The same entries in any order have the same revision; only `generatedAt` differs from one call to the next.
    """
    given = tuple(entries)
    schema: Literal[1, 2] = 1 if all(entry.scopes <= SCHEMA_1_SCOPES for entry in given) else 2
    document = KeySetDocument(schema=schema, revision=revision(canonical(given)), generated_at=now, entries=given)
    return encode_canonical(parse_document(encode_canonical(document)))


def revision(ordered: Sequence[KeyEntry]) -> str:
    return hashlib.sha256(encode_canonical(ordered)).hexdigest()


def canonical(entries: Iterable[KeyEntry]) -> tuple[KeyEntry, ...]:
    """`entries` in their one order, dates in UTC, so that equal sets are equal bytes."""
    return tuple(sorted(map(in_utc, entries), key=lambda entry: (entry.key_id, entry.version)))


def in_utc(entry: KeyEntry) -> KeyEntry:
    return msgspec.structs.replace(entry, not_before=utc(entry.not_before), not_after=utc(entry.not_after))


def utc(moment: Any) -> Any:
    """`moment` in UTC; one without an offset stays as it is, for the parser to refuse: nobody knows what it means."""
    if moment is None or moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # 0001-01-01T00:00+14:00 is in year 0
        raise InvalidKeySet("a notBefore or notAfter is not in the years 1 to 9999; use null for no bound") from None


def parse_document(data: bytes) -> KeySetDocument:
    """A published document in canonical order, checked as a whole; raises InvalidKeySet."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        document = decode_document(data)
    except errors.NOT_JSON as error:
        raise InvalidKeySet(explain(error)) from None  # its text may quote the document
    check(document.entries)
    ordered = canonical(document.entries)
    if revision(ordered) != document.revision and revision_as_given(data, document) != document.revision:
        raise InvalidKeySet("revision does not match the entries: write the key set with `sluice keys keyset`")
    return msgspec.structs.replace(document, generated_at=utc(document.generated_at), entries=ordered)


def revision_as_given(data: bytes, document: KeySetDocument) -> str | None:
    """The revision of the entries with the fields that they were written with, be these more or fewer than this release knows."""
    try:
        given = msgspec.json.decode(data)["entries"]
    except errors.NOT_JSON:
        return None
    known = (msgspec.to_builtins(in_utc(entry), order="sorted") for entry in document.entries)
    whole = sorted(map(canonical_fields, given, known), key=lambda entry: (entry["keyId"], entry.get("version", 1)))
    return hashlib.sha256(encode_canonical(whole)).hexdigest()


def canonical_fields(raw: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The fields of `raw`, those that are known in their canonical form."""
    both = ((name, value, known.get(name, value)) for name, value in raw.items())
    return {name: canonical_fields(value, own) if isinstance(own, dict) else own for name, value, own in both}


def parse_entries(data: bytes) -> list[KeyEntry]:
    """A JSON array of entries as people write it, numbers also as text; raises InvalidKeySet, also for an unknown field."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        entries, given = decode_entries(data), msgspec.json.decode(data)
    except errors.NOT_JSON as error:
        raise InvalidKeySet(explain(error)) from None  # its text may quote the entries
    for index, raw in enumerate(given):
        if raw.keys() - ENTRY_FIELDS or (raw.get("rateLimit") or {}).keys() - LIMIT_FIELDS:
            raise InvalidKeySet(f"entries[{index}] has a field that this release does not know; correct its name or remove it")
    return entries


def check(entries: Sequence[KeyEntry]) -> None:
    """Raise InvalidKeySet for what only several values together show."""
    digests: dict[str, int] = {}
    names: dict[tuple[str, int], int] = {}
    for index, entry in enumerate(entries):
        if (first := digests.setdefault(entry.digest, index)) != index:
            raise InvalidKeySet(f"entries[{first}] and entries[{index}] have the same digest; keep one of them")
        if (first := names.setdefault((entry.key_id, entry.version), index)) != index:
            raise InvalidKeySet(f"entries[{first}] and entries[{index}] have the same keyId and version; raise one")
        if entry.not_before and entry.not_after and entry.not_before >= entry.not_after:
            raise InvalidKeySet(f"entries[{index}].notAfter must be later than its notBefore")


DATE = "must be RFC 3339 with an offset, for example 2026-01-31T12:00:00Z"
PER_MINUTE = "must be a whole number from 0 (no limit) to 1000000000, or null for the service's own limit"
FIXES = {
    "schema": "must be 1 or 2; a document of a newer schema needs a newer sluice",
    "revision": "must be the SHA-256 of the entries; write the document with `sluice keys keyset`",
    "generatedAt": DATE,
    "entries": "must be a list of objects",
    "digest": "must be sha256: and 64 hex digits in lower case; `sluice keys digest` makes it from a key",
    "keyId": "must be 1 to 253 of letters, digits and ._/-, begin with a letter or digit, and not be a key",
    "version": "must be a whole number from 1",
    "owner": "must be 1 to 255 printable characters",
    "scopes": f"must be a list of one or more of {', '.join(SCOPES)}",
    "rateLimit": "must be an object of requestsPerMinute and eventsPerMinute, or null",
    "requestsPerMinute": PER_MINUTE,
    "eventsPerMinute": PER_MINUTE,
    "state": "must be active, suspended or revoked",
    "notBefore": f"{DATE}, or null",
    "notAfter": f"{DATE}, or null",
}
MISSING = re.compile(r"^Object missing required field `(\w+)`")
PATH = re.compile(r" - at `(\$[^`]*)`$")


def explain(error: Exception) -> str:
    """What msgspec says in words of ours: it quotes values, and a key pasted into the wrong place is one."""
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return "the key set is not JSON in UTF-8; write it with `sluice keys keyset`"
    path = match[1] if (match := PATH.search(text)) else "$"
    index = re.search(r"\[(\d{1,9})\]", path)
    place = f"entries[{index[1]}]" if index else "the key set"
    if missing := MISSING.match(text):
        return f"{place} has no {missing[1]}; it {FIXES[missing[1]]}"
    named = [name for name in re.findall(r"\.(\w+)", path) if name in FIXES]
    if not named or (named == ["entries"] and index):
        return f"{place} must be a JSON {'list of entries' if text.startswith('Expected `array`') else 'object'}"
    return f"{place}: {named[-1]} {FIXES[named[-1]]}"
