"""Run the comparisons and write docs/performance.md."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import psycopg
from rich.console import Console
from rich.progress import Progress
from tests.bench import load, rows, servers
from tests.bench.console import console
from tests.bench.lines import Line, absolute, absolute_tail, ratio_line, record, show
from tests.bench.load import Rate
from tests.bench.queue import queue
from tests.bench.stores import stores

from sluice.stores.postgresql import indexes
from sluice.stores.postgresql.embedded import Owned

CLIENTS = 4
COLUMNS = """event_id, id, "timestamp", event_type, event_name, properties, device_info, user_id, session_id, app_version,
source, sequence_number, priority, key_id, fingerprint, content, created_at, processed_at"""


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Times each pair is measured; the median of the ratios counts.")
@click.option("--quick", is_flag=True, help="A tenth of the load, one round: to see that it runs.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(
        ["batch", "stream", "single", "mixed", "errors", "page", "index", "memory", "tails", "queue", "stores", "console"]
    ),
)
@click.option("--write/--no-write", default=True, show_default=True, help="Write docs/performance.md.")
def main(rounds: int, quick: bool, only: tuple[str, ...], write: bool) -> None:
    """Measure Sluice beside raw COPY, a bare Flask route, and itself without its fast path."""
    scale = 0.1 if quick else 1.0
    chosen = only or tuple(PARTS)
    if not load.has_wrk() and {"single", "mixed"} & set(chosen):
        raise click.ClickException("single posts are measured by wrk: make tools TOOLS=wrk")
    found: list[Line] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.database(Path(folder)) as server,
        Progress(console=Console(stderr=True)) as bar,
    ):
        task = bar.add_task("bench", total=len(chosen))
        for name in chosen:
            bar.update(task, description=name)
            found.extend(PARTS[name](server, 1 if quick else rounds, scale))
            bar.advance(task)
    show(found)
    if write and not quick:
        record(found)


def batch(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Batches of 1,000 beside COPY of the same rows, and beside themselves sent again."""
    first, again, copied, halves = [], [], [], []
    count = max(2, int(60 * scale))
    for _ in range(rounds):
        shares = [rows.arrays(count, 1_000) for _ in range(CLIENTS)]
        servers.empty(server)
        with servers.service(server, "complete") as service:
            total = CLIENTS * count * 1_000
            first.append(load.side_by_side(service, shares, "application/json", total))
            again.append(load.side_by_side(service, shares, "application/json", total))
        copied.append(copy_back(server, 1))
        halves.append(copy_back(server, 2))
    yield ratio_line("batches of 1,000, 4 clients", first, "COPY of the same rows, 1 connection", copied, 0.8, "events/s")
    yield ratio_line("the same", first, "COPY by 2 connections at once", halves, 0.55, "events/s")
    yield ratio_line("batches sent again (all duplicates)", again, "sent first", first, 1.0, "events/s")
    yield absolute("batches of 1,000 (Loki 3.7.8 took 78,000)", first, 78_000, "events/s")


def stream(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Streamed NDJSON beside COPY of the same rows."""
    ours, copied = [], []
    count = int(120_000 * scale)
    for _ in range(rounds):
        shares = [[rows.lines(count)] for _ in range(2)]
        servers.empty(server)
        with servers.service(server, "complete") as service:
            ours.append(load.side_by_side(service, shares, "application/x-ndjson", 2 * count))
        copied.append(copy_back(server, 1))
    yield ratio_line("NDJSON, 2 streams", ours, "COPY of the same rows, 1 connection", copied, 0.8, "events/s")


def single(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Single posts beside the same worker without its fast path, a route that only parses, and VictoriaLogs."""
    seconds = max(3, int(10 * scale))
    for connections in (64, 1, 8, 256):
        ours, slow = [], []
        for _ in range(rounds):
            ours.append(singles(server, "complete", connections, seconds))
            slow.append(singles(server, "complete", connections, seconds, FAST_PATH="off"))
        bar = 5.0 if connections == 64 else 0.0
        yield ratio_line(f"single posts, {connections} clients", ours, "FAST_PATH=off", slow, bar, "requests/s")
        if connections == 64:
            yield absolute_tail("p99 of the same", ours, 10)
            bare = [singles(server, "bare", connections, seconds) for _ in range(rounds)]
            yield ratio_line("the same", ours, "a Flask route that only parses", bare, 3.0, "requests/s")
            if program := shutil.which("victoria-logs"):
                with servers.victoria_logs(program) as peer:
                    theirs = [load.wrk(peer, connections, seconds, "victoria.lua") for _ in range(rounds)]
                yield ratio_line(
                    "the same", ours, "VictoriaLogs, stored before the answer in memory only", theirs, 1.5, "requests/s"
                )


def singles(server: Owned, app: str, connections: int, seconds: int, **environment: str) -> Rate:
    servers.empty(server)
    with servers.service(server, app, **environment) as service:
        load.wrk(service, connections, 1)
        return load.wrk(service, connections, seconds)


def mixed(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Single posts and batches at once: what each keeps of its own rate."""
    seconds = max(3, int(10 * scale))
    alone: dict[str, list[Rate]] = {"single": [], "batch": []}
    beside: dict[str, list[Rate]] = {"single": [], "batch": []}
    for _ in range(rounds):
        servers.empty(server)
        with servers.service(server, "complete") as service, ThreadPoolExecutor(1) as pool:
            alone["single"].append(load.wrk(service, 64, seconds))
            alone["batch"].append(load.batches(service, CLIENTS, seconds))
            wrk = pool.submit(load.wrk, service, 64, seconds)
            beside["batch"].append(load.batches(service, CLIENTS, seconds))
            beside["single"].append(wrk.result())
    yield ratio_line("single posts beside batches", beside["single"], "alone", alone["single"], 0.3, "requests/s")
    yield ratio_line("batches beside single posts", beside["batch"], "alone", alone["batch"], 0.3, "events/s")


WITHOUT_GROUPS = ("ALTER TABLE sluice.events DISABLE TRIGGER count_error", "DROP INDEX IF EXISTS sluice.events_fingerprint")
WITH_GROUPS = (
    "ALTER TABLE sluice.events ENABLE TRIGGER count_error",
    "CREATE INDEX IF NOT EXISTS events_fingerprint ON sluice.events (fingerprint, created_at, id) WHERE fingerprint IS NOT NULL",
)


def errors(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Batches with and without errors beside themselves without error groups: statement, index and trigger."""
    count = max(2, int(60 * scale))
    for what, make, bar in (("half of them errors", rows.half_errors, 0.9), ("no errors", rows.arrays, 0.97)):
        ours, theirs = list[Rate](), list[Rate]()
        pair = [("uncounted", WITHOUT_GROUPS, theirs), ("complete", WITH_GROUPS, ours)]
        for _ in range(rounds):
            shares = [make(count, 1_000) for _ in range(CLIENTS)]
            # By turns: a machine that slows down for a while favours neither.
            pair.reverse()
            for app, prepare, found in pair:
                servers.empty(server)
                for statement in prepare:
                    servers.execute(server, statement)
                with servers.service(server, app) as service:
                    found.append(load.side_by_side(service, shares, "application/json", CLIENTS * count * 1_000))
        yield ratio_line(f"batches of 1,000, {what}", ours, "without error groups", theirs, bar, "events/s")


def page(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """A page deep in 1 M rows beside the first page."""
    servers.empty(server)
    count = int(1_000_000 * scale)
    servers.execute(server, FILL.format(count=count))
    servers.execute(server, "VACUUM ANALYZE sluice.events")
    with servers.service(server, "complete") as service:
        path, cursor = "/api/v1/logs/filter?page_size=1000", ""
        for _ in range(int(count * 0.9) // 1_000):
            cursor = str(load.get(service, path + (f"&cursor={cursor}" if cursor else ""))[1]["next_cursor"])
        first, deep = [], []
        for _ in range(rounds):
            first.append(load.p99_of(lambda: load.get(service, "/api/v1/logs/filter?page_size=50")[0], 300))
            deep.append(load.p99_of(lambda: load.get(service, f"/api/v1/logs/filter?page_size=50&cursor={cursor}")[0], 300))
    ratio = statistics.median(deep) / statistics.median(first)
    yield Line(
        f"p99 of a page after {int(count * 0.9):,} of {count:,} rows",
        f"{statistics.median(deep):.1f} ms",
        f"first page {statistics.median(first):.1f} ms",
        ratio,
        "<= 1.3",
        ratio <= 1.3,
    )


def index(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """What an index of one's own gives to a query of 5 M rows, and takes from ingest into them."""
    servers.empty(server)
    count = int(5_000_000 * scale)
    servers.execute(server, FILL.format(count=count))
    servers.execute(server, "VACUUM ANALYZE sluice.events")
    users = itertools.cycle(random.Random(1).sample(range(USERS), 500))
    with servers.service(server, "complete") as service:

        def query() -> float:
            return load.get(service, f"/api/v1/logs/filter?page_size=50&user_id=user-{next(users)}")[0]

        without, rates = load.p99_of(query, 20), [load.batches(service, CLIENTS, 10)]
        for name in ("user_id", "properties.tags.provider"):
            indexes.add(server.owner, name, lambda _phase, _done: None)
            servers.execute(server, "CHECKPOINT")
            rates.append(load.batches(service, CLIENTS, 10))
        p99 = statistics.median(load.p99_of(query, 500) for _ in range(rounds))
    yield Line(
        f"p99 of a page by user_id of {count:,} rows, with its index",
        f"{p99:.1f} ms",
        f"without: {without:.0f} ms",
        p99 / without,
        "<= 20 ms",
        p99 <= 20,
    )
    for what, rate in zip(("user_id", "and properties.tags.provider"), rates[1:], strict=True):
        yield ratio_line(f"batches with the index {what}", [rate], "without", rates[:1], 0, "events/s")
    for name in ("user_id", "properties.tags.provider"):
        indexes.drop(server.owner, name)


USERS = 10_000
FILL = f"""
INSERT INTO sluice.events (event_id, id, "timestamp", event_type, event_name, properties, device_info, user_id, priority, key_id,
    content, created_at)
SELECT gen_random_uuid()::text, 10000 + n, now() - n * interval '1 second', 'log', 'line',
    '{{{{"tags": {{{{"provider": "bench"}}}}}}}}', '{{{{}}}}', 'user-' || n % {USERS}, 'normal', 'bench', sha256(n::text::bytea),
    now() - ({{count}} - n) * interval '1 millisecond'
FROM generate_series(1, {{count}}) AS n
"""


def memory(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Resident memory of a worker over 1 M streamed events."""
    servers.empty(server)
    count = int(100_000 * scale)
    with servers.service(server, "complete", WORKERS="1") as service:
        sizes = []
        for _ in range(10):
            load.post_all(service, [rows.lines(count)], "application/x-ndjson")
            sizes.append(max(service.rss()) / (1 << 20))
    ratio = sizes[-1] / sizes[0]
    yield Line(
        f"memory of a worker after {10 * count:,} streamed events",
        f"{sizes[-1]:.0f} MiB",
        f"after {count:,}: {sizes[0]:.0f} MiB",
        ratio,
        "<= 1.1",
        ratio <= 1.1,
    )


TAILS = 200


def tails(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Batches beside 200 open tails, of which half show everything, against the same without them."""
    seconds = max(4, int(20 * scale))
    ours, theirs = list[Rate](), list[Rate]()
    for _ in range(rounds):
        servers.empty(server)
        with servers.service(server, "complete") as service:
            theirs.append(load.batches(service, CLIENTS, seconds))
            with load.tailing(service, TAILS):
                ours.append(load.batches(service, CLIENTS, seconds))
    yield ratio_line(f"batches of 1,000 beside {TAILS} tails", ours, "without tails", theirs, 0.95, "events/s")


PARTS: dict[str, Callable[[Owned, int, float], Iterator[Line]]] = {
    "batch": batch,
    "stream": stream,
    "single": single,
    "mixed": mixed,
    "errors": errors,
    "page": page,
    "index": index,
    "memory": memory,
    "tails": tails,
    "queue": queue,
    "stores": stores,
    "console": console,
}


def copy_back(server: Owned, connections: int) -> Rate:
    """Take the rows out of the table and COPY them in again, with all its indexes, over `connections` at once."""
    with (
        psycopg.connect(**server.owner(), autocommit=True) as connection,
        connection.cursor().copy(f"COPY sluice.events ({COLUMNS}) TO STDOUT") as out,
    ):
        text = [bytes(line) for line in out]
    servers.empty(server)
    shares = [b"".join(text[i::connections]) for i in range(connections)]
    seconds = copy_in(server, shares)
    return Rate(len(text) / seconds)


def copy_in(server: Owned, shares: list[bytes]) -> float:
    with multiprocessing.get_context("fork").Pool(len(shares)) as pool:
        pool.map(abs, range(len(shares)))
        start = time.perf_counter()
        pool.starmap(copy_one, [(server.owner(), share) for share in shares])
        return time.perf_counter() - start


def copy_one(login: dict[str, str], text: bytes) -> None:
    with (
        psycopg.connect(**login) as connection,  # type: ignore[arg-type]
        connection.cursor().copy(f"COPY sluice.events ({COLUMNS}) FROM STDIN") as copy,
    ):
        for start in range(0, len(text), 1 << 20):
            copy.write(text[start : start + (1 << 20)])


if __name__ == "__main__":
    main(prog_name="python -m tests.bench")
