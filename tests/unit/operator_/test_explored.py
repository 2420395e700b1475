"""The planner in a world where anything may be late, lost, doubled or stopped: what must never happen never does.

The invariants are numbered as in docs/operator.md. A short run is part of the suite; SOAK_STEPS=100000 makes a long one.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace
from tests.unit.operator_.cluster import (
    QUESTIONS,
    REMARKS,
    SEAL,
    START,
    WORKERS,
    Cluster,
    Conflict,
    Operator,
    PodState,
    Stored,
    foreign,
    seen_set,
    stomped,
)

from sluice import keys
from sluice_operator import api_types, world
from sluice_operator.api_types import Clock
from sluice_operator.plan import plan
from sluice_operator.world import seal

STEPS = int(os.environ.get("SOAK_STEPS", "1000"))
# How long a hand-over may take that nothing holds up: rounds of one plan and one delivery.
ROUNDS = 40
PUBLISHED = api_types.published_secret("main")
MODES: dict[str, dict[str, Any]] = {
    "alpha": {"rotation": {"period": "720h"}},
    "beta": {"delivery": {"mode": "DropAfter", "dropAfter": "1h"}, "rotation": {"retirePolicy": "Retire"}},
    "gamma": {"delivery": {"mode": "Provided"}},
}
OVERLAP = timedelta(hours=24)
FORGED = keys.digest("forged")
hours = st.sampled_from([0, -1, 1])
names_of_keys = st.sampled_from(["alpha", "alpha", "beta", "gamma"])
faults: Counter[str] = Counter()
steps: Counter[str] = Counter()


@dataclass
class Hold:
    """A client and the key that it took. `until`: when it must have taken the next one."""

    key: str
    digest: str
    until: datetime | None = None


class Exploration(RuleBasedStateMachine):
    """Users, faults, Pods and two operators, one step of one of them at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.operators = [Operator(), Operator()]
        self.holds: list[Hold] = []
        self.unsettled: set[str] = set()
        self.damaged = False
        self.dead: set[str] = set()
        self.revoking: dict[str, datetime] = {}
        self.revoked: dict[str, datetime] = {}
        self.credit: Counter[str] = Counter()
        self.bystander = foreign("bystander")
        self.cluster.secrets["bystander"] = self.bystander

    @initialize(pods=st.integers(0, 2), skews=st.tuples(hours, hours))
    def begin(self, pods: int, skews: tuple[int, int]) -> None:
        """A target with some Pods, and a key of each kind, handed out."""
        for operator, skew in zip(self.operators, skews, strict=True):
            operator.skew = timedelta(hours=skew)
        self.cluster.replicas = pods
        for _ in range(pods):
            self.cluster.boot(self.cluster.start_pod())
        for name in MODES:
            self.create(name)
        self.settle()

    # users

    @rule(name=names_of_keys, what=st.sampled_from([*["rotate"] * 4, "suspend", "resume", "expire", "create"]))
    def use_the_api(self, name: str, what: str) -> None:
        getattr(self, what)(name)

    @rule(name=names_of_keys, what=st.sampled_from(["revoke", "delete", "delete_and_create_again", "orphan_and_create_again"]))
    def end_a_key(self, name: str, what: str) -> None:
        getattr(self, what)(name)

    def create(self, name: str) -> None:
        if name not in self.cluster.keys:
            spec = dict(MODES[name])
            if name == "gamma":
                spec["delivery"] = {"mode": "Provided", "digest": self.digest()}
            self.begin_again(name, spec)
            self.credit[name] += 1

    def begin_again(self, name: str, spec: dict[str, Any]) -> None:
        self.cluster.specs.pop(name, None)
        self.revoking.pop(name, None)
        self.cluster.apply(name, **spec)
        self.forget(name)

    def rotate(self, name: str) -> None:
        """Ask for another version, by whatever a key of this kind has for it."""
        if name not in self.cluster.keys:
            return
        self.credit[name] += 1
        if name == "gamma":
            self.cluster.apply(name, delivery={"mode": "Provided", "digest": self.digest()})
        else:
            self.cluster.annotate(name, f"request {self.cluster.number()}")

    def suspend(self, name: str, suspended: bool = True) -> None:
        if name in self.cluster.keys:
            self.cluster.apply(name, suspended=suspended)
            self.forget(name)

    def resume(self, name: str) -> None:
        self.suspend(name, suspended=False)

    def expire(self, name: str) -> None:
        """In two days, or, where that was set already, never."""
        if (key := self.cluster.keys.get(name)) is not None:
            date = None if key.spec.expires_at else self.cluster.now + timedelta(days=2)
            self.cluster.apply(name, expiresAt=date.isoformat() if date else None)
            self.forget(name)

    def revoke(self, name: str) -> None:
        if name in self.cluster.keys:
            self.revoking.setdefault(name, self.cluster.now)
            self.cluster.apply(name, revoked=True)
            self.forget(name)

    def delete(self, name: str) -> None:
        if name in self.cluster.keys:
            self.cluster.remove(name)
            self.forget(name)

    def orphan_and_create_again(self, name: str) -> None:
        """At once, so that no operator may ever see it gone; its Secrets stay. Nobody notices."""
        key = self.cluster.keys.get(name)
        if key is None or key.spec.revoked or self.damaged or name in self.unsettled:
            return
        faults["re-created"] += 1
        self.cluster.remove(name, orphan=True)
        self.cluster.apply(name)

    def delete_and_create_again(self, name: str) -> None:
        """At once; its Secrets go. The digest of a key that clients mount is left: they are let in until they have another."""
        key = self.cluster.keys.get(name)
        if key is None or key.spec.revoked or self.damaged or name in self.unsettled:
            return
        faults["re-created, Secrets gone"] += 1
        alone = len([entry for entry in self.document().entries if entry.key_id == name]) == 1
        self.damaged = True
        self.credit[name] += 1
        self.cluster.remove(name)
        self.cluster.apply(name)
        if not alone or name != "alpha":
            self.forget(name)

    # clients

    def take_keys(self) -> None:
        """Each client reads its Secret, or uses the key that it brought, as soon as it can."""
        for name in MODES:
            key, handed = self.cluster.plaintext(name), self.cluster.handed.get(name, [])[-1:]
            taken = keys.digest(key) if key else self.provided(name)
            if taken in handed and self.may_be_used(name) and not any(hold.digest == taken for hold in self.holds):
                self.holds.append(Hold(name, taken))

    def provided(self, name: str) -> str | None:
        """The digest that its owner wrote last: whoever wrote another one knows that the one before ends."""
        key = self.cluster.keys.get(name)
        return key.spec.delivery.digest if key else None

    def may_be_used(self, name: str) -> bool:
        key = self.cluster.keys.get(name)
        if key is None or key.spec.suspended or name in self.unsettled:
            return False
        return key.spec.expires_at is None or key.spec.expires_at > self.cluster.now

    @rule(old=st.booleans())
    def send(self, old: bool) -> None:
        """Clients send requests; some still with the version before."""
        ready = [pod for pod in self.cluster.pods.values() if pod.ready and not pod.finished]
        documents = [document for pod in ready for document in pod.workers if document]
        taken = {hold.digest for hold in self.holds if old or hold.until is None}
        for entry in (entry for document in documents for entry in document.entries if entry.digest in taken):
            if keys.refusal(entry, self.cluster.now) is None:
                self.cluster.used[f"{entry.key_id}/{entry.version}"] = self.cluster.now

    # operators

    @rule(which=st.sampled_from([0, 0, 1]), count=st.integers(1, 8))
    def work(self, which: int, count: int) -> None:
        """Some actions of a plan that may have been made long ago."""
        for _ in range(count):
            self.step(self.operators[which])

    @rule(rounds=st.integers(1, 3), count=st.integers(0, 6))
    def go_on(self, rounds: int, count: int) -> None:
        """Pods and an operator do what they should, up to somewhere in the middle of a plan."""
        for _ in range(rounds):
            self.let_pods_catch_up()
            self.cluster.think(self.operators[0])
            while self.operators[0].queue and self.attempt(self.operators[0]):
                pass
        self.let_pods_catch_up()
        self.work(0, count)

    def step(self, operator: Operator) -> None:
        """A plan, or the next of its writes, and what is only said on the way."""
        if not operator.queue:
            self.cluster.think(operator)
        while operator.queue:
            said = isinstance(operator.queue[0], REMARKS)
            if not self.attempt(operator):
                operator.queue = []
            if not said:
                return

    def attempt(self, operator: Operator) -> bool:
        action = operator.queue.pop(0)
        before = {name: list(handed) for name, handed in self.cluster.handed.items()}
        try:
            self.cluster.do(operator, action)
        except Conflict:
            faults["conflict"] += 1
            return False
        for name, handed in self.cluster.handed.items():
            if handed != before.get(name, []):
                self.superseded(name, handed[-1])
        if isinstance(action, world.PublishKeySet):
            self.check_published(keys.parse_document(action.document))
        return True

    def superseded(self, name: str, digest: str) -> None:
        for hold in self.holds:
            if hold.key == name and hold.digest == digest:
                hold.until = None
            elif hold.key == name and hold.until is None:
                hold.until = self.cluster.now + OVERLAP

    @rule(which=st.sampled_from([0, 1]), writes=st.integers(0, 6), committed=st.booleans())
    def crash(self, which: int, writes: int, committed: bool) -> None:
        """A process dies before a write, or after it was committed and before the answer came."""
        operator = self.operators[which]
        self.work_until_write(operator, writes)
        if operator.queue and committed:
            faults["reply lost"] += self.attempt(operator)
        faults["crash"] += bool(operator.queue)
        operator.crash()

    def work_until_write(self, operator: Operator, writes: int) -> None:
        """Up to the write with this number, with Pods that keep up."""
        for _ in range(ROUNDS):
            while operator.queue:
                writes -= not isinstance(operator.queue[0], QUESTIONS + REMARKS)
                if writes < 0:
                    return
                if not self.attempt(operator):
                    operator.queue = []
            self.let_pods_catch_up()
            self.cluster.think(operator)
            if not operator.queue:
                return

    @rule(which=st.sampled_from([0, 1]), skew=hours)
    def turn_a_clock(self, which: int, skew: int) -> None:
        faults["clock"] += skew != 0
        self.operators[which].skew = timedelta(hours=skew)

    @rule(which=st.sampled_from([0, 1]), asks=st.booleans())
    def believe_old_answers(self, which: int, asks: bool) -> None:
        """What Pods said once is all that a process knows until it asks them again."""
        faults["old answers"] += not asks
        self.operators[which].asks = asks

    # time and Pods

    @rule(length=st.sampled_from([1, 30, 300, 4 * 3600, 23 * 3600 + 1800, 25 * 3600, 25 * 3600, 32 * 24 * 3600]))
    def wait(self, length: int) -> None:
        old = self.cluster.now
        self.cluster.advance(timedelta(seconds=length))
        self.holds = [hold for hold in self.holds if hold.until is None or hold.until > self.cluster.now]
        for name, key in self.cluster.keys.items():
            if key.spec.expires_at is not None and old < key.spec.expires_at <= self.cluster.now:
                self.holds = [hold for hold in self.holds if hold.key != name]

    @rule(data=st.data(), worker=st.integers(0, WORKERS - 1))
    def poll(self, data: st.DataObject, worker: int) -> None:
        if (pod := self.any_pod(data)) is not None:
            if not pod.held:
                self.cluster.deliver(pod)
            if pod.booted:
                pod.load(worker)
            self.cluster.probe(pod)

    @rule(data=st.data(), what=st.sampled_from(["boot", "restart", "hold", "silence", "terminate", "finish", "forget"]))
    def befall_a_pod(self, data: st.DataObject, what: str) -> None:
        pod = self.any_pod(data)
        if pod is None:
            return
        faults[f"pod: {what}"] += 1
        if what in ("boot", "restart") and not pod.finished and (pod.booted == (what == "restart")):
            self.cluster.boot(pod)
        elif what == "hold":
            pod.held = not pod.held
        elif what == "silence":
            pod.silent = not pod.silent
        elif what == "terminate":
            pod.terminating = True
        elif what == "finish" and pod.terminating:
            pod.finished, pod.ready = True, False
        elif what == "forget" and pod.finished:
            del self.cluster.pods[pod.name]

    @rule()
    def a_pod_has_started(self) -> None:
        for pod in self.cluster.pods.values():
            if not pod.booted and not pod.finished:
                self.cluster.boot(pod)

    @precondition(lambda self: len(self.cluster.pods) < 4)
    @rule()
    def start_a_pod(self) -> None:
        self.cluster.replicas = max(1, self.cluster.replicas)
        self.cluster.start_pod()

    def any_pod(self, data: st.DataObject) -> PodState | None:
        pods = sorted(self.cluster.pods)
        return self.cluster.pods[data.draw(st.sampled_from(pods))] if pods else None

    # damage: one at a time, and then a chance to fix it

    @precondition(lambda self: not self.damaged)
    @rule(data=st.data(), how=st.sampled_from(["delete", "stomp", "garble", "edit"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        ours = {name: stored for name, stored in self.cluster.secrets.items() if stored.type != "Opaque"}
        editable = (name for name, stored in ours.items() if stored.data and not stored.immutable)
        secrets = sorted(editable if how == "edit" else ours)
        if not secrets:
            return
        name = data.draw(st.sampled_from(secrets))
        stored = self.cluster.secrets[name]
        getattr(self, f"{how}_it")(name, stored)
        self.damaged = True
        faults[f"damage: {how}"] += 1
        if name == PUBLISHED:
            self.revoked.clear()  # nothing else remembers who was revoked

    def delete_it(self, name: str, stored: Stored) -> None:
        del self.cluster.secrets[name]

    def stomp_it(self, name: str, stored: Stored) -> None:
        self.cluster.put(name, stomped(stored, None))

    def garble_it(self, name: str, stored: Stored) -> None:
        self.cluster.put(name, stomped(stored, "nonsense"))

    def edit_it(self, name: str, stored: Stored) -> None:
        """Other data. A key set stays one that the service takes."""
        data = {api_types.KEY_DATA: b"edited"}
        if stored.type == api_types.KEYSET_TYPE:
            document = keys.parse_document(stored.data[api_types.KEYSET_DATA])
            forged = keys.KeyEntry(digest=FORGED, key_id="alpha", version=77, owner="x", scopes=frozenset({"admin"}))
            rest = [replace(entry, state="revoked") for entry in document.entries[1:]]
            data = {api_types.KEYSET_DATA: keys.publish([forged, *rest], self.cluster.now)}
        self.cluster.put(name, replace(stored, data=data))

    # what must hold

    @invariant()
    def every_client_is_let_in(self) -> None:
        """I1: a key that was handed out is accepted by every worker of every Pod that can answer, until its overlap ends."""
        self.take_keys()
        for hold in self.holds:
            for pod in self.cluster.pods.values():
                for worker in range(WORKERS) if pod.ready and not pod.finished else ():
                    document = pod.workers[worker]
                    if document is None or document.revision not in self.cluster.written:
                        continue  # it has what somebody else wrote
                    why = pod.refusal(worker, hold.digest, self.cluster.now)
                    assert why is None, f"I1: {hold} is {why} in worker {worker} of {pod.name}"

    @invariant()
    def strangers_are_left_alone(self) -> None:
        """I8."""
        assert self.cluster.secrets["bystander"] == self.bystander

    @invariant()
    def plaintext_is_only_where_it_may_be(self) -> None:
        """I6: in the data of Secrets of our type."""
        for name, stored in self.cluster.secrets.items():
            text = repr(stored if stored.type != api_types.KEY_TYPE else stored.metadata)
            assert "slk_" not in text, f"I6: {name}"
        assert "slk_" not in repr((self.cluster.keys, self.cluster.keyset)), "I6: a status"

    def check_published(self, document: keys.KeySetDocument) -> None:
        """I3, and what nobody may bring in: of a key at most two versions, none that was buried."""
        live: dict[str, set[str]] = {}
        for entry in document.entries:
            if entry.state != "revoked":
                live.setdefault(entry.key_id, set()).add(entry.digest)
        assert all(len(digests) <= 2 for digests in live.values()), f"I3: {live}"

    def check_rotations(self) -> None:
        """I4: a version is handed out for a reason only: the first, a request, a period that is over, a loss."""
        periods = (self.cluster.now - START) // timedelta(days=27)
        for name, handed in self.cluster.handed.items():
            assert len(set(handed)) <= self.credit[name] + periods, (
                f"I4: {name}: {handed} for {self.credit[name]} + {periods} reasons"
            )

    @rule()
    def settle(self) -> None:
        """Nothing befalls the world for a while: all is fixed, delivered, and then still."""
        faults["settled"] += 1
        for operator in self.operators:
            operator.queue, operator.asks = [], True
        self.bury()
        self.run_until_still(progress=False)
        self.check_document()
        for pod in self.cluster.pods.values():
            pod.held = pod.silent = False
            if not pod.booted:
                self.cluster.boot(pod)
        self.run_until_still(progress=True)
        self.damaged = False
        self.unsettled.clear()
        self.check_document()
        self.check_pods()
        self.check_pokes()
        self.check_records()
        self.check_deliveries()
        self.check_rotations()
        self.check_status_is_output_only()
        self.check_deadline()

    def run_until_still(self, progress: bool) -> None:
        """`progress`: whether Pods receive and load anything meanwhile."""
        for _ in range(ROUNDS):
            if progress:
                self.let_pods_catch_up()
            self.cluster.think(self.operators[0])
            queue = self.operators[0].queue
            if not any(not isinstance(action, QUESTIONS) for action in queue) and (progress is False or not queue):
                return
            while self.operators[0].queue and self.attempt(self.operators[0]):
                pass
            self.operators[0].queue = []
        raise AssertionError(f"I7: never still: {self.operators[0].queue}")

    def let_pods_catch_up(self) -> None:
        """Those that run; one that starts takes its time."""
        for pod in self.cluster.pods.values():
            if pod.held or not pod.booted:
                continue
            self.cluster.deliver(pod)
            for worker in range(WORKERS):
                pod.load(worker)
            self.cluster.probe(pod)

    def check_document(self) -> None:
        """I2, I5: what is published is what the live ApiKeys ask for, even while no Pod answers."""
        stored = self.cluster.secrets[PUBLISHED]
        document = keys.parse_document(stored.data[api_types.KEYSET_DATA])
        assert stored.metadata.annotations[api_types.SEAL] == seal(SEAL, document)
        live = {name for name, key in self.cluster.keys.items() if not key.spec.revoked}
        accepted = [entry for entry in document.entries if entry.state != "revoked"]
        assert {entry.key_id for entry in accepted} <= live, "I5: a key without an ApiKey"
        assert not {entry.digest for entry in accepted} & self.dead, "I2: a revoked key"
        stones = {entry.digest for entry in document.entries if entry.state == "revoked"}
        young = {digest for digest, since in self.revoked.items() if self.cluster.now < since + timedelta(days=29)}
        assert young <= stones, "a revoked key is told apart from an unknown one"
        for entry in accepted:
            spec = self.cluster.keys[entry.key_id].spec
            assert entry.state == ("suspended" if spec.suspended else "active"), "I5"
            assert spec.expires_at is None or (entry.not_after is not None and entry.not_after <= spec.expires_at), "I5"

    def check_pods(self) -> None:
        """I2: what is revoked, or has ended, no worker accepts."""
        for pod in self.cluster.pods.values():
            for document in pod.workers if pod.ready and not pod.finished else ():
                assert document is not None
                for entry in document.entries:
                    if entry.digest in self.dead:
                        assert keys.refusal(entry, self.cluster.now) is not None, f"I2: {entry}"

    def check_pokes(self) -> None:
        """No Pod was left on its way to a key set that is not the published one."""
        stored = self.cluster.secrets[PUBLISHED]
        wanted = {None, seen_set(stored).edition}
        assert {pod.annotation for pod in self.cluster.pods.values() if not pod.finished} <= wanted

    def check_records(self) -> None:
        """Of each version that is accepted there is a Secret that says so, with the key if clients mount it."""
        for entry in self.document().entries:
            key = self.cluster.keys.get(entry.key_id)
            if entry.state != "active" or key is None or (entry.not_after is not None and entry.not_after <= self.cluster.now):
                continue
            name = api_types.version_secret(entry.key_id, entry.version)
            assert self.cluster.secrets[name].metadata.annotations[api_types.DIGEST] == entry.digest
            plaintext = self.cluster.plaintext(name)
            assert plaintext is None or keys.digest(plaintext) == entry.digest

    def check_deliveries(self) -> None:
        """Every key that may be used is handed out, and what was handed out last is accepted."""
        waiting = self.cluster.replicas and not any(pod.report() for pod in self.cluster.pods.values())
        for name, key in self.cluster.keys.items():
            over = key.spec.expires_at is not None and self.operators_clock().earliest >= key.spec.expires_at
            if key.spec.revoked or key.spec.suspended or over or waiting:
                continue
            assert self.cluster.handed.get(name), f"{name} was handed out"
            entries = {entry.digest: entry for entry in self.document().entries}
            assert self.cluster.handed[name][-1] in entries, f"{name}: what was handed out last is published"
            key_text = self.cluster.plaintext(name)
            alone = sum(entry.key_id == name and entry.state == "active" for entry in entries.values()) == 1
            if key.spec.delivery.mode == "Retain" and alone:
                assert key_text is not None, f"{name}: a client can mount its key"
            if key_text is not None:
                assert keys.digest(key_text) == self.cluster.handed[name][-1]

    def check_status_is_output_only(self) -> None:
        """I9: every status erased, nothing but statuses is written."""
        before = dict(self.cluster.secrets)
        self.cluster.keys = {name: replace(key, status={}) for name, key in self.cluster.keys.items()}
        assert self.cluster.keyset is not None
        self.cluster.keyset = replace(self.cluster.keyset, status={})
        self.run_until_still(progress=True)
        assert self.cluster.secrets == before, "I9"

    def check_deadline(self) -> None:
        """I7, and a deadline that comes late enough and never too late: until it nothing is to be done."""
        operator = self.operators[0]
        seen, clock = self.cluster.look(operator), self.operators_clock()
        done = plan(seen, clock)
        assert done.actions == (), "I7: it is still"
        if done.next_deadline is not None:
            delay = done.delay(clock)
            assert delay is not None
            for part in (0.1, 0.5, 0.999999):
                later = Clock(clock.here + delay * part, clock.server + delay * part)
                assert plan(seen, later).actions == (), f"nothing is due before {done.next_deadline}"

    def operators_clock(self) -> Clock:
        return self.cluster.clock(self.operators[0])

    def document(self) -> keys.KeySetDocument:
        return keys.parse_document(self.cluster.secrets[PUBLISHED].data[api_types.KEYSET_DATA])

    def digest(self) -> str:
        return keys.digest(self.cluster.mint("test"))

    def forget(self, name: str) -> None:
        """Clients of `name` expect nothing until the world has settled."""
        self.holds = [hold for hold in self.holds if hold.key != name]
        self.unsettled.add(name)

    def bury(self) -> None:
        """What was handed out of keys that are revoked, or gone, must never be accepted again.

        Only now: an ApiKey that was deleted and made again before any operator looked is the same one to them. So is one whose
        Secrets did not go with it, because somebody had taken their owner away: that is how a restored one looks.
        """
        secrets = [each for each in self.cluster.secrets.values() if each.type == api_types.KEY_TYPE and each.data]
        left = {keys.digest(each.data[api_types.KEY_DATA].decode()) for each in secrets}
        for name in MODES:
            if (key := self.cluster.keys.get(name)) is None or key.spec.revoked:
                handed = self.cluster.handed.pop(name, [])
                self.dead.update(handed if key is not None else set(handed) - left)
                self.credit[name] = 0
                if key is not None and handed and not self.damaged:
                    self.revoked[handed[-1]] = self.revoking[name]

    @invariant()
    def count(self) -> None:
        steps["all"] += 1


EXPECTED = (
    "conflict",
    "crash",
    "reply lost",
    "clock",
    "re-created",
    "re-created, Secrets gone",
    "settled",
    "damage: delete",
    "damage: stomp",
    "damage: garble",
    "damage: edit",
    "pod: restart",
    "pod: hold",
    "pod: silence",
    "pod: terminate",
    "pod: finish",
)


@pytest.mark.timeout(max(600, STEPS))
def test_no_invariant_breaks_whatever_happens() -> None:
    chosen = settings(
        max_examples=max(1, STEPS // 50),
        stateful_step_count=50,
        deadline=None,
        # Under CI=true Hypothesis would do the same again in each round.
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        report_multiple_bugs=False,
    )
    steps.clear()
    faults.clear()
    # Chance may leave a fault out of a short run: it goes on until each was there, within a bound that chance does not reach.
    while steps["all"] < STEPS or (missing() and steps["all"] < 20 * STEPS):
        run_state_machine_as_test(Exploration, settings=chosen)
    print(f"{steps['all']} steps, faults: {dict(sorted(faults.items()))}")
    assert missing() == [], "every kind of fault was injected"


def missing() -> list[str]:
    """The kinds of fault that were not injected yet."""
    return [name for name in EXPECTED if not faults[name]]
