"""Raw objects of the API server as the operator keeps them: small, frozen, and without any plaintext."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from sluice import keys
from sluice_operator import names, times
from sluice_operator.model import ApiKey, InvalidObject, KeySet, Metadata, parse
from sluice_operator.resources import API_KEYS, DEPLOYMENTS, KEY_SETS, PODS, SECRETS, Raw, Resource
from sluice_operator.world import Aside, Published, Secret


class Unreadable(Struct, frozen=True):
    """An ApiKey or KeySet that breaks the rules of its kind. `keyset` None: not even the KeySet that it names can be told."""

    aside: Aside
    keyset: str | None = None

    @property
    def metadata(self) -> Metadata:
        return self.aside.metadata


class PodFacts(Struct, frozen=True, kw_only=True):
    """What is kept of a Pod. `owner`: uid of its ReplicaSet; `up`: a container of it passed its start-up."""

    metadata: Metadata
    owner: str | None
    ip: str | None
    scheduled: bool
    up: bool
    ready: bool
    finished: bool


class DeploymentFacts(Struct, frozen=True):
    """What is kept of a Deployment: all that the lints read."""

    metadata: Metadata
    raw: Raw


Kept = ApiKey | KeySet | Unreadable | Secret | Published | PodFacts | DeploymentFacts


def metadata(raw: Raw) -> Metadata:
    return msgspec.convert(raw["metadata"], Metadata)


def api_key(raw: Raw) -> ApiKey | Unreadable:
    try:
        return parse(ApiKey, raw)
    except InvalidObject as error:
        named = part(part(raw, "spec"), "keySetRef").get("name")
        return Unreadable(aside(raw, error), named if isinstance(named, str) else None)


def key_set(raw: Raw) -> KeySet | Unreadable:
    try:
        return parse(KeySet, raw)
    except InvalidObject as error:
        return Unreadable(aside(raw, error))


def aside(raw: Raw, error: InvalidObject) -> Aside:
    """What is obeyed of an object that breaks a rule: what ends a key."""
    spec = part(raw, "spec")
    return Aside(
        metadata=metadata(raw),
        reason="InvalidApiKey",
        about=str(error),
        suspended=spec.get("suspended") is True,
        revoked=spec.get("revoked") is True,
        status=part(raw, "status"),
    )


def part(raw: Raw, name: str) -> Raw:
    """A field that should be an object."""
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def secret(raw: Raw) -> Secret | Published:
    """Its data is read here, and only a digest or the published document, which holds digests, is kept."""
    found, data = metadata(raw), raw.get("data") or {}
    if raw.get("type") == names.KEYSET_TYPE:
        return Published(metadata=found, type=str(raw.get("type")), document=document(data))
    key = decoded(data, names.KEY_DATA)
    return Secret(metadata=found, type=str(raw.get("type")), digest=keys.digest(key.decode("latin-1")) if key else None)


def document(data: Raw) -> keys.KeySetDocument | None:
    try:
        found = keys.parse_document(decoded(data, names.KEYSET_DATA) or b"")
    except keys.InvalidKeySet:
        return None
    return replace(found, generated_at=times.within(found.generated_at), entries=tuple(map(within, found.entries)))


def within(entry: keys.KeyEntry) -> keys.KeyEntry:
    """With dates that can be reckoned with."""
    dates = [date for date in (entry.not_before, entry.not_after) if date is not None]
    if all(times.FIRST <= date <= times.LAST for date in dates):
        return entry
    first, last = (date and times.within(date) for date in (entry.not_before, entry.not_after))
    return replace(entry, not_before=first, not_after=last)


def plaintext(raw: Raw) -> str | None:
    """The key in a Secret; the caller forgets it at once. None: there is none in it that could be one."""
    key = decoded(raw.get("data") or {}, names.KEY_DATA)
    return key.decode("ascii") if key and key.isascii() else None


def decoded(data: Raw, name: str) -> bytes | None:
    try:
        return base64.b64decode(data[name], validate=True)
    except (KeyError, TypeError, binascii.Error):
        return None


def pod(raw: Raw) -> PodFacts:
    spec, status = raw.get("spec") or {}, raw.get("status") or {}
    containers = status.get("containerStatuses") or []
    found = metadata(raw)
    ended = bool(containers) and all("terminated" in (each.get("state") or {}) for each in containers)
    return PodFacts(
        metadata=found,
        owner=next((owner.uid for owner in found.owner_references if owner.kind == "ReplicaSet"), None),
        ip=status.get("podIP"),
        scheduled=bool(spec.get("nodeName")),
        up=any(each.get("started") for each in containers),
        ready=is_true(status.get("conditions"), "Ready"),
        finished=status.get("phase") in ("Succeeded", "Failed") or (found.deletion_timestamp is not None and ended),
    )


def is_true(conditions: Any, kind: str) -> bool:
    return any(each.get("type") == kind and each.get("status") == "True" for each in conditions or [])


def deployment(raw: Raw) -> DeploymentFacts:
    return DeploymentFacts(
        metadata(raw),
        {
            "metadata": {name: raw["metadata"].get(name) or {} for name in ("labels", "annotations")},
            "spec": raw.get("spec") or {},
        },
    )


def moment(text: Any) -> datetime | None:
    """RFC 3339 as the service and the API server write it; None for anything else."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return times.within(found) if found is not None and found.tzinfo is not None else None


READERS: dict[Resource, Callable[[Raw], Kept]] = {
    API_KEYS: api_key,
    KEY_SETS: key_set,
    SECRETS: secret,
    PODS: pod,
    DEPLOYMENTS: deployment,
}
