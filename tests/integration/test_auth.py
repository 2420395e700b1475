"""Who may: keys in both headers, each reason of a refusal, scopes, and a key set that changes while the service runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.keysets import PICKED_UP, KeysetFile, keyset_file, loaded
from tests.integration.postgres import Database
from tests.integration.service import KEY, OTHER_KEY, Service, running
from tests.integration.waiting import until

from sluice import keys

pytest_plugins = ["tests.integration.services"]

INGEST, WHOAMI = "/api/v1/ingest", "/api/v1/whoami"
KEYED = [
    ("POST", INGEST),
    ("POST", "/api/v1/batch-ingest"),
    ("POST", "/"),
    ("POST", "/log"),
    ("GET", "/api/v1/logs/filter"),
    ("GET", "/api/v1/logs/recent"),
    ("GET", "/api/v1/events/x"),
    ("GET", "/api/v1/export"),
    ("GET", "/api/v1/metrics"),
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/limits"),
    ("GET", WHOAMI),
]
BODIES: dict[str, Callable[[Mine], object]] = {
    INGEST: lambda mine: mine.event(),
    "/api/v1/batch-ingest": lambda mine: [mine.event()],
    "/": lambda mine: {"service": mine.id(), "endpoint": "/x"},
    "/log": lambda mine: {"id": mine.id()},
}


def refused(answer: httpx.Response, reason: str) -> None:
    problem_of(answer, 401, "unauthorized", reason)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sluice"'


def written(mine: Mine) -> int:
    """Rows that came of any of BODIES."""
    text = "SELECT count(*) FROM sluice.events WHERE event_id = %(id)s OR source = %(id)s OR properties->>'id' = %(id)s"
    return int(mine.database.execute(text, {"id": mine.id()})[0][0])


@pytest.mark.parametrize(("method", "path"), KEYED)
def test_without_a_key_nothing_is_answered_and_nothing_stored(service: Service, mine: Mine, method: str, path: str) -> None:
    body = BODIES[path](mine) if path in BODIES else None
    with service.client(None) as client:
        refused(client.request(method, path, json=body), "missing")
    assert written(mine) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer   {KEY}"},
        {"Authorization": KEY},
        {"X-API-Key": KEY},
        {"Authorization": f"Bearer {KEY}", "X-API-Key": "wrong"},
    ],
)
def test_a_key_is_taken_in_both_headers(service: Service, mine: Mine, headers: dict[str, str]) -> None:
    with service.client(None) as client:
        data_of(client.post(INGEST, json=mine.event(), headers=headers), 201)
    assert mine.names() == ["a"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Authorization": "Bearer wrong", "X-API-Key": KEY}, "unknown"),
        ({"Authorization": f"Basic {KEY}"}, "malformed"),
        ({"Authorization": "Bearer slk_test_short"}, "malformed"),
        ({"X-API-Key": "slk_test_" + "0" * 49}, "malformed"),
        ({"Authorization": "Bearer " + "x" * 600}, "malformed"),
        ({"Authorization": f"Bearer {KEY} {KEY}"}, "unknown"),
        ({"Authorization": "Bearer k\xe4se"}, "malformed"),
        ({"X-API-Key": keys.mint("test", bytes)}, "unknown"),
        ({"X-API-Key": KEY[:-1]}, "unknown"),
        # A variable that is not set.
        ({"Authorization": "Bearer"}, "missing"),
        ({"Authorization": "", "X-API-Key": KEY}, "missing"),
        ({"X-API-Key": ""}, "missing"),
    ],
)
def test_a_wrong_key_is_refused_with_its_reason(service: Service, mine: Mine, headers: dict[str, str], reason: str) -> None:
    coded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with service.client(None) as client:
        refused(client.post(INGEST, json=mine.event(), headers=coded), reason)
    assert mine.names() == []


def test_whoami_shows_of_a_plain_key_what_is_no_secret(client: httpx.Client) -> None:
    data = data_of(client.get(WHOAMI))
    assert data == {
        "key_id": f"env-{keys.digest(KEY)[7:15]}",
        "version": 1,
        "owner": "environment",
        "scopes": ["admin", "ingest", "read", "sources", "tasks"],
        "expires_at": None,
    }


keyset = pytest.fixture(keyset_file, scope="module")


@pytest.fixture(scope="module")
def known(keyset: KeysetFile) -> dict[str, str]:
    """Keys that were published before the service began, by name."""
    made: dict[str, str] = {scope: keyset.add(f"only-{scope}", scopes=(scope,)) for scope in keys.SCOPES}
    made |= {reason: keyset.add(reason, **fields) for reason, fields in REFUSED.items()}
    made |= {f"turned/{version}": keyset.add("turned", version=version) for version in (1, 2)}
    made |= {"ending": keyset.add("ending", not_after=ENDS), "used": keyset.add("used"), "good": keyset.add("good")}
    keyset.publish()
    return made


@pytest.fixture(scope="module")
def guarded(shared_database: Database, keyset: KeysetFile, known: dict[str, str]) -> Iterator[Service]:
    """A service whose keys come from the operator's file alone."""
    with running(shared_database.url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service:
        yield service


def at(seconds: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


ENDS = at(3_600)
REFUSED: dict[str, dict[str, Any]] = {
    "revoked": {"state": "revoked"},
    "suspended": {"state": "suspended"},
    "expired": {"not_after": at(-1)},
    "not_yet_valid": {"not_before": ENDS},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_state_and_dates_of_a_key_are_reported(guarded: Service, known: dict[str, str], mine: Mine, reason: str) -> None:
    with guarded.client(known[reason]) as client:
        refused(client.post(INGEST, json=mine.event()), reason)
    assert mine.names() == []


@pytest.mark.parametrize("scope", keys.SCOPES)
def test_tasks_are_for_the_scope_tasks_alone(guarded: Service, known: dict[str, str], scope: str) -> None:
    with guarded.client(known[scope]) as client:
        answer = client.get("/tasks")
    if scope == "tasks":
        assert answer.status_code == 200
    else:
        problem_of(answer, 403, "forbidden", "scope")


@pytest.mark.parametrize("scope", keys.SCOPES)
@pytest.mark.parametrize(("method", "path"), KEYED)
def test_a_scope_that_is_missing_is_403_and_stores_nothing(
    guarded: Service, known: dict[str, str], mine: Mine, scope: str, method: str, path: str
) -> None:
    with guarded.client(known[scope]) as client:
        answer = client.request(method, path, json=BODIES[path](mine) if path in BODIES else None)
    if path in ("/api/v1/limits", WHOAMI) or scope == {"POST": "ingest", "GET": "read"}[method]:
        assert answer.status_code in (200, 201, 202, 204, 404), answer.text
    else:
        problem_of(answer, 403, "forbidden", "scope")
    assert written(mine) == (answer.status_code in (201, 202, 204))


@pytest.mark.parametrize("version", [1, 2])
def test_two_versions_of_a_key_work_side_by_side(guarded: Service, known: dict[str, str], version: int) -> None:
    with guarded.client(known[f"turned/{version}"]) as client:
        data = data_of(client.get(WHOAMI))
    assert (data["key_id"], data["version"], data["owner"]) == ("turned", version, "tests")


def test_whoami_reports_when_a_key_ends(guarded: Service, known: dict[str, str]) -> None:
    with guarded.client(known["ending"]) as client:
        assert datetime.fromisoformat(data_of(client.get(WHOAMI))["expires_at"]) == ENDS


def test_the_admin_port_reports_which_key_was_used(guarded: Service, known: dict[str, str]) -> None:
    with guarded.client(known["used"]) as client:
        client.get(WHOAMI)
    until(lambda: "used/1" in guarded.admin("/keyset")[1]["lastUsed"], 4)


def test_a_key_works_once_it_is_published_and_no_longer_than_it_is(guarded: Service, keyset: KeysetFile, mine: Mine) -> None:
    key = keyset.add("come-and-go")
    with guarded.client(key) as client:
        refused(client.post(INGEST, json=mine.event("early")), "unknown")
        keyset.publish_to(guarded)
        data_of(client.post(INGEST, json=mine.event("valid")), 201)
        keyset.change(key, state="revoked")
        keyset.publish_to(guarded)
        refused(client.post(INGEST, json=mine.event("late")), "revoked")
        del keyset.entries[key]
        keyset.publish_to(guarded)
        refused(client.post(INGEST, json=mine.event("later")), "unknown")
    assert (mine.names(), mine.row("valid")["key_id"]) == (["valid"], "come-and-go")


def test_dates_begin_and_end_a_key_without_a_new_file(guarded: Service, keyset: KeysetFile) -> None:
    moment = at(4)
    young, old = keyset.add("young", not_before=moment), keyset.add("old", not_after=moment)
    keyset.publish_to(guarded)
    with guarded.client(young) as new, guarded.client(old) as last:
        assert (new.get(WHOAMI).status_code, last.get(WHOAMI).status_code) == (401, 200)
        until(lambda: new.get(WHOAMI).status_code == 200, 5)
        refused(last.get(WHOAMI), "expired")


def test_a_bad_file_leaves_the_last_good_set(guarded: Service, known: dict[str, str], keyset: KeysetFile, mine: Mine) -> None:
    before = warnings(guarded)
    for number, content in enumerate((b"{", b"", b'{"schema": 3}'), 1):
        keyset.replace(content)
        until(lambda count=before + 2 * number: warnings(guarded) == count, PICKED_UP, "both workers have seen the file")  # type: ignore[misc]
    with guarded.client(known["good"]) as client:
        data_of(client.post(INGEST, json=mine.event()), 201)
    assert mine.names() == ["a"]


def test_a_worker_that_starts_while_the_file_is_bad_has_the_last_good_set(
    guarded: Service, known: dict[str, str], keyset: KeysetFile, mine: Mine
) -> None:
    keyset.publish_to(guarded)
    good, old = loaded(guarded), guarded.workers()
    keyset.replace(b'{"schema": 3}')
    for worker in old:
        worker.kill()
    until(lambda: loaded(guarded) == good and not {*old} & {*guarded.workers()}, 20, "new workers have the set")
    with guarded.client(known["good"]) as client:
        data_of(client.post(INGEST, json=mine.event()), 201)
    assert mine.names() == ["a"]


def warnings(service: Service) -> int:
    return len(service.lines("key set not loaded, the last good one stays"))


def test_anonymous_paths_are_open_and_nothing_else_is(database: Database) -> None:
    mine = Mine(database)
    with running(database.url, ANONYMOUS_PATHS="/,/log") as service, service.client(None) as client:
        assert client.post("/", json=BODIES["/"](mine)).status_code == 204
        assert client.post("/log", json=BODIES["/log"](mine)).status_code == 202
        refused(client.post("/log", json={}, headers={"X-API-Key": "wrong"}), "unknown")
        for method, path in KEYED:
            if path not in ("/", "/log"):
                refused(client.request(method, path), "missing")
        assert client.post("/log", json={}, headers={"X-API-Key": OTHER_KEY}).status_code == 202
    assert sorted(database.execute("SELECT key_id, count(*) FROM sluice.events GROUP BY 1")) == [
        ("anonymous", 2),
        (f"env-{keys.digest(OTHER_KEY)[7:15]}", 1),
    ]
