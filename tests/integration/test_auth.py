"""Who may: keys in both headers, each reason of a refusal, scopes, and a key set that changes while the service runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.keysets import PICKED_UP, KeysetFile
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
BODIES = {
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
    with service.client(None, headers=headers) as client:
        data_of(client.post(INGEST, json=mine.event()), 201)
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
        ({"X-API-Key": keys.mint("test")}, "unknown"),
        ({"X-API-Key": KEY[:-1]}, "unknown"),
    ],
)
def test_a_wrong_key_is_refused_with_its_reason(service: Service, mine: Mine, headers: dict[str, str], reason: str) -> None:
    coded = {name: value.encode("latin-1") for name, value in headers.items()}
    with service.client(None) as client:
        refused(client.post(INGEST, json=mine.event(), headers=coded), reason)
    assert mine.names() == []


def test_whoami_tells_of_a_plain_key_what_is_no_secret(client: httpx.Client) -> None:
    data = data_of(client.get(WHOAMI))
    assert data == {
        "key_id": f"env-{keys.digest(KEY)[7:15]}",
        "version": 1,
        "owner": "environment",
        "scopes": ["admin", "ingest", "read"],
        "expires_at": None,
    }


def test_no_refusal_and_no_log_line_repeats_a_key(service: Service) -> None:
    canary = keys.mint("canary")
    with service.client(canary) as client:
        answers = [client.get(WHOAMI), client.get(f"/api/v1/logs/filter?{canary}=1"), client.get(f"/{canary}")]
    assert not any(canary in answer.text or canary in str(answer.headers) for answer in answers)
    assert canary not in service.log
    assert KEY not in service.log


@pytest.fixture(scope="module")
def keyset(tmp_path_factory: pytest.TempPathFactory) -> KeysetFile:
    return KeysetFile(tmp_path_factory.mktemp("keyset") / "keyset.json")


@pytest.fixture(scope="module")
def guarded(shared_database: Database, keyset: KeysetFile) -> Iterator[Service]:
    """A service whose keys come from the operator's file alone."""
    keyset.add("first")
    keyset.publish()
    with running(shared_database.url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service:
        yield service


def at(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_each_state_and_date_of_a_key_is_told(guarded: Service, keyset: KeysetFile, mine: Mine) -> None:
    states: dict[str, dict[str, Any]] = {
        "revoked": {"state": "revoked"},
        "suspended": {"state": "suspended"},
        "expired": {"not_after": at(-1)},
        "not_yet_valid": {"not_before": at(60)},
    }
    made = {reason: keyset.add(reason, **fields) for reason, fields in states.items()}
    keyset.publish_to(guarded)
    for reason, key in made.items():
        with guarded.client(key) as client:
            refused(client.post(INGEST, json=mine.event()), reason)
    assert mine.names() == []


def test_a_key_works_once_it_is_published_and_stops_when_it_is_revoked(guarded: Service, keyset: KeysetFile, mine: Mine) -> None:
    key = keyset.add("come-and-go")
    with guarded.client(key) as client:
        refused(client.post(INGEST, json=mine.event("early")), "unknown")
        keyset.publish_to(guarded)
        data_of(client.post(INGEST, json=mine.event("valid")), 201)
        keyset.change(key, state="revoked")
        keyset.publish_to(guarded)
        refused(client.post(INGEST, json=mine.event("late")), "revoked")
    assert (mine.names(), mine.row("valid")["key_id"]) == (["valid"], "come-and-go")


def test_a_key_that_left_the_set_is_unknown(guarded: Service, keyset: KeysetFile) -> None:
    key = keyset.add("gone")
    keyset.publish_to(guarded)
    del keyset.entries[key]
    keyset.publish_to(guarded)
    with guarded.client(key) as client:
        refused(client.get(WHOAMI), "unknown")


def test_dates_begin_and_end_a_key_without_a_new_file(guarded: Service, keyset: KeysetFile) -> None:
    begins = time.monotonic() + 2
    young, old = keyset.add("young", not_before=at(2)), keyset.add("old", not_after=at(2))
    keyset.publish_to(guarded)
    assert time.monotonic() < begins, "this machine is too slow for this test's two seconds"
    with guarded.client(young) as new, guarded.client(old) as last:
        assert (new.get(WHOAMI).status_code, last.get(WHOAMI).status_code) == (401, 200)
        until(lambda: new.get(WHOAMI).status_code == 200, 4)
        refused(last.get(WHOAMI), "expired")


def test_two_versions_of_a_key_work_side_by_side(guarded: Service, keyset: KeysetFile) -> None:
    pair = [keyset.add("turned", version=version) for version in (1, 2)]
    keyset.publish_to(guarded)
    for version, key in enumerate(pair, 1):
        with guarded.client(key) as client:
            data = data_of(client.get(WHOAMI))
            assert (data["key_id"], data["version"], data["owner"]) == ("turned", version, "tests")


@pytest.mark.parametrize("content", [b"{", b"", b'{"schema": 2}'])
def test_a_bad_file_leaves_the_last_good_set(guarded: Service, keyset: KeysetFile, mine: Mine, content: bytes) -> None:
    key = keyset.add(f"good-{len(content)}")
    keyset.publish_to(guarded)
    before = len(guarded.lines("key set not loaded, the last good one stays"))
    keyset.replace(content)
    until(lambda: len(guarded.lines("key set not loaded, the last good one stays")) >= before + 2, PICKED_UP)
    with guarded.client(key) as client:
        data_of(client.post(INGEST, json=mine.event()), 201)
    assert mine.names() == ["a"]


def test_a_scope_that_is_missing_is_403_and_stores_nothing(guarded: Service, keyset: KeysetFile, mine: Mine) -> None:
    made: dict[keys.Scope, str] = {scope: keyset.add(f"only-{scope}", scopes=(scope,)) for scope in ("ingest", "read", "admin")}
    keyset.publish_to(guarded)
    for scope, key in made.items():
        with guarded.client(key) as client:
            for method, path in KEYED:
                check_scope(client, mine, scope, method, path)
    assert mine.names() == ["a"]


def check_scope(client: httpx.Client, mine: Mine, scope: str, method: str, path: str) -> None:
    answer = client.request(method, path, json=BODIES[path](mine) if path in BODIES else None)
    needed = {"POST": "ingest", "GET": "read"}[method]
    if needed == scope or path in ("/api/v1/limits", WHOAMI):
        assert answer.status_code in (200, 201, 202, 204, 404), (path, answer.text)
    else:
        problem_of(answer, 403, "forbidden", "scope")


def test_whoami_tells_when_a_key_ends(guarded: Service, keyset: KeysetFile) -> None:
    ends = at(3600).replace(microsecond=0)
    key = keyset.add("ending", not_after=ends, scopes=("read",))
    keyset.publish_to(guarded)
    with guarded.client(key) as client:
        data = data_of(client.get(WHOAMI))
    assert (data["scopes"], datetime.fromisoformat(data["expires_at"])) == (["read"], ends)


def test_the_admin_port_tells_which_key_was_used(guarded: Service, keyset: KeysetFile) -> None:
    key = keyset.add("used")
    keyset.publish_to(guarded)
    with guarded.client(key) as client:
        client.get(WHOAMI)
    state = until(lambda: "used/1" in last_used(guarded), 4)
    assert state


def last_used(service: Service) -> dict[str, str]:
    return dict(httpx.get(f"{service.admin_url}/keyset", trust_env=False, verify=False).json()["lastUsed"])


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
