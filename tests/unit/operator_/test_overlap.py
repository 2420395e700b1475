"""How long an old version is accepted: its overlap, longer while it is used, never longer than maxOverlap."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.operator_.story import DAY, HOUR, MINUTE, SECOND, Story, running

from sluice_operator import api_types


def in_overlap(**rotation: str) -> Story:
    """Version 1 is accepted beside version 2, for a day."""
    story = running(rotation=rotation)
    story.rotate()
    story.run()
    return story


def ends_in(story: Story) -> timedelta:
    not_after = story.entries()["alpha", 1].not_after
    assert not_after is not None
    return not_after - story.now


def test_a_version_that_is_used_within_the_last_half_overlap_is_held_by_half_an_overlap() -> None:
    story = in_overlap()
    story.now += DAY / 2 + SECOND
    story.use(1)
    story.now += DAY / 2 - 10 * MINUTE - SECOND
    story.run()
    assert ends_in(story) == DAY / 2
    assert api_types.ENDS_AT in story.secrets["alpha-v1"].metadata.annotations
    assert story.condition("PreviousInUse") == ("False", "NotUsed"), "not within the last half overlap of the new end"


def test_it_is_decided_ten_minutes_before_the_end() -> None:
    story = in_overlap()
    assert story.plan().next_deadline == story.now + DAY - 10 * MINUTE
    story.now += DAY - 10 * MINUTE - SECOND
    story.use(1)
    assert story.kinds() == []
    story.now += SECOND
    assert story.kinds() == ["PublishKeySet", "PatchSecret"]


def test_of_a_short_overlap_it_is_decided_in_the_last_quarter() -> None:
    story = in_overlap(overlap="20s")
    story.now += timedelta(seconds=14)
    story.use(1)
    assert story.kinds() == []
    story.now += SECOND
    story.run()
    assert ends_in(story) == timedelta(seconds=10)


def test_a_version_that_was_used_only_at_first_is_not_held() -> None:
    story = in_overlap()
    story.now += DAY / 2
    story.use(1)
    story.now += DAY / 2 - 10 * MINUTE
    assert story.writes() == []


def test_use_of_the_new_version_holds_nothing() -> None:
    story = in_overlap()
    story.now += DAY - 10 * MINUTE
    story.use(2)
    assert story.writes() == []


def test_under_retire_nothing_is_held() -> None:
    story = in_overlap(retirePolicy="Retire")
    story.now += DAY - MINUTE
    story.use(1)
    assert story.writes() == []


@pytest.mark.parametrize("silent", [True, False])
def test_while_it_is_not_known_whether_a_version_is_used_it_is_held(silent: bool) -> None:
    story = in_overlap()
    if silent:
        story.pod.silent = True
    else:
        story.pod.finished, story.pod.ready = True, False
    story.now += DAY - 10 * MINUTE
    assert story.kinds() == ["PublishKeySet", "PatchSecret"]


def test_a_pod_that_finished_is_not_asked() -> None:
    story = in_overlap()
    story.run()
    gone = story.start_pod()
    gone.finished, gone.booted = True, True
    story.now += DAY - 10 * MINUTE
    assert story.writes() == []


def test_a_pod_that_was_never_ready_is_not_asked() -> None:
    story = in_overlap()
    story.start_pod()
    story.run()
    story.now += DAY - 10 * MINUTE
    assert story.kinds() == []


def test_nothing_is_held_longer_than_max_overlap() -> None:
    story = in_overlap(overlap="24h", maxOverlap="30h")
    story.now += DAY - MINUTE
    story.use(1)
    story.run()
    assert ends_in(story) == timedelta(hours=6, minutes=1)
    story.now += timedelta(hours=6)
    story.use(1)
    story.run()
    assert ends_in(story) == MINUTE
    assert story.condition("PreviousInUse") == ("True", "Used")
    story.now += MINUTE
    assert story.refusal(story.digest("alpha-v1")) == "expired"


def test_an_end_that_has_come_is_not_moved() -> None:
    story = in_overlap()
    story.now += DAY - SECOND
    story.use(1)
    story.now += SECOND
    story.run()
    assert ends_in(story) == timedelta()
    assert story.refusal(story.digest("alpha-v1")) == "expired"


def test_an_end_that_has_come_by_one_clock_is_not_moved() -> None:
    story = in_overlap()
    story.now += DAY - 10 * MINUTE
    story.use(1)
    story.operator.skew = HOUR
    assert story.kinds() == []


def test_a_shorter_overlap_does_not_shorten_one_that_runs() -> None:
    story = in_overlap()
    story.apply("alpha", rotation={"overlap": "1h", "retirePolicy": "Retire"})
    story.run()
    assert ends_in(story) == DAY


def test_an_expiry_before_the_end_ends_both_and_is_not_taken_for_the_end() -> None:
    story = in_overlap(retirePolicy="Retire")
    expires = story.now + HOUR
    story.apply("alpha", expiresAt=expires.isoformat())
    story.run()
    assert ends_in(story) == HOUR
    assert story.secrets["alpha-v1"].metadata.annotations[api_types.ENDS_AT] == "2026-03-02T12:00:00Z"
    story.apply("alpha", expiresAt=None)
    story.run()
    assert ends_in(story) == DAY


def test_a_suspended_key_holds_nothing() -> None:
    story = in_overlap()
    story.apply("alpha", suspended=True)
    story.run()
    story.now += DAY - MINUTE
    story.use(1)
    assert story.writes() == []


def test_an_end_that_was_stomped_is_taken_from_the_key_set() -> None:
    story = in_overlap(retirePolicy="Retire")
    story.now += HOUR
    story.stomp("alpha-v1")
    story.run()
    assert ends_in(story) == DAY - HOUR
    assert story.secrets["alpha-v1"].metadata.annotations[api_types.ENDS_AT] == "2026-03-02T12:00:00Z"


def test_an_end_whose_key_set_is_lost_is_taken_from_the_secret() -> None:
    story = in_overlap(retirePolicy="Retire")
    story.now += HOUR
    story.lose("main-published")
    story.run()
    assert ends_in(story) == DAY - HOUR


def test_an_end_that_nothing_says_starts_again() -> None:
    story = in_overlap(retirePolicy="Retire")
    story.now += HOUR
    story.stomp("alpha-v1")
    story.lose("main-published")
    story.run()
    assert ends_in(story) == DAY


def test_the_status_reports_when_the_previous_version_ends() -> None:
    story = in_overlap()
    status = story.keys["alpha"].status
    assert (status["version"], status["previousVersion"], status["previousEndsAt"]) == (2, 1, "2026-03-02T12:00:00Z")
    assert (status["nextAction"], status["nextActionAt"]) == ("Retire", "2026-03-02T12:00:00Z")
    assert story.condition("Rotating") == ("True", "Overlap")
