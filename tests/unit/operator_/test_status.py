"""What `kubectl get` and `kubectl describe` show."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.operator_.cluster import START
from tests.unit.operator_.story import DAY, HOUR, MINUTE, SECOND, Story, running

from sluice_operator import status as keyset_statuses
from sluice_operator import status as statuses
from sluice_operator import world
from sluice_operator.api_types import at
from sluice_operator.probes import Finding
from sluice_operator.world import Obstacle


def keyset_status(story: Story) -> dict[str, Any]:
    assert story.keyset is not None
    return story.keyset.status


def test_a_key_that_is_fine_says_so() -> None:
    story = running(rotation={"period": "1000h"})
    status = story.keys["alpha"].status
    assert (status["version"], status["secretName"], status["observedGeneration"]) == (1, "alpha", 1)
    assert status["nextAction"] == "Rotate"
    assert "previousVersion" not in status
    assert "expiresAt" not in status
    assert {each["type"]: each["status"] for each in status["conditions"]} == {
        "Ready": "True",
        "Active": "True",
        "Published": "True",
        "Rotating": "False",
        "PreviousInUse": "False",
        "Refused": "False",
        "Expiring": "False",
        "Degraded": "False",
    }
    assert status["conditions"][0]["message"] == "version 1 is accepted by the target and handed out"


def test_what_comes_first_is_shown_as_next() -> None:
    story = running(rotation={"period": "1000h"}, expiresAt=(START + DAY).isoformat())
    assert story.keys["alpha"].status["nextAction"] == "Expire"


def test_the_generation_that_was_seen_is_shown() -> None:
    story = running()
    story.apply("alpha", owner="other")
    story.run()
    status = story.keys["alpha"].status
    assert status["observedGeneration"] == 2
    assert {each["observedGeneration"] for each in status["conditions"]} == {2}


def test_the_way_of_a_first_version_is_shown() -> None:
    story = Story()
    story.run()
    story.pod.held = True
    story.apply("alpha")
    seen = []
    for _ in range(4):
        story.round()
        seen.append(story.condition("Ready"))
    assert seen == [("False", "Staging"), ("False", "Publishing"), ("False", "Converging"), ("False", "Converging")]
    [ready] = [each for each in story.keys["alpha"].status["conditions"] if each["type"] == "Ready"]
    assert story.pod.name in ready["message"]
    assert story.condition("Published") == ("True", "InKeySet")
    assert story.condition("Rotating") == ("False", "Idle")


def test_a_key_that_waits_for_its_proof_is_converging() -> None:
    story = Story()
    story.apply("alpha")
    story.until(world.ProbeWhoami)
    story.operator.proved.clear()
    story.think(story.operator)
    for action in story.operator.queue:
        if isinstance(action, world.SetStatus):
            story.do(story.operator, action)
    assert story.condition("Ready") == ("False", "Converging")
    [ready] = [each for each in story.keys["alpha"].status["conditions"] if each["type"] == "Ready"]
    assert story.pod.name in ready["message"]


def test_a_key_that_is_not_in_the_key_set_says_so() -> None:
    story = running()
    story.lose("main-published")
    story.round()
    assert story.condition("Ready") == ("False", "Publishing")
    assert story.condition("Published") == ("False", "NotInKeySet")


def test_last_use_is_shown_in_steps_of_an_hour() -> None:
    story = running()
    assert "lastUsedAt" not in story.keys["alpha"].status
    story.now += statuses.PROOF
    story.use(1)
    story.run()
    assert story.keys["alpha"].status["lastUsedAt"] == "2026-03-01T12:00:10Z"
    story.now += HOUR - SECOND
    story.use(1)
    assert story.plan().actions == ()
    story.now += SECOND
    story.use(1)
    story.run()
    assert story.keys["alpha"].status["lastUsedAt"] == "2026-03-01T13:00:10Z"


def test_the_proof_by_the_operator_itself_is_no_use() -> None:
    story = running()
    story.now += statuses.PROOF - SECOND
    story.use(1)
    assert story.plan().actions == ()


def test_a_last_use_that_nobody_remembers_stays() -> None:
    story = running()
    story.now += statuses.PROOF
    story.use(1)
    story.run()
    story.used.clear()
    assert story.plan().actions == ()


@pytest.mark.parametrize("before", ["nonsense", 7])
def test_a_last_use_that_is_none_is_replaced(before: object) -> None:
    story = running()
    story.now += statuses.PROOF
    story.use(1)
    story.keys["alpha"] = replace(story.keys["alpha"], status=story.keys["alpha"].status | {"lastUsedAt": before})
    story.run()
    assert story.keys["alpha"].status["lastUsedAt"] == "2026-03-01T12:00:10Z"


def test_the_last_use_is_that_of_the_active_version() -> None:
    story = running()
    story.use(1)
    story.rotate()
    story.run()
    story.now += HOUR
    story.use(2)
    story.run()
    assert story.keys["alpha"].status["lastUsedAt"] == "2026-03-01T13:00:00Z"


def test_a_superseded_version_that_is_used_is_reported() -> None:
    story = running()
    story.rotate()
    story.run()
    story.now += DAY / 2
    story.use(1)
    story.run()
    assert story.condition("PreviousInUse") == ("False", "NotUsed")
    story.now += SECOND
    story.use(1)
    story.run()
    assert story.condition("PreviousInUse") == ("True", "Used")


def test_a_key_set_that_is_fine_says_so() -> None:
    story = running(2)
    story.look_findings(())
    story.run()
    status = keyset_status(story)
    assert (status["keys"], status["entries"], status["pods"], status["podsAcknowledged"]) == (1, 1, 2, 2)
    assert status["acknowledged"] == "2/2"
    assert status["laggingPods"] == []
    assert status["revision"].startswith(status["shortRevision"])
    assert len(status["shortRevision"]) == 8
    assert status["publishedAt"] == "2026-03-01T12:00:00Z"
    assert status["observedGeneration"] == 1
    assert {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]} == {
        "Ready": ("True", "Published"),
        "Converged": ("True", "Converged"),
        "TargetFound": ("True", "TargetFound"),
        "ProbesWired": ("True", "Proven"),
        "Degraded": ("False", "AsExpected"),
    }


def test_a_key_set_that_lags_says_who_is_waited_for() -> None:
    story = running(2)
    story.pod.held = True
    story.apply("alpha", owner="other")
    story.run()
    status = keyset_status(story)
    assert status["acknowledged"] == "1/2"
    assert status["laggingPods"] == [story.pod.name]
    assert story.condition("Ready", "main") == story.condition("Converged", "main") == ("False", "Lagging")
    assert story.pod.name in status["conditions"][0]["message"]


def test_at_most_ten_lagging_pods_are_listed() -> None:
    story = running(12)
    for pod in story.pods.values():
        pod.held = True
    story.apply("alpha", owner="other")
    story.stall()
    story.round()
    assert keyset_status(story)["laggingPods"] == sorted(story.pods)[:10]


def test_a_key_set_that_is_not_written_says_so() -> None:
    story = Story()
    story.round()
    assert story.condition("Ready", "main") == ("False", "NotPublished")
    assert story.condition("Converged", "main") == ("False", "NotPublished")
    assert "revision" not in keyset_status(story)
    assert "publishedAt" not in keyset_status(story)


def test_a_pod_that_finished_is_not_counted() -> None:
    story = running(2)
    story.pod.finished, story.pod.ready = True, False
    story.run()
    assert keyset_status(story)["acknowledged"] == "1/1"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_clocks_that_differ_by_more_than_five_minutes_are_reported(minutes: int) -> None:
    story = running()
    story.operator.skew = minutes * MINUTE
    story.run()
    assert story.condition("Degraded", "main") == ("True", "ClockSkewed")


def test_clocks_that_differ_by_five_minutes_are_not_reported() -> None:
    story = running()
    story.operator.skew = 5 * MINUTE
    story.run()
    assert story.condition("Degraded", "main") == ("False", "AsExpected")


def test_probes_that_nobody_looked_at_are_unknown() -> None:
    assert running().condition("ProbesWired", "main") == ("Unknown", "NotAudited")


def test_findings_are_reported_with_place_and_reason() -> None:
    story = running()
    story.look_findings((Finding("ProbeMissing", "a"), Finding("ProbeMissing", "b"), Finding("SubPathMount", "c")))
    story.run()
    assert story.condition("ProbesWired", "main") == ("False", "Findings")
    [message] = [each["message"] for each in keyset_status(story)["conditions"] if each["type"] == "ProbesWired"]
    assert message.startswith("the probes need work: a: a Pod without it gets requests too early")
    assert "c: a subPath mount never sees a new key set" in message


def test_findings_that_are_muted_are_reported_with_their_reason() -> None:
    story = running()
    look_with(story, findings=(), muted={"NoDisruptionBudget": "one node"}, pods=())
    story.run()
    assert story.condition("ProbesWired", "main") == ("False", "NotProven")
    story = running()
    story.look_findings(())
    look_with(story, muted={"NoDisruptionBudget": "one node"})
    story.run()
    assert story.condition("ProbesWired", "main") == ("True", "ProvenButMuted")
    [message] = [each["message"] for each in keyset_status(story)["conditions"] if each["type"] == "ProbesWired"]
    assert message.endswith("NoDisruptionBudget (one node)")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"notBefore": (START + DAY).isoformat()}, "Pending"),
        ({"suspended": True}, "Suspended"),
        ({"revoked": True}, "Revoked"),
        ({"expiresAt": START.isoformat()}, "Expired"),
    ],
)
def test_ready_means_that_the_spec_is_reached_and_active_that_the_key_is_accepted(spec: dict[str, Any], reason: str) -> None:
    story = running()
    assert (story.condition("Ready"), story.condition("Active")) == (("True", "Active"), ("True", "Active"))
    story.apply("alpha", **spec)
    story.run()
    assert (story.condition("Ready"), story.condition("Active")) == (("True", reason), ("False", reason))
    story.apply("beta", **spec)
    story.run()
    assert (story.condition("Ready", "beta"), story.condition("Active", "beta")) == (("True", reason), ("False", reason))


@pytest.mark.parametrize("spec", [{"suspended": True}, {"revoked": True}])
def test_what_should_be_refused_is_ready_when_every_pod_refuses_it(spec: dict[str, Any]) -> None:
    story = running(2)
    story.pod.held = True
    story.apply("alpha", **spec)
    for _ in range(5):
        story.catch_up()
        story.round()
    assert (story.condition("Ready"), story.condition("Active")) == (
        ("False", "Converging"),
        ("False", spec.popitem()[0].capitalize()),
    )
    story.pod.held = False
    story.run()
    assert story.condition("Ready")[0] == "True"


def rounds(story: Story, number: int = 5) -> None:
    for _ in range(number):
        story.catch_up()
        story.round()


def test_a_key_that_is_resumed_is_ready_when_every_pod_accepts_it_again() -> None:
    story = running(2)
    story.apply("alpha", suspended=True)
    story.run()
    story.pod.held = True
    story.apply("alpha", suspended=False)
    story.round()
    assert (story.condition("Ready"), story.condition("Active")) == (("False", "Publishing"), ("False", "Publishing"))
    rounds(story)
    assert (story.condition("Ready"), story.condition("Active")) == (("False", "Converging"), ("False", "Converging"))
    [ready] = [each for each in story.keys["alpha"].status["conditions"] if each["type"] == "Ready"]
    assert story.pod.name in ready["message"]
    story.pod.held = False
    story.run()
    assert (story.condition("Ready"), story.condition("Active")) == (("True", "Active"), ("True", "Active"))


@pytest.mark.parametrize(
    "spec",
    [
        {"owner": "other"},
        {"scopes": ["ingest", "read"]},
        {"rateLimit": {"requestsPerMinute": 10}},
        {"expiresAt": (START + 99 * DAY).isoformat()},
    ],
)
def test_a_key_is_ready_when_every_pod_holds_it_to_its_new_spec_and_is_active_all_the_time(spec: dict[str, Any]) -> None:
    story = running(2)
    story.pod.held = True
    story.apply("alpha", **spec)
    story.round()
    assert (story.condition("Ready"), story.condition("Active")) == (("False", "Publishing"), ("True", "Active"))
    rounds(story)
    assert (story.condition("Ready"), story.condition("Active")) == (("False", "Converging"), ("True", "Active"))
    story.pod.held = False
    story.run()
    assert (story.condition("Ready"), story.condition("Active")) == (("True", "Active"), ("True", "Active"))


@pytest.mark.parametrize("trouble", ["held", "silent", "mixed"])
def test_the_status_of_a_key_does_not_change_with_what_pods_load_for_others(trouble: str) -> None:
    story = running(2)
    if trouble != "mixed":
        setattr(story.pod, trouble, True)
    before = story.keys["alpha"].status
    for number in range(3):
        story.apply("beta", owner=f"owner {number}")
        story.round()
        if trouble == "mixed":
            story.deliver(story.pod)
            story.pod.load(0)
        for _ in range(3):
            story.round()
            assert story.keys["alpha"].status == before


def test_a_restart_in_the_middle_of_a_delivery_reports_nothing_new_of_a_key() -> None:
    story = running(2)
    story.pod.held = True
    story.apply("beta")
    rounds(story)
    story.operator.crash()
    before = story.keys["alpha"].status
    rounds(story)
    assert story.keys["alpha"].status == before


def test_a_key_whose_date_has_come_is_active() -> None:
    story = running(notBefore=(START + DAY).isoformat())
    assert story.condition("Active") == ("False", "Pending")
    assert story.plan().next_deadline == START + DAY
    story.now = START + DAY
    story.run()
    assert (story.condition("Ready"), story.condition("Active")) == (("True", "Active"), ("True", "Active"))


def test_under_drop_after_nothing_rotates_by_the_clock() -> None:
    story = running(delivery={"mode": "DropAfter", "dropAfter": "1h"}, rotation={"period": "100h"})
    story.now += 30 * DAY
    story.run()
    assert story.keys["alpha"].status["version"] == 1
    assert story.condition("Active") == ("True", "Active")


def test_probes_are_proven_only_by_a_200_of_every_pod() -> None:
    story = running(2)
    story.look_findings((), seen=lambda pod: pod.name != story.pod.name)
    story.run()
    assert story.condition("ProbesWired", "main") == ("False", "NotProven")
    story.pod.terminating = True
    story.run()
    assert story.condition("ProbesWired", "main") == ("True", "Proven")


def test_without_a_pod_nothing_is_proven() -> None:
    story = running(pods=0)
    story.look_findings(())
    story.run()
    assert story.condition("ProbesWired", "main") == ("False", "NotProven")


def look_with(story: Story, **fields: Any) -> None:
    """From now on the engine tells this too."""
    look = story.look
    story.look = lambda operator: replace(look(operator), **fields)  # type: ignore[method-assign]


def test_why_a_target_was_not_wired_is_reported() -> None:
    story = running()
    look_with(story, enforcement=Obstacle("FieldConflict"), findings=())
    story.run()
    assert story.condition("ProbesWired", "main") == ("False", "FieldConflict")


def test_calls_that_are_refused_are_named() -> None:
    story = running()
    look_with(story, refused=("create secrets", "patch pods"))
    story.run()
    assert story.condition("Degraded", "main") == ("True", "Forbidden")
    [message] = [each["message"] for each in keyset_status(story)["conditions"] if each["type"] == "Degraded"]
    assert message.endswith(": create secrets, patch pods")


def test_a_key_set_that_cannot_be_looked_at_keeps_its_status_and_says_so() -> None:
    story = running()
    assert story.keyset is not None
    before, clock = story.keyset.status, at(story.now + HOUR)
    written = keyset_statuses.blind(story.keyset, ["list pods", "get secrets"], clock)
    assert {**written, "conditions": None} == {**before, "conditions": None}
    *others, degraded = written["conditions"]
    assert others == [each for each in before["conditions"] if each["type"] != "Degraded"]
    assert degraded == {
        "type": "Degraded",
        "status": "True",
        "reason": "Forbidden",
        "message": degraded["message"],
        "observedGeneration": 1,
        "lastTransitionTime": "2026-03-01T13:00:00Z",
    }
    assert degraded["message"].endswith(": list pods, get secrets")
    again = replace(story.keyset, status=written)
    assert keyset_statuses.blind(again, ["list pods", "get secrets"], at(clock.here + HOUR)) == written


def test_a_new_key_set_that_cannot_be_looked_at_says_so() -> None:
    story = Story()
    assert story.keyset is not None
    [degraded] = keyset_statuses.blind(story.keyset, ["list pods"], at(story.now))["conditions"]
    assert (degraded["type"], degraded["status"], degraded["reason"]) == ("Degraded", "True", "Forbidden")
