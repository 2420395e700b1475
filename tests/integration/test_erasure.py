"""Erasure: all events of one user go and nobody else's, groups forget the user, and who asked is on record."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from tests.conftest import ROOT
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.conftest import OpenStore, ready
from tests.integration.keysets import KeysetFile, keyset_file
from tests.integration.postgres import Database
from tests.integration.sample import NOW, row, rows
from tests.integration.service import KEY, Service, running
from tests.integration.waiting import until

from sluice import events
from sluice.cli import main
from sluice.erasure import store as erasures
from sluice.erasure.store import Place
from sluice.error_groups import fold
from sluice.errors import StoreUnavailable
from sluice.stores import Claim
from sluice.stores.postgresql.store import PostgresqlStore

pytest_plugins = ["tests.integration.services"]
PATH = "/api/v1/events"


def test_errors_are_counted_and_erased_where_all_changes_are_published(store: PostgresqlStore, database: Database) -> None:
    database.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    store.insert([row("a", event_type="error", user_id="user-1")], NOW)
    erasure, removed, _ = erase(store, "user-1")
    erasures.finish(store.database, erasure, "user-1", NOW)
    assert (removed, database.count()) == (1, 0)
    assert fold.drain(store.database, NOW)
    assert database.execute("SELECT events, users FROM sluice.error_groups") == [(1, 0)]


def erase(of: PostgresqlStore, user_id: str, place: Place | None = None, **more: Any) -> tuple[str, int, Place | None]:
    """Begin an erasure and do what fits into one request."""
    erasure = events.uuid7()
    erasures.begin(of.database, erasure, "key-a", "request-a", NOW)
    return erasure, *erasures.remove(of.database, erasure, user_id, place or Place(), **more)


def test_all_events_of_a_user_go_and_nobody_else_s(store: PostgresqlStore, database: Database) -> None:
    store.insert([*rows(2_500, "gone", user_id="u1"), *rows(300, "kept", user_id="u2"), *rows(300, "none")], NOW)
    erasure, removed, left = erase(store, "u1")
    assert (removed, left) == (2_500, None)
    assert database.execute("SELECT count(*) FROM sluice.events WHERE user_id = 'u1'") == [(0,)]
    assert database.count() == 600
    assert erasures.erased(store.database, erasure) == 2_500


def test_a_step_removes_a_thousand_and_the_next_begins_where_it_ended(store: PostgresqlStore, database: Database) -> None:
    for hour in range(3):
        store.insert(rows(900, f"{hour}-", user_id="u1"), NOW + timedelta(hours=hour))
    clock = iter(range(0, 1_000, 100))
    place: Place | None = Place()
    steps = []
    while place is not None:
        _, removed, place = erase(store, "u1", place, clock=lambda: float(next(clock)))
        steps.append(removed)
    assert steps == [1_000, 1_000, 700]
    assert database.count() == 0


def test_a_walk_through_many_events_of_others_takes_bounded_steps(
    store: PostgresqlStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "WINDOW", 10)
    store.insert([*rows(25, "a"), row("z", user_id="u1")], NOW)
    _, removed, left = erase(store, "u1", clock=lambda: 0.0)
    assert (removed, left) == (1, None)
    assert database.count() == 25


KEEP = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN CASE WHEN OLD.event_id = 'held' THEN NULL ELSE OLD END; END $$;
CREATE TRIGGER keep BEFORE DELETE ON sluice.events FOR EACH ROW EXECUTE FUNCTION keep();
"""


def test_no_erasure_ends_while_the_database_keeps_an_event(store: PostgresqlStore, database: Database) -> None:
    store.insert([row("a", user_id="u1"), row("held", user_id="u1")], NOW)
    database.execute(KEEP)
    with pytest.raises(StoreUnavailable) as caught:
        erase(store, "u1")
    assert (caught.value.reason, database.ids()) == ("not_permitted", ["held"])
    assert database.execute("SELECT events, finished_at FROM sluice.erasures") == [(1, None)]


def test_an_erasure_is_on_record_without_the_user(store: PostgresqlStore, database: Database) -> None:
    store.insert([row("a", user_id="somebody")], NOW)
    erasure, _, _ = erase(store, "somebody")
    erasures.finish(store.database, erasure, "somebody", NOW)
    ((found,),) = database.execute("SELECT to_jsonb(e) FROM sluice.erasures AS e")
    assert (found["key_id"], found["request_id"], found["events"], bool(found["finished_at"])) == ("key-a", "request-a", 1, True)
    tables = database.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'sluice'")
    for (table,) in tables:
        assert "somebody" not in str(database.execute(f'SELECT * FROM sluice."{table}"')), table


def failure(event_id: str, user_id: str | None, at: datetime = NOW) -> Any:
    return row(event_id, event_type="error", event_name="/pay", user_id=user_id, timestamp=at, properties={"error": "timeout"})


def group(of: PostgresqlStore, database: Database) -> tuple[int, int]:
    """Events and users of the only group, once all is counted."""
    assert fold.drain(of.database, NOW)
    (found,) = database.execute("SELECT events, users FROM sluice.error_groups")
    return int(found[0]), int(found[1])


@pytest.mark.parametrize("counted", [True, False])
def test_error_groups_forget_the_user_and_keep_their_counts(store: PostgresqlStore, database: Database, counted: bool) -> None:
    store.insert([failure("a", "u1"), failure("b", "u2"), failure("c", None)], NOW)
    if counted:
        assert group(store, database) == (3, 2)
    for _ in range(2):
        erasure, _, _ = erase(store, "u1")
        erasures.finish(store.database, erasure, "u1", NOW)
    assert group(store, database) == (3, 1)
    assert database.execute("SELECT user_id FROM sluice.error_users") == [("u2",)]
    assert "u1" not in str(database.execute("SELECT * FROM sluice.error_deltas"))


KILLED = """
import sys
from psycopg.conninfo import conninfo_to_dict
from sluice.erasure import store
from sluice.stores.postgresql.database import Database
store.STEP = 20
print("ready", flush=True)
store.remove(Database(lambda: conninfo_to_dict(sys.argv[1])), "e", "u1", store.Place())
"""


def test_the_record_agrees_with_what_went_also_after_a_kill_9(store: PostgresqlStore, database: Database) -> None:
    store.insert([*rows(4_000, "gone", user_id="u1"), *rows(10, "kept")], NOW)
    erasures.begin(store.database, "e", "k", "r", NOW)
    command = [sys.executable, "-c", KILLED, database.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT / "app")}) as process:
        until(lambda: database.count() < 4_010, 20)
        process.send_signal(signal.SIGKILL)
    until(lambda: database.count() + erasures.erased(store.database, "e") == 4_010, 10)
    _, left = erasures.remove(store.database, "e", "u1", Place())
    assert (left, database.count(), erasures.erased(store.database, "e")) == (None, 10, 4_000)


def test_events_that_come_meanwhile_are_stored_and_two_erasures_do_not_disturb_each_other(
    database: Database, open_store: OpenStore
) -> None:
    store = ready(open_store(database.login, 6))
    store.insert([*rows(1_500, "a", user_id="u1"), *rows(1_500, "b", user_id="u2")], NOW)
    with ThreadPoolExecutor(4) as pool:
        erasing = [pool.submit(erase, store, user) for user in ("u1", "u2", "u1")]
        storing = [pool.submit(store.insert, rows(100, f"new{n}-"), datetime.now(UTC)) for n in range(10)]
        assert [each.result(30)[2] for each in erasing] == [None] * 3
        assert all(outcome.status == "created" for each in storing for outcome in each.result(30))
    assert database.count() == 1_000


def test_an_erased_event_that_is_sent_again_is_stored_again_unless_its_answer_is_kept(
    store: PostgresqlStore, database: Database
) -> None:
    some = [row("a", user_id="u1")]
    claim = Claim("key", "once", b"request")
    store.insert_once(claim, some, [None], NOW, atomic=False)
    erase(store, "u1")
    assert store.insert_once(claim, some, [None], NOW, atomic=False).replayed
    assert database.count() == 0
    # What is kept of an Idempotency-Key is ids and outcomes.
    assert "u1" not in str(database.execute("SELECT outcomes::text FROM sluice.idempotency_keys"))
    assert store.insert(some, NOW)[0].status == "created"


# Over HTTP.


def test_a_user_s_events_go_and_the_answer_says_how_many(client: httpx.Client, mine: Mine) -> None:
    user = mine.prefix
    client.post("/api/v1/batch-ingest", json=[mine.event("a", user_id=user), mine.event("b", user_id=user), mine.event("c")])
    data = data_of(client.delete(PATH, params={"user_id": user}))
    assert (data["events"], data["done"], data["next_cursor"]) == (2, True, None)
    assert mine.names() == ["c"]
    again = data_of(client.delete(PATH, params={"user_id": user}))
    assert (again["events"], again["done"], again["erasure"] == data["erasure"]) == (0, True, False)
    text = "SELECT events, finished_at IS NOT NULL, key_id FROM sluice.erasures WHERE id = ANY(%s) ORDER BY id"
    key_id = data_of(client.get("/api/v1/whoami"))["key_id"]
    assert mine.database.execute(text, [[data["erasure"], again["erasure"]]]) == [(2, True, key_id), (0, True, key_id)]


@pytest.mark.parametrize(
    "asked", ["", "?user_id=", "?user_id=a&user_id=b", "?userid=a", "?user_id=a&event_type=log", "?user_id=%00"]
)
def test_what_leaves_open_whose_events_go_is_refused(client: httpx.Client, mine: Mine, asked: str) -> None:
    client.post("/api/v1/ingest", json=mine.event("a", user_id="a")).raise_for_status()
    answer = client.delete(PATH + asked)
    assert (answer.status_code, answer.json()["reason"]) == (400, "query")
    problem_of(client.delete(PATH, params={"user_id": "x" * 256}), 400, "validation_error", "query")
    assert mine.names() == ["a"]


def test_a_cursor_that_was_not_made_here_is_refused(client: httpx.Client) -> None:
    problem_of(client.delete(PATH, params={"user_id": "a", "cursor": "x"}), 400, "invalid_cursor")
    assert client.delete(PATH, params={"user_id": "nobody", "cursor": None}).status_code == 200, "an empty one is none"


keyset = pytest.fixture(keyset_file, scope="module")


@pytest.fixture(scope="module")
def scoped(shared_database: Database, keyset: KeysetFile) -> Iterator[dict[str, httpx.Client]]:
    """A client for each scope."""
    names = {scope: keyset.add(scope, scopes=(scope,)) for scope in ("ingest", "read", "admin")}
    keyset.publish()
    with running(shared_database.url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service:
        clients = {scope: service.client(key) for scope, key in names.items()}
        yield clients
        for client in clients.values():
            client.close()


@pytest.mark.parametrize("scope", ["ingest", "read", "admin"])
def test_to_erase_and_to_change_an_error_s_state_takes_the_scope_admin(scoped: dict[str, httpx.Client], scope: str) -> None:
    client = scoped[scope]
    path = f"/api/v1/errors/2:{'0' * 32}"
    answers = {
        "admin": [
            client.delete(PATH, params={"user_id": "nobody"}),
            *(client.post(f"{path}/{a}") for a in ("resolve", "reopen", "ignore")),
        ],
        "read": [client.get("/api/v1/errors"), client.get(path)],
    }
    for needed, found in answers.items():
        assert {answer.status_code for answer in found} <= ({200, 404} if scope == needed else {403})


# The command.


def run(service: Service, *arguments: str, key: str = KEY) -> Result:
    environment = {"SLUICE_URL": service.url, "SLUICE_API_KEY": key}
    return CliRunner().invoke(main, ["erase", *arguments], env=environment)


def test_the_command_exports_and_then_erases(service: Service, client: httpx.Client, mine: Mine, tmp_path: Path) -> None:
    user, file = mine.prefix, tmp_path / "out.ndjson"
    client.post(
        "/api/v1/batch-ingest", json=[{**event, "user_id": user} for event in mine.events(1_200)[:1_000]]
    ).raise_for_status()
    client.post("/api/v1/batch-ingest", json=[mine.event("kept")]).raise_for_status()
    done = run(service, "--user-id", user, "--export", str(file))
    assert (done.exit_code, mine.names()) == (0, ["kept"]), done.output
    assert "exported 1,000 events" in done.output
    assert "erased 1,000 events (erasure " in done.output
    exported = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len({event["event_id"] for event in exported}) == 1_000
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_command_erases_nothing_when_the_export_fails(
    service: Service, client: httpx.Client, mine: Mine, tmp_path: Path
) -> None:
    client.post("/api/v1/ingest", json=mine.event("a", user_id=mine.prefix)).raise_for_status()
    there = tmp_path / "there"
    there.write_text("mine")
    for target, word in ((there, "there already"), (tmp_path / "no" / "folder", "cannot be written")):
        done = run(service, "--user-id", mine.prefix, "--export", str(target))
        assert (done.exit_code, word in done.output, "Nothing was erased" in done.output) == (1, True, True)
    done = run(service, "--user-id", mine.prefix, "--export", str(tmp_path / "new"), "--retry-for", "0", key="wrong")
    assert (done.exit_code, "refuses the key" in done.output, list(tmp_path.iterdir())) == (1, True, [there])
    assert (there.read_text(), mine.names()) == ("mine", ["a"])


def test_the_command_names_the_scope_that_its_key_lacks(scoped: dict[str, httpx.Client], keyset: KeysetFile) -> None:
    key, entry = next((key, entry) for key, entry in keyset.entries.items() if entry.key_id == "ingest")
    environment = {"SLUICE_URL": str(scoped["ingest"].base_url), "SLUICE_API_KEY": key}
    done = CliRunner().invoke(main, ["erase", "--user-id", "nobody"], env=environment)
    assert (done.exit_code, "scope admin" in done.output, entry.owner in done.output) == (1, True, False)
