"""Dead letters in the console, of a real broker: who sees them, what replay and drop do, and how much one page reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from tests.integration.conftest import migrated
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.service import Service, running
from tests.integration.test_console import SCRIPT, browser, token_of
from tests.integration.waiting import until
from tests.stores import queues
from tests.stores.queues import worker
from tests.stores.rabbitmq import Broker
from tests.stores.test_worker import message, record

from sluice.console import letters
from sluice.queue import DEAD_LETTERS
from sluice.queue.broker import Link
from sluice.queue.link import Message
from sluice.queue.worker import DETAIL, EVENT_ID, REASON

pytestmark = pytest.mark.timeout(400)
PAGE, ONE = "/console/dead-letters", "/console/dead-letter?id="


def bury(url: str, *bodies: Message) -> list[str]:
    """Move these to the dead letters; their ids."""
    with contextlib.closing(Link(url, DEAD_LETTERS)) as link:
        assert link.publish(DEAD_LETTERS, bodies) == [None] * len(bodies)
    return [str(letter.message_id) for letter in queues.waiting(url, DEAD_LETTERS)]


def dead(event_id: str, reason: str = "conflict") -> Message:
    sound = message(record(event_id))
    return Message(sound.body, sound.content_type, {REASON: reason, DETAIL: f"detail of {event_id}", EVENT_ID: event_id})


database = pytest.fixture(migrated, scope="module")


@pytest.fixture(scope="module")
def service(broker: Broker, database: Database) -> Iterator[Service]:
    with running(database.url, QUEUE_URL=broker.url) as service:
        yield service


@pytest.fixture
def admin(service: Service, queue_url: str) -> Iterator[httpx.Client]:
    """Signed in, with both queues empty."""
    assert queue_url
    with browser(service) as client:
        yield client


def test_dead_letters_are_listed_shown_and_replayed_into_the_store(
    queue_url: str, database: Database, admin: httpx.Client
) -> None:
    first, second = bury(queue_url, dead("a"), dead("b", "unexpected"))
    page = admin.get(PAGE)
    assert [text in page.text for text in ("2 could not be stored", first, second, "unexpected", "detail of a")] == [True] * 5
    assert "&#34;event_id&#34;: &#34;b&#34;" in admin.get(f"{ONE}{second}").text
    assert queues.depth(queue_url, DEAD_LETTERS) == 2
    answer = admin.post("/console/replay", data={"token": token_of(page), f"id:{second}": "on"}, follow_redirects=True)
    assert "replayed: 1" in answer.text
    assert [letter.message_id for letter in queues.waiting(queue_url, DEAD_LETTERS)] == [first]
    with worker(queue_url, database.url):
        until(lambda: database.execute("SELECT event_id FROM sluice.events") == [("b",)], 30, "it is stored")


def test_dropping_asks_first_and_then_is_for_good(queue_url: str, database: Database, admin: httpx.Client) -> None:
    first, second = bury(queue_url, dead("a"), dead("b"))
    form = {"token": token_of(admin.get(PAGE)), f"id:{first}": "on"}
    assert "for good" in admin.post("/console/drop", data=form).text
    assert queues.depth(queue_url, DEAD_LETTERS) == 2
    assert "dropped: 1" in admin.post("/console/drop", data={**form, "sure": "yes"}, follow_redirects=True).text
    assert [letter.message_id for letter in queues.waiting(queue_url, DEAD_LETTERS)] == [second]


def test_nothing_is_moved_without_a_token_or_a_choice(queue_url: str, admin: httpx.Client) -> None:
    (only,) = bury(queue_url, dead("a"))
    token = token_of(admin.get(PAGE))
    for path in ("replay", "drop"):
        assert admin.post(f"/console/{path}", data={f"id:{only}": "on", "sure": "yes"}).status_code == 403
        assert admin.post(f"/console/{path}", data={"token": token, "sure": "yes"}).status_code == 400
    assert queues.depth(queue_url, DEAD_LETTERS) == 1


def test_only_an_admin_sees_them(queue_url: str, database: Database, keyset: KeysetFile) -> None:
    (only,) = bury(queue_url, dead("a"))
    reader = keyset.add("reader", scopes=("read", "ingest", "tasks", "sources"))
    keyset.publish()
    with (
        running(database.url, QUEUE_URL=queue_url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service,
        browser(service, reader) as client,
    ):
        page = client.get("/console/")
        assert "dead-letters" not in page.text
        assert [client.get(path).status_code for path in (PAGE, f"{ONE}{only}")] == [403, 403]
        form = {"token": token_of(page), f"id:{only}": "on", "sure": "yes"}
        assert [client.post(f"/console/{path}", data=form).status_code for path in ("replay", "drop")] == [403, 403]
    assert queues.depth(queue_url, DEAD_LETTERS) == 1


def test_text_of_others_stays_text(queue_url: str, admin: httpx.Client) -> None:
    headers = {REASON: SCRIPT, DETAIL: SCRIPT, EVENT_ID: SCRIPT}
    bury(queue_url, Message(SCRIPT.encode(), SCRIPT, headers, SCRIPT), Message(b"\xff\0", None, {}, "binary"))
    drop = admin.post("/console/drop", data={"token": token_of(admin.get(PAGE)), f"id:{SCRIPT}": "on"})
    one = admin.get(f"{ONE}{quote(SCRIPT)}")
    for page in (admin.get(PAGE), one, drop, admin.get(f"{ONE}binary"), admin.get(f"{PAGE}?replayed={quote(SCRIPT)}")):
        assert page.status_code == 200
        assert (page.text.count("<script"), "<img" in page.text, " style=" in page.text) == (1, False, False)
    assert "&lt;script&gt;" in one.text


def test_of_thousands_the_oldest_are_shown_and_the_rest_is_counted(queue_url: str, admin: httpx.Client) -> None:
    ids = bury(queue_url, *(dead(f"e-{n}") for n in range(letters.SOUGHT + 5)))
    page = admin.get(PAGE).text
    assert f"{letters.SOUGHT + 5:,} could not be stored; these are the {letters.LISTED} oldest" in page
    assert (ids[letters.LISTED - 1] in page, ids[letters.LISTED] in page) == (True, False)
    answers = [admin.get(f"{ONE}{ids[place]}").status_code for place in (letters.SOUGHT - 1, letters.SOUGHT)]
    assert answers == [200, 404]
    assert [str(letter.message_id) for letter in queues.waiting(queue_url, DEAD_LETTERS)] == ids


def test_large_ones_end_the_list_early_and_are_shown_in_part(queue_url: str, admin: httpx.Client) -> None:
    ids = bury(queue_url, *(Message(b"x" * (4 << 20)) for _ in range(6)))
    page = admin.get(PAGE).text
    assert "6 could not be stored; these are the 4 oldest" in page
    one = admin.get(f"{ONE}{ids[0]}").text
    assert ("Its first 64 KiB" in one, len(one) < 100_000) == (True, True)


def test_no_dead_letter_is_said_plainly(admin: httpx.Client) -> None:
    assert "No dead letter" in admin.get(PAGE).text


def test_a_broker_that_is_away_is_said_plainly(database: Database) -> None:
    with running(database.url, ready_within=None, QUEUE_URL="amqp://127.0.0.1:1/") as service:
        until(lambda: service.admin("/liveness")[0] == 200, 20, "it is up")
        with browser(service) as client:
            answer = client.get(PAGE)
            assert (answer.status_code, "the queue cannot be reached" in answer.text) == (503, True)
