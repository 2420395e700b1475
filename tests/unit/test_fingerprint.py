"""Fingerprints: the same error on another day, line or machine is the same group, another error is not."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import fingerprint

TRACE = """Traceback (most recent call last):
  File "/srv/shop/cart.py", line 41, in total
    return sum(item.price for item in items)
AttributeError: 'NoneType' object at 0x7f3a2c has no attribute 'price' in order 9f1b6c1e-0d3a-4f6e-8d8a-1a2b3c4d5e6f
"""


def group(source: str | None = None, event_name: str = "/checkout", **properties: object) -> str:
    return fingerprint.of(event_name, source, dict(properties))


def test_a_fingerprint_names_the_version_of_its_rule() -> None:
    assert re.fullmatch(rf"{fingerprint.VERSION}:[0-9a-f]{{32}}", group(error="x"))


def test_a_known_error_keeps_its_group_for_as_long_as_the_version_does() -> None:
    assert group("shop", error="card 4711 declined") == "2:8e8f3c35e7e6c2c9008e109743550b85"


SAME = {
    "another line": lambda text: text.replace("41", "1042"),
    "another address": lambda text: text.replace("0x7f3a2c", "0xDEADBEEF00"),
    "another id": lambda text: text.replace("9f1b6c1e-0d3a-4f6e-8d8a-1a2b3c4d5e6f", "00000000-AAAA-bbbb-cccc-0123456789ab"),
    "other line ends": lambda text: text.replace("\n", "\r\n"),
    "colours": lambda text: re.sub(r"\S+", "\x1b[1;35m\\g<0>\x1b[0m", text),
    "other white space": lambda text: "\n" + text.replace("    ", "\t") + "\n\n",
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
@pytest.mark.parametrize("name", ["traceback", "stack_trace", "stacktrace", "stack", "error", "message", "exception"])
def test_noise_makes_no_new_group(name: str, change: Callable[[str], str]) -> None:
    assert group(**{name: TRACE}) == group(**{name: change(TRACE)})


OTHER = {
    "another exception": {"traceback": TRACE.replace("AttributeError", "KeyError")},
    "another function": {"traceback": TRACE.replace("total", "discount")},
    "a message instead of a trace": {"error": TRACE},
    "nothing": {},
}


@pytest.mark.parametrize("properties", OTHER.values(), ids=OTHER)
def test_another_error_is_another_group(properties: dict[str, str]) -> None:
    assert group(traceback=TRACE) != group(**properties)


def test_the_same_error_of_another_service_or_endpoint_is_another_group() -> None:
    groups = [group(error="x"), group(error="x", service="shop"), group("pay", error="x"), group(event_name="/cart", error="x")]
    assert len(set(groups)) == len(groups)


def test_one_trace_of_two_services_or_endpoints_is_one_group() -> None:
    assert group("shop", "/cart", traceback=TRACE) == group("pay", "/checkout", traceback=TRACE)


def test_service_in_the_properties_and_source_of_the_event_mean_the_same() -> None:
    assert group("shop", error="x") == group(service="shop", error="x")


def test_the_trace_counts_and_not_the_message_beside_it() -> None:
    assert group(traceback=TRACE, error="one") == group(traceback=TRACE, error="other")


def test_the_clients_own_fingerprint_comes_before_everything() -> None:
    assert group("a", fingerprint="mine", traceback=TRACE) == group("b", "/other", fingerprint="mine", error="x")
    assert group(fingerprint="mine") != group(fingerprint="yours")


@pytest.mark.parametrize("nothing", ["", None, 5, ["trace"], {"a": "b"}])
def test_evidence_that_is_no_text_is_passed_over(nothing: object) -> None:
    assert group(traceback=nothing, error="x", fingerprint=nothing) == group(error="x")


def recursion(first_line: int) -> str:
    """A long trace of real form, whose line numbers begin at `first_line`."""
    frames = [f'  File "loop.py", line {first_line + n}, in step_{n % 7}\n    step(n)\n' for n in range(2_000)]
    return "".join([*frames, "RecursionError: maximum recursion depth exceeded\n"])


def test_a_line_number_with_more_digits_does_not_move_the_cut_of_a_long_trace() -> None:
    assert group(traceback=recursion(1)) == group(traceback=recursion(123_456))


def test_a_long_message_is_cut_at_its_end_in_the_same_way() -> None:
    assert group(error="took 9 ms; " * 5_000) == group(error="took 12345 ms; " * 5_000)


def test_a_long_trace_is_known_by_its_end() -> None:
    assert group(traceback=recursion(1)) != group(traceback=recursion(1).replace("RecursionError", "MemoryError"))


@given(st.text(max_size=200), st.text(max_size=50))
def test_any_text_has_a_group(text: str, name: str) -> None:
    assert len(group(text, event_name=name, traceback=text, fingerprint=name)) == 34


def raised(value: object) -> str:
    try:
        int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return traceback.format_exc()
    raise AssertionError


def test_a_real_traceback_has_one_group_for_every_run() -> None:
    assert group(traceback=raised(object())) == group(traceback=raised(object()))
    assert group(traceback=raised(object())) != group(traceback=raised("x"))
