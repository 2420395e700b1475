"""The kinds ApiKey and KeySet as they are read: raw objects of the API server, checked and frozen.

The rules are those of the CRDs (charts/sluice/files/crds); they are checked again here because a CRD can be replaced.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from sluice import keys
from sluice_operator import times

Retirement = Literal["HoldIfUsed", "Retire"]
Mode = Literal["Retain", "DropAfter", "Provided"]
Count = Annotated[int, Meta(ge=1)]
Environment = Annotated[str, Meta(pattern=r"^[a-z0-9]{1,16}$(?!\n)")]

ALL_SCOPES: frozenset[keys.Scope] = frozenset({"ingest", "read", "admin"})


class InvalidObject(ValueError):
    """An object is not what its kind says. The text names the field, never its value."""


class OwnerReference(Struct, frozen=True, rename="camel"):
    kind: str
    name: str
    uid: str
    controller: bool = False


class Metadata(Struct, frozen=True, rename="camel", kw_only=True):
    """What the planner reads of ObjectMeta. `resource_version` is the precondition of every write."""

    name: str
    creation_timestamp: datetime
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "creation_timestamp", times.within(self.creation_timestamp))


class Reference(Struct, frozen=True):
    name: str


class Rotation(Struct, frozen=True, rename="camel"):
    """`period` None: only on request. The old version is accepted for `overlap` after its successor was handed out."""

    period: times.Duration | None = None
    overlap: times.Duration = times.Duration(hours=24)
    max_overlap: times.Duration = times.Duration(hours=168)
    retire_policy: Retirement = "HoldIfUsed"


class Delivery(Struct, frozen=True, rename="camel"):
    """Where the plaintext is: kept, dropped some time after it was handed out, or never here (`digest` only)."""

    mode: Mode = "Retain"
    secret_name: str | None = None
    drop_after: times.Duration | None = None
    digest: keys.Digest | None = None


class ApiKeySpec(Struct, frozen=True, rename="camel", kw_only=True):
    key_set_ref: Reference
    owner: keys.Owner
    scopes: Annotated[frozenset[keys.Scope], Meta(min_length=1)]
    rate_limit: keys.RateLimit | None = None
    rotation: Rotation = Rotation()
    not_before: keys.Moment | None = None
    expires_at: keys.Moment | None = None
    suspended: bool = False
    revoked: bool = False
    delivery: Delivery = Delivery()

    def __post_init__(self) -> None:
        """A CRD without our bounds, or an object from before them, may hold any date that there is."""
        if self.not_before is not None:
            force_setattr(self, "not_before", times.within(self.not_before))
        if self.expires_at is not None:
            force_setattr(self, "expires_at", times.within(self.expires_at))


class ApiKey(Struct, frozen=True):
    """`status` is only ever compared with what it should be: erased, it changes nothing."""

    metadata: Metadata
    spec: ApiKeySpec
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def client_secret(self) -> str | None:
        """None: the plaintext was never here."""
        if self.spec.delivery.mode == "Provided":
            return None
        return self.spec.delivery.secret_name or self.name


class Selector(Struct, frozen=True, rename="camel"):
    """Labels that an ApiKey must have; none: every ApiKey that names the KeySet."""

    match_labels: dict[str, str] = field(default_factory=dict)


class TargetReference(Struct, frozen=True, rename="camel"):
    """The Deployment whose Pods verify keys, and where they answer: `/keyset` on the admin port, `whoami` on the service's."""

    name: str
    admin_port: int = 8081
    keyset_path: str = "/keyset"
    service_port: int = 8080
    whoami_path: str = "/api/v1/whoami"


class Probes(Struct, frozen=True, rename="camel"):
    """`container`: the one that verifies keys; None: the one that mounts the key set, else the first."""

    mode: Literal["Audit", "Enforce"] = "Audit"
    container: str | None = None
    readiness_path: str = "/readiness"
    liveness_path: str = "/liveness"


class KeySetSpec(Struct, frozen=True, rename="camel", kw_only=True):
    environment: Environment
    target: TargetReference
    selector: Selector = Selector()
    allowed_scopes: frozenset[keys.Scope] = ALL_SCOPES
    max_keys: Count = 1500
    max_concurrent_rotations: Count = 10
    probes: Probes = Probes()


class KeySet(Struct, frozen=True):
    metadata: Metadata
    spec: KeySetSpec
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.metadata.name


Kind = TypeVar("Kind", ApiKey, KeySet)


def parse(kind: type[Kind], raw: dict[str, Any]) -> Kind:
    """A raw object of the API as its kind; raises InvalidObject."""
    try:
        return msgspec.convert(raw, kind, dec_hook=convert)
    except msgspec.ValidationError as error:
        _, _, path = str(error).rpartition(" - at ")
        raise InvalidObject(f"{kind.__name__}: wrong value at {path}") from None  # its text may quote the value


def convert(wanted: type, value: Any) -> times.Duration:
    """The one type here that msgspec does not know is Duration."""
    if not isinstance(value, str):
        raise TypeError(f"{wanted.__name__} is written as text")
    return times.duration(value)
