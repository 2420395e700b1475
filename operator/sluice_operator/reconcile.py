"""Looks after KeySets: takes one off the queue, looks, plans, does, and knows when to look again.

Nothing here decides what is right: plan.py does, from what is there. Whatever fails is looked at again, later each time.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import traceback
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct

from sluice import keys
from sluice_operator import status, telemetry, world
from sluice_operator.api_types import KEY_SETS, PODS, Clock, KeySet
from sluice_operator.cache import Cache
from sluice_operator.client import PASSED_OVER, Api, ApiError, Conflict, Unavailable
from sluice_operator.execute import Doer, Enforcer
from sluice_operator.memory import Memory
from sluice_operator.observe import Observer
from sluice_operator.plan import plan
from sluice_operator.queue import Errands, Key, Queue
from sluice_operator.world import Action, AwaitConvergence, EmitEvent, Plan, PublishKeySet, World

log = structlog.get_logger()


# A KeySet is looked at this often when nothing happens: Pods are asked when keys were last used.
REGULAR_SECONDS = 60.0
# One publish for many changes.
PUBLISH_SECONDS = 1.0
# How often Pods are asked that have not got a key set, by the seconds since it was published.
POLLS = ((5.0, 0.2), (60.0, 1.0), (float("inf"), 5.0))
ROUNDS = 10
# What goes first, in this order: a revocation waits for nothing.
ORDERED = (PublishKeySet, world.AnnotatePods)
AT_ONCE = 8
# So long a plan is followed although something changed: a revocation may be among it.
LONGEST_SECONDS = 0.5
REMARKS = (world.SetStatus, EmitEvent)
QUESTIONS = (AwaitConvergence, world.ProbeWhoami)
# So many calls of one plan may go unanswered: then it is the API server that is away, and not one object's webhook.
UNANSWERED = 3


class NotLeading(Exception):
    """This process may not write any more."""


class Outcome(Struct, frozen=True):
    """What was done, and whether something was refused."""

    done: tuple[Action, ...] = ()
    refused: bool = False


class Engine:
    """`may_write`: whether this process leads and its release has the namespace; it is asked before each action."""

    def __init__(
        self,
        api: Api,
        cache: Cache,
        queue: Queue,
        observer: Observer,
        doer: Doer,
        enforcer: Enforcer,
        errands: Errands,
        may_write: Callable[[Key], bool],
    ) -> None:
        self._api = api
        self._cache = cache
        self._queue = queue
        self._observer = observer
        self._doer = doer
        self._enforcer = enforcer
        self._errands = errands
        self._may_write = may_write

    async def work(self) -> None:
        """For ever, one KeySet at a time."""
        while True:
            key = await self._queue.take()
            try:
                with telemetry.RECONCILE_SECONDS.time():
                    result = await self._guarded(key)
                telemetry.RECONCILED.labels(result).inc()
            finally:
                self._queue.done(key)

    async def _guarded(self, key: Key) -> str:
        """One look at `key`; how it ended, for the metric."""
        try:
            return await self._look_after(key)
        except (Conflict, NotLeading):
            result = "conflict"
        except PASSED_OVER:
            await self._tell_blind(key)
            result = "refused"
        except ApiError as error:
            log.warning("api server not reached", verb=error.verb, resource=error.resource, told=error.told)
            result = "unavailable"
        except Exception:
            log.exception("reconcile failed", namespace=key.namespace, keyset=key.keyset)
            result = "error"
        self._queue.failed(key)
        return result

    async def _look_after(self, key: Key) -> str:
        if not self._may_write(key):
            return "ok"  # another release has the namespace; once it is ours, all of it is due
        seen = await self._observer.look(key)
        clock = self._api.clock()
        # In a thread: a thousand keys take a while, and the Lease and the probes do not wait.
        found = await asyncio.to_thread(plan, seen, clock)
        for name, fault in found.faults.items():
            log.error("not planned", namespace=key.namespace, keyset=key.keyset, apikey=name, fault=place(fault))
        self._measure(self._observer.memory(key), seen, found.actions)
        delay = self._delay(key, found, clock)
        wanted = [each for each in chains(found.actions) if seen.settled or not isinstance(each[0], REMARKS)]
        outcome = await self._do(key, self._now(key, wanted), seen)
        if seen.keyset is None:
            self._observer.memories.pop(key, None)
        else:
            self._observer.inquire(key, seen.keyset, self._errands)
            self._enforce(key, seen.keyset)
        if outcome.refused or not seen.pods_known or any(each.reason == "NotRead" for each in seen.aside.values()):
            self._queue.failed(key)
        else:
            self._queue.succeeded(key)
        self._follow(key, outcome.done, delay, seen.keyset)
        return "refused" if outcome.refused else "ok"

    def _enforce(self, key: Key, keyset: KeySet) -> None:
        memory = self._observer.memory(key)
        if keyset.spec.probes.mode == "Enforce" or memory.enforcement is not None:
            self._errands.start(key, "enforce", lambda: self._enforcer.wire(key, keyset, memory))

    async def _do(self, key: Key, whole: Sequence[Sequence[Action]], seen: World) -> Outcome:
        """The key set and its delivery first, then all else, a few at a time, as long as nothing new has to be looked at.

        What one object's call ends with holds no other up. A key set that could not be written does: it is looked at again.
        """
        room, end = asyncio.Semaphore(AT_ONCE), float("inf")
        unanswered: list[ApiError] = []

        async def one(chain: Sequence[Action]) -> Outcome:
            async with room:
                if len(unanswered) >= UNANSWERED or (time.monotonic() > end and self._queue.is_due(key)):
                    return Outcome()
                try:
                    return await self._chain(key, chain)
                except Unavailable as error:
                    unanswered.append(error)
                    return Outcome(refused=True)
                except Conflict:
                    return Outcome(refused=True)

        first = 1 + max((number for number, each in enumerate(whole) if isinstance(each[0], ORDERED)), default=-1)
        outcomes = [await (self._chain(key, each) if isinstance(each[0], PublishKeySet) else one(each)) for each in whole[:first]]
        keyset, handed_out = seen.keyset, any(hands_out(each[0]) for each in whole[first:])
        # A watch may be silent and nobody knows yet: a Pod that was not asked may refuse a key that is handed out.
        if handed_out and keyset is not None and await self._observer.pods_again(key, keyset, seen.pods):
            raise Conflict("list", PODS.plural, "the target has other Pods than were seen")
        end = time.monotonic() + LONGEST_SECONDS
        outcomes += await asyncio.gather(*map(one, whole[first:]))
        if len(unanswered) >= UNANSWERED:
            raise unanswered[0]
        return Outcome(tuple(itertools.chain(*(each.done for each in outcomes))), any(each.refused for each in outcomes))

    async def _chain(self, key: Key, chain: Sequence[Action]) -> Outcome:
        """An action, then the events that tell of it."""
        for number, action in enumerate(chain):
            if not self._may_write(key):
                raise NotLeading
            try:
                await self._doer.do(action, key)
            except PASSED_OVER:
                return Outcome(tuple(chain[:number]), refused=True)
            self._observer.memory(key).did(action, time.monotonic())
            tell(key, action)
        return Outcome(tuple(chain))

    def _now(self, key: Key, whole: list[list[Action]]) -> list[list[Action]]:
        """Without a publish less than PUBLISH_SECONDS after the last, and what somebody undid: the KeySet is due then."""
        memory, now, found = self._observer.memory(key), time.monotonic(), []
        memory.forget(now)
        for chain in whole:
            first = chain[0]
            left = memory.rest(first, now)
            if isinstance(first, PublishKeySet):
                left = memory.published_at + PUBLISH_SECONDS - now
                if left <= 0:
                    memory.published_at = now
                else:
                    # An ApiKey that is revoked may be gone by then, and another one of its name be there.
                    memory.bury(keys.parse_document(first.document))
            if left <= 0:
                found.append(chain)
            else:
                self._queue.add(key, left)
        return found

    def _delay(self, key: Key, found: Plan, clock: Clock) -> float | None:
        """In how many seconds time alone, or what nobody tells of, may change the plan; None: never."""
        deadline = found.delay(clock)
        foreign = self._observer.memory(key).wait_for(found.foreign, time.monotonic())
        delays = (deadline.total_seconds() if deadline is not None else None, foreign)
        return min((each for each in delays if each is not None), default=None)

    def _follow(self, key: Key, actions: Sequence[Action], delay: float | None, keyset: KeySet | None) -> None:
        """When to look again: at once when something was done, else when something can have changed. Errands add themselves."""
        awaited = next((each for each in actions if isinstance(each, AwaitConvergence)), None)
        if any(not isinstance(each, QUESTIONS + REMARKS) for each in actions):
            self._queue.add(key)
        elif awaited is not None and keyset is not None:
            self._errands.start(key, "converge", lambda: self._converge(key, keyset, awaited))
        if keyset is not None or delay is not None:
            self._queue.add(key, REGULAR_SECONDS if delay is None else min(REGULAR_SECONDS, delay))

    async def _converge(self, key: Key, keyset: KeySet, awaited: AwaitConvergence) -> float:
        """Ask the Pods that have not got the key set, until they have or another one is published."""
        age = max(0.0, (self._api.clock().server - awaited.since).total_seconds())
        pause = next(pause for limit, pause in POLLS if age < limit)
        memory = self._observer.memory(key)
        edition = memory.edition
        for _ in range(ROUNDS):
            await asyncio.sleep(pause)
            pods = [pod for pod in await self._observer.pods(key, keyset) if pod.name in awaited.pods]
            await self._observer.ask(key, keyset, pods, 0.0)
            heard = [memory.report(pod.uid) for pod in pods]
            if edition != memory.edition or all(each is not None and each.possible == {awaited.revision} for each in heard):
                break
        return 0.0

    def _measure(self, memory: Memory, seen: World, actions: Sequence[Action]) -> None:
        """Once for each revision: when every Pod has it. A target without Pods has nothing to measure."""
        document = seen.document
        waiting = any(isinstance(each, PublishKeySet | AwaitConvergence) for each in actions)
        if waiting or document is None or memory.converging != document.revision:
            return
        if any(pod.report is not None for pod in seen.pods):
            self._converged(memory, document)
        elif seen.pods:
            return
        memory.converging = None
        memory.staged.clear()
        memory.revoking.clear()

    def _converged(self, memory: Memory, document: keys.KeySetDocument) -> None:
        now = self._api.clock().server
        passed = max(0.0, (now - document.generated_at).total_seconds())
        telemetry.CONVERGE_SECONDS.observe(passed)
        if document.revision in memory.revoking:
            telemetry.REVOCATION_SECONDS.observe(passed)
        for made in memory.staged.values():
            telemetry.took("Converged", made, now)

    async def _tell_blind(self, key: Key) -> None:
        """What cannot be looked at cannot be planned; its status says so."""
        keyset = self._cache.key_set(key.namespace, key.keyset)
        if keyset is None:
            return
        blind = status.blind(keyset, self._api.refusals.told(key.namespace), self._api.clock())
        if blind == keyset.status:
            return
        try:
            raw = await self._api.set_status(KEY_SETS, key.namespace, key.keyset, blind)
        except ApiError:
            return
        self._cache.put(KEY_SETS, raw, ours=True)


def place(fault: Exception) -> str:
    """What went wrong and where in the code; not its text, which may quote a value."""
    last = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__} in {last.name}, line {last.lineno} of {last.filename.rpartition('/')[2]}"


def hands_out(action: Action) -> bool:
    return isinstance(action, world.PutSecret | world.PatchSecret) and action.reason is not None


def chains(actions: Sequence[Action]) -> list[list[Action]]:
    """Each action with the events that tell of it."""
    found: list[list[Action]] = []
    for action in actions:
        if isinstance(action, EmitEvent) and found:
            found[-1].append(action)
        else:
            found.append([action])
    return found


def tell(key: Key, action: Action) -> None:
    """A line for each write but statuses and events; names only."""
    if not isinstance(action, QUESTIONS + REMARKS):
        # Not `secret`: the log drops what is called so.
        about = {"object": "secret", "revision": "revision", "edition": "edition"}
        named = {name: getattr(action, field) for name, field in about.items() if getattr(action, field, None) is not None}
        log.info(getattr(action, "event", "") or type(action).__name__, namespace=key.namespace, keyset=key.keyset, **named)
