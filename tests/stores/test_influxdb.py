"""What is InfluxDB's alone: its points, text that its languages would read, races, partial writes, and the service on it."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3
from tests import compose
from tests.certificates import Authority
from tests.conftest import ROOT
from tests.integration.sample import NOW, row, rows, statuses
from tests.integration.service import KEY, Service, running
from tests.integration.walks import ids, parsed
from tests.stores import subjects
from tests.stores.influxdb import TOKEN, Influxdb
from tests.stores.subjects import Clock, everything

from sluice import errors, parsing  # noqa: F401 - registers the formats
from sluice.events import Record
from sluice.filters import Filter
from sluice.parsing import legacy
from sluice.settings import Settings
from sluice.stores.influxdb import migrate, points
from sluice.stores.influxdb.store import InfluxdbStore

LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def settings(influx: Influxdb) -> Settings:
    return subjects.of_influxdb(influx, retention_days=30)


@pytest.fixture
def store(settings: Settings, clock: Clock) -> Iterator[InfluxdbStore]:
    migrate.migrate(settings)
    store = InfluxdbStore(settings, 20.0, clock)
    yield store
    store.close()


def bucket(settings: Settings) -> str:
    return str(settings.influxdb_bucket)


def log(store: InfluxdbStore, event_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(store.get(event_id) or b"null"))
    return found


# The bucket


def test_migrate_describes_the_bucket_once(settings: Settings) -> None:
    store = InfluxdbStore(settings, 5.0)
    with pytest.raises(errors.StoreUnavailable, match="schema_behind"):
        store.check()
    assert migrate.migrate(settings) == ["its description"]
    store.check()
    secret = store.cursor_secret
    assert migrate.migrate(settings) == []
    assert InfluxdbStore(settings, 5.0).cursor_secret == secret
    store.close()


def test_a_bucket_that_is_not_there_is_named_with_what_to_do(influx: Influxdb) -> None:
    missing = subjects.of_influxdb(influx, influxdb_bucket="nobody/autogen")
    with pytest.raises(errors.StoreUnavailable, match="schema_behind"):
        InfluxdbStore(missing, 5.0).check()
    with pytest.raises(errors.SettingsError, match=r"INFLUXDB_BUCKET nobody/autogen is not there.*CREATE DATABASE.*InfluxDB 3"):
        migrate.migrate(missing)


@pytest.mark.parametrize(("kept", "days", "told"), [(31, 30, "at least 32 days"), (32, 30, None), (365, None, "for ever")])
def test_a_bucket_that_forgets_too_early_stops_the_migration(
    influx: Influxdb, settings: Settings, kept: int, days: int | None, told: str | None
) -> None:
    database = bucket(settings).partition("/")[0]
    influx.say(f'ALTER RETENTION POLICY "autogen" ON "{database}" DURATION {kept}d')
    wanted = subjects.of_influxdb(influx, influxdb_bucket=bucket(settings), retention_days=days)
    if told is None:
        migrate.migrate(wanted)
    else:
        with pytest.raises(errors.SettingsError, match=told):
            migrate.migrate(wanted)


def test_a_login_that_is_refused_is_reported_without_the_token(influx: Influxdb, capfd: pytest.CaptureFixture[str]) -> None:
    secret = "canary7f3a"
    wrong = subjects.of_influxdb(influx, influxdb_token=f"owner:{secret}")
    store = InfluxdbStore(wrong, 5.0)
    for call in (store.check, lambda: store.get("a"), lambda: store.insert([row("a")], NOW), lambda: migrate.migrate(wrong)):
        with pytest.raises(errors.StoreUnavailable, match="login_refused") as caught:
            call()
        assert secret not in f"{caught.value!r} {caught.value.__cause__}"
    assert secret not in "".join(capfd.readouterr())
    store.close()


@pytest.mark.usefixtures("influx")
def test_a_certificate_is_verified(tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "authority.pem").write_text(authority.certificate)
    with Influxdb(authority) as server:
        settings = subjects.of_influxdb(server)
        trusting = dataclasses.replace(settings, database_ca_file=tmp_path / "authority.pem")
        with pytest.raises(errors.StoreUnavailable, match="tls_refused"):
            migrate.migrate(settings)
        assert migrate.migrate(trusting) == ["its description"]


# Points


def report(**fields: str) -> Record:
    event = legacy.error_report(json.dumps({"service": "shop", "endpoint": "/pay", **fields}).encode(), 256 << 10)
    return row(None, **{name: value for name, value in msgspec.structs.asdict(event).items() if value is not None})


def test_an_error_report_is_the_point_that_seed_000_wrote(store: InfluxdbStore, influx: Influxdb, settings: Settings) -> None:
    """As its dashboards ask for it; no other event has these fields."""
    store.insert(
        [report(error="no money", traceback='File "x"\n  line 1'), row("log", source="shop"), row("e", event_type="error")], NOW
    )
    (point,) = influx.rows(bucket(settings), "error, traceback, service, endpoint")
    assert {name: point[name] for name in ("service", "endpoint", "error", "traceback")} == {
        "service": "shop",
        "endpoint": "/pay",
        "error": "no money",
        "traceback": 'File "x"\n  line 1',
    }
    database, policy = bucket(settings).split("/")
    (asked,) = influx.say(
        f"SELECT count(error) FROM \"{database}\".\"{policy}\".logs WHERE service = 'shop' AND endpoint = '/pay' GROUP BY service"
    )
    assert (asked["tags"], asked["values"][0][1]) == ({"service": "shop"}, 1)
    assert len(influx.rows(bucket(settings), "sluice_event")) == 3


def test_the_time_of_a_point_is_the_events_own(store: InfluxdbStore, influx: Influxdb, settings: Settings) -> None:
    """Its timestamp, the time in the id that the service gave it, the minute of its receipt."""
    moment = datetime(2024, 5, 31, 8, 0, 0, 123456, tzinfo=UTC)
    assigned = "018fd3c0-1234-7abc-8abc-0123456789ab"
    accepted = points.EPOCH + timedelta(milliseconds=int(assigned.replace("-", "")[:12], 16), seconds=3)
    records = [row("timed", timestamp=moment), msgspec.structs.replace(row(assigned), accepted=accepted), row("named")]
    store.insert(records, NOW + timedelta(seconds=59))
    times = {
        json.loads(each["sluice_event"])["log"]["event_id"]: each["time"]
        for each in influx.rows(bucket(settings), "sluice_event")
    }
    assert times["timed"] == "2024-05-31T08:00:00.123456Z"
    assert datetime.fromisoformat(times[assigned]) == accepted - timedelta(seconds=3)
    assert datetime.fromisoformat(times["named"]) == NOW


HOSTILE = [
    '"',
    "'",
    "\\",
    "a\\",
    "\\\\",
    "a\nb",
    "a\rb",
    "a\tb",
    " ",
    ",",
    "=",
    "a=b,c d",
    "${bucket}",
    '") |> drop(columns: ["_value"]) //',
    '" or true or r._value == "',
    "r.event_key",
    "# no comment",
    "☃ \U0001f600 \u2028 \ufeff",
    "é",
    "e\u0301",
    "\x7f\x01",
    "-- ; DROP DATABASE x",
    "\\n",
    "\\u0000",
    "x\\,event_key=y",
    "x\\=y",
    "x\\ y=1",
    "x\\\\,event_key=y",
    'x" 1\nlogs,service=y sluice_event="z',
]


def test_text_that_line_protocol_or_flux_would_read_is_only_text(
    store: InfluxdbStore, influx: Influxdb, settings: Settings
) -> None:
    """As id, and in every field that becomes a tag or a field of a point."""
    records = [row(text, event_name=text, source=text, user_id=text, properties={text: text}) for text in HOSTILE]
    reports = [report(service=text, endpoint=text, error=text, traceback=text) for text in HOSTILE]
    assert statuses(store.insert([*records, *reports], NOW)) == ["created"] * 2 * len(HOSTILE)
    assert statuses(store.insert(records, NOW)) == ["duplicate"] * len(HOSTILE)
    store.insert(reports, NOW)
    for text, sent in zip(HOSTILE, reports, strict=True):
        found = log(store, text)
        assert (found["event_id"], found["event_name"], found["source"], found["properties"]) == (text, text, text, {text: text})
        assert ids(store.page(parsed(event_id=text))) == [text]
        assert ids(store.page(parsed(user_id=text))) == [text]
        assert log(store, sent.event_id)["properties"]["traceback"] == text
    stored = influx.rows(bucket(settings), "sluice_event, error, event_key")
    assert sorted(each["event_key"] for each in stored) == sorted(points.key_of(each.event_id) for each in [*records, *reports])
    as_tags = {re.sub(r"[\x00-\x1f\x7f]", " ", text) + (" " if text.endswith("\\") else "") for text in HOSTILE}
    assert {each["service"] for each in influx.rows(bucket(settings), "error, service")} == as_tags
    assert {each["error"] for each in stored} - {None} == set(HOSTILE)
    assert {each["name"] for each in influx.say(f"SHOW MEASUREMENTS ON {bucket(settings).partition('/')[0]}")} == {"measurements"}
    assert len(everything(store)) == 2 * len(HOSTILE)


def test_names_of_bucket_and_org_are_never_read_as_flux(influx: Influxdb) -> None:
    for name in HOSTILE:
        if name.isprintable():
            with pytest.raises(errors.StoreUnavailable):
                InfluxdbStore(subjects.of_influxdb(influx, influxdb_bucket=name, influxdb_org=name), 5.0).check()


def test_the_largest_event_and_the_longest_names_come_back(store: InfluxdbStore) -> None:
    large = row("\U0001f600" * 255, source="," * 255, event_name="=" * 255, properties={"text": '"\\' * 60_000, "n": 10**30})
    assert statuses(store.insert([large, row("beside")], NOW)) == ["created", "created"]
    assert log(store, large.event_id)["properties"]["text"] == '"\\' * 60_000


# Exactly once


@pytest.fixture
def racing(settings: Settings, store: InfluxdbStore, monkeypatch: pytest.MonkeyPatch) -> list[InfluxdbStore]:
    """Two processes that both looked before either of them writes."""
    stores, barrier = [store, InfluxdbStore(settings, 20.0, lambda: NOW)], threading.Barrier(2)
    for each in stores:

        def add(*given: Any, write: Any = each._add) -> set[str]:
            barrier.wait(10)
            found: set[str] = write(*given)
            return found

        monkeypatch.setattr(each, "_add", add)
    return stores


def race(stores: list[InfluxdbStore], records: list[Record], moments: list[datetime]) -> list[list[str]]:
    with ThreadPoolExecutor(2) as pool:
        return [statuses(found) for found in pool.map(lambda n: stores[n].insert([records[n]], moments[n]), range(2))]


def test_processes_that_write_one_event_at_once_write_one_point(
    racing: list[InfluxdbStore], influx: Influxdb, settings: Settings
) -> None:
    moments = [NOW, NOW + timedelta(seconds=59)]
    race(racing, [row("named"), row("named")], moments)
    race(racing, [row("timed", timestamp=NOW - timedelta(days=1))] * 2, [NOW, LATER])
    assert len(influx.rows(bucket(settings), "sluice_event")) == 2
    assert sorted(everything(racing[0])) == ["named", "timed"]


@pytest.mark.parametrize(
    ("one", "other", "moments"),
    [
        ({}, {}, [NOW, LATER]),
        ({"source": "a"}, {"source": "b"}, [NOW, NOW]),
        ({"timestamp": NOW}, {"timestamp": LATER, "event_type": "error"}, [NOW, LATER]),
        ({"user_id": "a"}, {"user_id": "b"}, [NOW, LATER]),
    ],
    ids=["at the turn of a minute", "another tag", "another time", "other content"],
)
def test_an_event_that_a_race_left_twice_is_read_once(
    racing: list[InfluxdbStore], one: dict[str, Any], other: dict[str, Any], moments: list[datetime]
) -> None:
    race(racing, [row("a", **one), row("a", **other)], moments)
    for store in racing:
        assert everything(store) == ["a"]
        assert store.page(Filter()).total == 1
        found = log(store, "a")
        assert found == json.loads(b"".join(store.export(Filter())))
        again = [statuses(store.insert([row("a", **each)], LATER)) for each in (one, other)]
        assert ["duplicate"] in again


def test_an_answer_that_was_lost_and_a_batch_of_which_half_was_stored(store: InfluxdbStore, clock: Clock) -> None:
    """The first try named its events, and wrote some of them."""
    batch = rows(20)
    store._add([points.new(each, NOW) for each in batch[:7]], store_deadline())
    named = [points.new(each, NOW) for each in batch]
    store._bucket.write([points.batch_line(each) for each in points.batches(named, "gone", iter(range(9)))], store_deadline())
    assert everything(store) == [each.event_id for each in batch[:7]]
    assert statuses(store.insert(batch, LATER)) == ["duplicate"] * 7 + ["created"] * 13
    assert everything(store) == [each.event_id for each in batch]


def store_deadline() -> Any:
    from sluice.stores.influxdb.bucket import Deadline  # noqa: PLC0415

    return Deadline(20.0)


# Points that the server refuses


def test_a_field_of_another_type_takes_along_the_events_of_its_shard_only(
    store: InfluxdbStore, influx: Influxdb, settings: Settings
) -> None:
    """Another program wrote a number as `error`, into the shard of one week."""
    taken = NOW - timedelta(days=14)
    influx.write(bucket(settings), f"logs,service=x error=1.5 {points.nanoseconds(taken)}")
    sent: dict[str, Any] = {"event_type": "error", "properties": dict.fromkeys(points.REPORT, "text")}
    batch = [row(f"{n}", timestamp=taken if n in (0, 3, 4, 9) else NOW, **sent) for n in range(10)]
    batch.append(row("no report", timestamp=taken))
    found = store.insert(batch, NOW)
    wrong = {"0", "3", "4", "9"}
    assert {each.event_id for each in found if (each.status, each.reason) == ("invalid", "refused_by_store")} == wrong
    assert [each.event_id for each in found if each.status == "created"] == everything(store)
    assert len(everything(store)) == 7


@contextlib.contextmanager
def stand_in(settings: Settings, status: int, body: bytes, *, after: int = 0) -> Iterator[InfluxdbStore]:
    """A store before whose InfluxDB stands what answers so, from the request after the first `after` on."""
    seen = itertools.count()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(status, body)

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            if next(seen) < after:
                target = urllib3.PoolManager().request(
                    "POST", f"{settings.influxdb_url}{self.path}", body=asked, headers=dict(self.headers)
                )
                self.reply(target.status, target.data)
            else:
                self.reply(status, body)

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        place = f"http://127.0.0.1:{server.server_port}"
        store = InfluxdbStore(dataclasses.replace(settings, influxdb_url=place), 20.0, lambda: NOW)
        try:
            yield store
        finally:
            store.close()
            server.shutdown()
            thread.join()


HTML, ERROR = b"<html>sign in</html>", b'{"code": "invalid", "message": "no"}'


@pytest.mark.parametrize("after", [0, 1, 2], ids=["asked", "named", "written"])
@pytest.mark.parametrize(
    ("status", "body"), [(200, HTML), (200, b"{}"), (400, HTML), (403, HTML), (422, HTML), (429, ERROR), (500, ERROR)]
)
def test_what_stands_before_influxdb_neither_stores_nor_refuses_an_event(
    store: InfluxdbStore, settings: Settings, status: int, body: bytes, after: int
) -> None:
    with stand_in(settings, status, body, after=after) as behind, pytest.raises(errors.StoreUnavailable):
        behind.insert(rows(3), NOW)
    assert everything(store) == []
    assert statuses(store.insert(rows(3), NOW)) == ["created"] * 3


@pytest.mark.parametrize("body", [HTML, b"{}", b'result,table,_value\r\n,0,"half', b"result,table,_value\r\n,0\r\n", b"\xff\n"])
def test_an_answer_that_is_none_is_no_event(settings: Settings, body: bytes) -> None:
    with stand_in(settings, 200, body) as behind:
        for call in (lambda: behind.get("a"), lambda: behind.page(Filter()), behind.check, lambda: list(behind.export(Filter()))):
            with pytest.raises(errors.StoreUnavailable, match="database_error"):
                call()


@pytest.mark.parametrize(
    ("status", "body"), [(200, HTML), (200, b"{}"), (200, b"null"), (200, b"\xff"), (404, HTML), (500, HTML)]
)
def test_what_stands_before_influxdb_is_no_missing_bucket(settings: Settings, status: int, body: bytes) -> None:
    with stand_in(settings, status, body) as behind, pytest.raises(errors.StoreUnavailable, match="database_error"):
        migrate.migrate(dataclasses.replace(settings, influxdb_url=behind._bucket._client.url))


def test_a_bucket_that_refuses_whatever_comes_refuses_no_event(store: InfluxdbStore, settings: Settings) -> None:
    with stand_in(settings, 400, ERROR, after=1) as behind, pytest.raises(errors.StoreUnavailable, match="database_error"):
        behind.insert(rows(1), NOW)


def test_what_is_older_than_the_bucket_keeps_is_refused_alone(store: InfluxdbStore, influx: Influxdb, settings: Settings) -> None:
    influx.say(f'ALTER RETENTION POLICY "autogen" ON "{bucket(settings).partition("/")[0]}" DURATION 32d')
    now = datetime.now(UTC)
    batch = [row("old", timestamp=now - timedelta(days=40), now=now), *rows(3)]
    assert statuses(store.insert(batch, now)) == ["invalid", "created", "created", "created"]


def test_an_expired_event_is_not_shown_and_its_id_is_free_again(store: InfluxdbStore, clock: Clock) -> None:
    subjects.forgets(store, clock)


# Outage


def test_a_server_that_is_killed_is_unreachable_and_nothing_is_lost(store: InfluxdbStore, influx: Influxdb) -> None:
    store.insert(rows(50), NOW)
    influx.kill()
    try:
        for call in (store.check, lambda: store.get("e00001"), lambda: store.insert([row("x")], NOW)):
            with pytest.raises(errors.StoreUnavailable, match="database_unreachable"):
                call()
    finally:
        influx.start()
    store.check()
    assert statuses(store.insert([*rows(50), row("x")], LATER)) == ["duplicate"] * 50 + ["created"]
    assert len(everything(store)) == 51


def test_a_server_that_hangs_is_given_up_at_the_deadline(settings: Settings, store: InfluxdbStore, influx: Influxdb) -> None:
    hasty = InfluxdbStore(settings, 0.5)
    with influx.frozen(), pytest.raises(errors.StoreUnavailable, match="query_timeout"):
        hasty.insert([row("a")], NOW)
    assert statuses(hasty.insert([row("a")], NOW)) in (["created"], ["duplicate"])
    assert everything(store) == ["a"]
    hasty.close()


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    migrate.migrate(settings)
    return {
        "STORAGE_TYPE": "influxdb",
        "INFLUXDB_URL": str(settings.influxdb_url),
        "INFLUXDB_TOKEN": TOKEN,
        "INFLUXDB_ORG": str(settings.influxdb_org),
        "INFLUXDB_BUCKET": bucket(settings),
    }


@pytest.fixture
def service(environment: dict[str, str]) -> Iterator[Service]:
    with running("", ready_within=40, **environment) as service:
        yield service
        assert TOKEN.partition(":")[2] not in service.log


def test_the_service_of_compose_yaml_runs(environment: dict[str, str], clock: Clock) -> None:
    """With the file's variables, but for the server's address and login."""
    document = compose.read()
    ours = {name: environment[name] for name in ("INFLUXDB_URL", "INFLUXDB_TOKEN", "INFLUXDB_BUCKET")}
    given = {**compose.environment(document, "influxdb-service"), **ours}
    migrated = {**compose.environment(document, "influxdb-migrate"), **ours}
    command = [sys.executable, "-m", "sluice", *document["services"]["influxdb-migrate"]["command"]]
    place = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "app")}
    done = subprocess.run(command, env={**place, **migrated}, capture_output=True, text=True, check=False)
    assert "the store is up to date" in done.stdout, done.stderr
    with running("", ready_within=40, **given) as service, service.client(key=given["API_KEYS"]) as client:
        assert client.post("/log", json={"level": "info"}).status_code == 202
        assert len(client.get("/api/v1/logs/recent").json()["data"]) == 1


def test_the_service_takes_events_in_gives_them_back_and_says_what_it_cannot(
    service: Service, influx: Influxdb, settings: Settings, environment: dict[str, str]
) -> None:
    with service.client() as client:
        subjects.takes_events_in_and_gives_them_back(client, exact=False)
        assert client.post("/", json={"service": "shop", "endpoint": "/pay", "error": "E", "traceback": "T"}).status_code == 204
        assert [each["error"] for each in influx.rows(bucket(settings), "error")] == ["E"]
        assert client.get("/api/v1/limits").json()["data"]["store"] == ["export", "filters"]
        more = {"sorting": "/api/v1/logs/filter?sort_by=user_id", "numbered_pages": "/api/v1/logs/filter?page=2"}
        subjects.says_what_it_cannot(client, **more)
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "app"), "COLUMNS": "200", "API_KEYS": KEY, **environment}
    said = subprocess.run([sys.executable, "-m", "sluice", "doctor"], env=given, capture_output=True, text=True, check=False)
    assert "the store (influxdb) answers and is up to date" in said.stdout
    assert TOKEN.partition(":")[2] not in said.stdout + said.stderr
