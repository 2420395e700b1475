"""Cursors: only we can make one, and only for the list that it was made for."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import cursors
from sluice.cursors import Cursor
from sluice.errors import InvalidCursor

SECRET, SCOPE = b"s" * 32, cursors.scope_of("a")
CURSORS = st.builds(Cursor, st.text(max_size=255), st.integers(1, 2**63 - 1), st.integers(0, 10_000), st.booleans())
ONE = Cursor("2026-03-01T12:00:00Z", 4711, 10_000, False)
TEXT = cursors.encode(ONE, SECRET, SCOPE)


def is_foreign(text: str, secret: bytes = SECRET, scope: str = SCOPE) -> bool:
    try:
        cursors.decode(text, secret, scope)
    except InvalidCursor:
        return True
    return False


@given(CURSORS, st.binary(min_size=32, max_size=32), st.text(max_size=50))
def test_what_was_encoded_is_decoded(cursor: Cursor, secret: bytes, scope: str) -> None:
    assert cursors.decode(cursors.encode(cursor, secret, scope), secret, scope) == cursor


@given(CURSORS)
def test_a_cursor_can_stand_in_a_url_as_it_is(cursor: Cursor) -> None:
    assert set(cursors.encode(cursor, SECRET, SCOPE)) <= set(string.ascii_letters + string.digits + "-_.")


@given(st.text(st.characters(min_codepoint=0x10000), min_size=255, max_size=255))
def test_the_longest_value_still_makes_a_cursor_that_is_taken_and_fits_a_request_line(value: str) -> None:
    text = cursors.encode(Cursor(value, 2**63 - 1, 10_000, False), SECRET, SCOPE)
    assert len(text) < 2_000
    assert cursors.decode(text, SECRET, SCOPE).value == value


def test_any_other_character_at_any_place_is_foreign() -> None:
    places = [(at, char) for at in range(len(TEXT)) for char in string.printable + "é\0" if char != TEXT[at]]
    assert [place for place in places if not is_foreign(TEXT[: place[0]] + place[1] + TEXT[place[0] + 1 :])] == []


def test_any_character_put_in_or_left_out_is_foreign() -> None:
    longer = [TEXT[:at] + char + TEXT[at:] for at in range(len(TEXT) + 1) for char in string.printable + "é\0="]
    shorter = [TEXT[:at] + TEXT[at + 1 :] for at in range(len(TEXT))]
    assert [text for text in longer + shorter if not is_foreign(text)] == []


@given(CURSORS, st.data())
def test_a_change_of_one_character_of_any_cursor_is_foreign(cursor: Cursor, data: st.DataObject) -> None:
    text = cursors.encode(cursor, SECRET, SCOPE)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_.=").filter(lambda char: char != text[at]))
    assert is_foreign(text[:at] + other + text[at + 1 :])


def test_a_cursor_of_another_database_or_of_other_filters_is_foreign() -> None:
    assert not is_foreign(TEXT)
    assert is_foreign(TEXT, secret=b"t" * 32)
    assert is_foreign(TEXT, scope=cursors.scope_of("b"))


@given(st.text())
def test_any_text_is_foreign(text: str) -> None:
    assert is_foreign(text)


@pytest.mark.parametrize("text", ["A" * 2**20, TEXT + "A" * 2**20, "é" * 2**20, "." * 2**20])
def test_a_megabyte_of_rubbish_is_foreign_at_once(text: str) -> None:
    start = time.process_time()
    assert is_foreign(text)
    assert time.process_time() - start < 0.25


@pytest.mark.parametrize("payload", [[], ["a"], {"value": "a"}, ["a", "1", 2, True], "text"])
def test_a_payload_of_another_shape_is_foreign_even_when_it_is_signed(payload: object) -> None:
    assert is_foreign(str(cursors.serializer(SECRET, SCOPE).dumps(payload)))


def test_a_scope_depends_on_every_part_and_their_order() -> None:
    scopes = [
        cursors.scope_of(*parts) for parts in [("a", "b"), ("b", "a"), ("ab",), ("a",), ("a", "b", None), (), (True,), (1,)]
    ]
    assert len(set(scopes)) == len(scopes)
