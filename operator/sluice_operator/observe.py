"""The cluster as one plan needs it (world.py): out of the cache, by direct reads of what a watch can miss, and by asking Pods."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace

from sluice_operator import api_types, probes, world
from sluice_operator.api_types import BUDGETS, PODS, REPLICA_SETS, SECRETS, SELECTORS, ApiKey, KeySet, Raw, Resource
from sluice_operator.cache import Cache, DeploymentFacts, Unreadable, decoded, secret
from sluice_operator.client import PASSED_OVER, Api, ApiError, NotFound
from sluice_operator.memory import Memory
from sluice_operator.pods import Asker
from sluice_operator.probes import Finding
from sluice_operator.queue import Errands, Key
from sluice_operator.world import Aside, Pod, Published, Secret, World

log = structlog.get_logger()

# PodDisruptionBudgets are not watched: a right that is missing for the audit must hold no key back.
BUDGET_SECONDS = 60.0
# One that is missed may have been made a moment ago, with its Deployment.
MISSED_SECONDS = 2.0
MISSED = ("NoDisruptionBudget", "BudgetAllowsNone")


class Audit:
    def __init__(self, api: Api, asker: Asker, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._asker = asker
        self._monotonic = monotonic
        self._budgets: dict[str, tuple[float, list[Raw]]] = {}
        # Where it was tried to read them.
        self.tried: set[str] = set()

    def findings(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts | None) -> tuple[Finding, ...] | None:
        """None: there is nothing to look at, or the disruption budgets are not known, which is told elsewhere."""
        if deployment is None or namespace not in self._budgets:
            return None
        return tuple(each for each in self._lint(namespace, keyset, deployment) if each.reason not in deployment.muted)

    def is_old(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts) -> bool:
        """Whether the disruption budgets should be read again."""
        at, _ = self._budgets.get(namespace, (float("-inf"), []))
        missed = namespace in self._budgets and any(each.reason in MISSED for each in self._lint(namespace, keyset, deployment))
        return self._monotonic() - at >= (MISSED_SECONDS if missed else BUDGET_SECONDS)

    async def look(self, namespace: str) -> float | None:
        """Read the disruption budgets. None: they are as they were. Raises ApiError."""
        _, before = self._budgets.get(namespace, (0.0, None))
        new = namespace not in self.tried
        try:
            budgets = (await self._api.list(BUDGETS, namespace)).items
        except PASSED_OVER:
            return None if self._budgets.pop(namespace, None) is None and not new else 0.0
        finally:
            self.tried.add(namespace)
        self._budgets[namespace] = (self._monotonic(), budgets)
        return 0.0 if budgets != before else None

    def unproved(self, pods: Sequence[Pod], memory: Memory) -> list[Pod]:
        """Those that Kubernetes calls Ready and that were not seen to be."""
        return [pod for pod in pods if pod.was_ready and pod.answers and not memory.pods[pod.uid].seen_ready]

    async def prove(self, keyset: KeySet, pods: Sequence[Pod], memory: Memory) -> float | None:
        """Ask the readiness of each of these. None: nothing is new."""
        asked = self.unproved(pods, memory)
        port, path = keyset.spec.target.admin_port, keyset.spec.probes.readiness_path
        answers = await asyncio.gather(*(self._asker.ready(pod.ip or "", port, path) for pod in asked))
        about = [memory.pods[pod.uid] for pod in asked]
        new = not all(each.tried for each in about)
        for each, ready in zip(about, answers, strict=True):
            each.tried, each.seen_ready = True, ready
        return 0.0 if new or any(answers) else None

    def _lint(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts) -> list[Finding]:
        _, budgets = self._budgets[namespace]
        try:
            return probes.lint(deployment.raw, budgets, api_types.published_secret(keyset.name), keyset.spec.probes.container)
        except Exception:  # a Deployment may contain what nobody thought of
            log.exception("deployment not judged", namespace=namespace, deployment=deployment.metadata.name)
            return [Finding("NotJudged", "deployment")]


# How old a Pod's answer may be: while a key rotates, and otherwise.
FRESH_SECONDS, USUAL_SECONDS = 10.0, 60.0
# How long it is believed that a Secret is not there, or that one which no watch sees stays as it is.
ABSENT_SECONDS, PRESENT_SECONDS = 300.0, 2.0
# So long after its grace period a Pod may still be about to end.
LOST = timedelta(minutes=2)
# Of the calls that there is room for (client.py): a thousand Secrets or Pods leave the others to a revocation elsewhere.
AT_ONCE = 10
SEAL_BYTES = 32


class Unseen:
    """Secrets that were read by name because no watch shows them. An answer that something is forgotten before is not kept."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._read: dict[tuple[str, str], tuple[float, Secret | Published | None]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    async def get(self, namespace: str, name: str) -> Secret | Published | None:
        """What is called so; None: nothing. Raises ApiError."""
        read = self._read
        at, found = read.get((namespace, name), (float("-inf"), None))
        if time.monotonic() - at < (ABSENT_SECONDS if found is None else PRESENT_SECONDS):
            return found
        async with self._room:
            try:
                found = secret(await self._api.get(SECRETS, namespace, name))
            except NotFound:
                found = None
        read[namespace, name] = (time.monotonic(), found)
        return found

    def forget(self, namespace: str, name: str | None = None) -> None:
        """What is known of one Secret, or of all in `namespace`."""
        self._read = {key: value for key, value in self._read.items() if key[0] != namespace or name not in (None, key[1])}


class Seals:
    """The keys that published documents are sealed with, each in a Secret of its own. Only ever in memory here."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._keys: dict[Key, bytes] = {}

    async def get(self, key: Key) -> bytes | None:
        """None: there is none yet; empty: its Secret holds something else. Raises ApiError."""
        known = self._keys  # another one when the Secret changed before the answer comes
        if key not in known:
            try:
                raw = await self._api.get(SECRETS, key.namespace, api_types.seal_secret(key.keyset))
            except NotFound:
                return None
            found = decoded(raw.get("data") or {}, api_types.SEAL_DATA)
            if raw.get("type") != api_types.KEYSET_TYPE or not found or len(found) < SEAL_BYTES:
                return b""
            known[key] = found
        return known[key]

    def forget(self, namespace: str, secret: str) -> None:
        """The Secret is another, or gone."""
        self._keys = {
            key: seal
            for key, seal in self._keys.items()
            if (key.namespace, api_types.seal_secret(key.keyset)) != (namespace, secret)
        }


class Owners:
    """Which Deployment each ReplicaSet belongs to, by uid."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.known: dict[str, str | None] = {}

    async def learn(self, namespace: str, replica_sets: Iterable[str]) -> None:
        """By one list. Of those that are not in it nobody is the owner. Raises ApiError."""
        found = dict((await self._api.list(REPLICA_SETS, namespace, keep=deployment_of)).items)
        self.known |= dict.fromkeys(replica_sets) | found

    def forget(self) -> None:
        self.known = {}


def deployment_of(replica_set: Raw) -> tuple[str, str | None]:
    """Its uid, and that of the Deployment which it belongs to."""
    metadata = replica_set["metadata"]
    owners = metadata.get("ownerReferences") or []
    return metadata["uid"], next((each["uid"] for each in owners if each["kind"] == "Deployment"), None)


class Observer:
    """Looks at one KeySet at a time, with what `memories` holds of it."""

    def __init__(self, api: Api, cache: Cache, asker: Asker) -> None:
        self._api = api
        self._cache = cache
        self._asker = asker
        self.unseen = Unseen(api)
        self.owners = Owners(api)
        self.seals = Seals(api)
        self.audit = Audit(api, asker)
        self.memories: dict[Key, Memory] = {}

    def memory(self, key: Key) -> Memory:
        return self.memories.setdefault(key, Memory())

    def forget(self, namespace: str) -> None:
        """Read everything again that is not watched."""
        self.unseen.forget(namespace)
        self.owners.forget()

    async def refresh(self, resource: Resource, namespace: str) -> None:
        """Have in the cache all that is watched of a kind, and nothing else of it. Raises ApiError."""

        def keep(raw: Raw) -> str:
            self._cache.put(resource, raw)
            return str(raw["metadata"]["name"])

        listing = await self._api.list(resource, namespace, SELECTORS.get(resource, ""), keep)
        self._cache.retain(resource, namespace, set(listing.items), listing.resource_version)

    async def look(self, key: Key) -> World:
        """Raises ApiError."""
        keyset = self._cache.key_set(key.namespace, key.keyset)
        named, aside = self._keys(key)
        if keyset is None:
            return World(keyset=None, keys=named, aside=aside)
        memory, published = self.memory(key), await self._published(key)
        if published is not None and published.authentic and published.document is not None:
            memory.know(published.document)
        seen = World(
            keyset=keyset,
            keys=named,
            aside=aside,
            remembered=memory.tombstones,
            secrets=self._labelled(key),
            published=published,
        )
        found, unread = await self._missing(key, seen)
        blocked = [each for each in named if not unread.isdisjoint(world.names_of(each, seen))] if unread else []
        aside = {each.name: world.set_aside(each, "NotRead") for each in blocked}
        seen = replace(seen, keys=tuple(each for each in named if each.name not in aside), aside={**seen.aside, **aside})
        return await self._with_target(key, keyset, seen, {**seen.secrets, **found})

    async def _with_target(self, key: Key, keyset: KeySet, seen: World, secrets: dict[str, Secret]) -> World:
        memory = self.memory(key)
        memory.turn(seen.published, time.monotonic())
        try:
            pods, pods_known = await self.pods(key, keyset), True
        except ApiError as error:
            log.warning("pods not known", namespace=key.namespace, keyset=key.keyset, told=str(error))
            pods, pods_known = [], False
        deployment = self._cache.deployment(key.namespace, keyset.spec.target.name)
        for pod in pods:
            memory.pods[pod.uid].was_ready |= pod.was_ready
        memory.keep([pod.uid for pod in pods], {f"{entry.key_id}/{entry.version}" for entry in world.entries(seen)})
        now = self._api.clock().earliest
        return replace(
            seen,
            secrets=secrets,
            known=dict(memory.known),
            replicas=deployment.replicas if deployment is not None else None,
            pods=tuple(known(pod, memory, now) for pod in pods),
            pods_known=pods_known,
            settled=self._settled(key, pods, memory, deployment),
            last_used=dict(memory.last_used),
            last_refused=dict(memory.last_refused),
            findings=self.audit.findings(key.namespace, keyset, deployment),
            refused=self._api.refusals.told(key.namespace),
            muted=deployment.muted if deployment is not None else {},
            enforcement=memory.enforcement,
        )

    async def pods(self, key: Key, keyset: KeySet) -> list[Pod]:
        """Those of the target. Raises ApiError."""
        adopted = self._cache.deployment(key.namespace, keyset.spec.target.name) is None
        while True:
            # A Pod of another ReplicaSet may come while these are asked for.
            sets = {pod.owner or "" for pod in self._owned(key)}
            unknown = sets - self.owners.known.keys()
            found = [] if unknown else self.seen_pods(key, keyset)
            if found or (not unknown and (adopted or self._cache.uids(key.namespace) >= {*map(self.owners.known.get, sets)})):
                return found
            # A Deployment that has no Pods may have adopted a ReplicaSet of one that is gone.
            adopted = True
            await self.owners.learn(key.namespace, unknown)

    async def pods_again(self, key: Key, keyset: KeySet, seen: Iterable[Pod]) -> bool:
        """List the Pods; whether the target has others than were seen: a watch may be silent and nobody knows yet."""
        await self.refresh(PODS, key.namespace)
        return {pod.uid for pod in seen} != {pod.uid for pod in await self.pods(key, keyset)}

    async def ask(self, key: Key, keyset: KeySet, pods: Iterable[Pod], seconds: float) -> float | None:
        """Ask those of `pods` for `/keyset` that were not asked for so many seconds. None: nothing is new."""
        memory, now = self.memory(key), time.monotonic()
        asked = [pod for pod in pods if pod.answers and memory.age(pod.uid, now) >= seconds]
        answers = await asyncio.gather(*(self._asker.keyset(pod.ip or "", keyset.spec.target) for pod in asked))
        before = [(memory.pods[pod.uid].asked, memory.pods[pod.uid].heard) for pod in asked]
        for pod, heard in zip(asked, answers, strict=True):
            # Not when it answered: something may have been published in between.
            memory.hear(pod.uid, heard, now)
        new = any(at is None or old != heard for (at, old), heard in zip(before, answers, strict=True))
        return 0.0 if new else None

    def _keys(self, key: Key) -> tuple[tuple[ApiKey, ...], dict[str, Aside]]:
        found = [each for each in self._cache.api_keys(key.namespace) if each.metadata.deletion_timestamp is None or each.revoked]
        named = tuple(each for each in found if isinstance(each, ApiKey) and each.spec.key_set_ref.name == key.keyset)
        broken = [each for each in found if isinstance(each, Unreadable) and each.keyset in (None, key.keyset)]
        return named, {each.metadata.name: each.aside for each in broken}

    def _labelled(self, key: Key) -> dict[str, Secret]:
        ours = (each for each in self._cache.secrets(key.namespace) if isinstance(each, Secret))
        labelled = (each for each in ours if each.metadata.labels.get(api_types.LABEL_KEYSET) == key.keyset)
        return {each.name: each for each in labelled if each.type == api_types.KEY_TYPE}

    async def _published(self, key: Key) -> Published | None:
        found = await self.secret(key, api_types.published_secret(key.keyset))
        if not isinstance(found, Published):
            return Published(metadata=found.metadata, type=found.type) if found is not None else None
        try:
            seal = await self.seals.get(key)
        except PASSED_OVER:
            return found
        if not seal:
            return replace(found, seal_taken=seal is not None)
        mark, document = found.metadata.annotations.get(api_types.SEAL, ""), found.document
        right = document is not None and hmac.compare_digest(mark.encode(), world.seal(seal, document).encode())
        return replace(found, sealed=right)

    async def _missing(self, key: Key, seen: World) -> tuple[dict[str, Secret], set[str]]:
        """Secrets that no watch shows, and the names of those that could not be read."""
        expected, taken = set(world.wanted_names(seen)), self.memory(key).taken
        wanted = sorted((expected | taken) - set(seen.secrets))
        found = await asyncio.gather(*(self.secret(key, name) for name in wanted), return_exceptions=True)
        unread = {name for name, each in zip(wanted, found, strict=True) if isinstance(each, BaseException)}
        # The published Secret of another KeySet is somebody else's here.
        read = [Secret(metadata=each.metadata, type=each.type) if isinstance(each, Published) else each for each in found]
        secrets = {each.name: each if each.name in expected else unless_ours(each) for each in read if isinstance(each, Secret)}
        taken &= unread | secrets.keys()
        return secrets, unread

    def _settled(self, key: Key, pods: Sequence[Pod], memory: Memory, deployment: DeploymentFacts | None) -> bool:
        asked = all(memory.pods[pod.uid].asked is not None for pod in pods if pod.answers)
        proved = all(memory.pods[pod.uid].tried for pod in self.audit.unproved(pods, memory))
        return asked and proved and (deployment is None or key.namespace in self.audit.tried)

    def inquire(self, key: Key, keyset: KeySet, errands: Errands) -> None:
        """Have asked what is not fresh any more. Answers that are new make the KeySet due."""
        try:
            pods = self.seen_pods(key, keyset)
        except KeyError:
            pods = []  # a ReplicaSet is not known
        memory, now = self.memory(key), time.monotonic()
        seconds = FRESH_SECONDS if moving(self._labelled(key).values()) else USUAL_SECONDS
        if any(pod.answers and memory.age(pod.uid, now) >= seconds for pod in pods):
            errands.start(key, "ask", lambda: self.ask(key, keyset, pods, seconds))
        if self.audit.unproved(pods, memory):
            errands.start(key, "readiness", lambda: self.audit.prove(keyset, pods, memory))
        deployment = self._cache.deployment(key.namespace, keyset.spec.target.name)
        if deployment is not None and self.audit.is_old(key.namespace, keyset, deployment):
            errands.start(key, "budgets", lambda: self.audit.look(key.namespace))

    async def secret(self, key: Key, name: str) -> Secret | Published | None:
        return self._cache.secret(key.namespace, name) or await self.unseen.get(key.namespace, name)

    def seen_pods(self, key: Key, keyset: KeySet) -> list[Pod]:
        """Those of the target, by what is known. Raises KeyError when a ReplicaSet is not."""
        deployment = self._cache.deployment(key.namespace, keyset.spec.target.name)
        if deployment is None:
            return []
        own = (pod for pod in self._owned(key) if self.owners.known[pod.owner or ""] == deployment.metadata.uid)
        return sorted(own, key=lambda pod: pod.name)

    def _owned(self, key: Key) -> list[Pod]:
        return [pod for pod in self._cache.pods(key.namespace) if pod.owner is not None]


def unless_ours(found: Secret) -> Secret:
    """What has the name of a version to be made and no label of ours is somebody else's, whatever it holds."""
    return found if api_types.LABEL_API_KEY in found.metadata.labels else replace(found, type="")


def moving(secrets: Iterable[Secret]) -> bool:
    """Whether a version is staged or superseded."""
    return any(
        api_types.version_of(each.name) is not None
        and (each.note(api_types.ACTIVATED_AT) is None or each.note(api_types.ENDS_AT) is not None)
        for each in secrets
    )


def known(pod: Pod, memory: Memory, now: datetime) -> Pod:
    """With what is known of it, else the worse: one that ever passed its start-up may have been Ready.

    Its deletionTimestamp is the end of its grace period. What is there long after that and does not answer is on a node that is
    gone, and may stay for ever.
    """
    about, end = memory.pods[pod.uid], pod.metadata.deletion_timestamp
    asked, report = about.asked is not None or not pod.answers, memory.report(pod.uid) if pod.answers else None
    return replace(
        pod,
        was_ready=pod.was_ready or pod.up or about.was_ready,
        finished=pod.finished or (asked and report is None and end is not None and now >= end + LOST),
        asked=asked,
        report=report,
        last=memory.last(pod.uid),
        proved=frozenset(about.proved),
        ready_seen=about.seen_ready,
    )
