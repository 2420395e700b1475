"""NDJSON: stored while it comes, counted to the end, whatever becomes of the client, its key or the service."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import itertools
import json
import signal
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from tests.integration.checks import Mine, at_once, data_of, problem_of
from tests.integration.keysets import PICKED_UP, KeysetFile
from tests.integration.postgres import Database
from tests.integration.raw import BATCH, Raw, Upload, ndjson
from tests.integration.service import Service, running
from tests.integration.waiting import until

pytest_plugins = ["tests.integration.services"]

NDJSON = {"Content-Type": "application/x-ndjson"}
COUNTS = ("total_received", "created", "duplicate", "conflict", "invalid", "failed")


def post(client: httpx.Client, content: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
    return client.post(BATCH, content=content, headers={**NDJSON, **headers})


def counts(data: dict[str, Any]) -> tuple[int, ...]:
    return tuple(data[name] for name in COUNTS)


def test_rows_are_committed_while_the_client_is_still_sending(service: Service, mine: Mine) -> None:
    with Upload(service) as upload:
        upload.lines(mine.event("a"), mine.event("b"))
        begun = time.monotonic()
        until(lambda: mine.names() == ["a", "b"], 4)
        assert time.monotonic() - begun < 2.5
        upload.lines(mine.event("c"))
        until(lambda: mine.names() == ["a", "b", "c"], 4)
        assert counts(data_of(upload.end(), 201)) == (3, 3, 0, 0, 0, 0)


def test_a_line_that_comes_in_pieces_is_stored_when_it_is_whole(service: Service, mine: Mine) -> None:
    first, second = ndjson(mine.event("a")), ndjson(mine.event("b"))
    with Upload(service) as upload:
        upload.chunk(first + second[:20])
        until(lambda: mine.names() == ["a"], 4)
        upload.chunk(second[20:])
        until(lambda: mine.names() == ["a", "b"], 4)
        assert counts(data_of(upload.end(), 201))[:2] == (2, 2)


def test_a_full_chunk_is_committed_at_once(service: Service, mine: Mine) -> None:
    with Upload(service) as upload:
        begun = time.monotonic()
        upload.lines(*mine.events(2_500))
        until(lambda: mine.count() == 2_500, 4)
        assert time.monotonic() - begun < 3
        assert counts(data_of(upload.end(), 201))[:2] == (2_500, 2_500)


def test_the_last_line_needs_no_line_end_and_blank_lines_are_none(client: httpx.Client, mine: Mine) -> None:
    body = b"\n\r\n" + ndjson(mine.event("a")) + b"  \n" + ndjson(mine.event("b")).rstrip()
    assert counts(data_of(post(client, body), 201))[:2] == (2, 2)
    assert mine.names() == ["a", "b"]


def test_files_with_byte_order_marks_may_be_joined(client: httpx.Client, mine: Mine) -> None:
    body = b"".join(codecs.BOM_UTF8 + ndjson(mine.event(name)) for name in "ab")
    assert counts(data_of(post(client, body + codecs.BOM_UTF8), 201)) == (2, 2, 0, 0, 0, 0)
    assert mine.names() == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n \n"], ids=["nothing", "a blank line", "blank lines"])
def test_a_stream_without_an_event_is_as_empty_as_an_array_without_one(client: httpx.Client, body: bytes) -> None:
    problem = problem_of(post(client, body), 400, "empty_batch")
    assert counts(problem["data"]) == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["application/x-ndjson; charset=utf-8", "application/ndjson", "application/jsonl"])
def test_ndjson_has_several_names(client: httpx.Client, mine: Mine, kind: str) -> None:
    assert counts(data_of(post(client, ndjson(mine.event()), **{"Content-Type": kind}), 201))[:2] == (1, 1)
    assert mine.names() == ["a"]


def test_bad_lines_do_not_take_good_ones_along(client: httpx.Client, mine: Mine) -> None:
    lines = [
        ndjson(mine.event("a")),
        b"{\n",
        b"NaN\n",
        ndjson(mine.event("a", user_id="other")),
        ndjson(mine.event("b")),
        b"\xff\n",
    ]
    data = data_of(post(client, b"".join([*lines, ndjson(mine.event("a"))])))
    assert counts(data) == (7, 2, 1, 1, 3, 0)
    told = [(result["index"], result["status"]) for result in data["results"]]
    assert told == [(1, "invalid"), (2, "invalid"), (3, "conflict"), (5, "invalid"), (6, "duplicate")]
    assert mine.names() == ["a", "b"]


def test_a_stream_sent_again_is_all_duplicates(client: httpx.Client, mine: Mine) -> None:
    body = ndjson(*mine.events(1_500))
    post(client, body)
    data = data_of(post(client, body), 201)
    assert (counts(data), data["results_truncated"]) == ((1_500, 0, 1_500, 0, 0, 0), True)
    assert mine.count() == 1_500


def test_counts_stay_exact_beyond_a_thousand_problems(client: httpx.Client, mine: Mine) -> None:
    data = data_of(post(client, b"{}\n" * 1_500 + ndjson(mine.event())))
    assert counts(data) == (1_501, 1, 0, 0, 1_500, 0)
    assert [result["index"] for result in data["results"]] == list(range(1_000))
    assert data["results_truncated"]
    assert mine.names() == ["a"]


def test_a_thousand_problems_are_reported_without_truncation(client: httpx.Client) -> None:
    data = data_of(post(client, b"{}\n" * 1_000))
    assert (len(data["results"]), "results_truncated" in data) == (1_000, False)


def test_all_results_are_listed_up_to_a_thousand(client: httpx.Client, mine: Mine) -> None:
    answer = client.post(f"{BATCH}?results=all", content=ndjson(*mine.events(1_001)), headers=NDJSON)
    data = data_of(answer, 201)
    assert ([result["status"] for result in data["results"]], data["results_truncated"]) == (["created"] * 1_000, True)
    assert mine.count() == 1_001


def test_a_hundred_thousand_lines_are_each_stored_once(client: httpx.Client, mine: Mine) -> None:
    def body() -> Iterator[bytes]:
        for start in range(0, 100_000, 1_000):
            yield b"".join(
                b'{"event_id":"%b%06d","event_type":"log","event_name":"n"}\n' % (mine.prefix.encode(), number)
                for number in range(start, start + 1_000)
            )

    data = data_of(post(client, body()), 201)
    assert counts(data) == (100_000, 100_000, 0, 0, 0, 0)
    text = "SELECT count(*), count(DISTINCT event_id), max(event_id) FROM sluice.events WHERE starts_with(event_id, %s)"
    assert mine.database.execute(text, [mine.prefix]) == [(100_000, 100_000, mine.id("099999"))]


def ended(service: Service) -> dict[str, Any]:
    return until(lambda: service.lines("stream.ended"), 5, "the log tells of the stream")[-1]


@pytest.mark.parametrize("head", [{"Transfer_Encoding": "chunked"}, {"Content_Length": "100000"}])
@pytest.mark.parametrize("reset", [False, True])
def test_of_a_client_that_breaks_off_whole_lines_are_stored_and_counted(
    service: Service, mine: Mine, head: dict[str, str], reset: bool
) -> None:
    before = len(service.lines("stream.ended"))
    text = ndjson(mine.event("a"), mine.event("b", priority="low"), mine.event("c")) + ndjson(mine.event("d"))[:-5]
    with Raw(service) as raw:
        raw.head("POST", BATCH, Content_Type="application/x-ndjson", **head)
        raw.send(b"%x\r\n%b\r\n" % (len(text), text) if "Transfer_Encoding" in head else text)
        # A reset destroys what the service has not read yet.
        until(lambda: mine.names() == ["a", "c"] or not reset, 4)
        raw.break_off() if reset else raw.sock.close()
    until(lambda: len(service.lines("stream.ended")) > before, 5)
    assert {name: ended(service)[name] for name in ("total_received", "created", "invalid")} == {
        "total_received": 3,
        "created": 2,
        "invalid": 1,
    }
    assert mine.names() == ["a", "c"]


def test_of_broken_framing_whole_lines_are_stored_and_the_answer_counts_them(service: Service, mine: Mine) -> None:
    with Upload(service) as upload:
        upload.lines(mine.event("a"))
        upload.send(b"no chunk size\r\n")
        answer = upload.answer()
    problem = problem_of(answer, 400, "invalid_body", "incomplete_body")
    assert (counts(problem["data"]), answer.headers["connection"]) == ((1, 1, 0, 0, 0, 0), "close")
    assert problem["data"]["retryable"] is True
    assert mine.names() == ["a"]


PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "br": brotli.compress,
}


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_compressed_stream_is_stored_line_by_line(client: httpx.Client, mine: Mine, encoding: str) -> None:
    body = PACKERS[encoding](ndjson(*mine.events(3_000)))
    pieces = (body[start : start + 1_000] for start in range(0, len(body), 1_000))
    assert counts(data_of(post(client, pieces, **{"Content-Encoding": encoding}), 201))[:2] == (3_000, 3_000)
    assert mine.count() == 3_000


def test_a_compressed_stream_is_committed_while_it_comes(service: Service, mine: Mine) -> None:
    packer = zlib.compressobj(wbits=31)
    with Upload(service, Content_Encoding="gzip") as upload:
        upload.chunk(packer.compress(ndjson(mine.event("a"))) + packer.flush(zlib.Z_SYNC_FLUSH))
        until(lambda: mine.names() == ["a"], 4)
        upload.chunk(packer.compress(ndjson(mine.event("b"))) + packer.flush())
        assert counts(data_of(upload.end(), 201))[:2] == (2, 2)
    assert mine.names() == ["a", "b"]


@pytest.mark.parametrize("encoding", PACKERS)
def test_of_a_truncated_compressed_stream_whole_lines_are_stored(client: httpx.Client, mine: Mine, encoding: str) -> None:
    # Random text: what does not compress is not held back by the compressor.
    events = [mine.event(f"{number:06}", properties={"text": mine.prefix * 50 + str(number)}) for number in range(2_000)]
    body = PACKERS[encoding](ndjson(*events))
    problem = problem_of(post(client, body[:-20], **{"Content-Encoding": encoding}), 400, "invalid_body", "broken_encoding")
    assert "retryable" not in problem["data"]
    assert counts(problem["data"]) == (mine.count(), mine.count(), 0, 0, 0, 0)
    assert mine.names() == [f"{number:06}" for number in range(mine.count())]


NEVER = {
    "no such coding": ("zip", b"x", 415, "unsupported_content_encoding"),
    "no gzip although it says so": ("gzip", b"{}\n", 400, "invalid_body"),
    "gzip with something behind it": ("gzip", gzip.compress(b"\n") + b"rest", 400, "invalid_body"),
}


@pytest.mark.parametrize(("coding", "body", "status", "error"), NEVER.values(), ids=NEVER)
def test_a_stream_that_can_never_be_read_is_not_to_be_sent_again(
    client: httpx.Client, coding: str, body: bytes, status: int, error: str
) -> None:
    answer = post(client, body, **{"Content-Encoding": coding})
    assert (answer.status_code, answer.json()["error"], answer.json()["data"].get("retryable", False)) == (status, error, False)


def test_a_line_without_end_ends_the_stream_after_what_is_whole(client: httpx.Client, mine: Mine) -> None:
    problem = problem_of(post(client, ndjson(mine.event()) + b"x" * (3 << 20)), 413, "request_too_large", "line_too_long")
    assert counts(problem["data"]) == (1, 1, 0, 0, 0, 0)
    assert "retryable" not in problem["data"]
    assert mine.names() == ["a"]


def test_a_line_over_the_limit_of_one_event_is_refused_alone(client: httpx.Client, mine: Mine) -> None:
    big = mine.event("b", properties={"text": "x" * (256 << 10)})
    data = data_of(post(client, ndjson(mine.event("a"), big, mine.event("c"))))
    assert [(result["index"], result["reason"]) for result in data["results"]] == [(1, "too_large")]
    assert mine.names() == ["a", "c"]


@pytest.mark.parametrize("query", ["atomic=true", "page=1"])
def test_a_parameter_that_does_not_apply_to_a_stream_is_refused(client: httpx.Client, mine: Mine, query: str) -> None:
    answer = client.post(f"{BATCH}?{query}", content=ndjson(mine.event()), headers=NDJSON)
    problem_of(answer, 400, "unknown_parameter", "query")
    assert mine.names() == []


def test_an_idempotency_key_does_not_apply_to_a_stream(client: httpx.Client, mine: Mine) -> None:
    problem_of(post(client, ndjson(mine.event()), **{"Idempotency-Key": "x"}), 400, "invalid_idempotency_key")
    assert mine.names() == []


@pytest.fixture
def strict(database: Database, keyset: KeysetFile) -> Iterator[Service]:
    """A service that waits three seconds for a client, and drains for as long."""
    keyset.publish()
    with running(database.url, REQUEST_TIMEOUT_SECONDS="3", DRAIN_SECONDS="3", KEYSET_FILE=str(keyset.path)) as service:
        yield service


def test_streams_end_for_silence_their_key_and_drain_and_say_so(strict: Service, database: Database, keyset: KeysetFile) -> None:
    # One after the other on one service: each start costs more than they do.
    silence(strict, Mine(database))
    revocation(strict, Mine(database), keyset)
    scope_that_is_taken_away(strict, Mine(database), keyset)
    drain(strict, Mine(database))


def silence(service: Service, mine: Mine) -> None:
    with Upload(service) as upload, Raw(service) as whole:
        upload.lines(mine.event())
        whole.head("POST", BATCH, Content_Length="100")
        stream, batch = upload.answer(), whole.answer()
    assert counts(problem_of(stream, 408, "request_timeout")["data"]) == (1, 1, 0, 0, 0, 0)
    problem_of(batch, 408, "request_timeout")
    assert [answer.headers["connection"] for answer in (stream, batch)] == ["close", "close"]
    assert mine.names() == ["a"]


def revocation(service: Service, mine: Mine, keyset: KeysetFile) -> None:
    problem = ended_by(service, mine, keyset, state="revoked")
    assert (problem["status"], problem["reason"]) == (401, "revoked")


def scope_that_is_taken_away(service: Service, mine: Mine, keyset: KeysetFile) -> None:
    problem = ended_by(service, mine, keyset, scopes=frozenset(("read",)))
    assert (problem["status"], problem["reason"]) == (403, "scope")


def ended_by(service: Service, mine: Mine, keyset: KeysetFile, **change: Any) -> dict[str, Any]:
    """The answer to a stream whose key changes while it comes."""
    key, numbers = keyset.add(f"changes-{mine.prefix}"), itertools.count()
    keyset.publish_to(service)

    def send_more() -> bool:
        upload.lines(mine.event(f"{next(numbers):06}"))
        return upload.answered()

    with Upload(service, Authorization=f"Bearer {key}") as upload:
        upload.lines(mine.event())
        until(lambda: mine.names() == ["a"], 4)
        keyset.change(key, **change)
        keyset.publish()
        until(send_more, PICKED_UP)
        problem: dict[str, Any] = upload.answer().json()
    assert problem["data"]["created"] == mine.count()
    return problem


def drain(service: Service, mine: Mine) -> None:
    with Upload(service) as upload:
        upload.lines(mine.event())
        until(lambda: mine.names() == ["a"], 4)
        service.process.send_signal(signal.SIGTERM)
        answer = upload.answer()
    data = data_of(answer)
    assert (counts(data), data["stopped"], data["retryable"]) == ((1, 1, 0, 0, 0, 0), "draining", True)
    assert answer.headers["connection"] == "close"
    assert service.process.wait(15) == 0
    assert mine.names() == ["a"]


def test_idle_streams_stop_nobody(service: Service, client: httpx.Client, mine: Mine) -> None:
    """200 on two workers, each with a line sent: those beyond the bound are refused, posts and reads are not."""
    streams = [Upload(service) for _ in range(200)]
    try:
        for number, stream in enumerate(streams):
            with contextlib.suppress(ConnectionError):
                stream.lines(mine.event(f"stream-{number:03}"))
        posts = at_once(8, lambda n: [post_one(service, mine, f"post-{n}-{number}") for number in range(125)])
        reads = [client.get("/api/v1/logs/filter", params={"page_size": "1"}).status_code for _ in range(100)]
        assert Counter(itertools.chain(*posts)) == {201: 1_000}
        assert Counter(reads) == {200: 100}
        # On a slow machine the silence of those that were taken may end them.
        answers = [stream.answer() for stream in streams if stream.answered()]
        refused = [answer for answer in answers if answer.status_code != 408]
        # Of 16 threads a worker, one key's streams may hold four.
        assert len(streams) - len(refused) <= 8
        for answer in refused:
            problem_of(answer, 503, "overloaded", "streams")
            assert answer.headers["Retry-After"] == "5"
    finally:
        for stream in streams:
            stream.sock.close()


def post_one(service: Service, mine: Mine, name: str) -> int:
    with service.client() as client:
        return client.post("/api/v1/ingest", json=mine.event(name)).status_code


def test_a_slot_comes_back_when_its_stream_ends_however_it_ends(service: Service, mine: Mine) -> None:
    for number in range(30):
        with Upload(service) as upload:
            upload.lines(mine.event(f"{number:02}"))
            if number % 3 == 0:
                upload.break_off()
                continue
            answer = upload.end() if number % 3 == 1 else bad_end(upload)
            assert answer.status_code in (201, 400)
    until(lambda: mine.count() >= 20, 5)
    answers = at_once(4, lambda n: streamed(service, mine, f"last-{n}"))
    assert {answer.status_code for answer in answers} == {201}


def bad_end(upload: Upload) -> httpx.Response:
    upload.send(b"no chunk size\r\n")
    return upload.answer()


def streamed(service: Service, mine: Mine, name: str) -> httpx.Response:
    with service.client() as client:
        return post(client, ndjson(mine.event(name)))


def test_many_streams_that_each_hold_much_leave_room_for_batches(database: Database) -> None:
    mine = Mine(database)
    with (
        running(database.url, WORKERS="1", MAX_INFLATED_BYTES=str(8 << 20), MAX_INFLIGHT_BYTES=str(16 << 20)) as service,
        contextlib.ExitStack() as stack,
    ):
        uploads = [stack.enter_context(Upload(service)) for _ in range(4)]
        for upload in uploads:
            # A line without its end is held until it comes.
            upload.chunk(b" " * (1_900 << 10))
        time.sleep(0.5)
        with service.client() as client:
            body = b"[" + json.dumps(mine.event("batch")).encode() + b" " * (7 << 20) + b"]"
            data_of(client.post(BATCH, content=body, headers={"Content-Type": "application/json"}), 201)
        answers = [upload.answer() for upload in uploads if upload.answered()]
    assert len(answers) in (1, 2)
    for answer in answers:
        problem_of(answer, 503, "overloaded", "inflight_bytes")
