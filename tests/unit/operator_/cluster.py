"""A small cluster in memory: an API server with resourceVersions, a kubelet, Pods that verify keys, and operators that do plans.

It is no stand-in for a real one (tests/cluster has that): it is the world that the planner is explored in, where anything may be
late, lost, doubled or stopped at any moment, a hundred thousand times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from sluice import keys
from sluice_operator import api_types, world
from sluice_operator.api_types import ApiKey, Clock, KeySet, Metadata, OwnerReference, parse
from sluice_operator.memory import Memory
from sluice_operator.plan import plan
from sluice_operator.pods import Heard
from sluice_operator.world import Aside, Pod, Published, Report, Secret, World, seal

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORKERS = 2
# The key of the seals, which only operators have.
SEAL = b"s" * 32
# Actions that ask and write nothing.
QUESTIONS = (world.ProbeWhoami, world.AwaitConvergence)
# What the planner may use a status or an event for: nothing.
REMARKS = (world.SetStatus, world.EmitEvent)


class Conflict(Exception):
    """409 or 404: the object is not the one that the plan was made for."""


class Stored(msgspec.Struct, frozen=True):
    """A Secret in the API server."""

    metadata: Metadata
    type: str
    data: dict[str, bytes]
    immutable: bool = False


@dataclass
class PodState:
    """A Pod. `volume`: what the kubelet delivered last; `workers`: what each has loaded; `held`: the kubelet is late."""

    name: str
    uid: str
    created: datetime
    volume: bytes | None = None
    workers: list[keys.KeySetDocument | None] = field(default_factory=lambda: [None] * WORKERS)
    annotation: str | None = None
    started: bool = True
    booted: bool = False
    ready: bool = False
    terminating: bool = False
    finished: bool = False
    silent: bool = False
    held: bool = False

    def load(self, worker: int) -> None:
        """As the service does: a bad file keeps the last good set."""
        if self.volume is None:
            return
        try:
            self.workers[worker] = keys.parse_document(self.volume)
        except keys.InvalidKeySet:
            return

    def refusal(self, worker: int, digest: str, now: datetime) -> str | None:
        document = self.workers[worker]
        entries = {entry.digest: entry for entry in document.entries} if document else {}
        return keys.refusal(entries.get(digest), now)

    def report(self) -> Report | None:
        if not self.booted or self.silent or self.finished:
            return None
        revisions = {document.revision if document else None for document in self.workers}
        return Report(revisions.pop() if len(revisions) == 1 else None)


@dataclass
class Operator:
    """One process: its clock may be wrong, its memory goes with it. `queue`: the rest of its plan; `asks`: Pods, at a look."""

    skew: timedelta = timedelta()
    asks: bool = True
    looks: int = 0
    memory: Memory = field(default_factory=Memory)
    proved: set[tuple[str, str]] = field(default_factory=set)
    queue: list[world.Action] = field(default_factory=list)

    def crash(self) -> None:
        self.queue, self.proved, self.memory = [], set(), Memory()

    def listen(self, published: Published | None, pods: Iterable[PodState]) -> None:
        """What the engine does at a look; a look is a unit of its time."""
        self.looks += 1
        self.memory.turn(published, self.looks)
        for pod in pods if self.asks else ():
            report = pod.report()
            self.memory.hear(pod.uid, Heard(report, {}, {}) if report else None, self.looks)


class Cluster:
    """Everything that outlives an operator. `now` is the true time, and the API server's."""

    def __init__(self) -> None:
        self.now = START
        self.keyset: KeySet | None = parse(KeySet, keyset())
        self.keys: dict[str, ApiKey] = {}
        self.specs: dict[str, dict[str, Any]] = {}
        self.aside: dict[str, Aside] = {}
        self.secrets: dict[str, Stored] = {}
        self.pods: dict[str, PodState] = {}
        self.used: dict[str, datetime] = {}
        self.refused: dict[str, datetime] = {}
        self.replicas = 0
        self.has_target = True
        self.plaintexts: dict[str, str] = {}
        self.written: dict[str, keys.KeySetDocument] = {}
        self.handed: dict[str, list[str]] = {}
        self._numbers = itertools.count(1)

    def number(self) -> int:
        return next(self._numbers)

    # the API server

    def put(self, name: str, stored: Stored) -> None:
        self.secrets[name] = replace(stored, metadata=replace(stored.metadata, resource_version=str(self.number())))

    def create(self, name: str, kind: str, data: dict[str, bytes], marks: world.Marks, immutable: bool = False) -> None:
        if name in self.secrets:
            raise Conflict(name)
        metadata = Metadata(
            name=name,
            uid=f"uid-{self.number()}",
            creation_timestamp=self.now.replace(microsecond=0),
            labels=dict(marks.labels),
            annotations=dict(marks.annotations),
            owner_references=(marks.owner,),
        )
        self.put(name, Stored(metadata, kind, data, immutable))

    def seen(self, name: str, precondition: str) -> Stored:
        stored = self.secrets.get(name)
        if stored is None or stored.metadata.resource_version != precondition:
            raise Conflict(name)
        return stored

    def mark(self, name: str, precondition: str, marks: world.Marks, data: dict[str, bytes] | None = None) -> None:
        stored = self.seen(name, precondition)
        metadata = replace(
            stored.metadata,
            labels={**stored.metadata.labels, **marks.labels},
            annotations={**stored.metadata.annotations, **marks.annotations},
            owner_references=(marks.owner,),
        )
        assert data is None or not stored.immutable, "the API server refuses to change an immutable Secret"
        self.put(name, replace(stored, metadata=metadata, data=stored.data if data is None else data))

    def delete(self, name: str, precondition: str) -> None:
        self.seen(name, precondition)
        del self.secrets[name]

    def plaintext(self, name: str) -> str | None:
        stored = self.secrets.get(name)
        return stored.data[api_types.KEY_DATA].decode() if stored is not None and api_types.KEY_DATA in stored.data else None

    def mint(self, environment: str) -> str:
        number = self.number()
        key = keys.mint(environment, lambda count: number.to_bytes(count, "big"))
        self.plaintexts[keys.digest(key)] = key
        return key

    # users

    def apply(self, name: str, **spec: Any) -> ApiKey:
        """Create an ApiKey (again with the spec that it had), or change fields of one."""
        old = self.keys.get(name)
        metadata = {"name": name, "uid": f"uid-{self.number()}", "creationTimestamp": self.now.replace(microsecond=0)}
        if old is None and name not in self.specs:
            self.specs[name] = {"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]}
        if old is not None:
            metadata = msgspec.to_builtins(old.metadata)
        self.specs[name] |= spec
        raw = {"metadata": metadata, "spec": self.specs[name], "status": old.status if old else {}}
        key = parse(ApiKey, raw)
        self.keys[name] = replace(key, metadata=replace(key.metadata, generation=key.metadata.generation + 1))
        return self.keys[name]

    def annotate(self, name: str, value: str) -> None:
        key = self.keys[name]
        self.keys[name] = replace(key, metadata=replace(key.metadata, annotations={api_types.ROTATE: value}))

    def remove(self, name: str, orphan: bool = False) -> None:
        """Delete an ApiKey; what it owns goes with it, unless the user says otherwise."""
        uid = self.keys.pop(name).metadata.uid
        for secret, stored in list(self.secrets.items()):
            if uid not in [owner.uid for owner in stored.metadata.owner_references]:
                continue
            if orphan:
                self.put(secret, replace(stored, metadata=replace(stored.metadata, owner_references=())))
            else:
                del self.secrets[secret]

    # kubelet and Pods

    def start_pod(self) -> PodState:
        number = self.number()
        pod = PodState(f"pod-{number}", f"uid-{number}", self.now.replace(microsecond=0))
        self.pods[pod.name] = pod
        self.deliver(pod)
        return pod

    def deliver(self, pod: PodState) -> None:
        stored = self.secrets.get(api_types.published_secret("main"))
        if stored is not None and not pod.finished:
            pod.volume = stored.data[api_types.KEYSET_DATA]

    def boot(self, pod: PodState) -> None:
        """Its processes start, or start again, with what the volume holds."""
        pod.booted, pod.workers = True, [None] * WORKERS
        for worker in range(WORKERS):
            pod.load(worker)
        self.probe(pod)

    def probe(self, pod: PodState) -> None:
        """Readiness: every worker has a key set. Workers poll once a second, so a Pod that turns Ready has what it was given."""
        if pod.booted and not pod.ready and not pod.silent and not pod.finished:
            for worker in range(WORKERS):
                pod.load(worker)
            pod.ready = all(pod.workers)

    def advance(self, length: timedelta) -> None:
        """The kubelet delivers to a Pod that starts before it can be late by more than its own period."""
        self.now += length
        if length >= timedelta(minutes=2):
            for pod in self.pods.values():
                if not pod.ready:
                    self.deliver(pod)

    # operators

    def look(self, operator: Operator) -> World:
        """What an operator sees, its own memory included."""
        stored = self.secrets.get(api_types.published_secret("main"))
        published = None if stored is None else seen_set(stored)
        operator.listen(published, self.pods.values())
        return World(
            keyset=self.keyset,
            keys=tuple(self.keys.values()),
            aside=dict(self.aside),
            remembered=operator.memory.tombstones,
            secrets={name: seen(stored) for name, stored in self.secrets.items() if stored.type != api_types.KEYSET_TYPE},
            published=published,
            known=dict(operator.memory.known),
            replicas=self.replicas if self.has_target else None,
            pods=tuple(seen_pod(pod, operator) for pod in self.pods.values()),
            last_used=dict(self.used),
            last_refused=dict(self.refused),
        )

    def clock(self, operator: Operator) -> Clock:
        return Clock(self.now + operator.skew, self.now)

    def think(self, operator: Operator) -> None:
        operator.queue = list(plan(self.look(operator), self.clock(operator)).actions)

    def do(self, operator: Operator, action: world.Action) -> None:
        """One action as the engine does it; raises Conflict."""
        getattr(self, f"do_{type(action).__name__}")(operator, action)

    def do_PutSecret(self, operator: Operator, action: world.PutSecret) -> None:  # noqa: N802
        marks, source, key = action.marks, action.data, None
        if isinstance(source, world.Mint):
            key = self.mint(source.environment)
            marks = replace(marks, annotations={**marks.annotations, api_types.DIGEST: keys.digest(key)})
        elif source is not None:
            key = self.plaintext(source.source)
            if key is None or keys.digest(key) != source.digest:
                raise Conflict(source.source)
        handed = self.handed.get(marks.owner.name, ())
        repair = action.event == "ClientRepaired"
        assert not repair or (key is not None and keys.digest(key) in handed), "a repair never hands out a new value"
        data = {api_types.KEY_DATA: key.encode()} if key else {}
        if action.precondition is None:
            self.create(action.secret, api_types.KEY_TYPE, data, marks, action.immutable)
        else:
            self.mark(action.secret, action.precondition, marks, data)
        if key is not None and action.event in ("VersionActivated", "ClientRepaired"):
            self.hand(marks.owner.name, keys.digest(key))

    def do_PatchSecret(self, operator: Operator, action: world.PatchSecret) -> None:  # noqa: N802
        if action.marks is None:
            stored = self.seen(action.secret, action.precondition)
            assert not stored.immutable, "the plaintext of an immutable Secret stays"
            self.put(action.secret, replace(stored, data={}))
            return
        self.mark(action.secret, action.precondition, action.marks)
        key = self.keys.get(action.marks.owner.name)
        notes = action.marks.annotations
        if key is not None and key.client_secret is None and api_types.ACTIVATED_AT in notes and api_types.ENDS_AT not in notes:
            self.hand(key.name, notes[api_types.DIGEST])

    def do_DeleteSecret(self, operator: Operator, action: world.DeleteSecret) -> None:  # noqa: N802
        self.delete(action.secret, action.precondition)

    def do_PublishKeySet(self, operator: Operator, action: world.PublishKeySet) -> None:  # noqa: N802
        document = keys.parse_document(action.document)
        action = replace(action, marks=sealed(action.marks, document))
        data = {api_types.KEYSET_DATA: action.document}
        if action.precondition is None:
            self.create(action.secret, api_types.KEYSET_TYPE, data, action.marks)
        else:
            self.mark(action.secret, action.precondition, action.marks, data)
        self.written[action.revision] = document
        operator.memory.know(document)

    def do_AnnotatePods(self, operator: Operator, action: world.AnnotatePods) -> None:  # noqa: N802
        for name in action.pods:
            if (pod := self.pods.get(name)) is not None:
                pod.annotation = action.edition

    def do_AwaitConvergence(self, operator: Operator, action: world.AwaitConvergence) -> None:  # noqa: N802
        """The next look asks again."""

    def do_ProbeWhoami(self, operator: Operator, action: world.ProbeWhoami) -> None:  # noqa: N802
        key = self.plaintext(action.secret)
        for name in action.pods:
            pod = self.pods.get(name)
            if key is None or pod is None or pod.report() is None:
                continue
            worker = self.number() % WORKERS
            if keys.digest(key) == action.digest and pod.refusal(worker, action.digest, self.now) is None:
                operator.proved.add((pod.uid, action.digest))

    def do_SetStatus(self, operator: Operator, action: world.SetStatus) -> None:  # noqa: N802
        if action.kind == api_types.KEY_SET and self.keyset is not None:
            self.keyset = replace(self.keyset, status=action.status)
        elif action.name in self.aside:
            self.aside[action.name] = replace(self.aside[action.name], status=action.status)
        elif action.name in self.keys:
            self.keys[action.name] = replace(self.keys[action.name], status=action.status)

    def do_EmitEvent(self, operator: Operator, action: world.EmitEvent) -> None:  # noqa: N802
        """Nobody reads events."""

    def hand(self, name: str, digest: str) -> None:
        """Remember what was handed out, the latest last."""
        handed = self.handed.setdefault(name, [])
        if handed[-1:] != [digest]:
            handed.append(digest)


def keyset(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "main", "uid": "uid-main", "creationTimestamp": START.isoformat(), "generation": 1},
        "spec": {"environment": "test", "target": {"name": "web"}, **spec},
    }


def seen(stored: Stored) -> Secret:
    data = stored.data.get(api_types.KEY_DATA)
    return Secret(metadata=stored.metadata, type=stored.type, digest=keys.digest(data.decode()) if data else None)


def seen_set(stored: Stored) -> Published:
    try:
        document = keys.parse_document(stored.data.get(api_types.KEYSET_DATA, b""))
    except keys.InvalidKeySet:
        document = None
    mark = stored.metadata.annotations.get(api_types.SEAL)
    return Published(
        metadata=stored.metadata,
        type=stored.type,
        document=document,
        sealed=document is not None and mark == seal(SEAL, document),
    )


def sealed(marks: world.Marks, document: keys.KeySetDocument) -> world.Marks:
    """As the engine writes the key set."""
    return replace(marks, annotations={**marks.annotations, api_types.SEAL: seal(SEAL, document)})


def seen_pod(pod: PodState, operator: Operator) -> Pod:
    metadata = Metadata(
        name=pod.name,
        uid=pod.uid,
        creation_timestamp=pod.created,
        annotations={api_types.POD_REVISION: pod.annotation} if pod.annotation is not None else {},
        deletion_timestamp=START if pod.terminating else None,
    )
    return Pod(
        metadata=metadata,
        started=pod.started,
        was_ready=pod.ready,
        finished=pod.finished,
        report=None if pod.finished else operator.memory.report(pod.uid),
        last=operator.memory.last(pod.uid),
        proved=frozenset(digest for uid, digest in operator.proved if uid == pod.uid),
    )


def stomped(stored: Stored, value: str | None) -> Stored:
    """Without labels, owner and annotations, or with nonsense in them."""
    junk = {} if value is None else dict.fromkeys(stored.metadata.annotations, value)
    labels = {} if value is None else dict.fromkeys(stored.metadata.labels, value)
    return replace(stored, metadata=replace(stored.metadata, labels=labels, annotations=junk, owner_references=()))


def foreign(name: str) -> Stored:
    """Somebody else's Secret."""
    owner = OwnerReference("Deployment", "other", "uid-other")
    metadata = Metadata(name=name, creation_timestamp=START, resource_version="1", owner_references=(owner,))
    return Stored(metadata, "Opaque", {"password": b"theirs"})
