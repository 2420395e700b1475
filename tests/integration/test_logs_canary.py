"""Keys, passwords and bodies go through the real service, and nothing that it says holds one of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.checks import Mine
from tests.integration.conftest import migrated
from tests.integration.postgres import APP_PASSWORD, Database
from tests.integration.raw import Raw, Upload
from tests.integration.scrape import scrape
from tests.integration.service import Service, running
from tests.integration.waiting import until

from sluice import keys

INGEST, BATCH = "/api/v1/ingest", "/api/v1/batch-ingest"
PLAIN = "canary-plain-key-of-api-keys"
MINTED = keys.mint("canary")
WRONG = ("canary-wrong-key", keys.mint("other"), MINTED[:-1] + ("0" if MINTED[-1] != "0" else "1"), "slk_canary_cut")
BODY = "canary-in-a-body"
PASSWORD = "canary-password"
SECRETS = (PLAIN, MINTED, *WRONG, BODY, PASSWORD, APP_PASSWORD)


database = pytest.fixture(migrated, scope="module")


@pytest.fixture(scope="module")
def service(database: Database) -> Iterator[Service]:
    """One that logs all it has to say, after everybody has tried to make it say too much."""
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        keyset = Path(name) / "keyset.json"
        keyset.write_text(f'{{"entries": ["{BODY}"]')
        files = {"KEYSET_FILE": str(keyset), "API_KEYS": f"{PLAIN},{MINTED}"}
        with running(database.url, ready_within=None, LOG_LEVEL="debug", **files) as service:
            until(lambda: httpx.get(f"{service.admin_url}/readiness", trust_env=False).json()["message"] == "keyset_missing", 20)
            yield service


@pytest.fixture(scope="module")
def said(service: Service, database: Database) -> list[str]:
    """What clients were answered."""
    answers = [*with_every_key(service), *with_bad_bodies(service, Mine(database)), *by_hand(service)]
    return [f"{answer.status_code} {answer.headers} {answer.text}" for answer in answers]


def with_every_key(service: Service) -> Iterator[httpx.Response]:
    with service.client(None) as client:
        for key in (PLAIN, MINTED, *WRONG):
            for headers in (
                {"Authorization": f"Bearer {key}"},
                {"Authorization": key},
                {"Authorization": f"Basic {key}"},
                {"X-API-Key": key},
            ):
                yield client.get("/api/v1/whoami", headers=headers)
            yield client.get("/api/v1/logs/filter", params={"api_key": key}, headers={"X-API-Key": PLAIN})
            yield client.get(f"/api/v1/{key}", headers={"Cookie": key, "Referer": key, "User-Agent": key})
            yield client.get("/health", headers={"X-Request-ID": f"bad id {key}", "traceparent": key})


def with_bad_bodies(service: Service, mine: Mine) -> Iterator[httpx.Response]:
    good = mine.event(properties={"secret": BODY}, user_id=BODY)
    wrong: list[Any] = [
        {**good, "timestamp": BODY},
        {**good, "event_type": BODY},
        {**good, "priority": BODY},
        {**good, "user_id": [BODY]},
        BODY,
    ]
    wrong += [{**good, "sequence_number": BODY}, {**good, "properties": {"a": f"{BODY}\0"}}, {**good, "event_id": BODY * 100}]
    with service.client(PLAIN) as client:
        yield client.post(INGEST, json=good)
        yield client.post(INGEST, json={**good, "source": BODY})
        yield from (client.post(INGEST, json=each) for each in wrong)
        yield client.post(BATCH, json=wrong)
        yield client.post(INGEST, content=f'{{"a": "{BODY}'.encode())
        yield client.post(BATCH, content=f'{{"a": "{BODY}\n{BODY}\n'.encode(), headers={"Content-Type": "application/x-ndjson"})
        yield client.post(INGEST, content=BODY.encode(), headers={"Content-Encoding": "gzip"})
        yield client.post("/", content=BODY.encode())
        yield client.post("/log", content=f"[{BODY}]".encode())


def by_hand(service: Service) -> Iterator[httpx.Response]:
    with Raw(service) as malformed:
        malformed.send(f"POST {INGEST} HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {PLAIN}\r\n\r\n{BODY}".encode())
        yield malformed.answer()
    with Upload(service, Authorization=f"Bearer {PLAIN}") as broken:
        broken.chunk(f'{{"event_type": "log", "event_name": "{BODY}"'.encode())
        broken.break_off()
    with Raw(service) as short:
        short.head("POST", INGEST, Content_Type="application/json", Content_Length="1000", Authorization=f"Bearer {PLAIN}")
        short.send(BODY.encode())
        short.sock.shutdown(1)
        yield short.answer()


def held_by(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def test_no_answer_holds_a_key_a_password_or_what_was_sent(said: list[str]) -> None:
    assert len(said) > 50
    assert {answer[:3] for answer in said} >= {"200", "201", "400", "401", "404", "409"}
    assert [answer for answer in said if held_by(answer)] == []


def test_the_log_holds_none_of_them_at_debug(service: Service, said: list[str]) -> None:
    assert len(service.lines("request")) > 50
    until(lambda: service.lines("stream.ended"))
    assert service.lines("request.failed") == []
    assert held_by(service.log) == []


@pytest.mark.parametrize("path", ["/metrics", "/keyset", "/health", "/readiness", "/liveness"])
@pytest.mark.usefixtures("said")
def test_the_admin_port_holds_none_of_them(service: Service, path: str) -> None:
    assert held_by(httpx.get(service.admin_url + path, trust_env=False).text) == []


@pytest.mark.usefixtures("said")
def test_every_line_of_the_log_is_json_and_every_request_has_its_ids(service: Service) -> None:
    whole = [json.loads(line) for line in service.log.splitlines(keepends=True) if line.endswith("\n")]
    assert all(isinstance(line, dict) and {"event", "level", "timestamp"} <= set(line) for line in whole)
    requests = [line for line in whole if line["event"] == "request"]
    assert [line for line in requests if not (line["request_id"] and line["traceparent"])] == []


def test_a_password_that_the_server_refuses_is_written_nowhere(database: Database) -> None:
    url = database.server.url_of(database.name, "nobody_of_this_name", PASSWORD)
    with running(url, ready_within=None, LOG_LEVEL="debug") as service, service.client() as client:
        until(lambda: httpx.get(f"{service.admin_url}/readiness", trust_env=False).json()["message"] == "login_refused", 20)
        answer = client.post(INGEST, json=Mine(database).event())
        assert (answer.status_code, answer.json()["reason"]) == (503, "login_refused")
        told = (
            service.log,
            service.greeting_path.read_text(),
            answer.text,
            scrape(service),
            httpx.get(f"{service.admin_url}/health", trust_env=False).text,
        )
    assert held_by("\n".join(told)) == []
