"""The console without a browser: who gets in, who may do what, and that nothing of others becomes markup."""

from __future__ import annotations

import contextlib
import html
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from itsdangerous import TimestampSigner
from tests.integration.checks import Mine, data_of
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.service import KEY, NO_TLS, Service, running
from tests.integration.test_volume import FILL
from tests.integration.waiting import until

from sluice.console import keys
from sluice.console import session as sessions
from sluice.keyring import Keyring
from sluice.keys import RateLimit, digest

pytest_plugins = ["tests.integration.services"]

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
TRACE = f"""Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/lib.py", line 1, in library
    call()
  File "/srv/{SCRIPT}.py", line 3, in pay
    raise ValueError("{SCRIPT}")
ValueError: {SCRIPT}
"""
PAGES = ("/", "/events", "/tail", "/errors", "/tasks", "/sources", "/keys", "/about")


@contextlib.contextmanager
def browser(service: Service, key: str | None = KEY) -> Iterator[httpx.Client]:
    """A client with cookies, signed in with `key`."""
    with httpx.Client(base_url=service.url, timeout=20, trust_env=False, verify=NO_TLS) as client:
        if key is not None:
            answer = client.post("/console/sign-in", data={"key": key})
            assert (answer.status_code, answer.headers["location"]) == (303, "./")
        yield client


@pytest.fixture
def person(service: Service) -> Iterator[httpx.Client]:
    with browser(service) as client:
        yield client


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def test_json_clients_get_a_description_and_browsers_the_console(service: Service) -> None:
    with browser(service, None) as client:
        assert client.get("/").json()["name"] == "sluice"
        for accept in ("text/html,*/*;q=0.8", "application/json;q=0.5, Text/HTML; level=1; q=0.7", "text/html,application/json"):
            answer = client.get("/", headers={"Accept": accept})
            assert (answer.status_code, answer.headers["location"], answer.headers["vary"]) == (303, "console/", "Accept")
        for accept in ("text/html;q=0", "application/json, text/html;q=0.9", "*/*", "text/*", "text/html;q=0.000, */*"):
            assert client.get("/", headers={"Accept": accept}).status_code == 200, accept
        for page in PAGES:
            answer = client.get(f"/console{page}")
            assert (answer.status_code, answer.headers["location"]) == (303, "sign-in")
        answer = client.get("/console?range=6h&by=status")
        assert (answer.status_code, answer.headers["location"]) == (303, "console/?range=6h&by=status")


def test_the_cookie_is_out_of_reach_and_has_no_key(service: Service) -> None:
    with browser(service, None) as client:
        cookie = client.post("/console/sign-in", data={"key": KEY}).headers["set-cookie"]
        assert KEY not in cookie
        assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
        assert [(each.name, each.path) for each in client.cookies.jar] == [("sluice_console", "/console")]
        host = service.url.removeprefix("http://")
        by_tls = client.post("/console/sign-in", data={"key": KEY}, headers={"Origin": f"https://{host}"})
        assert "Secure" in by_tls.headers["set-cookie"].split("; ")


def test_a_wrong_key_a_foreign_form_and_too_many_tries_are_refused(database: Database) -> None:
    with running(database.url) as service, browser(service, None) as client:
        answer = client.post("/console/sign-in", data={"key": "nobody-has-this-key"})
        assert (answer.status_code, "not known here" in answer.text) == (401, True)
        answer = client.post("/console/sign-in", data={"key": KEY}, headers={"Origin": "http://evil.example"})
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        for origin in ("http://[", "null", "", "//"):
            assert client.post("/console/sign-in", data={"key": KEY}, headers={"Origin": origin}).status_code == 403
        tries = [client.post("/console/sign-in", data={"key": "nobody-has-this-key"}).status_code for _ in range(30)]
        assert (tries[-1], tries.count(401) < 25) == (429, True)
        # Behind a proxy all people have its address: who has a key gets in whatever others try.
        assert client.post("/console/sign-in", data={"key": KEY}).status_code == 303


@pytest.mark.parametrize(("site", "status"), [("same-origin", 303), ("same-site", 403), ("cross-site", 403), ("none", 403)])
def test_behind_a_proxy_that_changes_host_the_browser_says_whose_a_form_is(service: Service, site: str, status: int) -> None:
    with browser(service, None) as client:
        headers = {"Origin": "https://tools.example.com", "Sec-Fetch-Site": site}
        answer = client.post("/console/sign-in", data={"key": KEY}, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (status, status == 303)


def test_a_cookie_that_was_changed_is_none(service: Service, person: httpx.Client) -> None:
    value = person.cookies["sluice_console"]
    for other in (value[:-3] + "abc", "x", value.replace(".", "", 1)):
        answer = httpx.get(f"{service.url}/console/", headers={"Cookie": f"sluice_console={other}"}, trust_env=False)
        assert answer.status_code == 303


@pytest.mark.parametrize("others", ['theme={"a": 1}', "no name", 'half="', "path=/", "\xe9=1"])
def test_cookies_of_other_programs_on_the_host_do_not_end_a_session(service: Service, person: httpx.Client, others: str) -> None:
    cookie = f"{others}; sluice_console={person.cookies['sluice_console']}".encode("latin-1")
    assert httpx.get(f"{service.url}/console/", headers={b"Cookie": cookie}, trust_env=False).status_code == 200


@pytest.mark.parametrize(("age", "good"), [(-30, True), (0, True), (12 * 3600 - 30, True), (12 * 3600 + 30, False)])
def test_a_session_lasts_12_hours_also_when_the_pod_that_began_it_has_a_fast_clock(
    monkeypatch: pytest.MonkeyPatch, age: int, good: bool
) -> None:
    parts: Any = SimpleNamespace(
        store=SimpleNamespace(cursor_secret=b"s"),
        keyring=Keyring([KEY], None, lambda: datetime.now(UTC)),
        settings=SimpleNamespace(queue_url=None),
    )
    entry = parts.keyring.verify(KEY)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: int(time.time()) - age)
    value = sessions.serializer(parts).dumps([entry.digest, "token"])
    context: Any = SimpleNamespace(headers={"HTTP_COOKIE": f"sluice_console={value}"})
    assert (sessions.current(parts, context) is not None) == good


def test_a_form_without_the_session_s_token_changes_nothing(person: httpx.Client, mine: Mine) -> None:
    task = person.post("/tasks", json={"title": mine.id("t"), "priority": "high"}, headers={"X-API-Key": KEY}).json()
    path, form = "/console/complete-task", {"task_id": task["id"]}
    assert [person.post(path, data={**form, **data}).status_code for data in ({}, {"token": "x"})] == [403, 403]
    token = {"token": token_of(person.get("/console/tasks"))}
    assert [person.post(path, data={**token, **data}).status_code for data in ({}, {"task_id": "x"}, form)] == [404, 404, 303]
    assert person.get(f"/tasks/{task['id']}", headers={"X-API-Key": KEY}).json()["status"] == "completed"


def test_signing_out_ends_it(person: httpx.Client) -> None:
    person.post("/console/sign-out", data={"token": token_of(person.get("/console/"))})
    assert person.get("/console/").status_code == 303


def test_a_session_has_the_scopes_of_its_key_and_ends_with_it(database: Database, keyset: KeysetFile) -> None:
    reader, writer = keyset.add("reader", scopes=("read",)), keyset.add("writer", scopes=("ingest",))
    keyset.publish()
    with running(database.url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service:
        with browser(service, writer) as client:
            assert "no scope" in client.get("/console/").text
            assert client.get("/console/events").status_code == 403
            assert [client.get(f"/console/{page}").status_code for page in ("tail", "keys")] == [403, 403]
        with browser(service, reader) as client:
            page = client.get("/console/")
            assert ('href="errors"' in page.text, 'href="tasks"' in page.text) == (True, False)
            assert client.get("/console/tasks").status_code == 403
            change = client.post(
                "/console/change-error", data={"fingerprint": "2:00", "action": "resolve", "token": token_of(page)}
            )
            assert change.status_code == 403
            keyset.change(reader, state="revoked")
            keyset.publish()
            until(lambda: client.get("/console/").status_code == 303, 5, "the session is over")


def test_an_admin_sees_every_key_its_limits_and_its_use_and_never_the_key(database: Database, keyset: KeysetFile) -> None:
    limit = RateLimit(requests_per_minute=77, events_per_minute=0)
    boss = keyset.add("boss", scopes=("admin",), rate_limit=limit)
    gone = keyset.add("gone", state="revoked")
    keyset.change(boss, owner=SCRIPT)
    ended = keyset.add("ended", not_after=datetime(2026, 1, 31, 12, tzinfo=UTC))
    keyset.publish()
    with running(database.url, API_KEYS=KEY, KEYSET_FILE=str(keyset.path), RATE_LIMIT_REQUESTS_PER_MINUTE="88") as service:
        for key, status in ((boss, 200), (gone, 401)):
            with service.client(key) as client:
                assert client.get("/api/v1/whoami").status_code == status
        with browser(service, boss) as client:
            until(lambda: used_and_refused(service), 10, "the use is known")
            page = client.get("/console/keys").text
            rows = {row.split(",")[0]: row for row in re.findall(r"<tr><td>(.*)</td></tr>", page)}
            assert (page.count("<script"), "<img" in page, " style=" in page) == (1, False, False)
            assert [name for name in rows if not name.startswith("env-")] == ["boss", "ended", "gone"]
            assert [word in rows["boss"] for word in ("&lt;script&gt;", "admin", "active", "77", "no limit", ">always<")] == [
                True
            ] * 6
            assert ("revoked" in rows["gone"], "expired" in rows["ended"], "2026-01-31 12:00:00" in rows["ended"]) == (True,) * 3
            assert (rows["ended"].count("never"), rows["gone"].count("never"), rows["boss"].count("never")) == (2, 1, 1)
            assert "88" in next(row for name, row in rows.items() if name.startswith("env-"))
            assert [secret in page for key in (boss, gone, ended, KEY) for secret in (key, digest(key)[7:])] == [False] * 8
            found = client.get("/console/keys", params={"q": "GON"}).text
            assert (">gone," in found, ">boss," in found) == (True, False)
            assert "No key is like that" in client.get("/console/keys", params={"q": f"no{SCRIPT}"}).text
        with browser(service) as client:
            assert client.get("/console/dead-letters").status_code == 404


def used_and_refused(service: Service) -> bool:
    state = service.admin("/keyset")[1]
    return "boss/1" in state["lastUsed"] and "gone/1" in state["lastRefused"]


def test_of_many_keys_the_first_are_listed(database: Database, keyset: KeysetFile) -> None:
    boss, *_ = [keyset.add(f"key-{n:04}", scopes=("admin",)) for n in range(keys.LISTED + 1)]
    keyset.publish()
    with running(database.url, API_KEYS=None, KEYSET_FILE=str(keyset.path)) as service, browser(service, boss) as client:
        page = client.get("/console/keys").text
        assert (f"The first {keys.LISTED} of {keys.LISTED + 1}." in page, page.count("<tr><td>")) == (True, keys.LISTED)


def test_text_of_others_stays_text_on_every_page(person: httpx.Client, mine: Mine) -> None:
    api = {"X-API-Key": KEY}
    hostile = {
        "event_name": SCRIPT,
        "source": SCRIPT,
        "user_id": SCRIPT,
        "session_id": SCRIPT,
        "app_version": SCRIPT,
        "event_type": "error",
        "device_info": {SCRIPT: SCRIPT},
        "properties": {SCRIPT: SCRIPT, "traceback": TRACE, "message": SCRIPT, "service": SCRIPT},
    }
    event_id = mine.id(SCRIPT)
    data_of(person.post("/api/v1/ingest", json={**hostile, "event_id": event_id}, headers=api), 201)
    person.post("/tasks", json={"title": SCRIPT, "priority": SCRIPT[:20], "event_id": event_id}, headers=api)
    log: dict[str, Any] = data_of(person.get(f"/api/v1/events/{quote(event_id, safe='')}", headers=api))
    where = f"/events?{httpx.QueryParams({'source': SCRIPT, 'where': f'properties.x={SCRIPT}'})}"
    paths = [
        *PAGES,
        where,
        f"/event?event_id={quote(event_id)}",
        f"/error?fingerprint={log['fingerprint']}",
        f"/event?event_id={quote(SCRIPT)}",
    ]
    for path in paths:
        page = person.get(f"/console{path}")
        assert page.status_code == (404 if path == paths[-1] else 200), path
        assert (page.text.count("<script"), "<img" in page.text, " style=" in page.text) == (1, False, False), path
        policy = page.headers["content-security-policy"]
        assert ("unsafe" in policy, "default-src 'none'" in policy) == (False, True)
    assert "1 frame of libraries" in person.get(f"/console/error?fingerprint={log['fingerprint']}").text


def test_a_search_is_the_api_s_and_its_link_reproduces_it(person: httpx.Client, mine: Mine) -> None:
    for name, code in (("a", 500), ("b", 502)):
        event = mine.event(name, source=mine.id("s"), properties={"code": code})
        data_of(person.post("/api/v1/ingest", json=event, headers={"X-API-Key": KEY}), 201)
    page = person.get("/console/events", params={"source": mine.id("s"), "where": "properties.code=502", "user_id": ""})
    for text in (page.text, person.get(linked(page, "Link to this search")).text):
        assert (mine.id("b") in text, f"event_id={mine.id('a')}" in text) == (True, False)
    curl = re.search(r'"\$SLUICE_URL(/[^"]+)"</pre>', html.unescape(page.text))
    assert curl is not None
    (log,) = data_of(person.get(curl[1], headers={"X-API-Key": KEY}))["logs"]
    assert log["event_id"] == mine.id("b")
    wrong = person.get("/console/events", params={"where": "nonsense=1"})
    assert (wrong.status_code, "nonsense" in wrong.text) == (400, True)


def linked(page: httpx.Response, text: str) -> str:
    """Where the link with this text leads."""
    found = re.search(rf'href="([^"]+)"[^>]*>{re.escape(text)}<', page.text)
    assert found is not None, f"no link {text!r} in {page.url}"
    return str(page.url.join(html.unescape(found[1])))


def test_the_chart_leads_on_from_the_second_that_is_now(person: httpx.Client) -> None:
    end = datetime.now(UTC).replace(microsecond=0)
    start = end - timedelta(minutes=1)
    page = person.get("/console/", params={"start": start.isoformat(), "end": end.isoformat()})
    assert person.get(linked(page, "Later")).status_code == 200


def test_the_chart_splits_zooms_in_and_ends_at_the_events(person: httpx.Client, mine: Mine) -> None:
    # The chart names the most frequent sources, and other tests have theirs.
    crowd = [mine.event(f"{number}", event_type="log", source=mine.id("s")) for number in range(1_000)]
    data_of(person.post("/api/v1/batch-ingest", json=crowd, headers={"X-API-Key": KEY}), 201)
    for name, level in (("a", "info"), ("b", "fatal")):
        event = mine.event(name, event_type="log", source=mine.id("s"), properties={"level": level})
        data_of(person.post("/api/v1/ingest", json=event, headers={"X-API-Key": KEY}), 201)
    first, bar = (datetime.fromisoformat(mine.row(name)["created_at"]).strftime("%Y-%m-%d %H:%M") for name in ("0", "a"))
    page = person.get("/console/?range=1h&by=source")
    assert mine.id("s") in person.get(linked(page, mine.id("s"))).text
    assert ">warning<" in person.get(linked(page, "status")).text or ">error<" in person.get(linked(page, "status")).text
    minute = person.get(linked(page, bar))
    assert mine.id("s") in minute.text
    assert person.get(str(minute.url)).text.count("<tr>") == minute.text.count("<tr>") > 1
    second = person.get(linked(minute, datetime.fromisoformat(mine.row("a")["created_at"]).strftime("%Y-%m-%d %H:%M:%S")))
    assert (second.url.path, f"event_id={mine.id('a')}" in second.text) == ("/console/events", True)
    earlier = person.get(linked(person.get(linked(page, first)), "Earlier"))
    assert mine.id("s") not in earlier.text
    for move in ("Later", "Zoom out", "Events of this time"):
        assert person.get(linked(earlier, move)).status_code == 200, move


def test_a_time_that_is_none_is_said_to_be(person: httpx.Client) -> None:
    for query in ("range=9d", "start=yesterday", "start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", "by=key", "x=1"):
        answer = person.get(f"/console/?{query}")
        assert (answer.status_code, 'role="alert"' in answer.text, "Unresolved errors" in answer.text) == (400, True, True), query


def test_a_chart_of_many_events_says_what_is_estimated(database: Database) -> None:
    database.execute(FILL, {"noon": datetime.now(UTC) - timedelta(minutes=30), "count": 25_000})
    with running(database.url) as service, browser(service) as client:
        page = client.get("/console/?range=24h").text
        assert ("<dd>25,000</dd>" in page, "estimated from a sample" in page, ">about 15" in page) == (True, True, True)
        assert "about" not in client.get("/console/?start=2020-01-01T00:00:00Z&end=2020-01-02T00:00:00Z").text.lower()[3_000:]


def test_the_console_can_be_switched_off(database: Database) -> None:
    with running(database.url, CONSOLE="off") as service, service.client() as client:
        assert client.get("/", headers={"Accept": "text/html"}).json()["name"] == "sluice"
        assert [client.get(f"/console{page}").status_code for page in ("", "/", "/sign-in", "/console.js")] == [404] * 4
