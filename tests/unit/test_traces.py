"""Groups of real stack traces: one bug in two deploys is one, two bugs in one function are two, whatever runtime they come from.

Python's are raised here; Java's, Go's and JavaScript's were recorded by `python -m tests.traces.record`.
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traces.record import ORDERS, PROGRAMS, RECORDED

from sluice import fingerprint, traces

PYTHON = """
import json

class OrderRejected(Exception):
    pass

def price_of(article, order):
    prices = {"tea": 4}
    if article == "json":
        return json.loads("{" + order)
    if article == "both":
        return article.price + prices.cost
    if article == "value":
        raise ValueError(f"order {order} has no amount")
    return prices[article]

def place(article, order):
    try:
        return price_of(article, order)
    except KeyError as error:
        if article == "context":
            raise OrderRejected(f"order {order}")
        raise OrderRejected(f"order {order}") from error

def place_all(*articles):
    found = []
    for article in articles:
        try:
            price_of(article, "1")
        except Exception as error:
            found.append(error)
    raise ExceptionGroup("several orders failed", found)

def descend(depth):
    return descend(depth - 1) if depth else price_of("value", depth)
"""


def fails(folder: Path, call: str, shift: int = 0) -> str:
    """The traceback of `call` in a module of this folder, some lines further down."""
    folder.mkdir(exist_ok=True)
    path = folder / "orders.py"
    path.write_text("\n" * shift + PYTHON, encoding="utf-8")
    space: dict[str, object] = {}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), space)
    try:
        eval(call, space)
    except Exception:
        return traceback.format_exc()
    raise AssertionError(f"{call} did not fail")


def group(trace: str, **more: str) -> str:
    return fingerprint.of("/orders", "shop", {"traceback": trace, **more})


BUGS = {
    "one exception": 'price_of("mate", "4711")',
    "another one": 'price_of("value", "4711")',
    "in a library": 'price_of("json", "4711")',
    "with a cause": 'place("mate", "4711")',
    "with a context": 'place("context", "4711")',
    "a group": 'place_all("mate", "value")',
}


@pytest.mark.parametrize("call", BUGS.values(), ids=BUGS)
def test_one_python_bug_in_two_deploys_is_one_group(call: str, tmp_path: Path) -> None:
    first = fails(tmp_path / "a", call)
    second = fails(tmp_path / "release-2", call.replace("4711", "b9f1e0c3-0d3a"), shift=95)
    assert first != second
    assert group(first) == group(second)


def test_different_python_bugs_are_different_groups(tmp_path: Path) -> None:
    assert len({group(fails(tmp_path, call)) for call in BUGS.values()}) == len(BUGS)


def test_two_bugs_in_one_line_are_told_apart_by_what_is_marked_in_it(tmp_path: Path) -> None:
    trace = fails(tmp_path, 'price_of("both", "1")')
    marks = [line for line in trace.splitlines() if set(line) == {" ", "^"}][-1]
    assert group(trace) != group(trace.replace(marks, marks.replace("^", " ") + "   ^^^^^^^^^^^"))


def test_a_line_of_code_that_begins_with_an_operator_is_no_exception() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 4, in total\n    + tax(price)\nValueError: 4711\n'
    assert [raised.type for raised in traces.read(trace)] == ["ValueError"]
    assert group(trace) != group(trace.replace("ValueError", "TypeError"))


def test_data_in_a_message_makes_no_group_where_the_line_is_shown(tmp_path: Path) -> None:
    assert group(fails(tmp_path, 'price_of("mate", "1")')) == group(fails(tmp_path, 'price_of("rooibos", "1")'))


def test_the_order_of_a_group_of_exceptions_is_chance(tmp_path: Path) -> None:
    calls = 'place_all("mate", "value")', 'place_all("value", "mate")', 'place_all("mate", "value", "mate", "mate")'
    assert len({group(fails(tmp_path, call)) for call in calls}) == 1
    assert group(fails(tmp_path, calls[0])) != group(fails(tmp_path, 'place_all("mate", "json")'))


def test_recursion_is_one_group_however_deep(tmp_path: Path) -> None:
    assert group(fails(tmp_path, "descend(2)")) == group(fails(tmp_path, "descend(400)"))


def test_frames_of_libraries_count_only_where_there_are_no_others(tmp_path: Path) -> None:
    trace = fails(tmp_path, 'price_of("json", "1")')
    assert "json/decoder.py" in trace
    assert group(trace) == group(trace.replace("in raw_decode", "in _raw_decode"))
    library = trace[trace.index("json.loads") :].partition("\n")[2]
    assert group(library) != group(library.replace("in raw_decode", "in _raw_decode"))


def test_a_trace_that_does_not_say_what_was_raised_is_told_apart_by_the_message_beside_it() -> None:
    trace = 'File "a.py", line 3, in pay'
    assert group(trace, error="timeout after 3 s") == group(trace, error="timeout after 15 s")
    assert group(trace, error="timeout after 3 s") != group(trace, error="no route to host")


RECORDINGS = [(language, bug) for language, (_, _, bugs) in PROGRAMS.items() for bug in bugs]


def recorded(language: str, bug: str, number: int) -> str:
    return (RECORDED / f"{language}-{bug}-{number}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("language", "bug"), RECORDINGS)
def test_one_bug_of_another_runtime_in_two_deploys_is_one_group(language: str, bug: str) -> None:
    first, second = recorded(language, bug, 1), recorded(language, bug, 2)
    assert first != second
    assert group(first) == group(second)


@pytest.mark.parametrize("language", PROGRAMS)
def test_different_bugs_of_another_runtime_are_different_groups(language: str) -> None:
    groups = {bug: group(recorded(language, bug, 1)) for of, bug in RECORDINGS if of == language}
    # These are one bug that is met in two ways: called back by the library or by a goroutine, awaited and printed or not.
    for same, other in (("library", "goroutine"), ("rejection", "null")):
        if same in groups and other in groups:
            assert groups.pop(same) == groups[other]
    assert len(set(groups.values())) == len(groups)


@pytest.mark.parametrize(("language", "bug"), RECORDINGS)
def test_every_recording_is_read_and_says_what_was_raised(language: str, bug: str) -> None:
    found = traces.read(recorded(language, bug, 2))
    assert len(found) == (2 if bug == "caused" else 1)
    assert all(raised.type and raised.message and raised.frames for raised in found)
    assert any(frame.in_app for frame in found[0].frames)
    libraries = any(not frame.in_app for raised in found for frame in raised.frames)
    assert libraries == (language == "java" or bug == "library")
    assert ORDERS[1] not in "".join(fingerprint.evidence("e", "s", {"stack": recorded(language, bug, 2)}))


FIREFOX = "total@https://shop.example/assets/index-B8yZ3xQk.js:1:{0}\n@https://shop.example/assets/index-{1}.js:1:9\n"


def test_a_build_of_a_browser_s_file_makes_no_group() -> None:
    assert group("TypeError: x is undefined\n" + FIREFOX.format(41, "B8yZ3xQk")) == group(
        "TypeError: x is undefined\n" + FIREFOX.format(1042, "a9XkQ2pp")
    )
    assert len(traces.read(FIREFOX.format(41, "B8yZ3xQk"))[0].frames) == 2


@pytest.mark.parametrize("root", ["/usr/local/go/src/", "/opt/x64/src/", ""])
def test_the_standard_library_of_go_is_known_wherever_it_stands(root: str) -> None:
    trace = f"panic: x\n\ngoroutine 1 [running]:\npanic({{0x1, 0x2}})\n\t{root}runtime/panic.go:770 +0x132\n"
    trace += f"net/http.(*conn).serve(0xc0001)\n\t{root}net/http/server.go:2136 +0x2b\n"
    trace += "example.com/shop/log.Print(0x1)\n\t/src/log/log.go:3 +0x1\n"
    assert [frame.in_app for frame in traces.read(trace)[0].frames] == [True, False, False]


@given(
    st.text(alphabet=st.sampled_from(list('abF1@ .:/()[]{}"|+^\t\n#-\\')), max_size=300), st.sampled_from(["traceback", "error"])
)
def test_any_text_is_read(text: str, name: str) -> None:
    for before in ("", '  File "x", line 1, in f\n', "goroutine 1 [running]:\n", "    at f (/x.js:1:1)\n"):
        assert len(fingerprint.of("e", "s", {name: before + text})) == 34


@pytest.mark.parametrize(
    "word", ["a", "a1", "@", "at a(", "at a (b:1", ":1", "x@/", " [recovered", "# ", "\n", "Uncaught ", "0x"]
)
def test_the_longest_text_that_an_event_can_hold_is_read_in_a_moment(word: str) -> None:
    started = time.process_time()
    for before in ("", '  File "x", line 1, in f\n', "goroutine 1 [running]:\n", "    at f (/x.js:1:1)\n"):
        fingerprint.of("e", "s", {"stack": before + word * (256_000 // len(word))})
    assert time.process_time() - started < 2
