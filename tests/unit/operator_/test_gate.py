"""Activation waits for every Pod that a client can reach, and for nobody else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.unit.operator_.cluster import START
from tests.unit.operator_.story import DAY, HOUR, MINUTE, SECOND, Story, name_of, running

from sluice import keys
from sluice_operator import schedule, world
from sluice_operator.world import Report


def rotating(pods: int = 2) -> Story:
    """Version 2 is published; the Pods have not got it yet."""
    story = running(pods)
    for pod in story.pods.values():
        pod.held = True
    story.rotate()
    story.stall()
    return story


def handed_out(story: Story) -> bool:
    return story.plaintext("alpha") == story.plaintext("alpha-v2")


def test_a_pod_that_lags_is_waited_for_and_named() -> None:
    story = rotating()
    first, second = story.pods.values()
    first.held = False
    story.run()
    assert not handed_out(story)
    assert story.condition("Rotating") == ("True", "Staged")
    assert story.keyset is not None
    assert story.keyset.status["laggingPods"] == [second.name]
    second.held = False
    story.run()
    assert handed_out(story)


def test_one_worker_that_lags_is_waited_for() -> None:
    story = rotating(1)
    story.deliver(story.pod)
    story.pod.load(0)
    story.stall()
    assert not handed_out(story)
    story.pod.load(1)
    story.stall()
    assert not story.writes()


def test_a_pod_that_does_not_answer_is_waited_for() -> None:
    story = rotating()
    for pod in story.pods.values():
        pod.held = False
    story.pod.silent = True
    story.run()
    story.now += 30 * DAY
    story.run()
    assert not handed_out(story)
    story.pod.silent = False
    story.run()
    assert handed_out(story)


def test_a_terminating_pod_is_waited_for_until_its_containers_ended() -> None:
    story = rotating()
    story.pod.terminating, story.pod.silent = True, True
    for pod in story.pods.values():
        pod.held = False
    story.run()
    assert not handed_out(story)
    story.pod.finished, story.pod.ready = True, False
    story.run()
    assert handed_out(story)


def test_a_terminating_pod_that_was_never_ready_is_waited_for_too() -> None:
    story = running(pods=1)
    late = story.start_pod()
    late.terminating = True
    story.rotate()
    story.run()
    assert not handed_out(story)


def test_a_pod_that_starts_is_waited_for_as_long_as_the_kubelet_may_take() -> None:
    story = running(pods=1)
    late = story.start_pod()
    story.rotate()
    story.run()
    assert not handed_out(story)
    story.now += 2 * MINUTE - SECOND
    story.run()
    assert not handed_out(story)
    story.now += SECOND
    story.run()
    assert handed_out(story)
    assert not late.booted


def test_a_pod_that_starts_with_the_new_set_is_not_waited_for() -> None:
    story = rotating(1)
    story.now += 11 * SECOND
    story.start_pod()
    story.pod.held = False
    story.run()
    assert handed_out(story)


def test_a_pod_made_in_the_second_of_the_publication_is_waited_for() -> None:
    story = rotating(1)
    story.now += 10 * SECOND
    story.start_pod()
    story.pod.held = False
    story.run()
    assert not handed_out(story)


def test_a_pod_that_starts_and_answers_with_an_old_set_is_waited_for() -> None:
    story = running(pods=1)
    late = story.start_pod()
    late.booted, late.held = True, True
    late.load(0)
    story.rotate()
    story.run()
    story.now += HOUR
    story.stall()
    assert not handed_out(story)


def test_a_pod_without_a_node_is_not_waited_for() -> None:
    story = running(pods=1)
    unscheduled = story.start_pod()
    unscheduled.started = False
    story.rotate()
    story.run()
    assert handed_out(story)
    assert unscheduled.annotation is None
    assert schedule.unacknowledged(story.look(story.operator)) == ()


def test_a_pod_that_finished_is_not_asked_again() -> None:
    story = running(pods=2)
    story.pod.finished = True
    story.rotate()
    story.run()
    assert story.pod.report() is None
    assert schedule.unacknowledged(story.look(story.operator)) == ()


def test_without_a_target_nothing_is_handed_out_and_all_is_published() -> None:
    story = Story(pods=0)
    story.has_target = False
    story.apply("alpha")
    story.run()
    assert list(story.entries()) == [("alpha", 1)]
    assert story.plaintext("alpha") is None
    assert story.condition("Ready") == ("False", "TargetNotFound")
    assert story.condition("TargetFound", "main") == ("False", "TargetNotFound")
    assert story.condition("Converged", "main") == ("False", "TargetNotFound")


def test_no_pod_is_enough_only_where_none_is_wanted() -> None:
    story = Story(pods=0)
    story.apply("alpha")
    story.replicas = 1
    story.run()
    assert story.plaintext("alpha") is None
    assert story.condition("Ready") == ("False", "NoPods")
    story.replicas = 0
    story.run()
    assert story.plaintext("alpha") is not None


def test_a_finished_pod_counts_for_nothing() -> None:
    story = Story(pods=1)
    story.pod.finished, story.pod.ready = True, False
    story.apply("alpha")
    story.run()
    assert story.plaintext("alpha") is None
    assert story.pod.annotation is None


def test_whoami_is_asked_with_the_staged_key_on_every_pod_that_may_serve() -> None:
    story = running(2)
    story.rotate()
    probe = story.until(world.ProbeWhoami)
    assert isinstance(probe, world.ProbeWhoami)
    assert (probe.secret, probe.key_id, probe.version) == ("alpha-v2", "alpha", 2)
    assert probe.pods == tuple(story.pods)
    assert probe.digest == story.digest("alpha-v2")


def test_a_pod_whose_whoami_is_wrong_is_waited_for() -> None:
    story = running(2)
    story.rotate()
    story.until(world.ProbeWhoami)
    story.operator.proved = {(story.pod.uid, story.digest("alpha-v2"))}
    [probe] = [action for action in story.plan().actions if isinstance(action, world.ProbeWhoami)]
    assert story.pod.name not in probe.pods
    assert len(probe.pods) == 1
    assert not any(name_of(action) == "VersionActivated" for action in story.plan().actions)


def test_only_pods_that_may_serve_have_to_prove() -> None:
    story = rotating(1)
    story.now += MINUTE
    fresh = story.start_pod()
    fresh.booted, fresh.silent = True, False
    for worker in range(2):
        fresh.load(worker)
    assert fresh.ready is False
    story.pod.held = False
    story.deliver(story.pod)
    for worker in range(2):
        story.pod.load(worker)
    [probe] = [action for action in story.plan().actions if isinstance(action, world.ProbeWhoami)]
    assert probe.pods == (story.pod.name,)


def test_a_key_that_is_not_valid_yet_needs_no_whoami() -> None:
    story = Story()
    story.apply("alpha", notBefore=(START + DAY).isoformat())
    seen = list(story.steps())
    assert not any(isinstance(action, world.ProbeWhoami) for action in seen)
    assert story.plaintext("alpha") is not None


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_key_that_is_not_valid_by_one_clock_needs_no_whoami(hours: int) -> None:
    story = Story()
    story.operator.skew = timedelta(hours=hours)
    story.apply("alpha", notBefore=(START + timedelta(minutes=hours * 30)).isoformat())
    assert not any(isinstance(action, world.ProbeWhoami) for action in story.steps())


def test_pods_are_annotated_once_for_each_revision() -> None:
    story = rotating(2)
    assert all(pod.annotation == story.pod.annotation for pod in story.pods.values())
    before = story.pod.annotation
    assert story.writes() == []
    story.apply("alpha", owner="other")
    story.stall()
    assert story.pod.annotation != before


def test_a_pod_that_has_the_revision_is_not_annotated() -> None:
    story = running(1)
    story.now += MINUTE
    fresh = story.start_pod()
    story.boot(fresh)
    story.run()
    assert fresh.annotation is None


def test_pods_are_asked_again_until_they_have_the_revision() -> None:
    story = rotating(2)
    [question] = [action for action in story.plan().actions if isinstance(action, world.AwaitConvergence)]
    assert question.pods == tuple(story.pods)
    assert question.since == START
    story.pod.held = False
    story.catch_up()
    [question] = [action for action in story.plan().actions if isinstance(action, world.AwaitConvergence)]
    assert question.pods == tuple(story.pods)[1:]


def test_a_pod_with_an_earlier_revision_that_has_the_key_holds_nothing_up() -> None:
    story = running(1)
    story.rotate()
    story.until(world.ProbeWhoami)
    story.pod.held = True
    story.apply("beta")
    story.stall()
    story.catch_up()
    story.round()
    story.stall()
    assert handed_out(story), "the set moved on, and nobody waits for that"


def test_a_revision_that_is_not_known_any_more_proves_nothing() -> None:
    story = rotating(1)
    digest = story.digest("alpha-v2")
    seen = story.look(story.operator)
    accepts = schedule.has_digest(replace(seen, known={"old": {digest: story.entries()["alpha", 2]}, "other": {}}), digest)
    assert accepts(Report("old"))
    assert not accepts(Report("other"))
    assert not accepts(Report("forgotten"))
    assert not accepts(Report(None))
    assert seen.published is not None
    assert seen.published.document is not None
    current = seen.published.document.revision
    assert accepts(Report(current))
    assert accepts(Report("old", later=frozenset({current})))
    assert not accepts(Report("old", later=frozenset({"other", current})))
    assert not accepts(Report(current, later=frozenset({None, current})))


def test_an_answer_from_before_another_publication_acknowledges_nothing() -> None:
    story = running(1)
    seen = story.look(story.operator)
    assert seen.published is not None
    assert seen.published.document is not None
    current, accepts = seen.published.document.revision, schedule.has_revision(seen)
    assert accepts(Report(current))
    assert accepts(Report(current, later=frozenset({current})))
    assert not accepts(Report(current, later=frozenset({"between", current})))
    assert not accepts(Report("between", later=frozenset({current})))


def test_a_pod_that_was_poked_for_another_key_set_is_poked_again_whatever_it_says() -> None:
    story = running(1)
    story.pod.annotation = "another@2026-03-01T12:00:00Z"
    [poke] = [action for action in story.plan().actions if isinstance(action, world.AnnotatePods)]
    assert poke.pods == (story.pod.name,)


def test_what_somebody_else_published_is_not_delivered() -> None:
    story = running(1)
    stored = story.secrets["main-published"]
    story.secrets["main-published"] = replace(stored, data={"keyset.json": keys.publish([], START)})
    found = story.plan().actions
    assert [action for action in found if isinstance(action, world.PublishKeySet)]
    assert not [action for action in found if isinstance(action, world.AnnotatePods)]


def test_a_late_convergence_is_reported_after_five_minutes_and_still_waited_for() -> None:
    story = rotating(2)
    story.now += 5 * MINUTE - SECOND
    story.stall()
    assert story.condition("Degraded") == ("False", "AsExpected")
    assert story.condition("Degraded", "main") == ("False", "AsExpected")
    assert story.plan().next_deadline == story.now + SECOND
    story.now += SECOND
    story.round()
    assert story.condition("Degraded") == ("True", "ConvergenceLate")
    assert story.condition("Degraded", "main") == ("True", "ConvergenceLate")
    assert not handed_out(story)


def test_a_target_without_pods_is_reported_after_five_minutes() -> None:
    story = Story(pods=0)
    story.replicas = 1
    story.apply("alpha")
    story.run()
    assert story.condition("Degraded") == ("False", "AsExpected")
    story.now += 5 * MINUTE
    story.run()
    assert story.condition("Degraded") == ("True", "NotAcknowledged")


def test_the_plan_knows_when_a_late_pod_is_waited_for_no_more_and_when_that_is_reported() -> None:
    story = running(2)
    story.pod.held = True
    story.apply("alpha", owner="other")
    story.stall()
    published = story.now
    assert story.plan().next_deadline == published + schedule.DELIVERY
    story.now += schedule.DELIVERY
    assert story.plan().next_deadline == published + schedule.PATIENCE
    story.pod.held = False
    story.run()
    assert story.plan().next_deadline is None


def test_while_nobody_can_tell_which_pods_there_are_nothing_is_handed_out_and_that_is_reported() -> None:
    story = rotating(1)
    look = story.look
    story.look = lambda operator: replace(look(operator), pods=(), pods_known=False)  # type: ignore[method-assign]
    story.run()
    assert not handed_out(story)
    assert story.condition("Converged", "main") == ("False", "PodsUnknown")
