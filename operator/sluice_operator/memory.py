"""What is remembered of one KeySet from one look to the next: only in memory, and lost without harm."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Set
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from sluice import keys
from sluice_operator.pods import Heard
from sluice_operator.world import TOMBSTONE, Action, AnnotatePods, Obstacle, Published, Report, SecretAction

# More revisions than a Pod can be behind, and few enough to cost nothing.
REVISIONS = 32
# A Secret that is in the way is looked at so soon, then each time after twice as long.
FIRST_LOOK_SECONDS = 2.0
PROVED_AT_ONCE = 10
# What somebody undoes is done again so soon, then each time after twice as long, up to the second of them. What stood for longer
# than the third after that begins anew.
AGAIN_SECONDS, LONGEST_SECONDS, STOOD_SECONDS = 0.1, 30.0, 2.0


class OfPod(Struct):
    """asked: when it was asked for `/keyset` last, by the monotonic clock; heard: its answer, if it gave one

    answered: the same of the last time that all its workers had one revision
    proved: digests of staged keys that it accepted
    was_ready, tried, seen_ready: whether Kubernetes ever called it Ready, the operator asked its readiness, and saw it itself
    """

    asked: float | None = None
    heard: Heard | None = None
    answered: tuple[float, Heard | None] = (0.0, None)
    proved: set[str] = field(default_factory=set)
    was_ready: bool = False
    tried: bool = False
    seen_ready: bool = False


class Memory:
    """Of one KeySet. `pods`: by their uid.

    known: the entries that each revision which was published accepts, by digest
    tombstones: of them all, as long as they count: a document of before a revocation may come back
    ended: names and digests of keys that went while they were revoked, until what is published is known
    turns: since when each edition was seen as published, by the monotonic clock, and its revision; the last of them
    proving: room for those that are asked for at a time, so that a thousand new keys of one KeySet leave some to the others
    last_used, last_refused: the latest dates of each `keyId/version`, over all Pods
    published_at: when a key set was written last, by the monotonic clock
    converging: the revision that was written last, until every Pod has it
    staged: when each version Secret was made that came into the key set since then
    revoking: revisions that were written to revoke something and that not every Pod has yet
    taken: names of version Secrets that were there already when they should be made
    foreign, foreign_since: the Secrets of others that keys wait for, and since when these, by the monotonic clock
    repeated: what was done to an object last, how often in a row, and until when it is not done again, by the monotonic clock
    enforcement: why the target could not be wired
    contested: the Deployment, by uid and generation, that somebody else has a field of
    """

    def __init__(self) -> None:
        self.known: OrderedDict[str, dict[str, keys.KeyEntry]] = OrderedDict()
        self.tombstones: tuple[keys.KeyEntry, ...] = ()
        self.ended: set[tuple[str, str]] = set()
        self.edition: str | None = None
        self.turns: deque[tuple[float, str | None]] = deque(maxlen=REVISIONS)
        self.pods: defaultdict[str, OfPod] = defaultdict(OfPod)
        self.proving = asyncio.Semaphore(PROVED_AT_ONCE)
        self.last_used: dict[str, datetime] = {}
        self.last_refused: dict[str, datetime] = {}
        self.published_at = float("-inf")
        self.converging: str | None = None
        self.staged: dict[str, datetime] = {}
        self.revoking: set[str] = set()
        self.taken: set[str] = set()
        self.foreign: frozenset[str] = frozenset()
        self.foreign_since = 0.0
        self.repeated: dict[str, tuple[Action, int, float]] = {}
        self.enforcement: Obstacle | None = None
        self.contested: tuple[str, int] | None = None

    def bury(self, document: keys.KeySetDocument) -> None:
        """Remember what it revokes, be it published yet or not."""
        revoked = {entry.digest: entry for entry in (*self.tombstones, *document.entries) if entry.state == "revoked"}
        self.tombstones = tuple(
            entry for entry in revoked.values() if not entry.not_after or entry.not_after + TOMBSTONE > document.generated_at
        )

    def end(self, name: str, document: keys.KeySetDocument) -> None:
        """Its ApiKey is gone and was revoked. An operator that leads later remembers it, too, be there another one by then."""
        self.ended |= {(name, entry.digest) for entry in document.entries if entry.key_id == name and entry.state != "revoked"}

    def know(self, document: keys.KeySetDocument) -> None:
        self.tombstones += tuple(
            replace(entry, state="revoked", rate_limit=None, not_before=None, not_after=None)
            for entry in document.entries
            if (entry.key_id, entry.digest) in self.ended
        )
        self.ended.clear()
        self.bury(document)
        if document.revision in self.known:
            return
        # Revisions differ in few entries: those that are the same are one object.
        latest = next(reversed(self.known.values()), {})
        accepted = (entry for entry in document.entries if entry.state == "active")
        self.known[document.revision] = {
            entry.digest: before if (before := latest.get(entry.digest)) == entry else entry for entry in accepted
        }
        if len(self.known) > REVISIONS:
            self.known.popitem(last=False)

    def hear(self, uid: str, heard: Heard | None, now: float) -> None:
        pod = self.pods[uid]
        pod.asked, pod.heard = now, heard
        if heard is not None:
            if heard.report.revision is not None:
                pod.answered = (now, heard)
            keep_latest(self.last_used, heard.last_used)
            keep_latest(self.last_refused, heard.last_refused)

    def turn(self, published: Published | None, now: float) -> None:
        """Note what is published now: what Pods said before may be true no more."""
        edition = published.edition if published is not None else None
        if edition == self.edition and self.turns:
            return
        document = published.document if published is not None and published.authentic else None
        self.edition = edition
        self.turns.append((now, document.revision if document is not None else None))

    def report(self, uid: str) -> Report | None:
        """The last answer, with what was published since it was asked for; None also when too much was."""
        return self._since(self.pods[uid].asked or 0.0, self.pods[uid].heard)

    def last(self, uid: str) -> Report | None:
        """The same of the last time that all its workers had one revision."""
        return self._since(*self.pods[uid].answered)

    def _since(self, asked: float, heard: Heard | None) -> Report | None:
        if heard is None or (len(self.turns) == REVISIONS and asked < self.turns[0][0]):
            return None
        return replace(heard.report, later=frozenset(revision for since, revision in self.turns if since > asked))

    def age(self, uid: str, now: float) -> float:
        """Seconds since the Pod was asked."""
        asked = self.pods[uid].asked
        return float("inf") if asked is None else now - asked

    def wait_for(self, foreign: frozenset[str], now: float) -> float | None:
        """In how many seconds to look whether one of `foreign` is gone: the longer they are there, the later; None: none is."""
        if foreign != self.foreign:
            self.foreign, self.foreign_since = foreign, now
        return max(FIRST_LOOK_SECONDS, now - self.foreign_since) if foreign else None

    def did(self, action: Action, now: float) -> None:
        name, what = act(action)
        before, times, _ = self.repeated.get(name, (None, 0, 0.0))
        times = times + 1 if before == what else 0
        if isinstance(action, SecretAction | AnnotatePods):
            self.repeated[name] = (what, times, now + min(LONGEST_SECONDS, AGAIN_SECONDS * 2 ** min(times, 10)))

    def rest(self, action: Action, now: float) -> float:
        """For how many seconds it should not be done: it was done before, and somebody undid it. Two that fight harm others."""
        name, what = act(action)
        before, _, until = self.repeated.get(name, (None, 0, 0.0))
        return until - now if before == what else 0.0

    def forget(self, now: float) -> None:
        """What nobody undid at once."""
        self.repeated = {name: found for name, found in self.repeated.items() if now < found[2] + STOOD_SECONDS}

    def keep(self, pods: Iterable[str], published: Set[str]) -> None:
        """Forget other Pods, and all of other versions than `published` (`keyId/version`)."""
        self.pods = defaultdict(OfPod, {uid: self.pods[uid] for uid in pods})
        self.last_used = {name: date for name, date in self.last_used.items() if name in published}
        self.last_refused = {name: date for name, date in self.last_refused.items() if name in published}


def act(action: Action) -> tuple[str, Action]:
    """The object of an action, and what is done to it, whatever version of it there is."""
    if isinstance(action, SecretAction):
        return action.secret, replace(action, precondition="")
    return type(action).__name__, action


def keep_latest(dates: dict[str, datetime], heard: Mapping[str, datetime]) -> None:
    for name, date in heard.items():
        if name not in dates or date > dates[name]:
            dates[name] = date
