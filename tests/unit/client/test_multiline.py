"""Which lines are one event. What the programs of eight languages print: test_corpus.py."""

from __future__ import annotations

import pytest
from tests.unit.client.keeper import Keeper, Run, counts

from sluice.client.multiline import MAX_GROUP, Error, Group, Grouper, Line, error_in, error_in_text

PYTHON = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nKeyError: 1'
JAVA = "java.io.IOException: closed\n\tat com.example.Store.read(Store.java:7)"


def groups(text: str, timed: str = "20") -> list[str]:
    """The text of each group; lines that begin with `timed` have a time of their own."""
    grouper = Grouper()
    found: list[Group | Line] = []
    for number, line in enumerate(text.split("\n")):
        found += grouper.feed(Line(number, line, timed=line.startswith(timed)))
    return [each.text for each in [*found, *grouper.flush()] if isinstance(each, Group)]


def test_lines_without_a_traceback_stay_lines() -> None:
    text = "one\n\n  indented\nERROR two\nException handling is on\nat the end: 1\n20 three"
    assert groups(text) == [line for line in text.split("\n") if line]


@pytest.mark.parametrize("trace", [PYTHON, JAVA], ids=["Python", "Java"])
@pytest.mark.parametrize("before", ["20 ERROR failed", "20 WARNING retrying", "20 [error] request 17"])
def test_the_line_that_says_what_failed_belongs_to_it(before: str, trace: str) -> None:
    assert groups(f"20 INFO x\n{before}\n{trace}\n20 INFO y") == ["20 INFO x", f"{before}\n{trace}", "20 INFO y"]


def test_a_line_that_says_nothing_of_the_kind_does_not() -> None:
    assert groups(f"20 INFO started\n{PYTHON}\nstarting again") == ["20 INFO started", PYTHON, "starting again"]


def test_two_tracebacks_after_each_other_are_two() -> None:
    assert groups(f"{PYTHON}\n{PYTHON}\n\n{PYTHON}") == [PYTHON] * 3


def test_empty_lines_inside_belong_to_it_and_those_after_it_do_not(run: Run) -> None:
    chained = f"{PYTHON}\n\nDuring handling of the above exception, another exception occurred:\n\n{PYTHON}"
    assert groups(f"{chained}\n\n\nnext") == [chained, "next"]
    result = run("-", stdin=f"{chained}\n\n\nnext\n".encode())
    assert (counts(result)[0], "2 blank lines" in result.stderr) == (2, True)


def test_what_interleaves_on_two_outputs_of_a_container_is_kept_apart(run: Run, keeper: Keeper) -> None:
    lines = [f"2026-11-28T10:00:0{number}Z stderr F {line}" for number, line in enumerate(PYTHON.split("\n"))]
    lines.insert(1, "2026-11-28T10:00:00Z stdout F meanwhile")
    run("-", stdin="\n".join(lines).encode())
    assert sorted(event["event_name"] for event in keeper.events.values()) == ["KeyError", "log_line"]


def test_an_error_has_the_parts_of_an_error_report(run: Run, keeper: Keeper) -> None:
    run("-", "--source", "shop", stdin=f"2026-11-28 10:00:00 ERROR order failed\n{PYTHON}\n".encode())
    (event,) = keeper.events.values()
    assert (event["event_type"], event["event_name"], event["timestamp"]) == ("error", "KeyError", "2026-11-28T10:00:00Z")
    assert event["properties"] == {
        "service": "shop",
        "endpoint": "f",
        "error": "KeyError: 1",
        "traceback": f"2026-11-28 10:00:00 ERROR order failed\n{PYTHON}",
    }


def test_off_means_a_line_is_an_event(run: Run, keeper: Keeper) -> None:
    assert counts(run("-", "--multiline", "off", stdin=f"{PYTHON}\n".encode()))[0] == 3
    assert {event["event_type"] for event in keeper.events.values()} == {"log"}


def test_a_pattern_is_that_of_a_first_line(run: Run, keeper: Keeper) -> None:
    text = f"before\n#1 one\nmore\n\nof it\n#2\n{PYTHON}\n"
    assert counts(run("-", "--multiline", r"^#\d", stdin=text.encode()))[0] == 3
    found = [event["properties"] for event in keeper.events.values()]
    assert [each.get("line") for each in found] == ["before", "#1 one\nmore\n\nof it", None]
    assert (found[2]["error"], found[2]["traceback"]) == ("KeyError: 1", f"#2\n{PYTHON}")


def test_a_pattern_that_is_none_is_refused(run: Run) -> None:
    result = run("-", "--multiline", "(", stdin=b"x\n")
    assert (result.exit_code, "auto, off, or a pattern" in result.stderr) == (2, True)


def test_a_traceback_without_end_takes_bounded_memory() -> None:
    found = groups("Traceback (most recent call last):\n" + "\n".join(["  x" * 1000] * 500))
    assert len(found) > 5
    assert max(map(len, found)) < MAX_GROUP + 5000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (PYTHON, Error("KeyError: 1", "KeyError", "f")),
        (JAVA, Error("java.io.IOException: closed", "java.io.IOException", "com.example.Store.read")),
        ("com.example.Boom: x\n\tat a.b.C.d(C.java:1)", Error("com.example.Boom: x", "com.example.Boom", "a.b.C.d")),
        ("Error\n    at f (x.js:1:2)", Error("Error", "Error", "f")),
        ("failed somehow\n    at async f (x.js:1:2)", Error("failed somehow", "error", "f")),
        ("panic: no cart\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/x.go:1 +0x1", Error("panic: no cart", "panic", "main.f")),
    ],
)
def test_the_parts_of_an_error(text: str, error: Error) -> None:
    assert error_in_text(text) == error


@pytest.mark.parametrize("text", ["", "\n\n", "KeyError: 1", "one\ntwo", "ERROR x\n\n\n"])
def test_what_is_no_traceback_is_no_error(text: str) -> None:
    assert error_in_text(text) is None
    assert error_in(Group([Line(1, text)])) is None
