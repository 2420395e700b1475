"""The kinds ApiKey and KeySet, as they are read: raw objects of the API server, checked and frozen; durations, moments and names.

Durations are metav1.Duration (Go's time.ParseDuration) in whole hours, minutes and seconds: `720h`, `24h`, `1h30m`, `45s`.
Moments are RFC 3339 in UTC, whole seconds. The rules are those of the CRDs (charts/sluice/files/crds); they are checked again
here because a CRD can be replaced.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from sluice import keys

DURATION = re.compile(r"(?:(?P<hours>[0-9]{1,6})h)?(?:(?P<minutes>[0-9]{1,6})m)?(?:(?P<seconds>[0-9]{1,6})s)?")
STAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
SECOND = timedelta(seconds=1)
# Every moment that is read lies in here: whatever is added to it or taken from it is still a date. The CRD has the same bounds.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Duration(timedelta):
    """A timedelta that the API writes as `1h30m`."""


class Clock(Struct, frozen=True):
    """Two clocks: `here` is ours, `server` the API server's (the Date of its latest answer). Both aware.

    One of them may be wrong by an hour. What is judged to have passed has passed on both (`earliest`), and a term that
    starts now starts on the later one (`latest`): so nothing ends early because one clock was wrong.
    """

    here: datetime
    server: datetime

    @property
    def earliest(self) -> datetime:
        return min(self.here, self.server)

    @property
    def latest(self) -> datetime:
        return max(self.here, self.server)

    @property
    def skew(self) -> timedelta:
        return self.latest - self.earliest


def at(moment: datetime) -> Clock:
    """Both clocks at `moment`."""
    return Clock(moment, moment)


def duration(text: str) -> Duration:
    """Raises ValueError when `text` is no such duration, or none at all ("")."""
    found = DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError("not a duration: use whole hours, minutes and seconds, for example 720h or 1h30m")
    return Duration(**{unit: int(number) for unit, number in found.groupdict("0").items()})


def within(moment: datetime) -> datetime:
    """An aware `moment` in UTC, not before FIRST and not after LAST. Near the ends of the calendar UTC may have no such date."""
    return FIRST if moment <= FIRST else LAST if moment >= LAST else moment.astimezone(UTC)


def whole_second(moment: datetime) -> datetime:
    """`moment` in UTC, rounded up: what ends later never ended early."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=0) + (SECOND if moment.microsecond else timedelta())


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_stamp(text: str | None) -> datetime | None:
    """What `stamp` wrote; None for anything else: annotations can be edited by anyone."""
    if text is None or not STAMP.fullmatch(text):
        return None
    try:
        return within(datetime.fromisoformat(text))
    except ValueError:
        return None


Retirement = Literal["HoldIfUsed", "Retire"]
Mode = Literal["Retain", "DropAfter", "Provided"]
Count = Annotated[int, Meta(ge=1)]
Environment = Annotated[str, Meta(pattern=r"^[a-z0-9]{1,16}$(?!\n)")]

# Those of schema 1 only: a published set with any other is refused by Pods of a release that does not know it, so the owner of a
# KeySet allows it when the service is there.
DEFAULT_SCOPES = keys.SCHEMA_1_SCOPES


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
        force_setattr(self, "creation_timestamp", within(self.creation_timestamp))


class Reference(Struct, frozen=True):
    name: str


class Rotation(Struct, frozen=True, rename="camel"):
    """`period` None: only on request. The old version is accepted for `overlap` after its successor was handed out."""

    period: Duration | None = None
    overlap: Duration = Duration(hours=24)
    max_overlap: Duration = Duration(hours=168)
    retire_policy: Retirement = "HoldIfUsed"


class SecretTemplate(Struct, frozen=True):
    """What others want to find on the client Secret. Labels and annotations of ours are not theirs to set."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


class Delivery(Struct, frozen=True, rename="camel"):
    """Where the plaintext is: kept, dropped some time after it was handed out, or never here (`digest` only)."""

    mode: Mode = "Retain"
    secret_name: str | None = None
    drop_after: Duration | None = None
    digest: keys.Digest | None = None
    secret_template: SecretTemplate = SecretTemplate()


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
            force_setattr(self, "not_before", within(self.not_before))
        if self.expires_at is not None:
            force_setattr(self, "expires_at", within(self.expires_at))


class ApiKey(Struct, frozen=True):
    """`status` is only ever compared with what it should be: erased, it changes nothing."""

    metadata: Metadata
    spec: ApiKeySpec
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def revoked(self) -> bool:
        return self.spec.revoked

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
    allowed_scopes: frozenset[keys.Scope] = DEFAULT_SCOPES
    max_keys: Count = 1500
    max_concurrent_rotations: Count = 10
    probes: Probes = Probes()


class KeySet(Struct, frozen=True):
    """`fault`: which field breaks the rules of its kind; the others are as they are, and nothing new is made by them."""

    metadata: Metadata
    spec: KeySetSpec
    status: dict[str, Any] = field(default_factory=dict)
    fault: str = ""

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


def convert(wanted: type, value: Any) -> Duration:
    """The one type here that msgspec does not know is Duration."""
    if not isinstance(value, str):
        raise TypeError(f"{wanted.__name__} is written as text")
    return duration(value)


GROUP = "sluice.dev"
API_VERSION = f"{GROUP}/v1alpha1"
API_KEY, KEY_SET = "ApiKey", "KeySet"

# Set once when a Secret is made, and never to be changed after that: what tells our Secrets from all others.
KEY_TYPE, KEYSET_TYPE = f"{GROUP}/api-key", f"{GROUP}/keyset"
KEY_DATA, KEYSET_DATA, SEAL_DATA = "key", "keyset.json", "seal"

LABEL_KEYSET, LABEL_API_KEY = f"{GROUP}/keyset", f"{GROUP}/apikey"
# On an ApiKey, by its owner: any new value asks for a rotation.
ROTATE = f"{GROUP}/rotate"
# On a version Secret: the digest of its key, and which value of ROTATE it was made for (hashed).
DIGEST, MADE_FOR = f"{GROUP}/digest", f"{GROUP}/made-for"
# On a version Secret and, of the active version, on the client Secret.
ACTIVATED_AT = f"{GROUP}/activated-at"
# On the version Secret of a version that has a successor: from then on nobody accepts it.
ENDS_AT = f"{GROUP}/ends-at"
# On the client Secret: the version that it holds.
VERSION = f"{GROUP}/version"
# On the published Secret: a MAC over its document. Who can write that Secret only cannot make one: the key is in another Secret.
SEAL = f"{GROUP}/seal"
# On a Pod of the target, the one thing of it that we ever change: makes the kubelet deliver its Secrets at once.
POD_REVISION = f"{GROUP}/keyset-revision"

# On the Lease of the operator: the KeySet that was made out of the chart's ConfigMap, as `<uid of the ConfigMap>/<name>`.
BOOTSTRAPPED = f"{GROUP}/bootstrapped"
# In each namespace that is worked in, held by the release that works in it.
CLAIM_LEASE = "sluice-operator-claim"

# No ApiKey and no client Secret may be called like a version Secret (a rule of the CRD), so this is never ambiguous.
VERSION_SECRET = re.compile(r"(?P<key>.+)-v(?P<number>[1-9][0-9]{0,8})")


def published_secret(keyset: str) -> str:
    return f"{keyset}-published"


def seal_secret(keyset: str) -> str:
    return f"{keyset}-seal"


def version_secret(key: str, number: int) -> str:
    return f"{key}-v{number}"


def version_of(secret: str) -> tuple[str, int] | None:
    """The ApiKey and the version number that a version Secret is named for; None when it is no such name."""
    found = VERSION_SECRET.fullmatch(secret)
    return (found["key"], int(found["number"])) if found else None


Raw = dict[str, Any]


class Resource(Struct, frozen=True):
    """`group` is "" for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str | None = None, subresource: str | None = None) -> str:
        """Of all objects in `namespace`, of one, or of a part of one."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return "/".join(part for part in (f"{root}/namespaces/{namespace}/{self.plural}", name, subresource) if part)


API_KEYS = Resource(GROUP, "v1alpha1", "apikeys", API_KEY)
KEY_SETS = Resource(GROUP, "v1alpha1", "keysets", KEY_SET)
SECRETS = Resource("", "v1", "secrets", "Secret")
PODS = Resource("", "v1", "pods", "Pod")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

OF_KIND = {each.kind: each for each in (API_KEYS, KEY_SETS)}
# Without these nothing can be planned; of the others what can be is.
ESSENTIAL = (API_KEYS, KEY_SETS, SECRETS)
# What is watched; of Secrets only those with the label of a KeySet.
WATCHED = (API_KEYS, KEY_SETS, SECRETS, PODS, DEPLOYMENTS)
SELECTORS = {SECRETS: LABEL_KEYSET}
