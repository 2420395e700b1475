"""Refused: a version that the key set has and does not accept is sent all the same. It is told, and changes nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.operator_.cluster import REMARKS
from tests.unit.operator_.story import DAY, HOUR, MINUTE, SECOND, Story, beginning, lost, name_of, running

from sluice_operator import status as statuses
from sluice_operator import world
from sluice_operator.plan import plan


def ended() -> Story:
    """Version 1 of alpha has ended and is still published; version 2 is handed out."""
    story = running()
    story.rotate()
    story.run()
    story.now += DAY + SECOND
    story.run()
    return story


def message(story: Story, name: str = "alpha") -> str:
    return next(str(each["message"]) for each in story.keys[name].status["conditions"] if each["type"] == "Refused")


def events(story: Story) -> list[tuple[str, str]]:
    return [(each.type, each.reason) for each in story.plan().actions if isinstance(each, world.EmitEvent)]


def test_a_version_that_ended_and_is_still_sent_is_reported_by_its_number() -> None:
    story = ended()
    assert story.condition("Refused") == ("False", "NotSent")
    story.refuse(1)
    assert events(story) == [("Warning", "StillSent")]
    story.run()
    assert story.condition("Refused") == ("True", "StillSent")
    assert message(story).startswith("version 1 was refused")
    assert story.condition("Ready") == ("True", "Active")


def test_each_version_is_reported_once_and_the_lowest_first() -> None:
    story = running()
    story.apply("alpha", suspended=True)
    story.refuse(10)
    story.refuse(9)
    story.run()
    assert message(story).startswith("version 9, 10 was refused")


def test_a_key_is_not_blamed_for_another() -> None:
    story = ended()
    story.apply("beta")
    story.run()
    story.refuse(1, "beta")
    story.refuse(1, "alph")
    story.refuse(1, "alpha-a")
    story.run()
    assert story.condition("Refused") == ("False", "NotSent")
    assert story.condition("Refused", "beta") == ("True", "StillSent")


def test_who_goes_on_sending_it_causes_one_write() -> None:
    story = ended()
    story.refuse(1)
    story.run()
    for _ in range(30):
        story.now += MINUTE
        story.refuse(1)
        assert story.plan().actions == ()


def test_it_is_forgotten_ten_minutes_after_the_last_refusal_and_the_plan_knows_when() -> None:
    story = ended()
    story.refuse(1)
    story.run()
    assert story.plan().next_deadline == story.now + statuses.REMEMBERED
    story.now += statuses.REMEMBERED - SECOND
    assert story.plan().actions == ()
    story.now += SECOND
    story.run()
    assert story.condition("Refused") == ("False", "NotSent")
    assert events(story) == []


def test_whatever_a_sender_does_it_is_written_at_most_twice_in_ten_minutes() -> None:
    story = running()
    story.apply("alpha", suspended=True)
    story.run()
    written = []
    for second in range(0, 7200, 10):
        story.now += 10 * SECOND
        if second % 610 == 0:
            story.refuse(1)
        written += [story.now for each in story.plan().actions if isinstance(each, world.SetStatus)]
        story.run()
    assert len(written) > 10
    assert all(later - first > statuses.REMEMBERED for first, later in zip(written, written[2:], strict=False))


def test_a_clock_that_is_an_hour_ahead_forgets_nothing_early() -> None:
    story = ended()
    story.refuse(1)
    story.operator.skew = HOUR
    story.run()
    assert story.condition("Refused") == ("True", "StillSent")


def test_a_revoked_key_that_is_still_sent_is_reported_too() -> None:
    story = running()
    story.apply("alpha", revoked=True)
    story.run()
    story.now += DAY
    story.refuse(1)
    story.run()
    assert story.condition("Refused") == ("True", "StillSent")


def rotating() -> Story:
    story = running()
    story.rotate()
    story.until("VersionActivated")
    return story


def over() -> Story:
    story = ended()
    story.now += HOUR
    return story


def due() -> Story:
    story = running(rotation={"period": "1h", "overlap": "10m", "maxOverlap": "10m"})
    story.now += HOUR
    return story


def revoking() -> Story:
    story = running()
    story.apply("alpha", revoked=True)
    story.round()
    return story


STORIES = {each.__name__: each() for each in (beginning, running, rotating, ended, over, lost, due, revoking)}
refused = st.dictionaries(
    st.sampled_from(["alpha/1", "alpha/2", "alpha/3", "beta/1"]),
    st.timedeltas(timedelta(days=-2), timedelta(days=2)),
)


def writes(whole: world.Plan) -> list[Any]:
    return [each for each in whole.actions if not isinstance(each, REMARKS)]


@pytest.mark.parametrize("story", STORIES)
@given(dates=refused)
def test_no_refusal_ever_changes_what_is_done(story: str, dates: dict[str, timedelta]) -> None:
    told = STORIES[story]
    seen, clock = told.look(told.operator), told.clock(told.operator)
    other = replace(seen, last_refused={name: told.now + age for name, age in dates.items()})
    assert writes(plan(other, clock)) == writes(plan(seen, clock))


def test_the_stories_differ_in_what_is_done() -> None:
    """So that the promise above is one about every kind of step."""
    kinds = {name_of(each) for story in STORIES.values() for each in writes(story.plan())}
    assert kinds >= {"VersionStaged", "PublishKeySet", "VersionActivated", "ClientRemoved"}
