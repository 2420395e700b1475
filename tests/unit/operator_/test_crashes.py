"""One rotation, killed at every write: before it, after it, and with its answer lost. Always the same end."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator_.cluster import QUESTIONS, REMARKS, Operator
from tests.unit.operator_.story import DAY, HOUR, SECOND, Story, name_of, running

MODES: dict[str, dict[str, Any]] = {
    "Retain": {},
    "DropAfter": {"delivery": {"mode": "DropAfter", "dropAfter": "1h"}},
}
# More than a rotation has; the last ones kill an operator that has nothing left to do.
WRITES = 14


def rotated(mode: str, killed_at: int | None = None, committed: bool = False, resumed_after: int = 0) -> Story:
    """A key that was rotated until its old version is gone, by operators of which the first died at a write."""
    story = running(rotation={"retirePolicy": "Retire"}, **MODES[mode])
    story.rotate()
    writes = 0
    for action in story.steps():
        if isinstance(action, QUESTIONS + REMARKS):
            continue
        if writes == killed_at:
            if committed:
                story.do(story.operator, action)
            break
        writes += 1
    story.operator = Operator()
    story.now += resumed_after * SECOND
    story.run()
    story.now += DAY + HOUR
    story.run()
    return story


def outcome(story: Story) -> tuple[object, ...]:
    """What is there in the end, dates and values apart."""
    secrets = {name: (stored.type, stored.immutable, sorted(stored.data)) for name, stored in story.secrets.items()}
    client = story.plaintext("alpha") == story.plaintext("alpha-v2")
    return secrets, client, [(name, entry.state, entry.not_after) for name, entry in story.entries().items()]


@pytest.mark.parametrize("committed", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("write", range(WRITES))
@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_write_ends_the_same(mode: str, write: int, committed: bool) -> None:
    story = rotated(mode, write, committed)
    assert outcome(story) == outcome(rotated(mode))
    assert len(story.handed["alpha"]) == 2, "one request, one rotation"
    assert len(story.plaintexts) == 2, "randomness was drawn once"


@pytest.mark.parametrize("write", range(WRITES))
@pytest.mark.parametrize("mode", MODES)
def test_an_operator_that_comes_back_after_a_week_ends_the_same(mode: str, write: int) -> None:
    story = rotated(mode, write, resumed_after=7 * 86_400)
    assert outcome(story) == outcome(rotated(mode, resumed_after=7 * 86_400))
    assert len(story.handed["alpha"]) == 2


@pytest.mark.parametrize("write", range(WRITES))
def test_without_any_operator_every_client_is_let_in_and_the_overlap_ends(write: int) -> None:
    """The one write after which it does not end: handed out, and no end published yet."""
    story = running(rotation={"retirePolicy": "Retire"})
    old = story.digest("alpha")
    story.rotate()
    open_ended = False
    for action in story.steps():
        if isinstance(action, QUESTIONS + REMARKS):
            continue
        if write == 0:
            break
        write -= 1
        open_ended = name_of(action) == "VersionActivated"
    story.catch_up()
    held = story.digest("alpha")
    assert (story.refusal(old), story.refusal(held)) == (None, None)
    story.now += 30 * DAY
    assert story.refusal(held) is None
    assert story.refusal(old) == (None if held == old or open_ended else "expired")


def test_two_operators_at_once_make_one_rotation() -> None:
    story = running()
    story.rotate()
    second = Operator()
    for _ in range(30):
        story.catch_up()
        for operator in (story.operator, second):
            if not operator.queue:
                story.think(operator)
            while operator.queue:
                action = operator.queue.pop(0)
                try:
                    story.do(operator, action)
                except Exception:
                    operator.queue = []
    assert len(story.handed["alpha"]) == 2
    assert len(story.plaintexts) == 2
    assert story.writes() == []
