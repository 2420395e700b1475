"""Pull sources in DynamoDB: items beside the events, in the same table and under the same two indexes.

s:<source>        all that is known of a source: definition, lease, times, and its newest run with its counts, as one JSON text
r:<source>:<id>   a record, its `version`, and `at`: when it came first, in the order of the list
u:<source>:<run>  a run before the newest one, until `expires_at`

A source's item has a `version` of its own, and every change is a put on the condition that it is still the one that was read,
so a source has one puller. Records are put in transactions that hold the source's item too: the counts say what is stored, no
more and no less, and who lost the lease stores nothing. DynamoDB has no clock to ask: leases are judged by the pullers' own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from sluice import errors
from sluice.cursors import Cursor
from sluice.sources.definitions import Source
from sluice.sources.pages import Found
from sluice.sources.states import RunState, SourceState
from sluice.sources.store import GRACE, Due, Ending, Page, Run, Totals, lost, shown
from sluice.stores import within
from sluice.stores.dynamodb.table import BATCH, PAUSE, WRITES, Item, Table

T = TypeVar("T")
SOURCES = "sources"
FIRST, LAST = "0", "~"
# Of a transaction, which holds 4 MB; and how often a change is tried that others change under it.
WRITE_BYTES, TRIES = 3 << 20, 20
INTERRUPTED = ("failure", "interrupted", "the puller ended before the run did")


class Known(msgspec.Struct, kw_only=True):
    """A source as it is kept. `records`: of the last list that was read to its end."""

    name: str
    url: str
    schedule: str
    definition: bytes
    is_default: bool
    created_at: datetime
    next_run_at: datetime | None = None
    lease_until: datetime | None = None
    requested_at: datetime | None = None
    last_attempt: datetime | None = None
    last_success: datetime | None = None
    etag: str | None = None
    last_modified: str | None = None
    records: int = 0
    run: RunState | None = None

    def free(self, now: datetime) -> bool:
        return self.lease_until is None or self.lease_until < now

    def due(self, now: datetime) -> bool:
        return self.free(now) and (self.next_run_at is None or self.next_run_at <= now or self.requested_at is not None)


class DynamodbSources:
    """Implements store.Keeper and states.SourceReader. `runs_days`: how long a run is kept once there is a newer one."""

    def __init__(self, table: Table, runs_days: int, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._table = table
        self._runs_days = runs_days
        self._clock = clock

    def register(self, sources: Sequence[Source]) -> None:
        for source in sources:
            self._register(source)
        chosen = {source.name for source in sources if source.default}
        for known in self._all() if chosen else ():
            if known.is_default is not (known.name in chosen):
                self._change(known.name, lambda it: defaulted(it, it.name in chosen))

    def due(self, names: Sequence[str]) -> list[Due]:
        now = self._clock()
        found = [known for known in map(self._known, names) if known is not None]
        found.sort(key=lambda known: (known.next_run_at is not None, known.next_run_at or now, known.name))
        return [Due(known.name, known.due(now), known.last_success or known.created_at) for known in found]

    def take(self, source: Source, *, forced: bool = False) -> Run | None:
        now = self._clock()

        def change(known: Known) -> Run | None:
            if not (known.due(now) or (forced and known.free(now))):
                return None
            before.clear()
            if known.run is not None:
                before.append(self._past(known.name, ended(known.run, now)))
            known.run = RunState((known.run.id if known.run else 0) + 1, now, None, "running", None, None, 0, 0, 0, 0, 0)
            known.lease_until, known.requested_at, known.last_attempt = later(now, source.timeout), None, now
            return Run(known.run.id, known.name, now, known.etag, known.last_modified)

        before: list[Item] = []
        return self._change(source.name, change, before)

    def renew(self, run: Run, seconds: float) -> None:
        def change(known: Known) -> bool:
            held(known, run)
            known.lease_until = later(self._clock(), seconds)
            return True

        if self._change(run.source, change) is None:
            raise lost()

    def commit(self, source: Source, run: Run, now: datetime, page: Page | None, ending: Ending | None = None) -> Totals:
        """The records that are new or changed, in as many transactions as hold them; the last one has the page's other counts and
        the end of the run. A page that was stored by a try before is counted once."""
        latest = {found.id: found for found in page.found} if page is not None else {}
        changed = self._changed(source.name, page.number if page else 0, list(latest.values()), now)
        parts, totals = list(parted(changed)) or [[]], Totals()
        for part in parts:
            last = part is parts[-1]

            def change(known: Known, part: list[Item] = part, last: bool = last) -> RunState:
                state = held(known, run)
                fresh = sum(item["version"]["N"] == "1" for item in part)
                state.created += fresh
                state.updated += len(part) - fresh
                if last and page is not None and page.number > state.pages:
                    state.pages = page.number
                    state.unchanged += len(latest) - len(changed)
                    state.invalid += page.invalid
                if last and ending is not None:
                    end(known, state, ending, self._clock())
                return state

            stored = self._change(source.name, change, part)
            if stored is None:
                raise lost()
            totals = Totals(stored.created, stored.updated, stored.unchanged, stored.invalid)
        return totals

    def forget(self, source: str, days: int) -> None:
        """Runs expire by themselves."""

    def posts(self, limit: int, offset: int) -> tuple[list[msgspec.Raw], bool]:
        default = self._default()
        if default is None:
            return [], False
        keys = itertools.islice(
            self._keys(f"records:{default.name}", FIRST, size=min(1_000, limit + offset)), offset, offset + limit
        )
        return within(map(posted, self._items([id for _, id in keys])), bytes)

    def post(self, id: str) -> msgspec.Raw | None:
        default = self._default()
        item = self._table.get(record_id(default.name, id)) if default is not None else None
        return posted(item) if item is not None else None

    def states(self) -> list[SourceState]:
        return [state_of(known, self._clock()) for known in self._all()]

    def default(self) -> SourceState | None:
        default = self._default()
        return state_of(default, self._clock()) if default is not None else None

    def history(self, name: str, limit: int) -> tuple[SourceState, list[RunState]] | None:
        known = self._known(name)
        if known is None:
            return None
        state = state_of(known, self._clock())
        if known.run is None:
            return state, []
        if known.run.status == "running" and state.status != "running":
            known.run.status, known.run.reason, known.run.error_message = state.status, state.reason, state.error_message
        keys = itertools.islice(self._keys(f"runs:{name}", FIRST, size=limit, descending=True), limit - 1)
        items = self._items([id for _, id in keys])
        alive = (item for item in items if int(item["expires_at"]["N"]) > self._clock().timestamp())
        return state, [known.run, *(msgspec.json.decode(item["state"]["S"], type=RunState) for item in alive)]

    def known(self, name: str) -> bool:
        return self._known(name) is not None

    def count(self, name: str, most: int) -> int:
        return sum(1 for _ in itertools.islice(self._keys(f"records:{name}", FIRST, size=1_000), most))

    def records(self, name: str, after: Cursor, limit: int) -> tuple[list[tuple[str, int, msgspec.Raw]], bool]:
        # "!" comes before everything that a position goes on with, so nothing is reported twice.
        low = f"{after.value}!" if after.value else FIRST
        keys = itertools.islice(self._keys(f"records:{name}", low, size=limit + 1), limit + 1)
        found = ((item["at"]["S"], 0, recorded(item)) for item in self._items([id for _, id in keys]))
        rows, short = within(found, lambda row: bytes(row[2]))
        return rows[:limit], short or len(rows) > limit

    def request(self, name: str) -> datetime | None:
        def change(known: Known) -> datetime:
            known.requested_at = known.requested_at or self._clock()
            return known.requested_at

        return self._change(name, change)

    def _register(self, source: Source) -> None:
        def change(known: Known) -> bool:
            if known.definition != source.digest:
                known.url, known.schedule, known.definition = shown(source.url), source.schedule, source.digest
                known.is_default, known.next_run_at, known.etag, known.last_modified = source.default, None, None, None
            return True

        made = Known(
            name=source.name,
            url=shown(source.url),
            schedule=source.schedule,
            definition=source.digest,
            is_default=source.default,
            created_at=self._clock(),
        )
        if not self._table.replace([item_of(made, 1)], [None]):
            self._change(source.name, change)

    def _change(self, name: str, change: Callable[[Known], T | None], more: Sequence[Item] = ()) -> T | None:
        """What `change` says of the source, once it is stored with `more`; None when that is None, or the source is not known."""
        for _ in range(TRIES):
            item = self._table.get(f"s:{name}")
            if item is None:
                return None
            known = msgspec.json.decode(item["state"]["S"], type=Known)
            found = change(known)
            if found is None:
                return None
            version = int(item["version"]["N"])
            wanted = [int(one["version"]["N"]) - 1 or None for one in more]
            if self._table.replace([item_of(known, version + 1), *more], [version, *wanted]):
                return found
            time.sleep(PAUSE)
        raise errors.StoreUnavailable("database_busy")

    def _changed(self, source: str, page: int, found: list[Found], now: datetime) -> list[Item]:
        """An item with the next version for each record that is new, or another than before."""
        there = {item["id"]["S"]: item for item in self._items([record_id(source, each.id) for each in found])}
        changed = []
        for place, each in enumerate(found):
            before = there.get(record_id(source, each.id))
            if before is not None and bytes(before["digest"]["B"]) == each.digest:
                continue
            at = before["at"]["S"] if before else f"{now.isoformat(timespec='microseconds')}#{page:06}#{place:06}"
            changed.append({
                "id": {"S": record_id(source, each.id)},
                "type_shard": {"S": f"records:{source}"},
                "at": {"S": at},
                "source": {"S": source},
                "record": {"S": each.id},
                "digest": {"B": each.digest},
                "content": {"S": each.content.decode()},
                "version": {"N": str(int(before["version"]["N"]) + 1 if before else 1)},
                "created_at": before["created_at"] if before else {"S": now.isoformat()},
                "ingested_at": {"S": now.isoformat()},
            })  # fmt: skip
        return changed

    def _past(self, name: str, run: RunState) -> Item:
        expires = self._clock() + timedelta(days=self._runs_days)
        return {
            "id": {"S": f"u:{name}:{run.id}"},
            "type_shard": {"S": f"runs:{name}"},
            "at": {"S": f"{run.id:012}"},
            "version": {"N": "1"},
            "state": {"S": msgspec.json.encode(run).decode()},
            "expires_at": {"N": str(int(expires.timestamp()))},
        }

    def _known(self, name: str) -> Known | None:
        item = self._table.get(f"s:{name}")
        return msgspec.json.decode(item["state"]["S"], type=Known) if item is not None else None

    def _all(self) -> list[Known]:
        items = self._items([id for _, id in self._keys(SOURCES, FIRST, size=BATCH)])
        return [msgspec.json.decode(item["state"]["S"], type=Known) for item in items]

    def _default(self) -> Known | None:
        return next((known for known in self._all() if known.is_default), None)

    def _keys(self, partition: str, low: str, *, size: int, descending: bool = False) -> Iterator[tuple[str, str]]:
        return self._table.keys("by_type", partition, low, LAST, descending=descending, size=max(1, size))

    def _items(self, ids: Sequence[str]) -> Iterator[Item]:
        return (item for n in range(0, len(ids), BATCH) for item in self._table.get_all(ids[n : n + BATCH]))


def item_of(known: Known, version: int) -> Item:
    return {
        "id": {"S": f"s:{known.name}"},
        "type_shard": {"S": SOURCES},
        "at": {"S": known.name},
        "version": {"N": str(version)},
        "state": {"S": msgspec.json.encode(known).decode()},
    }


def record_id(source: str, id: str) -> str:
    return f"r:{source}:{id}"


def parted(items: list[Item]) -> Iterator[list[Item]]:
    """Into parts that each fit one transaction beside the source's own item."""
    part: list[Item] = []
    size = 0
    for item in items:
        own = len(item["content"]["S"].encode()) + 1_000
        if part and (len(part) == WRITES - 1 or size + own > WRITE_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += own
    if part:
        yield part


def defaulted(known: Known, is_default: bool) -> bool:
    known.is_default = is_default
    return True


def held(known: Known, run: Run) -> RunState:
    """The run of a source, while it is this one's; raises Failed when the lease is lost."""
    if known.run is None or known.run.id != run.id or known.lease_until is None or known.run.status != "running":
        raise lost()
    return known.run


def end(known: Known, state: RunState, ending: Ending, now: datetime) -> None:
    """End the run and give the lease back."""
    state.status, state.reason, state.error_message, state.ended_at = ending.status, ending.reason, ending.error_message, now
    known.lease_until, known.next_run_at = None, ending.next_run
    if ending.not_modified:
        state.unchanged = known.records
    if ending.status == "success":
        same = known.definition == ending.definition
        known.last_success = now
        known.etag, known.last_modified = (ending.etag, ending.last_modified) if same else (None, None)
        known.records = state.created + state.updated + state.unchanged


def ended(run: RunState, now: datetime) -> RunState:
    """A run that another one follows: its puller may have died."""
    if run.status == "running":
        run.ended_at = now
        run.status, run.reason, run.error_message = "failure", *INTERRUPTED[1:]
    return run


def state_of(known: Known, now: datetime) -> SourceState:
    """A run whose lease is over is not running, whatever its item says."""
    run = known.run
    dead = run is not None and run.status == "running" and known.free(now)
    return SourceState(
        name=known.name,
        url=known.url,
        schedule=known.schedule,
        is_default=known.is_default,
        status="failure" if dead else run.status if run is not None else "never_run",
        reason=INTERRUPTED[1] if dead else run.reason if run is not None else None,
        error_message=INTERRUPTED[2] if dead else run.error_message if run is not None else None,
        last_attempt=known.last_attempt,
        last_successful_run=known.last_success,
        records_ingested=run.created + run.updated + run.unchanged if run is not None else 0,
        next_run_at=known.next_run_at,
        requested_at=known.requested_at,
    )


def posted(item: Item) -> msgspec.Raw:
    """Seed 003's Post: the record's own fields, and two of ours."""
    fields = msgspec.json.decode(item["content"]["S"], type=dict[str, msgspec.Raw])
    ours = {name: msgspec.Raw(msgspec.json.encode(item[name]["S"])) for name in ("ingested_at", "source")}
    return msgspec.Raw(msgspec.json.encode({**fields, **ours}))


def recorded(item: Item) -> msgspec.Raw:
    return msgspec.Raw(
        msgspec.json.encode(
            {
                "id": item["record"]["S"],
                "version": int(item["version"]["N"]),
                "content": msgspec.Raw(item["content"]["S"].encode()),
                "created_at": item["created_at"]["S"],
                "ingested_at": item["ingested_at"]["S"],
            }
        )
    )


def later(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds + GRACE)
