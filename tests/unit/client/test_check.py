"""What `sluice check` says of a service that is away, unwell or no Sluice: a real HTTP server that plays a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.client.script import SECRET, Answer, Service, Time, closed_port

from sluice.client import check, http
from sluice.client.check import Check
from sluice.client.http import ClientError, Key
from sluice.doctor import Finding

KEY = Key(SECRET, "SLUICE_API_KEY")


def success(code: int = 200, **data: Any) -> Answer:
    return code, {}, {"success": True, "message": "fine", "data": data}


def problem(status: int, reason: str, detail: str = "so it is") -> Answer:
    return status, {}, {"error": "an_error", "reason": reason, "detail": detail}


def whoami(*scopes: str) -> Answer:
    return success(key_id="web", version=2, scopes=scopes)


READY: Answer = (200, {}, {"ready": True, "message": "ready"})
CREATED, DUPLICATE = (success(201, id=7, event_id="e", status=status) for status in ("created", "duplicate"))
QUEUED = success(201, id=None, event_id="e", status="queued")
FOUND = success(event_id="e", event_name="sluice_check")
WELL = [READY, whoami("ingest", "read"), CREATED, DUPLICATE, FOUND]


Run = Callable[..., list[Finding]]


@pytest.fixture
def run(service: Service, time: Time, waits: list[str]) -> Run:
    """The findings of a check against a service that plays this script; all of it must be played."""

    def run(*script: Answer, key: Key | None = KEY, no_key: bool = False, url: str = "") -> list[Finding]:
        service.script = list(script)
        options = {"on_wait": lambda why, _seconds: waits.append(why), "sleep": time.sleep, "clock": time.clock}
        steps = Check(check.connect(url or service.url, None if no_key else key, retry_for=5, **options), "e")
        found = list(check.findings(steps.without_key() if no_key else steps.with_key()))
        assert service.script == []
        return found

    return run


@pytest.fixture
def waits() -> list[str]:
    return []


def asked(service: Service) -> list[tuple[str, str, bool]]:
    """Method, path, and whether a key came."""
    return [(request.method, request.path, "Authorization" in request.headers) for request in service.requests]


def verdicts(findings: list[Finding]) -> list[str]:
    return [finding.verdict for finding in findings]


def test_a_service_that_works_is_asked_five_times_and_gets_the_key_each_time(run: Run, service: Service) -> None:
    assert verdicts(run(*WELL)) == ["ok"] * 5
    assert asked(service) == [
        ("GET", "/readiness", True),
        ("GET", "/api/v1/whoami", True),
        ("POST", "/api/v1/ingest", True),
        ("POST", "/api/v1/ingest", True),
        ("GET", "/api/v1/events/e", True),
    ]


def test_a_key_that_may_not_read_is_fine_and_that_is_said(run: Run) -> None:
    found = run(READY, whoami("ingest"), CREATED, DUPLICATE)
    assert (verdicts(found), found[-1].what) == (["ok"] * 5, "not read back: the key has no scope read, which is fine")


def test_without_a_key_a_refusal_is_what_is_wanted(run: Run, service: Service) -> None:
    assert verdicts(run(READY, problem(401, "missing"), no_key=True)) == ["ok", "ok"]
    assert asked(service) == [
        ("GET", "/readiness", False),
        ("POST", "/api/v1/ingest", False),
    ]


SICK: dict[str, tuple[list[Answer], str, str]] = {
    "schema behind": ([(503, {"Retry-After": "9"}, {"message": "schema_behind"})], "not ready: schema_behind", "sluice migrate"),
    "no key set": ([(503, {"Retry-After": "9"}, {"message": "keyset_missing"})], "keyset_missing", "KEYSET_FILE"),
    "readiness broken": ([(500, {}, b"")], "not ready (500)", http.NOT_SLUICE),
    "key unknown": ([READY, problem(401, "unknown")], "from SLUICE_API_KEY is not taken (401 unknown)", "sluice keys check"),
    "key may read only": ([READY, whoami("read")], "scopes read", "a key with the scope ingest"),
    "no Sluice": ([READY, (200, {}, b"<html>")], "not that of a Sluice service", http.NOT_SLUICE),
    "no API": ([READY, (404, {}, b"")], "not taken (404)", http.NOT_SLUICE),
    "limited": ([*WELL[:2], (429, {"Retry-After": "60"}, {})], "an event is not taken (429)", "raise the key's limit"),
    "store away": (
        [*WELL[:2], (503, {"Retry-After": "6"}, {"reason": "database_unreachable"})],
        "an event is not taken (503 database_unreachable)",
        "sluice doctor",
    ),
    "known already": ([*WELL[:2], DUPLICATE], "a new event is answered as duplicate", http.NOT_SLUICE),
    "stored twice": ([*WELL[:3], CREATED], "answered as created when it comes again", "one database"),
    "conflict": ([*WELL[:3], problem(409, "duplicate_event")], "is not taken again (409", "so it is"),
    "not to be found": ([*WELL[:4], (404, {}, b"")], "the event cannot be read (404)", http.NOT_SLUICE),
    "another event": ([*WELL[:4], success(event_id="f", event_name="x")], "another event is read", http.NOT_SLUICE),
}


@pytest.mark.parametrize(("script", "what", "fix"), SICK.values(), ids=SICK)
def test_the_step_that_fails_is_the_last_and_names_its_fix(run: Run, script: list[Answer], what: str, fix: str) -> None:
    found = run(*script)
    assert verdicts(found) == ["ok"] * (len(script) - 1) + ["failed"]
    assert what in found[-1].what
    assert fix in found[-1].fix


@pytest.mark.parametrize(
    ("answer", "what"), [(CREATED, "without a key is taken (201)"), ((404, {}, b""), "not refused with 401 (404)")]
)
def test_a_service_that_does_not_refuse_an_event_without_a_key_fails(run: Run, answer: Answer, what: str) -> None:
    found = run(READY, answer, no_key=True)
    assert verdicts(found) == ["ok", "failed"]
    assert what in found[-1].what


def test_a_check_without_any_key_says_how_to_give_one(run: Run) -> None:
    found = run(READY, key=None)
    assert (verdicts(found), "SLUICE_API_KEY" in found[-1].fix, "--no-key" in found[-1].fix) == (["ok", "failed"], True, True)


def test_a_readiness_that_an_ingress_does_not_carry_is_a_warning(run: Run) -> None:
    assert verdicts(run((404, {}, b""), *WELL[1:])) == ["warning", "ok", "ok", "ok", "ok"]


def test_a_service_that_is_not_ready_yet_is_waited_for(run: Run, waits: list[str]) -> None:
    starting: Answer = (503, {}, {"ready": False, "message": "starting"})
    assert verdicts(run(starting, starting, *WELL)) == ["ok"] * 5
    assert [why.partition(" answers ")[2] for why in waits] == ["503 starting"] * 2


def test_waiting_ends_at_the_deadline(run: Run, time: Time) -> None:
    starting: Answer = (503, {}, {"ready": False, "message": "starting"})
    found = run(*[starting] * 11)
    assert (verdicts(found), time.now, "--retry-for" in found[0].fix) == (["failed"], 5.0, True)


def test_an_event_whose_first_answer_was_lost_may_come_back_as_a_duplicate(run: Run) -> None:
    assert verdicts(run(*WELL[:2], None, DUPLICATE, DUPLICATE, FOUND)) == ["ok"] * 5


def test_an_event_that_is_queued_is_waited_for_until_it_is_stored(run: Run) -> None:
    missing: Answer = (404, {"Retry-After": "1"}, {"error": "not_found"})
    found = run(*WELL[:2], QUEUED, QUEUED, missing, missing, FOUND)
    assert verdicts(found) == ["ok"] * 5
    assert [finding.what.partition(":")[0] for finding in found[2:4]] == [
        "an event is queued",
        "the same event again is queued, too; the worker stores it once",
    ]


def test_an_event_that_stays_in_the_queue_fails_and_asks_for_the_worker(run: Run) -> None:
    found = run(*WELL[:2], QUEUED, QUEUED, *[(404, {"Retry-After": "1"}, {"error": "not_found"})] * 4)
    assert (verdicts(found), found[-1].what) == (["ok"] * 4 + ["failed"], "the event was queued and is not stored")
    assert "sluice worker" in found[-1].fix


def test_nobody_there_is_reported_after_the_last_try(run: Run, waits: list[str]) -> None:
    found = run(url=f"http://127.0.0.1:{closed_port()}")
    assert (verdicts(found), "Connection refused" in found[0].what, found[0].fix) == (["failed"], True, http.UNREACHABLE)
    assert len(waits) == 10


def test_a_certificate_that_is_not_trusted_is_not_tried_again(run: Run, service: Service, waits: list[str]) -> None:
    found = run(url=service.url.replace("http", "https"))
    assert (verdicts(found), "no trusted TLS" in found[0].what, waits) == (["failed"], True, [])


def test_a_redirect_is_not_followed_but_reported(run: Run) -> None:
    found = run((301, {"Location": "https://events.test/readiness"}, b""))
    assert found == [Finding("failed", "not ready (301)", "give the address that it redirects to: https://events.test")]


def test_what_a_service_says_reaches_the_terminal_without_the_key_and_without_escapes(run: Run) -> None:
    found = run(READY, problem(418, f"\x1b[31m{SECRET}", f"\x1b[0m{SECRET}" + "x" * 1000))
    shown = found[-1].what + found[-1].fix
    assert ("[key]" in shown, SECRET in shown, shown.isprintable(), len(shown) < 500) == (True, False, True, True)


@pytest.mark.parametrize("url", ["foo", "ftp://a", "http://user@a", "http://a?b"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="must read http://HOST:PORT"):
        check.connect(url, None)
