"""Leader election by a Lease: one of several operators works, the others wait with a full cache.

Judged by the monotonic clock alone: a Lease is free when it did not change for as long as its holder asked for, and ours is lost
when no renewal was answered in time. The process that loses it ends. Two that think they lead do no harm (plan.py), only work.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import structlog

from sluice_operator import api_types
from sluice_operator.api_types import LEASES, Raw
from sluice_operator.client import PASSED_OVER, AlreadyExists, Api, ApiError, Conflict, NotFound

log = structlog.get_logger()

# What others wait for, what a renewal may take, and between renewals: of the leader, and of who claims a namespace.
DURATION_SECONDS, DEADLINE_SECONDS, PERIOD_SECONDS, CLAIM_PERIOD_SECONDS = 15, 10, 2, 4
# Whatever a Lease asks for that somebody else wrote: nobody is waited for longer.
LONGEST_SECONDS = 60.0
LARGEST = 2**31 - 1


class Lost(Exception):
    """Somebody else leads now, or might; or nothing that was seen counts any more."""


class Lease:
    """`raised`: errors of a call that are not worth waiting for."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        holder: str,
        monotonic: Callable[[], float] = time.monotonic,
        period: float = PERIOD_SECONDS,
        raised: tuple[type[ApiError], ...] = (),
    ) -> None:
        self._period = period
        self._raised = raised
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._monotonic = monotonic
        self._version = ""
        self._latest = 0
        self._holder_seen = ""
        self._seen: tuple[str, float] = ("", float("-inf"))
        self._renewed = float("-inf")

    @property
    def held(self) -> bool:
        """Whether nobody else can have it yet."""
        return self._monotonic() - self._renewed < DEADLINE_SECONDS

    @property
    def age(self) -> float:
        """Seconds since it was renewed."""
        return self._monotonic() - self._renewed

    async def acquire(self, taken: Callable[[str], None] = lambda _: None) -> None:
        """Wait until it is ours. `taken` is called with who has it. An API server that does not answer is waited for."""
        while not await self._try(self._take):
            if self._holder_seen not in ("", self._holder):
                taken(self._holder_seen)
            await asyncio.sleep(self._period * random.uniform(0.8, 1.2))  # noqa: S311 - so that two do not keep step
        log.info("leading", lease=self._name, namespace=self._namespace, holder=self._holder)

    async def keep(self) -> None:
        """Renew it until it is lost: raises Lost."""
        while True:
            await asyncio.sleep(self._period)
            await self._try(self._renew)
            if not self.held:
                raise Lost(f"no renewal of Lease {self._name} for {DEADLINE_SECONDS} s")

    async def release(self) -> None:
        """Let the next one have it at once. What fails here only makes it wait."""
        if not self.held:
            return
        with contextlib.suppress(Lost, *self._raised):
            for _ in range(2):
                if await self._try(self._give_up):
                    return

    async def _try(self, attempt: Callable[[], Any]) -> bool:
        try:
            return bool(await attempt())
        except Conflict:
            self._version = ""
            return False
        except self._raised:
            raise
        except (ApiError, TimeoutError) as error:
            log.warning("lease not reached", told=str(error) or type(error).__name__)
            return False

    async def _take(self) -> bool:
        """Take it if it is free."""
        try:
            found = await self._api.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._make()
        self._note(found)
        spec = found.get("spec") or {}
        holder = self._holder_seen = spec.get("holderIdentity") or ""
        if holder not in ("", self._holder) and not self._is_over(spec):
            return False
        began = self._monotonic()
        changes = min(LARGEST, int(spec.get("leaseTransitions") or 0) + (holder != self._holder))
        await self._write({**self._spec(), "acquireTime": now(), "leaseTransitions": changes})
        self._renewed = began
        return True

    async def _make(self) -> bool:
        began = self._monotonic()
        spec = {**self._spec(), "acquireTime": now(), "leaseTransitions": 0}
        try:
            made = await self._api.create(LEASES, self._namespace, {"metadata": {"name": self._name}, "spec": spec})
        except AlreadyExists:
            return False
        self._note(made)
        self._renewed = began
        return True

    def _note(self, lease: Raw) -> None:
        """The next write is for this version. Raises Lost at an older one than before.

        Then the API server's store is of a backup: no watch tells what is there, and what is in the cache was never written.
        """
        self._version = lease["metadata"]["resourceVersion"]
        before, self._latest = self._latest, int(self._version) if self._version.isdigit() else 0
        if self._latest < before:
            self._renewed = float("-inf")
            raise Lost(f"Lease {self._name} is older than it was: the API server's store was restored")

    def _is_over(self, spec: Raw) -> bool:
        """Whether it did not change for its duration, as we saw it."""
        version, since = self._seen
        if version != self._version:
            self._seen = (self._version, self._monotonic())
            return False
        return self._monotonic() - since >= min(LONGEST_SECONDS, float(spec.get("leaseDurationSeconds") or DURATION_SECONDS))

    async def _renew(self) -> bool:
        """Ours again for a while. After a conflict it is read first: who wrote it may have been ourselves."""
        began = self._monotonic()
        if not self._version:
            found = await self._api.get(LEASES, self._namespace, self._name)
            if (found.get("spec") or {}).get("holderIdentity") != self._holder:
                self._renewed = float("-inf")
                return False
            self._note(found)
        await self._write(self._spec())
        self._renewed = began
        return True

    async def _give_up(self) -> bool:
        """After a conflict it is read first, as when it is renewed."""
        if not self._version and not await self._renew():
            return True
        self._renewed = float("-inf")
        await self._write({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now()})
        return True

    async def _write(self, spec: Raw) -> None:
        patch = {"metadata": {"resourceVersion": self._version}, "spec": spec}
        written = await asyncio.wait_for(self._api.merge(LEASES, self._namespace, self._name, patch), DEADLINE_SECONDS / 2)
        self._note(written)

    def _spec(self) -> Raw:
        return {"holderIdentity": self._holder, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": now()}


def now() -> str:
    """MicroTime. For people: nobody compares it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Claims:
    """`gained` is told of each namespace that may be worked in from now on."""

    def __init__(self, api: Api, namespaces: Iterable[str], release: str, gained: Callable[[str], None]) -> None:
        self._api = api
        self._gained = gained
        self._leases = {
            space: Lease(api, space, api_types.CLAIM_LEASE, release, period=CLAIM_PERIOD_SECONDS, raised=PASSED_OVER)
            for space in namespaces
        }
        # Where the API server refuses the Lease itself: that right is missing is no reason to let keys go unrevoked.
        self._refused: set[str] = set()

    def holds(self, namespace: str) -> bool:
        return namespace in self._refused or (namespace in self._leases and self._leases[namespace].held)

    async def release(self) -> None:
        """Let another release have them at once, if one waits; the next process of this one takes back what none took."""
        await asyncio.gather(*(lease.release() for lease in self._leases.values()))

    async def keep(self) -> None:
        """For ever."""
        await asyncio.gather(*(self._keep(space, lease) for space, lease in self._leases.items()))

    async def _keep(self, space: str, lease: Lease) -> None:
        while True:
            try:
                await lease.acquire(lambda holder: self._tell(space, holder))
                self._api.refusals.clear(space, "claim", "namespaces")
                self._refused.discard(space)
                self._gained(space)
                await lease.keep()
            except Lost:
                log.warning("namespace lost", namespace=space)
            except PASSED_OVER:
                if space not in self._refused:
                    self._refused.add(space)
                    self._gained(space)
                await asyncio.sleep(DURATION_SECONDS / 3)

    def _tell(self, space: str, holder: str) -> None:
        told = f"the release {holder} has it; take it out of WATCH_NAMESPACES of one of the two"
        self._api.refusals.note(space, "claim", "namespaces", told)
