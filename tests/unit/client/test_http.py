"""What the client promises against a service that is away, overloaded or wrong: a real HTTP server that plays a script."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tenacity
import urllib3
from tests.certificates import Authority
from tests.unit.client.script import SECRET, Answer, Request, Service, Time, closed_port

from sluice.client import http
from sluice.client.delivery import IngestClient
from sluice.client.erase import EraseClient
from sluice.client.http import ClientError, Key
from sluice.client.reading import ReadClient

KEY = Key(SECRET, "SLUICE_API_KEY")
# The default's pauses without their jitter, halved.
BACKOFF = tenacity.wait_exponential(multiplier=0.1, max=5)


def told(created: int = 0, results: tuple[dict[str, Any], ...] = (), **counts: int) -> Answer:
    none = dict.fromkeys(("duplicate", "conflict", "invalid", "failed"), 0)
    return 201, {}, {"success": True, "data": {"created": created, **none, **counts, "results": results}}


Connect = Callable[..., IngestClient]


@pytest.fixture
def connect(service: Service, time: Time) -> Connect:
    def made(url: str = "", **options: Any) -> IngestClient:
        defaults = {"sleep": time.sleep, "clock": time.clock, "backoff": BACKOFF}
        return IngestClient(url or service.url, options.pop("key", KEY), **{**defaults, **options})

    return made


def event(number: int) -> dict[str, Any]:
    return {"event_id": str(number), "event_type": "log", "event_name": "n"}


def sent(request: Request) -> list[str]:
    return [each["event_id"] for each in json.loads(request.body)]


def test_a_batch_goes_out_with_its_key_and_comes_back_counted(service: Service, connect: Connect) -> None:
    service.script = [told(1, duplicate=1, results=({"index": 0, "status": "duplicate", "event_id": "0"},))]
    result = connect().send_batch([event(0), event(1)])
    (_, path, headers, _) = service.requests[0]
    assert (path, headers["Authorization"]) == ("/api/v1/batch-ingest", f"Bearer {SECRET}")
    assert (result.counts["created"], result.counts["duplicate"], result.refused) == (1, 1, [])


def test_the_connection_is_kept_for_the_next_batch(service: Service, connect: Connect) -> None:
    service.script = [told(1), told(1)]
    peer = connect()
    peer.send_batch([event(0)])
    peer.send_batch([event(1)])
    assert service.connections == 1


def test_a_compressed_batch_is_gzip_and_says_so(service: Service, connect: Connect) -> None:
    service.script = [told(1)]
    connect(compress=True).send_batch([event(0)])
    _, _, headers, body = service.requests[0]
    assert headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(body)) == [event(0)]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_service_is_asked_again_after_its_retry_after(
    service: Service, connect: Connect, time: Time, status: int
) -> None:
    service.script = [(status, {"Retry-After": "7"}, b""), told(1)]
    assert connect().send_batch([event(0)]).counts["created"] == 1
    assert time.slept == [7 + 0.1]
    assert sent(service.requests[0]) == sent(service.requests[1])


def test_without_retry_after_the_pauses_double(service: Service, connect: Connect, time: Time) -> None:
    service.script = [(503, {}, b"")] * 4 + [told(1)]
    connect().send_batch([event(0)])
    assert time.slept == [0.1, 0.2, 0.4, 0.8]


def test_a_dropped_connection_is_no_loss(service: Service, connect: Connect) -> None:
    service.script = [None, told(1)]
    assert connect().send_batch([event(0)]).counts["created"] == 1
    assert sent(service.requests[0]) == sent(service.requests[1])


def test_pauses_end_at_the_deadline(service: Service, connect: Connect, time: Time) -> None:
    service.script = [(503, {"Retry-After": "40"}, b"")] * 9
    with pytest.raises(ClientError, match="answers 503"):
        connect(retry_for=100).send_batch([event(0)])
    assert time.slept == pytest.approx([40.1, 40.2])
    assert len(service.requests) == 3


def test_a_retry_after_beyond_the_deadline_is_not_slept_out(service: Service, connect: Connect, time: Time) -> None:
    service.script = [(429, {"Retry-After": "86400"}, b"")]
    with pytest.raises(ClientError, match="answers 429"):
        connect().send_batch([event(0)])
    assert time.slept == []


@pytest.mark.parametrize("text", ["soon", "Fri, 31 Dec 99999 23:59:59 GMT", "9" * 5_000])
def test_a_retry_after_that_says_nothing_is_taken_as_none(service: Service, connect: Connect, time: Time, text: str) -> None:
    service.script = [(503, {"Retry-After": text}, b""), told(1)]
    connect().send_batch([event(0)])
    assert time.slept == [0.1]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 415, 422, 500])
def test_what_waiting_does_not_fix_is_not_sent_again(service: Service, connect: Connect, status: int) -> None:
    service.script = [(status, {"Location": "/elsewhere", "Retry-After": "1"}, b"")]
    with pytest.raises(ClientError, match=str(status)) as caught:
        connect().send_batch([event(0)])
    assert (caught.value.status, len(service.requests)) == (status, 1)


def test_a_refused_key_names_its_reason_its_source_and_the_fix(service: Service, connect: Connect) -> None:
    service.script = [(401, {}, {"error": "unauthorized", "reason": "expired", "detail": "the key has expired"})]
    with pytest.raises(ClientError, match=r"key from SLUICE_API_KEY \(401 expired: the key has expired\); set SLUICE_API_KEY"):
        connect().send_batch([event(0)])


def test_a_missing_key_names_the_fix(service: Service, connect: Connect) -> None:
    service.script = [(401, {}, {"error": "unauthorized", "reason": "missing"})]
    with pytest.raises(ClientError, match=r"none was found .* set SLUICE_API_KEY, or SLUICE_API_KEY_FILE"):
        connect(key=None).send_batch([event(0)])
    assert "Authorization" not in service.requests[0].headers


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_service_that_echoes_the_key_does_not_make_us_show_it(service: Service, connect: Connect, status: int) -> None:
    service.script = [(status, {}, {"detail": f"bad header: Bearer {SECRET}"})]
    with pytest.raises(ClientError) as caught:
        connect(retry_for=0).send_batch([event(0)])
    assert "[key]" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_key_is_in_no_repr(connect: Connect) -> None:
    assert SECRET not in repr(KEY) + repr(connect()) + repr(vars(connect()))


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ClientError, match="visible ASCII; set SLUICE_API_KEY") as caught:
        Key(text, "SLUICE_API_KEY_FILE")
    assert text not in str(caught.value) or not text


def test_nobody_listening_is_reported_with_the_address_and_the_fix(connect: Connect, time: Time) -> None:
    port = closed_port()
    with pytest.raises(ClientError, match=rf"127.0.0.1:{port} \(Connection refused\); start it with `make run`"):
        connect(f"http://127.0.0.1:{port}", retry_for=10).send_batch([event(0)])
    assert len(time.slept) > 3


def test_what_is_retryable_is_sent_again_alone_and_keeps_its_place(service: Service, connect: Connect) -> None:
    again = {"status": "failed", "retryable": True}
    service.script = [
        told(1, failed=2, results=({"index": 0, **again}, {"index": 2, **again})),
        told(1, invalid=1, results=({"index": 1, "status": "invalid", "reason": "too_old"},)),
    ]
    result = connect().send_batch([event(0), event(1), event(2)])
    assert sent(service.requests[1]) == ["0", "2"]
    assert (result.counts["created"], result.counts["failed"], result.counts["invalid"]) == (2, 0, 1)
    assert [(refusal.index, refusal.reason) for refusal in result.refused] == [(2, "too_old")]


def test_what_stays_retryable_counts_as_failed_in_the_end(service: Service, connect: Connect) -> None:
    service.script = [told(failed=1, results=({"index": 0, "status": "failed", "retryable": True},))] * 9
    result = connect(retry_for=1).send_batch([event(0)])
    assert (result.counts["failed"], len(result.refused)) == (1, 1)


@pytest.mark.parametrize("body", [b"<html>It works!</html>", b"[]", b'{"data": {}}', b"\xff"])
def test_a_stranger_that_answers_200_is_not_taken_for_the_service(service: Service, connect: Connect, body: bytes) -> None:
    service.script = [(200, {}, body)]
    with pytest.raises(ClientError, match="not that of a Sluice service; set SLUICE_URL"):
        connect().send_batch([event(0)])


@pytest.mark.parametrize(
    "answer",
    [told(1), told(3), told(1, invalid=1), told(1, failed=1, results=({"index": 5, "status": "failed"},))],
    ids=["too few", "too many", "not listed", "listed elsewhere"],
)
def test_an_answer_that_leaves_an_event_out_is_no_success(service: Service, connect: Connect, answer: Answer) -> None:
    service.script = [answer]
    with pytest.raises(ClientError, match="does not account for all 2 events"):
        connect().send_batch([event(0), event(1)])


@pytest.mark.parametrize("answer", [None, (502, {}, b""), (503, {}, b""), (409, {}, {"error": "idempotency_key_in_use"})])
def test_a_report_is_sent_again_under_its_key(service: Service, connect: Connect, answer: Answer) -> None:
    service.script = [answer, (204, {}, b"")] * 2
    for _ in range(2):
        connect().send_report({"service": "s", "endpoint": "/"})
    first, again, other, _ = [request.headers["Idempotency-Key"] for request in service.requests]
    assert (first == again, first == other) == (True, False)


def test_a_report_goes_without_a_key_where_none_is_taken(service: Service, connect: Connect) -> None:
    service.script = [(501, {}, b""), (204, {}, b"")]
    connect().send_report({"service": "s", "endpoint": "/"})
    assert ["Idempotency-Key" in request.headers for request in service.requests] == [True, False]


def test_deliver_keeps_the_order_and_holds_a_bounded_number(connect: Connect) -> None:
    begun: list[int] = []
    gate = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(50):
            begun.append(number)
            if number == 5:
                assert not gate.is_set()
                gate.set()
            yield number

    def double(number: int) -> int:
        assert gate.wait(10)
        return 2 * number

    delivered = connect(connections=3).deliver(double, numbers())
    assert next(delivered) == (0, 0)
    assert len(begun) <= 2 * 3 + 1
    assert [result for _, result in delivered] == [2 * number for number in range(1, 50)]


def test_the_first_error_ends_a_delivery_and_every_pause(service: Service) -> None:
    service.script = [(503, {"Retry-After": "60"}, b"")]
    peer = IngestClient(service.url, KEY, connections=2)

    def send(number: int) -> object:
        if number == 0:
            return peer.send_batch([event(0)])
        assert service_was_asked(service)
        raise ClientError("broken")

    with pytest.raises(ClientError, match="broken"):
        list(peer.deliver(send, [0, 1]))
    assert [thread for thread in threading.enumerate() if thread.name.startswith("sender")] == []


def service_was_asked(service: Service) -> bool:
    return waited_for(lambda: bool(service.requests))


def waited_for(condition: Callable[[], bool]) -> bool:
    ticks = threading.Event()
    return any(condition() or ticks.wait(0.01) for _ in range(1000))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h:0",
        "http://u:p@h",
        "http://h?q=1",
        "http://[::1",
        "http://h h",
        "http://h\nh",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_the_fix(url: str) -> None:
    with pytest.raises(ClientError, match="fix SLUICE_URL") as caught:
        IngestClient(url)
    assert "u:p" not in str(caught.value)
    with pytest.raises(ClientError, match="fix SLUICE_URL"):
        http.find_key(None, None, Path("/nowhere"), url)


@pytest.mark.parametrize(
    ("text", "has_file", "url", "source"),
    [
        # The file may be an option of the command, which the environment never outdoes.
        ("given", True, "http://127.0.0.1:1", "SLUICE_API_KEY_FILE"),
        ("given", False, "http://127.0.0.1:1", "SLUICE_API_KEY"),
        (None, True, "http://127.0.0.1:1", "SLUICE_API_KEY_FILE"),
        (None, False, "http://localhost:1", "first-run.key"),
        (None, False, "https://sluice.example.com", None),
    ],
    ids=["file before value", "value", "file", "first run", "the first-run key stays on this machine"],
)
def test_where_the_key_comes_from(tmp_path: Path, text: str | None, has_file: bool, url: str, source: str | None) -> None:
    (tmp_path / "first-run.key").write_text("first\n")
    (tmp_path / "file").write_text("filed\n")
    found = http.find_key(text, tmp_path / "file" if has_file else None, tmp_path, url)
    assert (found and Path(found.source).name) == source


def test_neither_the_end_of_a_line_nor_a_byte_order_mark_is_part_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfgiven\r\n")
    found = [http.find_key("given\n", file, tmp_path, "http://127.0.0.1:1") for file in (None, tmp_path / "file")]
    assert [key and key.text for key in found] == ["given", "given"]


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"nowhere: FileNotFoundError; set SLUICE_API_KEY"):
        http.find_key(None, tmp_path / "nowhere", tmp_path, "http://127.0.0.1:1")


@pytest.mark.parametrize("folder", ["", "x" * 300], ids=["empty", "not to be looked into"])
def test_no_key_at_all_is_found_to_be_none(tmp_path: Path, folder: str) -> None:
    assert http.find_key(None, None, tmp_path / folder, "http://127.0.0.1:1") is None


def test_a_tail_goes_on_behind_an_id_that_came_without_an_event(service: Service) -> None:
    streams = (b"retry: 2000\n\nid: here\n\n", b'id: there\ndata: {"a": 1}\n\n')
    service.script = [(200, {"Content-Type": "text/event-stream"}, stream) for stream in streams]
    assert [notice.text for notice in itertools.islice(ReadClient(service.url).tail([]), 1)] == ['{"a": 1}']
    assert [request.headers.get("Last-Event-ID") for request in service.requests] == [None, "here"]


def test_a_tail_that_comes_without_chunks_shows_an_event_as_soon_as_it_is_there(service: Service) -> None:
    """As by HTTP/1.0."""
    headers = {"Content-Type": "text/event-stream", "Content-Length": "1000000"}
    service.script = [(200, headers, b'id: 1\ndata: {"a": 1}\n\n')]
    tail = ReadClient(service.url, timeout=urllib3.Timeout(5)).tail([])
    assert next(tail).text == '{"a": 1}'
    assert len(service.requests) == 1


def test_a_tail_of_which_nothing_comes_is_opened_again_with_pauses_and_then_said(service: Service, time: Time) -> None:
    service.script = [(200, {"Content-Type": "text/event-stream"}, b"")] * 9
    client = ReadClient(service.url, sleep=time.sleep, clock=time.clock, backoff=BACKOFF, retry_for=1)
    with pytest.raises(ClientError, match=r"nothing comes; does a proxy before it collect answers\?.*proxy_buffering"):
        next(client.tail([]))
    assert time.slept == pytest.approx([0.1, 0.2, 0.4])


READS: list[Callable[[str], object]] = [
    lambda url: next(ReadClient(url).tail([])),
    lambda url: next(ReadClient(url).pages([], 1)),
    lambda url: next(iter(EraseClient(url).stream("/api/v1/export"))),
    lambda url: IngestClient(url).send_batch([event(0)]),
    lambda url: IngestClient(url).send_report({"service": "s", "endpoint": "/"}),
]


@pytest.mark.parametrize("ask", READS)
def test_whatever_is_asked_a_certificate_without_trust_is_said_at_once(service: Service, ask: Callable[[str], object]) -> None:
    with pytest.raises(ClientError, match=r"no trusted TLS.*SSL_CERT_FILE"):
        ask(service.url.replace("http", "https"))


def test_a_private_ca_is_trusted(service: Service, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, context = Authority(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.pem").write_text("".join(authority.sign("localhost")))
    (tmp_path / "ca.pem").write_text(authority.certificate)
    context.load_cert_chain(tmp_path / "server.pem")
    service.socket = context.wrap_socket(service.socket, server_side=True)
    service.script = [told(1)]
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert connect(f"https://localhost:{service.server_port}").send_batch([event(0)]).counts["created"] == 1
    with pytest.raises(ClientError, match="no trusted TLS"):
        connect(f"https://127.0.0.1:{service.server_port}").send_batch([event(0)])


@pytest.mark.parametrize("ask", READS)
def test_whatever_is_asked_a_redirect_is_said_with_where_it_leads(service: Service, ask: Callable[[str], object]) -> None:
    service.script = [(301, {"Location": "https://events.test/x"}, b"")]
    with pytest.raises(ClientError, match=r"301.*redirects to: https://events\.test/x"):
        ask(service.url)


@pytest.mark.parametrize("ask", READS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (302, {"Location": "/login?rd=/api/v1/batch-ingest"}, b""),
            r"302; something before it redirects to: /login; name",
        ),
        ((200, {"Content-Type": "text/html"}, b"<html>Sign in</html>"), "the answer 200 is not that of a Sluice service"),
        ((403, {"Content-Type": "text/html"}, b"<html>Blocked</html>"), "answers 403; not Sluice but something before it"),
        ((401, {"Content-Type": "text/html"}, b"<html>Basic</html>"), "answers 401; not Sluice but something before it"),
        ((407, {}, b""), r"answers 407; the proxy wants a sign-in: name it as http://USER:PASSWORD@"),
    ],
)
def test_whatever_is_asked_the_answer_of_a_proxy_is_no_success_and_not_taken_for_sluice_s(
    service: Service, ask: Callable[[str], object], answer: Answer, said: str
) -> None:
    service.script = [answer]
    with pytest.raises(ClientError, match=said):
        ask(service.url)
    assert len(service.requests) == 1


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    service: Service, connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, service.url.replace("//", "//me:p%40ss@"))
    service.script = [told(1)]
    assert connect("http://events.test/prefix").send_batch([event(0)]).counts["created"] == 1
    (_, path, headers, _) = service.requests[0]
    login = base64.b64encode(b"me:p@ss").decode()
    assert (path, headers["proxy-authorization"]) == ("http://events.test/prefix/api/v1/batch-ingest", f"Basic {login}")


def test_no_proxy_stands_before_this_machine_nor_what_no_proxy_names(
    service: Service, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    service.script = [told(1)]
    assert connect().send_batch([event(0)]).counts["created"] == 1
    with pytest.raises(ClientError, match=r"no answer from http://events\.invalid by the proxy 127\.0\.0\.1:"):
        connect("http://events.invalid", retry_for=0).send_batch([event(0)])
    monkeypatch.setenv("NO_PROXY", "events.invalid")
    with pytest.raises(ClientError, match=r"no answer from http://events\.invalid \("):
        connect("http://events.invalid", retry_for=0).send_batch([event(0)])
    monkeypatch.setenv("NO_PROXY", "nonsense/8, 10.0.0.0/8,.svc,fd00::/8, h:8080")
    for host, passed in {
        "10.1.2.3": True,
        "[fd00::1]:80": True,
        "a.b.svc": True,
        "h:8080": True,
        "11.0.0.1": False,
        "h": False,
        "asvc": False,
    }.items():
        assert (http.pool_for(f"http://{host}").proxy is None) is passed, host


@pytest.mark.parametrize(("status", "tries"), [(407, 1), (403, 1), (502, 2)])
def test_a_proxy_that_lets_nothing_through_is_named_and_a_report_is_sent_again_only_where_that_may_help(
    connect: Connect, service: Service, monkeypatch: pytest.MonkeyPatch, status: int, tries: int
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", service.url.replace("//", "//me:secret@"))
    service.script = [(status, {}, b"")] * 2
    with pytest.raises(ClientError, match=rf"https://events\.test by the proxy 127\.0\.0\.1:\d+ \(Tunnel .* {status}") as refusal:
        connect("https://events.test", retry_for=0.15).send_report({"service": "s", "endpoint": "/"})
    assert (len(service.requests), "secret" in str(refusal.value)) == (tries, False)


def test_a_batch_that_is_too_large_for_a_proxy_is_sent_in_halves_and_each_event_keeps_its_place(
    service: Service, connect: Connect
) -> None:
    too_large: Answer = (413, {"Content-Type": "text/html"}, b"<html>")
    refused = told(1, invalid=1, results=({"index": 1, "status": "invalid", "reason": "too_old"},))
    service.script = [too_large, told(2), too_large, told(1), refused]
    result = connect().send_batch([event(number) for number in range(5)])
    assert [sent(request) for request in service.requests] == [list("01234"), list("01"), list("234"), list("2"), list("34")]
    assert (result.counts["created"], [refusal.index for refusal in result.refused]) == (4, [4])
    service.script = [too_large]
    alone = connect().send_batch([event(0)])
    assert (dict(alone.counts), [refusal.reason for refusal in alone.refused]) == ({"invalid": 1}, ["too_large"])
    assert re.search(r"answers 413; raise the limit.*client_max_body_size", str(alone.refused[0].detail))


@pytest.mark.parametrize("proxy", ["socks5://me:secret@h:1", "http://me:secret@h h"])
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ClientError, match="NO_PROXY") as refusal:
        connect("https://events.test")
    assert "secret" not in str(refusal.value)
