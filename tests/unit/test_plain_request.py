"""The gate of the fast path: whatever the bytes, it refuses to decide, or decides as gunicorn and Flask would."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from sluice.http import plain_request
from sluice.http.plain_request import MAX_BODY, Plain

if plain_request.state(True) != "on":
    pytest.skip("gunicorn's HTTP parser in C is not installed (pip install sluice[fast])", allow_module_level=True)

parse = functools.partial(plain_request.parse, max_body=MAX_BODY)
BODY = b'{"event_type":"log","event_name":"hello"}'
HEAD = (
    b"POST /api/v1/ingest HTTP/1.1\r\nHost: sluice:8080\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
    b"Content-Length: 41\r\n"
)
CAPTURES = re.findall(r"^## (.*)\n((?:.+\n)+)", Path(__file__).with_name("captured_requests.txt").read_text(), re.MULTILINE)


def with_lines(*lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + BODY


@pytest.mark.parametrize("head", [head for _, head in CAPTURES], ids=[name.partition(" (")[0] for name, _ in CAPTURES])
def test_what_common_clients_and_proxies_send_is_plain(head: str) -> None:
    found = parse(head.replace("\n", "\r\n").encode() + b"\r\n" + BODY)
    assert isinstance(found, Plain), found
    assert found.body == BODY
    assert found.headers["HTTP_AUTHORIZATION"] == "Bearer KEY"
    assert found.keep_alive == ("Connection: close" not in head)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"Expect: 100-continue", "expect"),
        (b"Transfer-Encoding: chunked", "malformed"),
        (b"Transfer-Encoding: gzip", "transfer_encoding"),
        (b"Content-Encoding: gzip", "content_encoding"),
        (b"Idempotency-Key: a", "idempotency_key"),
        (b"Origin: https://example.com", "origin"),
        (b"X-Unheard-Of: 1", "unknown_header"),
        (b"X_Request_ID: 1", "unknown_header"),
        (b"Authorization: Bearer OTHER", "repeated_header"),
        (b"X-API-Key: A\r\nX-API-Key: B", "repeated_header"),
        (b"Host: other", "malformed"),
        (b"Content-Type: application/json", "malformed"),
        (b"User-Agent: a\r\n folded", "unknown_header"),
        (b"Connection: upgrade", "connection"),
        (b"Connection: keep-alive, close", "connection"),
        (b"Accept : */*", "malformed"),
        (b"Accept: a\rb", "malformed"),
        (b"Content-Length: 41", "malformed"),
        (b"Accept: " + b"a" * 8_300, "long_head"),
    ],
)
def test_a_head_that_is_not_plain_is_left_to_flask(line: bytes, reason: str) -> None:
    assert parse(with_lines(line)) == reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"POST", b"PUT", "other_request"),
        (b"POST", b"post", "other_request"),
        (b"ingest", b"ingest?atomic=true", "other_request"),
        (b"ingest", b"batch-ingest", "other_request"),
        (b"HTTP/1.1", b"HTTP/1.2", "malformed"),
        (b"HTTP/1.1", b"HTTP/1.11", "malformed"),
        (b"HTTP/1.1", b"HTTP/1.0", "connection"),
        (b"HTTP/1.1", b"HTTP/1.1 HTTP/1.1", "malformed"),
        (b"sluice:8080", b"", "host"),
        (b"sluice:8080", b"a b", "host"),
        (b"Host: sluice:8080\r\n", b"", "host"),
        (b"application/json", b"text/plain", "content_type"),
        (b"Content-Type: application/json\r\n", b"", "content_type"),
        (b"Content-Length: 41\r\n", b"", "content_length"),
        (b"Content-Length: 41", b"Content-Length: 0", "content_length"),
        (b"Content-Length: 41", b"Content-Length: 16385", "content_length"),
        (b"Content-Length: 41", b"Content-Length: 99999999999999999999", "content_length"),
        (b"Content-Length: 41", b"Content-Length: \xb2", "malformed"),
        (b"Content-Length: 41", b"Content-Length: +41", "malformed"),
    ],
)
def test_a_changed_head_is_left_to_flask(old: bytes, new: bytes, reason: str) -> None:
    assert parse(with_lines().replace(old, new, 1)) == reason


def test_of_a_request_that_is_not_whole_nothing_is_said_before_it_must() -> None:
    whole = with_lines()
    assert all(parse(whole[:size]) is None for size in range(len(whole)))
    assert isinstance(parse(whole), Plain)


def test_a_client_that_waits_for_permission_is_not_kept_waiting() -> None:
    assert parse(with_lines(b"Expect: 100-continue").removesuffix(BODY)) == "expect"


def test_the_next_request_of_a_client_that_does_not_wait_stays() -> None:
    found = parse(with_lines() + with_lines())
    assert isinstance(found, Plain)
    assert found.size == len(with_lines())


LINES = [
    *(b"Host: a,Host: b,Host:,Connection: close,Connection: keep-alive,Connection: Close,connection: KEEP-ALIVE".split(b",")),
    *(b"Content-Length: 41,Content-Length: 5,content-length: 041,Content-Length: 4 1,Transfer-Encoding: chunked".split(b",")),
    *(b"Authorization: Bearer A,authorization:B,X-API-Key: C,X-Request-ID: \xe9,traceparent: 00,Accept: */*".split(b",")),
    *(b"Content-Type: application/json,CONTENT-TYPE: Application/JSON; charset=utf-8,Content-Type: text/csv".split(b",")),
    *(
        b" folded,\tfolded,X_API_KEY: D,Expect: 100-continue,Upgrade: h2c,X-Forwarded-Proto: https,: a,Accept,\xffA: b".split(
            b","
        )
    ),
]
ENDS = st.sampled_from([b"\r\n"] * 40 + [b"\n", b"\r\r\n", b"\r\n\r\n"])
STARTS = st.sampled_from(
    [b"POST /api/v1/ingest HTTP/1.1"] * 20
    + [b"POST /api/v1/ingest HTTP/1.0", b"POST  /api/v1/ingest HTTP/1.1", b"POST /api/v1/ingest HTTP/1.1 ", b"GET / HTTP/1.1"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Bytes that are nearly a plain request, or one: lines from a pool, wrong line ends, and any byte changed."""
    lines = draw(st.permutations(draw(st.lists(st.sampled_from(LINES), max_size=2)) + HEAD.split(b"\r\n")[1:-1]))
    lines = [line for line in lines if draw(st.integers(0, 59)) != 0]
    data = draw(STARTS) + draw(ENDS) + b"".join(line + draw(ENDS) for line in lines) + b"\r\n" + BODY
    if draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 2)) :]
    return data + draw(st.sampled_from([b"", b"x", HEAD]))


CONFIG = Config()
CONFIG.set("forwarded_allow_ips", "")
CONFIG.set("http_parser", "fast")


@given(requests())
def test_what_is_plain_is_to_gunicorn_the_same_request(data: bytes) -> None:
    found = parse(data)
    if not isinstance(found, Plain):
        return
    request = Request(CONFIG, IterUnreader([data]), ("127.0.0.1", 1))
    assert (request.method, request.path, request.query) == ("POST", "/api/v1/ingest", "")
    assert request.body.read() == found.body
    assert request.unreader.read(len(data)) == data[found.size :]
    assert request.should_close() != found.keep_alive
    theirs = {name: value for name, value in request.headers if name.lower().encode() in plain_request.USED}
    assert {plain_request.USED[name.lower().encode()]: value for name, value in theirs.items()} == found.headers
    assert len(theirs) == sum(name.lower().encode() in plain_request.USED for name, _ in request.headers)
    assert not {"TRANSFER-ENCODING", "EXPECT", "ORIGIN", "IDEMPOTENCY-KEY", "CONTENT-ENCODING"} & {n for n, _ in request.headers}
