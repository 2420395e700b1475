"""Events and reasons: closed lists, one event for one change, no secret in any."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.unit.operator_.cluster import START
from tests.unit.operator_.story import DAY, HOUR, Story, running
from tools import operator_reference

from sluice import keys
from sluice_operator import reasons, world
from sluice_operator.plan import TOGETHER

SOURCES = sorted((ROOT / "operator/sluice_operator").glob("*.py"))


def told(story: Story) -> list[tuple[str, str, str, str]]:
    """All events until the world is still."""
    found: list[tuple[str, str, str, str]] = []
    for _ in range(20):
        story.catch_up()
        plan = story.plan().actions
        found += [(each.kind, each.name, each.type, each.reason) for each in plan if isinstance(each, world.EmitEvent)]
        if not plan:
            break
        story.round()
    return found


def test_a_new_key_reports_its_way() -> None:
    story = Story()
    story.run()
    story.apply("alpha")
    assert told(story) == [
        ("ApiKey", "alpha", "Normal", "VersionStaged"),
        ("KeySet", "main", "Normal", "KeySetPublished"),
        ("ApiKey", "alpha", "Normal", "VersionActivated"),
        ("ApiKey", "alpha", "Normal", "Active"),
    ]


def test_a_revocation_reports_its_way() -> None:
    story = running()
    story.apply("alpha", revoked=True)
    assert told(story) == [
        ("KeySet", "main", "Normal", "KeySetPublished"),
        ("ApiKey", "alpha", "Normal", "Revoked"),
        ("ApiKey", "alpha", "Normal", "ClientRemoved"),
        ("ApiKey", "alpha", "Normal", "VersionRetired"),
    ]


@pytest.mark.parametrize(
    ("secret", "reason"), [("alpha", "ClientRepaired"), ("alpha-v1", "VersionRestored"), ("main-published", "")]
)
def test_a_repair_is_a_warning(secret: str, reason: str) -> None:
    story = running()
    story.lose(secret)
    warned = [each[3] for each in told(story) if each[2] == "Warning"]
    assert warned == ([reason] if reason else []), "a key set that is gone is only written again"


def test_a_dropped_plaintext_is_reported() -> None:
    story = running(delivery={"mode": "DropAfter", "dropAfter": "1h"})
    story.now += HOUR
    assert [each[3] for each in told(story)] == ["ClientRemoved", "PlaintextDropped"]


def test_an_expiry_is_a_warning_when_it_comes() -> None:
    story = running(expiresAt=(START + DAY / 2).isoformat())
    story.now += DAY
    assert told(story) == [("ApiKey", "alpha", "Warning", "Expired")]


def test_a_missing_key_set_is_reported_once_when_it_does_not_come_soon() -> None:
    story = Story()
    story.keyset = None
    story.apply("alpha")
    assert told(story) == []
    assert story.plan().next_deadline == story.now + TOGETHER
    story.now += TOGETHER
    assert told(story) == [("ApiKey", "alpha", "Warning", "KeySetNotFound")]


def test_a_missing_target_is_reported_once() -> None:
    story = Story(pods=0)
    story.run()
    story.has_target = False
    assert told(story) == [("KeySet", "main", "Warning", "TargetNotFound")]


def test_an_action_on_no_secret_has_no_event() -> None:
    question = world.ProbeWhoami("alpha-v1", "sha256:d", "alpha", 1, ())
    assert list(reasons.told("alpha", [question])) == [question]


def test_an_event_names_the_secret() -> None:
    retire = world.DeleteSecret(secret="alpha-v1", precondition="1", event="VersionRetired")
    assert list(reasons.told("alpha", [retire])) == [
        retire,
        world.EmitEvent("ApiKey", "alpha", "Normal", "VersionRetired", "deleted alpha-v1"),
    ]


def test_a_sentence_names_ten_at_most() -> None:
    names = [f"p{number}" for number in range(12)]
    assert reasons.sentence("Lagging", *names[:10]).endswith("p8, p9")
    assert reasons.sentence("Lagging", *names).endswith("p8, p9 and 2 more")
    assert reasons.sentence("Idle") == "no rotation is on its way"


def test_every_reason_that_is_given_is_in_the_list_and_every_one_in_the_list_is_given() -> None:
    given = set(re.findall(r'"([A-Z][A-Za-z0-9]+)"', "".join(map(given_in, SOURCES))))
    listed = set(reasons.CONDITIONS) | set(reasons.EVENTS)
    assert listed - given == set()
    assert listed >= reasons.WARNINGS


def test_the_reference_in_the_documentation_is_that_of_the_kinds_and_reasons() -> None:
    page = operator_reference.PAGE.read_text(encoding="utf-8")
    assert operator_reference.renewed(page) == page, "run python -m tools.operator_reference"
    assert [reason for reason in (*reasons.CONDITIONS, *reasons.EVENTS) if f"| `{reason}` |" not in page] == []


def test_no_plaintext_reaches_a_plan() -> None:
    story = Story()
    story.apply("alpha")
    for action in story.steps():
        assert not [key for key in story.plaintexts.values() if key in repr(action)]
    assert story.plaintexts
    assert keys.digest(next(iter(story.plaintexts.values()))) in story.plaintexts


def given_in(path: Path) -> str:
    """A source without the lists of reasons themselves."""
    text = source(path)
    return text.partition("EVENT_OF")[2] if path.name == "reasons.py" else text


def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")
