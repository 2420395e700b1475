"""`sluice worker`: what becomes of the messages, and `sluice dead-letters`."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Any, cast

import amqp
import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from tests.integration import service
from tests.integration.checks import at_once
from tests.integration.postgres import Database, LocalServer
from tests.integration.waiting import until
from tests.stores import queues
from tests.stores.queues import Worker, worker

from sluice import errors, events, outcomes
from sluice.cli import main
from sluice.events import Event, Record, Rules
from sluice.outcomes import Outcome
from sluice.queue import DEAD_LETTERS, EVENTS, dead_letters, messages
from sluice.queue import worker as queue_worker
from sluice.queue.broker import Link
from sluice.queue.link import Message

pytestmark = pytest.mark.timeout(400)
ACCEPTED = datetime.now(UTC) - timedelta(hours=1)
LATER_FORMAT = f"{messages.FAMILY}v9+json"


def record(event_id: str | None = None, **fields: object) -> Record:
    event = Event(event_type="log", event_name="n", event_id=event_id, **fields)  # type: ignore[arg-type]
    return events.prepare(event, now=ACCEPTED, key_id="k", rules=Rules())


def odd(flag: int, table: bytes) -> bytes:
    """Properties with this table, as no client of ours writes them."""
    return pack(">HI", flag, len(table)) + table


NO_TEXT = pack(">H", 1 << 15) + b"\2\xff\xfe"


def publish(url: str, *several: Message) -> None:
    with contextlib.closing(Link(url, EVENTS, DEAD_LETTERS)) as link:
        assert link.publish(EVENTS, several) == [None] * len(several)


def message(*several: Record) -> Message:
    return Message(messages.body(several, ACCEPTED), messages.CONTENT_TYPE)


def settled(url: str, running: Worker, number: int) -> None:
    """Return when so many events were stored or known, and the queue is empty."""

    def done() -> bool:
        return running.ready() and number <= sum(
            running.metric("sluice_worker_events_total", status=status) for status in ("created", "duplicate")
        )

    until(done, 30, f"{number} events are stored")
    until(lambda: queues.depth(url) == 0, 10, "the queue is empty")


def reasons(url: str) -> list[str]:
    return sorted(str(letter.headers["x-sluice-reason"]) for letter in queues.waiting(url, DEAD_LETTERS))


@pytest.fixture
def at_work(queue_url: str, database: Database) -> Iterator[Worker]:
    with worker(queue_url, database.url) as running:
        until(running.ready, 30, "the worker is ready")
        yield running


def test_accepted_is_created_at_and_stored_is_processed_at(queue_url: str, database: Database, at_work: Worker) -> None:
    publish(queue_url, message(record("a", properties={"n": 1.50}), record(None)), message(record("b")))
    settled(queue_url, at_work, 3)
    rows = database.execute("SELECT created_at, \"timestamp\", processed_at > now() - interval '1 minute' FROM sluice.events")
    assert rows == [(ACCEPTED, ACCEPTED, True)] * 3


def test_sluice_check_waits_for_what_the_worker_stores(queue_url: str, database: Database, at_work: Worker) -> None:
    with service.running(database.url, QUEUE_URL=queue_url, WORKERS="1") as api:
        ours = {"SLUICE_API_KEY": service.KEY, "DATA_DIR": "/nowhere"}
        done = CliRunner().invoke(main, ["check", api.url, "--retry-for", "60"], env=ours)
    assert (done.exit_code, [line.split()[0] for line in done.stdout.splitlines()]) == (0, ["ok"] * 5)
    assert database.execute("SELECT event_name FROM sluice.events") == [("sluice_check",)]


def test_a_message_that_comes_twice_is_stored_once_and_a_conflict_is_a_dead_letter(
    queue_url: str, database: Database, at_work: Worker
) -> None:
    assigned = record(None)
    publish(queue_url, message(record("a"), assigned), message(record("a"), assigned), message(record("a", source="other")))
    settled(queue_url, at_work, 4)
    assert sorted(database.ids()) == sorted(["a", assigned.event_id])
    until(lambda: reasons(queue_url) == ["conflict"], 10, "the conflict is a dead letter")
    (letter,) = queues.waiting(queue_url, DEAD_LETTERS)
    assert (letter.headers["x-sluice-event-id"], letter.headers["x-sluice-detail"] != "") == ("a", True)


def test_what_seed_004_published_is_stored_as_its_posts_are(queue_url: str, database: Database, at_work: Worker) -> None:
    posted = {"level": "info", "message": "testing the platform", "n": 1.0}
    queues.publish_as_seed_004(queue_url, json.dumps(posted).encode())
    queues.publish_as_seed_004(queue_url, b'{"message": "a\\u0000\xff"}')
    settled(queue_url, at_work, 2)
    assert database.execute("SELECT event_type, event_name, properties FROM sluice.events ORDER BY properties -> 'level'") == [
        ("log", "log", posted),
        ("log", "log", {"message": "a\ufffd\ufffd"}),
    ]


def test_a_message_of_another_program_that_is_delivered_again_is_stored_once(
    queue_url: str, database: Database, at_work: Worker
) -> None:
    one, other = b'{"n": 1}', b'{"n": 2}'
    again = [Message(one, "application/json", message_id="7")] * 3
    publish(
        queue_url, *again, Message(other, "application/json", message_id="7"), Message(one, "application/json", message_id="8")
    )
    settled(queue_url, at_work, 5)
    assert sorted(database.execute("SELECT (properties ->> 'n')::int FROM sluice.events")) == [(1,), (1,), (2,)]


def test_poisoned_messages_do_not_stop_their_neighbours(queue_url: str, database: Database, at_work: Worker) -> None:
    whole = message(record("a"))
    poison = [b"", b"[]", b"\xff", b'"text"', b'{"a": NaN}', b"[" * 100_000]
    publish(
        queue_url,
        *[Message(body) for body in poison],
        *[Message(body, messages.CONTENT_TYPE) for body in (b"{}", whole.body[:-9], b'{"accepted":"1","parts":[]}')],
        Message(whole.body, LATER_FORMAT),
        Message(b'{"a":' * 100 + b"1" + b"}" * 100),
        whole,
    )
    settled(queue_url, at_work, 1)
    until(lambda: len(reasons(queue_url)) == 11, 10, "all the others are dead letters")
    assert reasons(queue_url) == ["invalid", *["undecodable"] * 9, "unknown_format"]
    assert database.ids() == ["a"]
    assert at_work.metric("sluice_worker_dead_letters_total", reason="undecodable") == 9


# A date in milliseconds where AMQP has seconds, one beyond every calendar, and a content type that is no UTF-8.
def test_small_values_do_not_make_a_worker_larger_than_the_chart_has_it(queue_url: str, database: Database) -> None:
    for _ in range(6):
        publish(queue_url, message(*(record(properties={"a": ["ab"] * 40_000}) for _ in range(18))))
    queues.publish_as_seed_004(queue_url, b'{"a": [' + b"{}," * (20 << 20) + b"0]}")
    with worker(queue_url, database.url) as running:
        until(lambda: running.ready() and database.count() == 6 * 18, 100, "all events are stored")
        until(lambda: queues.depth(queue_url, DEAD_LETTERS) == 1, 30, "the larger message is a dead letter")
        assert running.peak_memory() < 384 << 20
    (letter,) = queues.waiting(queue_url, DEAD_LETTERS)
    assert letter.headers["x-sluice-reason"] == "invalid"
    assert "16 MiB" in str(letter.headers["x-sluice-detail"])


def test_dead_letters_that_are_full_are_waited_for_and_nothing_is_delivered_again(queue_url: str, database: Database) -> None:
    queues.bounded(queue_url, 1, DEAD_LETTERS)
    publish(queue_url, *[Message(b"poison", message_id=f"p-{number}") for number in range(4)], message(record("a")))
    buried: list[str] = []
    with worker(queue_url, database.url) as running:
        until(lambda: database.ids() == ["a"] and "queue_full" in running.log.read_text(), 30, "the worker waits for room")
        while len(buried) < 4:
            until(lambda: queues.depth(queue_url, DEAD_LETTERS) == 1, 30, "another letter is there")
            with contextlib.closing(Link(queue_url, DEAD_LETTERS)) as link:
                letter = link.get(DEAD_LETTERS)
                assert letter is not None
                buried.append(str(letter.message_id))
                link.ack(letter.tag)
        until(running.ready, 30, "the worker goes on")
        assert running.metric("sluice_worker_redelivered_total") == 0
        assert running.metric("sluice_worker_dead_letters_total", reason="undecodable") == 4
    assert (sorted(buried), queues.depth(queue_url)) == ([f"p-{number}" for number in range(4)], 0)


@pytest.mark.parametrize(
    "poison", [odd(1 << 13, b"\1kT" + pack(">Q", 10**13)), odd(1 << 13, b"\1kT" + pack(">Q", 2**63)), NO_TEXT]
)
def test_properties_that_the_driver_cannot_read_do_not_stop_the_worker(
    queue_url: str, database: Database, at_work: Worker, poison: bytes
) -> None:
    found = amqp.Message(b'{"a": 1}')
    found._serialize_properties = lambda: poison
    with queues.channel(queue_url) as opened:
        opened.basic_publish(found, routing_key=EVENTS)
    publish(queue_url, message(record("a")))
    settled(queue_url, at_work, 2)
    assert database.execute("SELECT properties FROM sluice.events WHERE event_id <> 'a'") == [({"a": 1},)]


def test_a_worker_that_was_away_catches_up_faster_than_events_come(queue_url: str, database: Database) -> None:
    """30 batches waited; while they are stored one more comes for every ten that go."""
    batches = [message(*(record(f"{batch}-{number}") for number in range(500))) for batch in range(33)]
    publish(queue_url, *batches[:30])
    with worker(queue_url, database.url) as running:
        for each in batches[30:]:
            before = queues.depth(queue_url)
            until(lambda before=before: queues.depth(queue_url) <= max(0, before - 5), 60, "batches are taken")  # type: ignore[misc]
            publish(queue_url, each)
        settled(queue_url, running, 33 * 500)
        assert len(set(database.ids())) == database.count() == 33 * 500
        assert reasons(queue_url) == []


def test_a_batch_that_a_store_takes_in_part_is_tried_again_and_makes_no_dead_letter() -> None:
    """As DynamoDB does when it throttles."""

    class Store:
        calls = 0

        def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
            self.calls += 1
            last = outcomes.failed(records[-1].event_id, "database_busy")
            good = [outcomes.duplicate(each.event_id, 1) for each in records]
            return [*good[:-1], last] if self.calls < 3 else good

    store, registry = Store(), CollectorRegistry()
    never: Any = lambda: None  # noqa: E731
    judged = queue_worker.Worker(cast(Any, store), never, Rules(), queue_worker.WorkerMetrics(registry), threading.Event())
    assert judged._stored([(message(record("a")), [record("a"), record("b")])]) == []
    assert store.calls == 3
    assert registry.get_sample_value("sluice_worker_events_total", {"status": "duplicate"}) == 2


def test_a_batch_is_committed_beside_the_one_before_it_and_acknowledged_after_it() -> None:
    stop, second_is_stored, seen = threading.Event(), threading.Event(), list[object]()
    batches = iter([message(record("a")), None, message(record("b")), None])

    class Store:
        def check(self) -> None:
            pass

        def insert(self, records: Sequence[Record], at: datetime) -> list[Outcome]:
            if records[0].event_id == "b":
                second_is_stored.set()
            assert second_is_stored.wait(30)
            return [outcomes.duplicate(each.event_id, 1) for each in records]

    class OneLink:
        tag = 0

        def consume(self, queue: str, prefetch: int) -> None:
            pass

        def next(self, seconds: float) -> Message | None:
            if (found := next(batches, None)) is None:
                if second_is_stored.is_set():
                    stop.set()
                return None
            self.tag += 1
            return replace(found, tag=self.tag)

        def ack(self, tag: int, *, multiple: bool) -> None:
            assert second_is_stored.is_set()
            seen.append((tag, multiple))

        def close(self) -> None:
            pass

    metrics = queue_worker.WorkerMetrics(CollectorRegistry())
    queue_worker.Worker(cast(Any, Store()), cast(Any, OneLink), Rules(), metrics, stop).run()
    assert seen == [(1, True), (2, True)]


def test_a_store_that_is_away_makes_no_dead_letters(queue_url: str, private_server: LocalServer) -> None:
    with private_server.database() as database, worker(queue_url, database.url) as running:
        until(running.ready, 30, "the worker is ready")
        private_server.kill()
        publish(queue_url, *[message(record(f"e-{number}")) for number in range(50)])
        until(lambda: not running.ready(), 20, "the worker waits for the store")
        until(lambda: running.metric("sluice_queue_oldest_seconds") > 2, 20, "what is in hand grows old")
        private_server.start()
        settled(queue_url, running, 50)
        assert len(set(database.ids())) == database.count() == 50
        assert reasons(queue_url) == []


def test_sigterm_ends_a_worker_also_while_the_store_is_away_and_its_batch_stays(queue_url: str) -> None:
    publish(queue_url, message(record("a")))
    with worker(queue_url, queues.NO_DATABASE) as running:
        until(lambda: "worker.waits" in running.log.read_text(), 30, "the worker waits for the store")
        assert running.stop() == 0
    assert queues.depth(queue_url) == 1


def test_dead_letters_are_listed_shown_replayed_and_dropped(queue_url: str, database: Database, at_work: Worker) -> None:
    database.execute("INSERT INTO sluice.events SELECT * FROM sluice.events")
    publish(queue_url, message(record("a")), message(record("a", source="x")), Message(b"poison"))
    until(lambda: len(reasons(queue_url)) == 2, 30, "two dead letters")
    letters = {
        str(letter.headers["x-sluice-reason"]): str(letter.message_id) for letter in queues.waiting(queue_url, DEAD_LETTERS)
    }
    listed = queues.sluice(queue_url, database.url, "dead-letters", "list")
    assert all(text in listed for text in (*letters, *letters.values()))
    assert "poison" in queues.sluice(queue_url, database.url, "dead-letters", "show", letters["undecodable"])
    assert "dropped 1" in queues.sluice(queue_url, database.url, "dead-letters", "drop", letters["undecodable"])
    assert reasons(queue_url) == ["conflict"]
    database.execute("DELETE FROM sluice.events")
    assert "replayed 1" in queues.sluice(queue_url, database.url, "dead-letters", "replay", "--all")
    until(lambda: database.ids() == ["a"], 20, "the replayed event is stored")
    assert database.execute("SELECT source FROM sluice.events") == [("x",)]
    assert reasons(queue_url) == []


def test_a_replay_that_ends_before_its_letter_is_gone_stores_it_once(
    queue_url: str, database: Database, at_work: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise errors.QueueUnavailable

    with contextlib.closing(Link(queue_url, EVENTS, DEAD_LETTERS)) as link:
        link.publish(DEAD_LETTERS, [Message(b'{"n": 1}', "application/json"), message(record("a")), message(record(None))])
    for _ in range(2):
        with contextlib.closing(Link(queue_url, EVENTS, DEAD_LETTERS)) as link, monkeypatch.context() as patch:
            patch.setattr(link, "ack", gone)
            with pytest.raises(errors.QueueUnavailable):
                dead_letters.replay(link, frozenset())
    with contextlib.closing(Link(queue_url, EVENTS, DEAD_LETTERS)) as link:
        assert dead_letters.replay(link, frozenset()) == 3
    settled(queue_url, at_work, 5)
    assert (database.count(), reasons(queue_url)) == (3, [])


def test_replays_and_a_drop_at_once_take_each_letter_once(queue_url: str, database: Database, at_work: Worker) -> None:
    letters = [message(record(f"{n:03}")) for n in range(200)]
    with contextlib.closing(Link(queue_url, EVENTS, DEAD_LETTERS)) as link:
        link.publish(DEAD_LETTERS, letters)

    def move(number: int) -> int:
        with contextlib.closing(Link(queue_url, EVENTS, DEAD_LETTERS)) as link:
            return (dead_letters.drop if number == 2 else dead_letters.replay)(link, frozenset())

    *replayed, dropped = at_once(3, move)
    left = queues.depth(queue_url, DEAD_LETTERS)
    assert sum(replayed) + dropped + left == 200
    settled(queue_url, at_work, sum(replayed))
    assert database.count() == sum(replayed)


def test_a_dead_letter_is_listed_whatever_it_holds_and_one_that_is_not_there_is_reported(queue_url: str) -> None:
    headers = {"x-sluice-reason": "conflict", "x-sluice-event-id": "[/red] \x1b[31m"}
    with contextlib.closing(Link(queue_url, EVENTS, DEAD_LETTERS)) as link:
        link.publish(DEAD_LETTERS, [Message(b"x", None, headers, "m-1")])
    listed = queues.sluice(queue_url, queues.NO_DATABASE, "dead-letters", "list")
    assert r"[/red] \u001b[31m" in listed
    for command in ("drop", "replay"):
        with pytest.raises(AssertionError, match="only 0 of these 1 are there"):
            queues.sluice(queue_url, queues.NO_DATABASE, "dead-letters", command, "m-2")
    assert queues.depth(queue_url, DEAD_LETTERS) == 1
