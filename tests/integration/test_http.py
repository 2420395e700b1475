"""What every answer carries, and what HTTP asks for: ids, methods, HEAD, codings, and clients that speak no HTTP at all."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import time
import zlib
from collections.abc import Callable

import brotli
import httpx
import pytest
import zstandard
from tests.integration.checks import Mine, data_of, problem_of
from tests.integration.postgres import Database
from tests.integration.raw import Raw, Upload
from tests.integration.scrape import scrape, values
from tests.integration.service import Service, running
from tests.integration.waiting import until

pytest_plugins = ["tests.integration.services"]

INGEST, BATCH = "/api/v1/ingest", "/api/v1/batch-ingest"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ANSWERS = [
    ("GET", "/api/v1/status", 200),
    ("GET", "/nothing", 404),
    ("PUT", INGEST, 405),
    ("GET", "/liveness", 200),
    ("POST", INGEST, 400),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_repeats_the_ids_that_came(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, headers={"X-Request-ID": "order/1:a+b=c", "traceparent": TRACE})
    assert (answer.status_code, answer.headers["X-Request-ID"], answer.headers["traceparent"]) == (status, "order/1:a+b=c", TRACE)


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_has_ids_when_none_came(client: httpx.Client, method: str, path: str, status: int) -> None:
    one, two = client.request(method, path), client.request(method, path)
    assert one.status_code == status
    assert re.fullmatch("[0-9a-f]{32}", one.headers["X-Request-ID"])
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", one.headers["traceparent"])
    assert one.headers["X-Request-ID"] != two.headers["X-Request-ID"]
    assert one.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("given", ["", "x" * 129, 'a"b', "a b", "{}", "\xe4"])
def test_an_id_that_is_not_fit_for_a_log_is_replaced(service: Service, given: str) -> None:
    with Raw(service) as raw:
        raw.head("GET", "/nothing", X_Request_ID=given, traceparent=given)
        answer = raw.answer()
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", answer.headers["traceparent"])


@pytest.mark.parametrize("trace", ["00-" + "0" * 32 + "-00f067aa0ba902b7-01", TRACE.upper(), TRACE + "-x", "ff" + TRACE[2:]])
def test_a_trace_that_is_none_begins_anew(client: httpx.Client, trace: str) -> None:
    assert client.get("/nothing", headers={"traceparent": trace}).headers["traceparent"] not in (trace, TRACE)


def test_the_log_line_of_a_refusal_carries_both_ids_and_no_body(service: Service, client: httpx.Client, mine: Mine) -> None:
    headers = {"X-Request-ID": mine.prefix, "traceparent": TRACE}
    client.post(INGEST, json=mine.event(priority="canary-of-a-body"), headers=headers)
    # A thread of its own writes it, and the response may be here first.
    (line,) = until(lambda: [line for line in service.lines("request") if line["request_id"] == mine.prefix], 5, "it is logged")
    told = (line["traceparent"], line["status"], line["route"], line["error"], line["reason"])
    assert told == (TRACE, 400, INGEST, "validation_error", "invalid_value")
    assert (line["method"], line["key_id"][:4]) == ("POST", "env-")
    assert "canary-of-a-body" not in service.log
    assert mine.names() == []


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/", "/api/v1/ingest/", "/%00", "/api/v2/ingest", "/metrics", "/keyset"])
def test_what_is_not_there_is_404(client: httpx.Client, path: str) -> None:
    problem_of(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INGEST, {"POST", "OPTIONS"}),
        ("DELETE", BATCH, {"POST", "OPTIONS"}),
        ("PUT", "/log", {"POST", "OPTIONS"}),
        ("POST", "/api/v1/logs/filter", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", "/api/v1/events/x", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/readiness", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/api/v1/status", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_another_method_is_405_with_those_there_are(client: httpx.Client, method: str, path: str, allow: set[str]) -> None:
    answer = client.request(method, path)
    problem = problem_of(answer, 405, "method_not_allowed")
    assert problem["detail"] == f"this path takes {answer.headers['Allow']}"
    assert set(answer.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/logs/filter",
        "/api/v1/logs/recent",
        "/api/v1/status",
        "/api/v1/limits",
        "/api/v1/export",
        "/health",
        "/openapi.json",
    ],
)
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    head = client.head(path, params={"source": "none"} if path.endswith(("filter", "export")) else None)
    assert (head.status_code, head.content) == (200, b"")
    assert data_of(client.get("/api/v1/whoami"))["version"] == 1


def test_options_reports_the_methods_without_a_key(service: Service) -> None:
    with service.client(None) as client:
        answer = client.options(INGEST)
    assert (answer.status_code, set(answer.headers["Allow"].split(", "))) == (200, {"POST", "OPTIONS"})


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("br", brotli.compress),
    ("identity", bytes),
]
BODIES: dict[str, Callable[[Mine], object]] = {
    INGEST: lambda mine: mine.event(source=mine.id()),
    BATCH: lambda mine: [mine.event(source=mine.id())],
    "/": lambda mine: {"service": mine.id(), "endpoint": "/x"},
    "/log": lambda mine: {"id": mine.id()},
}
STORED = "SELECT count(*) FROM sluice.events WHERE source = %(id)s OR properties->>'id' = %(id)s"


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
@pytest.mark.parametrize("path", BODIES)
def test_every_coding_is_taken_everywhere(
    client: httpx.Client, mine: Mine, path: str, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(json.dumps(BODIES[path](mine)).encode())
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    assert client.post(path, content=body, headers=headers).status_code in (201, 202, 204)
    assert mine.database.execute(STORED, {"id": mine.id()}) == [(1,)]


@pytest.mark.parametrize("coding", [{}, {"Content-Encoding": "identity"}], ids=["plain", "not for the fast path"])
@pytest.mark.parametrize("path", BODIES)
def test_a_byte_order_mark_is_no_part_of_a_body(client: httpx.Client, mine: Mine, path: str, coding: dict[str, str]) -> None:
    body = codecs.BOM_UTF8 + json.dumps(BODIES[path](mine)).encode()
    answer = client.post(path, content=body, headers={"Content-Type": "application/json", **coding})
    assert answer.status_code in (201, 202, 204), answer.text
    assert mine.database.execute(STORED, {"id": mine.id()}) == [(1,)]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
@pytest.mark.parametrize("path", BODIES)
def test_what_is_not_in_its_coding_or_cut_off_is_refused(client: httpx.Client, mine: Mine, path: str, encoding: str) -> None:
    text = json.dumps(BODIES[path](mine)).encode()
    for body in (dict(PACKERS[2:] + PACKERS[:1])[encoding](text)[:-3], b"\x00" + text, b"x"):
        answer = client.post(path, content=body, headers={"Content-Encoding": encoding})
        problem_of(answer, 400, "invalid_body", "broken_encoding")
    assert mine.database.execute(STORED, {"id": mine.id()}) == [(0,)]


@pytest.mark.parametrize("encoding", ["compress", "gzip, br", "gzip,gzip", "utf-8", "x" * 5_000])
@pytest.mark.parametrize("path", BODIES)
def test_another_coding_is_refused_with_those_that_are_taken(client: httpx.Client, mine: Mine, path: str, encoding: str) -> None:
    answer = client.post(path, json=BODIES[path](mine), headers={"Content-Encoding": encoding})
    problem_of(answer, 415, "unsupported_content_encoding")
    assert answer.headers["Accept-Encoding"] == "gzip, deflate, zstd, br"
    assert mine.database.execute(STORED, {"id": mine.id()}) == [(0,)]


GARBAGE = [
    b"",
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET http:// HTTP/1.1\r\n\r\n",
    b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x00" * 10_000,
    b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, nonsense\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\nX-API-Key: \xff\xfe\n\n",
]


def test_what_is_not_http_is_refused_as_a_problem_that_repeats_nothing(service: Service) -> None:
    with Raw(service) as raw:
        raw.send(b"GET /canary HTTP/9.9\r\nX-Canary: canary\r\n\r\n")
        answer = raw.answer()
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["error"] == "invalid_request"
    assert b"canary" not in answer.content


REFUSED = {
    "a long line": (b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "request_line_too_long", "4094 bytes"),
    "a long field": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9_000 + b"\r\n\r\n", 431, "headers_too_large", "8190 bytes"),
    "many fields": (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: x\r\n" * 101 + b"\r\n",
        431,
        "headers_too_large",
        "100 header fields",
    ),
    "another expectation": (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: cake\r\n\r\n", 417, "expectation", "100-continue"),
    "another version": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400, "http_version", "HTTP/1.1"),
    "another protocol": (b"\x16\x03\x01\x02\x00 \r\n\r\n", 400, "malformed", "request line"),
    "no field": (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", 400, "malformed", "RFC 9112"),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        400,
        "malformed",
        "contradict",
    ),
}


@pytest.mark.parametrize(("sent", "status", "reason", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_its_limit_counted_and_logged(
    service: Service, sent: bytes, status: int, reason: str, said: str
) -> None:
    series = ("sluice_refused_requests_total", (("reason", reason),))
    before = values(scrape(service))[series]
    with Raw(service) as raw:
        raw.send(sent)
        answer = raw.answer()
    problem = answer.json()
    assert (answer.status_code, problem["error"], problem["reason"]) == (status, "invalid_request", reason)
    assert said in problem["detail"]
    assert answer.headers["connection"] == "close"
    until(lambda: values(scrape(service))[series] == before + 1, 5, "it is counted")
    line = service.lines("Invalid request from a client")[-1]
    assert (line["reason"], line["request_id"]) == (reason, problem["request_id"])
    assert answer.headers["X-Request-ID"] == problem["request_id"]


@pytest.mark.parametrize("path", ["/api/v1/ingest", "/api/v1/batch-ingest", "/", "/log"])
def test_a_body_that_is_announced_is_invited_only_when_it_is_wanted(service: Service, mine: Mine, path: str) -> None:
    """RFC 9110, section 10.1.1: a refusal comes at once, and instead of the 100."""
    headers = {"Expect": "100-continue", "Content_Type": "application/json"}
    for refused, status in (
        ({"Authorization": "Bearer wrong", "Content_Length": "5"}, 401),
        ({"Content_Length": str((10 << 20) + 1)}, 413),
        ({"Content_Length": "5", "Content_Encoding": "nonsense"}, 415),
    ):
        with Raw(service) as raw:
            raw.head("POST", path, **headers, **refused)
            begin = time.monotonic()
            assert raw.answer().status_code == status
            assert time.monotonic() - begin < 5
            assert raw.sock.recv(1) == b""
    body = json.dumps(mine.event() if "api" in path else {"service": "s", "endpoint": "e"}).encode()
    body = b"[%b]" % body if "batch" in path else body
    with Raw(service) as raw:
        raw.head("POST", path, **headers, Content_Length=str(len(body)))
        assert raw.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.send(body)
        assert raw.answer().status_code in (201, 202, 204)
        raw.head("GET", "/api/v1/whoami")
        assert raw.answer().status_code == 200


def test_a_stream_that_is_announced_is_invited(service: Service, mine: Mine) -> None:
    with Upload(service, Expect="100-continue") as upload:
        assert upload.sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        upload.lines(mine.event())
        data_of(upload.end(), 201)


def test_garbage_on_the_wire_hurts_nobody(service: Service, client: httpx.Client, mine: Mine) -> None:
    failures = len(service.lines("request.failed"))
    workers = {worker.pid for worker in service.workers()}
    for garbage in GARBAGE:
        with Raw(service) as raw:
            raw.send(garbage)
            raw.sock.shutdown(1)
            # Nothing at all, or the status line of a refusal.
            assert re.fullmatch(rb"|HTTP/1\.[01] [234]\d\d .*", first_line(raw)), garbage
    data_of(client.post(INGEST, json=mine.event()), 201)
    assert ({worker.pid for worker in service.workers()}, len(service.lines("request.failed"))) == (workers, failures)
    assert "Traceback" not in service.log
    assert mine.names() == ["a"]


def first_line(raw: Raw) -> bytes:
    try:
        return raw.sock.recv(1_000).split(b"\r\n")[0]
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("offer", ["websocket", "h2c", "TLS/1.0"])
def test_an_offer_of_another_protocol_is_ignored(client: httpx.Client, mine: Mine, offer: str) -> None:
    answer = client.post(INGEST, json=mine.event(), headers={"Connection": "Upgrade", "Upgrade": offer})
    assert data_of(answer, 201)["status"] == "created"
    assert mine.names() == ["a"]


def test_two_requests_in_one_packet_get_two_answers(service: Service, mine: Mine) -> None:
    bodies = [json.dumps(mine.event(name)).encode() for name in "ab"]
    with Raw(service) as raw:
        for body in bodies:
            raw.head("POST", INGEST, Content_Length=str(len(body)))
            raw.send(body)
        assert [raw.answer().status_code for _ in bodies] == [201, 201]
    assert mine.names() == ["a", "b"]


def test_a_body_that_is_cut_off_is_refused_and_stores_nothing(service: Service, mine: Mine) -> None:
    body = json.dumps(mine.event()).encode()
    with Raw(service) as raw:
        raw.head("POST", INGEST, Content_Length=str(len(body) + 1))
        raw.send(body)
        raw.sock.shutdown(1)
        problem_of(raw.answer(), 400, "invalid_body", "incomplete_body")
    assert mine.names() == []


def test_pages_of_other_origins_are_let_in_as_they_are_listed(shared_database: Database) -> None:
    origins = "https://app.example.com, https://*.shop.example"
    with running(shared_database.url, ALLOWED_ORIGINS=origins, WORKERS="1") as service, service.client() as client:

        def answer(origin: str, method: str = "GET", **headers: str) -> httpx.Response:
            return client.request(method, "/api/v1/whoami", headers={"Origin": origin, **headers})

        for origin in ("https://app.example.com", "https://a.shop.example", "https://a.b.shop.example"):
            let_in = answer(origin)
            assert let_in.headers["Access-Control-Allow-Origin"] == origin
            assert "Access-Control-Allow-Credentials" not in let_in.headers
            exposed = {name.strip().lower() for name in let_in.headers["Access-Control-Expose-Headers"].split(",")}
            assert {"x-request-id", "ratelimit", "retry-after", "idempotent-replayed", "link", "location", "etag"} <= exposed
            asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key, content-type"}
            before = answer(origin, "OPTIONS", **asked)
            assert before.headers["Access-Control-Allow-Origin"] == origin
            assert "x-api-key" in before.headers["Access-Control-Allow-Headers"].lower()
            assert {"DELETE", "PATCH"} <= set(before.headers["Access-Control-Allow-Methods"].split(", "))
        for origin in (
            "https://shop.example",
            "https://xshop.example",
            "https://a.shop.example.evil.net",
            "https://appXexample.com",
        ):
            assert "Access-Control-Allow-Origin" not in answer(origin).headers
        # A page may read why it was refused, too.
        refused = client.get("/api/v1/whoami", headers={"Origin": "https://app.example.com", "Authorization": "Bearer x"})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, "https://app.example.com")


def test_every_origin_may_be_let_in(shared_database: Database) -> None:
    with running(shared_database.url, ALLOWED_ORIGINS="*", WORKERS="1") as service, service.client() as client:
        answer = client.get("/api/v1/whoami", headers={"Origin": "null"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
