"""A cluster, one operator, and short words for what happens between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from msgspec.structs import replace
from tests.unit.operator_.cluster import QUESTIONS, REMARKS, WORKERS, Cluster, Conflict, Operator, PodState, stomped

from sluice import keys
from sluice_operator import api_types, world
from sluice_operator.api_types import KeySet, parse
from sluice_operator.plan import plan
from sluice_operator.probes import Finding
from sluice_operator.versions import Ledger, read_all
from sluice_operator.world import Pod, World

PUBLISHED = api_types.published_secret("main")
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)


class Story(Cluster):
    """A cluster with `pods` Pods that run, and an operator."""

    def __init__(self, pods: int = 1, **spec: Any) -> None:
        super().__init__()
        raw = {"metadata": {"name": "main", "uid": "uid-main", "creationTimestamp": self.now, "generation": 1}}
        self.keyset = parse(KeySet, raw | {"spec": {"environment": "test", "target": {"name": "web"}, **spec}})
        self.operator = Operator()
        self.replicas = pods
        for _ in range(pods):
            self.boot(self.start_pod())

    @property
    def pod(self) -> PodState:
        return next(iter(self.pods.values()))

    def plan(self) -> world.Plan:
        return plan(self.look(self.operator), self.clock(self.operator))

    def writes(self) -> list[world.Action]:
        """What the next plan would change, statuses and events apart."""
        return [action for action in self.plan().actions if not isinstance(action, QUESTIONS + REMARKS)]

    def kinds(self) -> list[str]:
        return [name_of(action) for action in self.writes()]

    def round(self) -> None:
        """One plan, done as far as it goes."""
        self.think(self.operator)
        for action in self.operator.queue:
            try:
                self.do(self.operator, action)
            except Conflict:
                return

    def catch_up(self) -> None:
        """What the kubelet and the workers do within seconds."""
        for pod in self.pods.values():
            if not pod.held:
                self.deliver(pod)
            for worker in range(WORKERS) if pod.booted else ():
                pod.load(worker)
            self.probe(pod)

    def run(self) -> None:
        """Plans and deliveries, until nothing is left to do but to wait."""
        for _ in range(30):
            self.catch_up()
            if all(isinstance(action, world.AwaitConvergence) for action in self.plan().actions):
                return
            self.round()
        raise AssertionError(f"never still: {self.plan().actions}")

    def stall(self) -> None:
        """Plans without any delivery, until nothing is left to write."""
        for _ in range(30):
            if not self.writes():
                return
            self.round()
        raise AssertionError(f"never still: {self.writes()}")

    def until(self, kind: type[world.Action] | str) -> world.Action:
        """Go on until `kind`, or what event `kind` tells of, is the next thing to do."""
        for action in self.steps():
            if type(action) is kind or name_of(action) == kind:
                return action
        raise AssertionError(f"{kind} never came")

    def steps(self) -> Iterator[world.Action]:
        """Each action before it is done, with Pods that keep up."""
        for _ in range(40):
            self.catch_up()
            self.think(self.operator)
            if not self.operator.queue:
                return
            for action in self.operator.queue:
                yield action
                self.do(self.operator, action)

    def rotate(self, name: str = "alpha", value: str = "now") -> None:
        self.annotate(name, value)

    def ledger(self, name: str = "alpha") -> Ledger:
        return next(ledger for ledger in read_all(self.look(self.operator)) if ledger.key.name == name)

    def entries(self) -> dict[tuple[str, int], keys.KeyEntry]:
        document = keys.parse_document(self.secrets[PUBLISHED].data[api_types.KEYSET_DATA])
        return {(entry.key_id, entry.version): entry for entry in document.entries}

    def digest(self, secret: str) -> str:
        plaintext = self.plaintext(secret)
        assert plaintext is not None
        return keys.digest(plaintext)

    def refusal(self, digest: str) -> str | None:
        """What the first worker of the first Pod says to a key."""
        return self.pod.refusal(0, digest, self.now)

    def lose(self, *secrets: str) -> None:
        for secret in secrets:
            del self.secrets[secret]

    def stomp(self, secret: str, value: str | None = None) -> None:
        self.put(secret, stomped(self.secrets[secret], value))

    def edit(self, secret: str, **data: bytes) -> None:
        self.put(secret, replace(self.secrets[secret], data=data))

    def look_findings(self, findings: tuple[Finding, ...], seen: Callable[[Pod], bool] = lambda pod: True) -> None:
        """From now on the engine found these, and saw a 200 of the Pods that `seen` names."""
        look = self.look

        def looked(operator: Operator) -> World:
            world = look(operator)
            pods = tuple(replace(pod, ready_seen=seen(pod)) for pod in world.pods)
            return replace(world, findings=findings, pods=pods)

        self.look = looked  # type: ignore[method-assign]

    def condition(self, kind: str, name: str = "alpha") -> tuple[str, str]:
        """Status and reason of a condition of an ApiKey, or of the KeySet by its name."""
        found = self.keyset if name == "main" else self.keys[name]
        assert found is not None
        return next((each["status"], each["reason"]) for each in found.status["conditions"] if each["type"] == kind)

    def refuse(self, version: int, name: str = "alpha") -> None:
        """A Pod refuses a version now."""
        self.refused[f"{name}/{version}"] = self.now

    def use(self, version: int, name: str = "alpha") -> None:
        """A client's request is accepted now."""
        self.used[f"{name}/{version}"] = self.now


def name_of(action: world.Action) -> str:
    """The event that tells of an action on a Secret; else what it is."""
    return getattr(action, "event", "") or type(action).__name__


def beginning() -> Story:
    """A story with ApiKey alpha, of which nothing was made yet."""
    story = Story()
    story.apply("alpha")
    return story


def lost() -> Story:
    """One in which the Secrets of alpha are gone."""
    story = running()
    story.lose("alpha", "alpha-v1")
    return story


def running(pods: int = 1, **spec: Any) -> Story:
    """A story in which ApiKey alpha is handed out and all is still."""
    story = Story(pods)
    story.apply("alpha", **spec)
    story.run()
    return story
