"""Log lines: JSON, bounded, and without secrets whoever writes them."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars

from sluice import keys, logs

KEY = keys.mint("prod", lambda length: bytes(range(length)))


@pytest.fixture
def lines(logging_put_back: None) -> io.StringIO:
    """What is logged from info on."""
    stream = io.StringIO()
    logs.configure("info", stream)
    return stream


def last(lines: io.StringIO, event: str | None = None) -> dict[str, Any]:
    """The last line, or that of `event`: a thread that another test left may log too."""
    found: list[dict[str, Any]] = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [line for line in found if event in (None, line["event"])][-1]


def test_a_line_is_json_with_time_level_and_the_ids_of_its_request(lines: io.StringIO) -> None:
    with bound_contextvars(request_id="r-1", traceparent="00-a-b-00"):
        structlog.get_logger().info("something.happened", count=3, ratio=0.5, none=None)
    line = last(lines)
    assert line.pop("timestamp").endswith("Z")
    expected = {"event": "something.happened", "level": "info", "count": 3, "ratio": 0.5, "none": None}
    assert line == {**expected, "request_id": "r-1", "traceparent": "00-a-b-00"}


def test_the_standard_librarys_logging_takes_the_same_way(lines: io.StringIO) -> None:
    logging.getLogger("gunicorn.error").warning("Worker (pid:%s) was sent %s", 7, f"Bearer {KEY}")
    line = last(lines)
    assert (line["event"], line["logger"]) == ("Worker (pid:7) was sent Bearer [redacted]", "gunicorn.error")


def test_what_is_below_the_level_is_not_written(lines: io.StringIO) -> None:
    structlog.get_logger().debug("ours")
    logging.getLogger("psycopg.pool").debug("theirs")
    logging.getLogger("yoyo.migrations").info("a step")
    assert lines.getvalue() == ""


@pytest.mark.parametrize("name", ["authorization", "Authorization", "X-API-Key", "key", "password", "token", "cookie", "body"])
def test_a_field_that_is_named_like_a_secret_is_dropped_at_any_depth(lines: io.StringIO, name: str) -> None:
    structlog.get_logger().info("x", **{name: "canary"}, headers_seen={name: "canary", "inner": [{name: "canary"}]}, key_id="k-1")
    assert "canary" not in lines.getvalue()
    assert last(lines)["key_id"] == "k-1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {KEY} is odd", "key slk_[redacted] is odd"),
        ("to postgresql://app:hunter2@db:5432/x failed", "to postgresql://[redacted]@db:5432/x failed"),
        ("to mongodb+srv://app:hunter2@db/x failed", "to mongodb+srv://[redacted]@db/x failed"),
        ("postgres://app:hun@ter2@db/x", "postgres://[redacted]@db/x"),
        ("to rediss://:hunter2@cache:6379/0 failed", "to rediss://[redacted]@cache:6379/0 failed"),
        ("GET https://me:hunter2@example.com/x?y=1", "GET https://[redacted]@example.com/x?y=1"),
        ("GET https://example.com/x?y=1 by me@example.com", "GET https://example.com/x?y=1 by me@example.com"),
        ("host=db password=hunter2 user=app", "host=db password=[redacted] user=app"),
        ("password='hunter 2' user=app", "password=[redacted] user=app"),
        ("Authorization: Bearer hunter2", "Authorization: Bearer [redacted]"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_any_text(lines: io.StringIO, text: str, shown: str) -> None:
    structlog.get_logger().info("x", detail=text, more=[text])
    assert (last(lines)["detail"], last(lines)["more"]) == (shown, [shown])


def test_texts_and_collections_are_bounded(lines: io.StringIO) -> None:
    structlog.get_logger().info("x" * 5_000, many=["y" * 5_000] * 500)
    line = last(lines)
    assert (len(line["event"]), len(line["many"]), len(line["many"][0])) == (1_000, 50, 1_000)


def test_an_exception_within_a_request_reports_types_and_places_only(lines: io.StringIO) -> None:
    with bound_contextvars(request_id="r-1"):
        log_failure("canary")
    told = last(lines, "it.failed")["exception"]
    assert "canary" not in lines.getvalue()
    assert told.startswith("ValueError\n")
    assert "in log_failure\nKeyError\n" in told


def test_an_exception_outside_of_a_request_is_logged_in_full(lines: io.StringIO) -> None:
    log_failure("the cause")
    assert last(lines, "it.failed")["exception"].endswith("ValueError: the cause")


def log_failure(text: str) -> None:
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError:
        structlog.get_logger().exception("it.failed")


def test_a_log_that_nobody_reads_any_more_stops_no_work() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs.Writer(Gone()).info("unheard")


def test_configuring_twice_writes_once(lines: io.StringIO) -> None:
    logs.configure("info", lines)
    logging.getLogger("waitress").warning("once")
    assert len(lines.getvalue().splitlines()) == 1


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists, max_leaves=20))
def test_any_value_becomes_json(value: object) -> None:
    event = {"event": "x", "value": value}
    json.loads(structlog.processors.JSONRenderer()(None, "info", logs.clean(None, "info", event)), parse_constant=pytest.fail)
