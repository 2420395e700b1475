"""What is measured of rotations: why each was, and how long its steps took."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from typing import get_args

import pytest
from prometheus_client import Metric
from tests.conftest import ROOT
from tests.unit.operator_.cluster import START
from tests.unit.operator_.story import DAY, HOUR, MINUTE, Story, beginning, lost, running
from tests.unit.operator_.test_engine_loop import SPACE, Bench, Service, with_bench

from sluice import keys
from sluice_operator import api_types, schedule, telemetry
from sluice_operator.api_types import API_KEYS
from sluice_operator.cache import Cache
from sluice_operator.health import Gauges
from sluice_operator.watch import Hearing

STEPS = set(get_args(telemetry.Step))
REASONS = {*schedule.URGENCY, schedule.WITHDRAWN}


def asked() -> Story:
    story = running(rotation={"period": "720h"})
    story.rotate()
    return story


def due() -> Story:
    story = running(rotation={"period": "720h"})
    story.now += 30 * DAY
    return story


def other_digest() -> Story:
    story = running(delivery={"mode": "Provided", "digest": keys.digest("one")})
    story.apply("alpha", delivery={"mode": "Provided", "digest": keys.digest("two")})
    return story


def taken_back() -> Story:
    story = asked()
    story.until("VersionStaged")
    story.round()
    story.rotate(value="")
    return story


def reasons(story: Story) -> list[str]:
    """Of everything that is handed out until nothing is left to do."""
    return [found for action in story.steps() if (found := getattr(action, "reason", None)) in REASONS]


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        (beginning, "First"),
        (asked, "Requested"),
        (due, "Due"),
        (lost, "Lost"),
        (other_digest, "Digest"),
        (taken_back, "Withdrawn"),
    ],
)
def test_each_hand_over_says_why_once(story: Callable[[], Story], reason: str) -> None:
    assert reasons(story()) == [reason]


def test_a_repair_is_no_rotation() -> None:
    story = running()
    story.lose("alpha")
    assert "ClientRepaired" in story.kinds()
    assert reasons(story) == []


def since(story: Story, kind: str) -> datetime | None:
    found: datetime | None = getattr(story.until(kind), "since")  # noqa: B009 - of two kinds
    return found


def test_a_first_version_is_staged_since_its_key_was_made() -> None:
    story = beginning()
    story.now += HOUR
    assert since(story, "VersionStaged") == START


def test_a_rotation_by_the_clock_is_staged_since_it_was_due() -> None:
    story = due()
    active = story.ledger().active
    assert active is not None
    assert since(story, "VersionStaged") == schedule.due(story.keys["alpha"], active)


@pytest.mark.parametrize("story", [asked, lost, other_digest])
def test_since_when_another_reason_is_there_nobody_knows(story: Callable[[], Story]) -> None:
    assert since(story(), "VersionStaged") is None


def test_a_version_is_retired_since_its_end_and_the_margin_after_it() -> None:
    story = asked()
    story.run()
    story.now += 3 * DAY
    assert since(story, "VersionRetired") == START + DAY + HOUR


def test_a_revoked_version_is_retired_at_once_and_not_late() -> None:
    story = running()
    story.apply("alpha", revoked=True)
    story.now += MINUTE
    assert since(story, "VersionRetired") is None


# The engine


def value(name: str, **labels: str) -> float:
    return telemetry.REGISTRY.get_sample_value(f"{telemetry.PREFIX}_{name}", labels) or 0.0


def counts() -> dict[str, float]:
    steps = {step: value("rotation_duration_seconds_count", step=step) for step in STEPS}
    return steps | {reason: value("rotations_total", reason=reason) for reason in REASONS}


def test_every_series_is_there_before_anything_happened() -> None:
    told = {sample.labels["reason"] for sample in family("rotations").samples}
    assert told == REASONS
    steps = {sample.labels["step"] for sample in family("rotation_duration_seconds").samples}
    assert steps == STEPS


def test_the_steps_of_a_rotation_are_measured_once_each() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        before = counts()

        def grown() -> dict[str, float]:
            return {name: grew for name, count in counts().items() if (grew := count - before[name])}

        steps = {"Staged": 1.0, "Published": 1.0, "Converged": 1.0, "Activated": 1.0}
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"))
        await bench.until(lambda: grown() == {**steps, "First": 1.0})
        await bench.api.merge(API_KEYS, SPACE, "alpha", {"metadata": {"annotations": {api_types.ROTATE: "now"}}})
        await bench.look()
        await bench.until(lambda: (bench.secret("alpha") or {})["metadata"]["annotations"][api_types.VERSION] == "2")
        # Since when it was asked for nobody knows: Staged is as before.
        await bench.until(lambda: grown() == {**dict.fromkeys(steps, 2.0), "Staged": 1.0, "First": 1.0, "Requested": 1.0})
        await asyncio.sleep(0.3)
        assert grown()["Converged"] == 2

    with_bench(work)


def test_a_step_that_began_in_the_future_took_no_time() -> None:
    sum_before = value("rotation_duration_seconds_sum", step="Retired")
    telemetry.took("Retired", START + HOUR, START)
    assert value("rotation_duration_seconds_sum", step="Retired") == sum_before
    telemetry.took("Retired", START, START + MINUTE)
    assert value("rotation_duration_seconds_sum", step="Retired") == sum_before + 60


# The documentation


def family(name: str) -> Metric:
    return next(each for each in telemetry.REGISTRY.collect() if each.name == f"{telemetry.PREFIX}_{name}")


def families() -> dict[str, set[str]]:
    """Every metric by the name that Prometheus has, and its labels."""
    declared = [metric for metric in vars(telemetry).values() if hasattr(metric, "_labelnames")]
    found = {each.describe()[0].name + ("_total" * (each._type == "counter")): set(each._labelnames) for each in declared}
    gauges = Gauges(Cache(), Hearing(), (), (), lambda: True).collect()
    return found | {each.name: set(each._labelnames) for each in gauges}


def documented() -> dict[str, set[str]]:
    text = (ROOT / "docs/operator.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(sluice_operator_\w+)` \| ([^|]*)\|", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_every_metric_is_documented_with_its_labels() -> None:
    assert documented() == families()


@pytest.mark.parametrize("value", sorted(STEPS | REASONS))
def test_every_step_and_reason_is_documented(value: str) -> None:
    assert f"| `{value}` |" in (ROOT / "docs/operator.md").read_text(encoding="utf-8")
