"""The node's clock is an hour off: it is told, nothing ends early, and what does not depend on time goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.waiting import until
from tests.operator.conftest import Start
from tests.operator.stand import KEYSET, Stand

pytestmark = pytest.mark.timeout(300)
HOUR = 3600
OVERLAP = timedelta(seconds=10)
BRIEF = {"overlap": "10s", "maxOverlap": "10s", "retirePolicy": "Retire"}


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_clock_an_hour_off_is_reported_and_nothing_ends_early(stand_: Stand, start: Start, ahead: int) -> None:
    operator = start(ahead=ahead).leads()
    stand_.until_condition(KEYSET, "Degraded", "ClockSkewed", 30, "keyset")
    name = stand_.key(rotation=BRIEF)
    stand_.active(name)
    old, before = stand_.plaintext(name), datetime.now(UTC)
    stand_.rotate(name)
    stand_.active(name, 2)
    until(lambda: end_of_first(stand_, name) is not None, 30, "the end of the first version is published")
    end = end_of_first(stand_, name)
    assert end is not None
    assert end >= before + OVERLAP
    if ahead > 0:
        assert set(stand_.answers(old)) == {200}
    revoked = stand_.key()
    stand_.active(revoked)
    key = stand_.plaintext(revoked)
    stand_.change(revoked, revoked=True)
    until(lambda: set(stand_.answers(key)) == {401}, 10, "a revocation waits for no clock")
    operator.stop()
    start("right").leads()
    stand_.until_condition(KEYSET, "Degraded", "AsExpected", 30, "keyset")
    assert set(stand_.answers(stand_.plaintext(name))) == {200}


def test_a_clock_that_is_put_while_it_runs_ends_the_process_by_its_liveness(stand_: Stand, start: Start) -> None:
    operator = start(ahead=-HOUR).leads()
    assert "[+]clock ok" in operator.ask("/livez?verbose")
    operator.put_clock()
    until(lambda: "[-]clock failed" in operator.ask("/livez?verbose"), 10, "it is no longer alive")


def end_of_first(stand_: Stand, name: str) -> datetime | None:
    """When the first version ends, as every Pod is told."""
    entry = next((each for each in stand_.of_key(name) if each["version"] == 1), {})
    return datetime.fromisoformat(entry["notAfter"]) if entry.get("notAfter") else None
