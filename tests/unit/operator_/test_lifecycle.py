"""A key from its first version to its last: stage, publish, converge, activate, retire."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.unit.operator_.story import DAY, HOUR, MINUTE, PUBLISHED, SECOND, Story, name_of, running

from sluice import keys
from sluice_operator import api_types, schedule, world
from sluice_operator.plan import TOGETHER
from sluice_operator.world import wanted_names


def test_a_new_key_is_staged_published_proved_and_handed_out_in_this_order() -> None:
    story = Story()
    story.apply("alpha")
    done = [name_of(action) for action in story.steps() if not isinstance(action, (world.SetStatus, world.EmitEvent))]
    assert done == [
        "PublishKeySet",  # the empty one: Pods wait for a first set
        "VersionStaged",
        "PublishKeySet",
        "ProbeWhoami",
        "VersionActivated",
        "PatchSecret",
    ]
    assert story.plaintext("alpha") == story.plaintext("alpha-v1")
    assert story.refusal(story.digest("alpha")) is None
    assert story.condition("Ready") == ("True", "Active")


def test_a_version_secret_is_immutable_typed_labelled_and_owned() -> None:
    story = running()
    stored = story.secrets["alpha-v1"]
    assert (stored.type, stored.immutable) == ("sluice.dev/api-key", True)
    assert stored.metadata.labels == {"sluice.dev/keyset": "main", "sluice.dev/apikey": "alpha"}
    [owner] = stored.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("ApiKey", "alpha", story.keys["alpha"].metadata.uid, True)
    assert stored.metadata.annotations[api_types.DIGEST] == story.digest("alpha-v1")


def test_the_client_secret_reports_which_version_it_holds() -> None:
    story = running()
    stored = story.secrets["alpha"]
    assert (stored.type, stored.immutable) == ("sluice.dev/api-key", False)
    assert stored.metadata.annotations[api_types.VERSION] == "1"
    assert stored.metadata.annotations[api_types.ACTIVATED_AT] == "2026-03-01T12:00:00Z"
    assert stored.metadata.labels == {"sluice.dev/keyset": "main", "sluice.dev/apikey": "alpha"}


def test_the_published_secret_is_typed_labelled_and_owned_by_the_key_set() -> None:
    story = running()
    stored = story.secrets[PUBLISHED]
    assert stored.type == "sluice.dev/keyset"
    assert stored.metadata.labels == {"sluice.dev/keyset": "main"}
    [owner] = stored.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("KeySet", "main", "uid-main", True)


def test_the_key_is_minted_for_the_environment_of_the_key_set() -> None:
    plaintext = running().plaintext("alpha") or ""
    assert plaintext.startswith("slk_test_")
    assert keys.checksum_ok(plaintext)


def test_an_entry_has_what_the_api_key_says() -> None:
    story = running(
        owner="checkout",
        scopes=["read", "ingest"],
        rateLimit={"requestsPerMinute": 5},
        notBefore="2026-01-01T00:00:00Z",
        expiresAt="2027-01-01T00:00:00Z",
    )
    entry = story.entries()["alpha", 1]
    assert (entry.owner, sorted(entry.scopes), entry.state) == ("checkout", ["ingest", "read"], "active")
    assert entry.rate_limit == keys.RateLimit(requests_per_minute=5)
    assert (entry.not_before, entry.not_after) == (story.keys["alpha"].spec.not_before, story.keys["alpha"].spec.expires_at)


def test_a_rotation_publishes_both_versions_before_the_client_gets_the_new_one() -> None:
    story = running()
    old = story.digest("alpha")
    story.rotate()
    action = story.until("VersionActivated")
    assert isinstance(action, world.PutSecret)
    assert isinstance(action.data, world.Copy)
    assert set(story.entries()) == {("alpha", 1), ("alpha", 2)}
    assert story.digest("alpha") == old
    assert story.refusal(action.data.digest) is None


def test_the_old_version_is_accepted_for_the_overlap_and_no_second_longer() -> None:
    story = running()
    old = story.digest("alpha")
    story.rotate()
    story.run()
    assert story.entries()["alpha", 1].not_after == story.now + DAY
    assert story.entries()["alpha", 2].not_after is None
    story.now += DAY - SECOND
    assert story.refusal(old) is None
    story.now += SECOND
    assert story.refusal(old) == "expired"


def test_the_end_of_the_old_version_is_noted_on_its_secret_too() -> None:
    story = running()
    story.rotate()
    story.run()
    assert story.secrets["alpha-v1"].metadata.annotations[api_types.ENDS_AT] == "2026-03-02T12:00:00Z"
    assert api_types.ENDS_AT not in story.secrets["alpha-v2"].metadata.annotations


def test_the_old_version_goes_a_margin_after_its_end_first_from_the_key_set_then_its_secret() -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    story.rotate()
    story.run()
    story.now += DAY + HOUR - SECOND
    assert story.writes() == []
    story.now += SECOND
    assert story.kinds() == ["PublishKeySet"]
    story.round()
    assert ("alpha", 1) not in story.entries()
    assert "alpha-v1" in story.secrets
    assert "VersionRetired" in story.kinds()
    story.run()
    assert sorted(story.secrets) == ["alpha", "alpha-v2", PUBLISHED]


def test_a_short_overlap_has_a_short_margin() -> None:
    story = running(rotation={"overlap": "10s", "retirePolicy": "Retire"})
    story.rotate()
    story.run()
    story.now += timedelta(seconds=19)
    assert story.writes() == []
    story.now += SECOND
    assert story.kinds() == ["PublishKeySet"]


def test_a_new_request_waits_until_the_old_version_is_gone() -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    for value in "abc":
        story.rotate(value=value)
        story.run()
    assert story.ledger().highest == 2, "never a third version"
    story.now += DAY + HOUR
    story.run()
    assert story.ledger().active == story.ledger().versions[-1]
    assert [version.number for version in story.ledger().versions] == [2, 3], "three requests, and the last two are one rotation"


def test_a_third_version_waits_also_while_the_key_set_is_lost() -> None:
    story = running()
    story.rotate()
    story.run()
    story.lose(PUBLISHED)
    story.rotate(value="again")
    assert "VersionStaged" not in story.kinds()


def test_one_request_is_one_rotation_however_often_it_is_looked_at() -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    story.rotate()
    for _ in range(5):
        story.run()
        story.now += 2 * DAY
    story.run()
    assert story.ledger().highest == 2


def test_a_request_made_before_the_first_version_is_no_rotation() -> None:
    story = Story()
    story.apply("alpha")
    story.rotate()
    story.run()
    assert story.ledger().highest == 1


def test_a_request_that_is_taken_back_is_none() -> None:
    story = running()
    story.annotate("alpha", "")
    assert story.writes() == []


def test_a_forgotten_request_counts_as_done() -> None:
    story = running()
    story.rotate()
    story.run()
    for secret in ("alpha", "alpha-v2"):
        story.stomp(secret)
    story.run()
    story.now += 2 * DAY
    story.run()
    assert story.ledger().highest == 2
    note = story.secrets["alpha-v2"].metadata.annotations[api_types.MADE_FOR]
    assert note == schedule.fingerprint(story.keys["alpha"])


def test_a_key_rotates_when_its_period_is_over_and_at_most_a_tenth_earlier() -> None:
    story = running(rotation={"period": "1000h"})
    active = story.ledger().active
    assert active is not None
    due = schedule.due(story.keys["alpha"], active)
    assert due is not None
    assert timedelta(hours=900) < due - story.now < timedelta(hours=1000)
    assert story.plan().next_deadline == due
    story.now = due - SECOND
    assert story.writes() == []
    story.now = due
    assert story.kinds() == ["VersionStaged"]


def test_a_period_that_is_shortened_is_pulled_in() -> None:
    story = running(rotation={"period": "1000h"})
    story.now += timedelta(hours=100)
    story.apply("alpha", rotation={"period": "100h"})
    assert story.kinds() == ["VersionStaged"]


def test_keys_made_together_do_not_rotate_together_and_always_at_the_same_time() -> None:
    story = Story()
    for number in range(20):
        story.apply(f"key-{number}", rotation={"period": "1000h"})
    story.run()
    dates = [story.keys[name].status["nextActionAt"] for name in story.keys]
    assert len(set(dates)) > 15
    story.run()
    assert dates == [story.keys[name].status["nextActionAt"] for name in story.keys]


def test_the_share_of_the_spread_is_spread_evenly() -> None:
    shares = [schedule.share(f"sha256:{number}") for number in range(1000)]
    assert 0 <= min(shares) < 0.02
    assert 0.98 < max(shares) < 1
    assert 0.45 < sum(shares) / 1000 < 0.55


def test_a_late_rotation_is_caught_up_once() -> None:
    story = running(rotation={"period": "240h", "retirePolicy": "Retire"})
    story.now += timedelta(days=100)
    story.run()
    assert story.ledger().highest == 2


def test_of_keys_that_are_as_urgent_none_goes_first_for_its_age_or_name() -> None:
    story = Story(maxConcurrentRotations=1)
    for number in range(5):
        story.apply(f"key-{number}")
    story.run()
    for name in story.keys:
        story.rotate(name)
    by_digest = sorted(story.keys, key=story.digest)
    [staged] = [action for action in story.writes() if isinstance(action, world.PutSecret) and action.event == "VersionStaged"]
    assert staged.secret == f"{by_digest[0]}-v2"
    assert by_digest[0] != "key-0", "or the test could not tell"


def test_no_more_keys_rotate_at_once_than_the_key_set_allows() -> None:
    story = Story(maxConcurrentRotations=2)
    for number in range(5):
        story.apply(f"key-{number}")
    story.run()
    story.pod.held = True
    for name in story.keys:
        story.rotate(name)
    story.round()
    assert sum(api_types.version_of(name) is not None and name.endswith("-v2") for name in story.secrets) == 2
    story.stall()
    assert sum(name.endswith("-v2") for name in story.secrets) == 2
    story.pod.held = False
    story.run()
    assert sum(name.endswith("-v2") for name in story.secrets) == 5


def at_rest(story: Story, rest: str) -> None:
    """ApiKey alpha has version 2 staged, and will not go on by itself."""
    if rest == "suspended":
        story.apply("alpha", suspended=True)
    elif rest == "expired":
        story.apply("alpha", expiresAt=api_types.stamp(story.now + HOUR))
        story.now += 2 * HOUR
    elif rest == "refused":
        story.apply("alpha", scopes=["admin"])
    else:
        # What stands in its Secret is another key's digest: it is never published.
        stored = story.secrets["alpha-v2"]
        copied = replace(stored.metadata, annotations={**stored.metadata.annotations, api_types.DIGEST: story.digest("beta-v1")})
        story.put("alpha-v2", replace(stored, metadata=copied, data=story.secrets["beta-v1"].data))
        del story.secrets[PUBLISHED]


@pytest.mark.parametrize("rest", ["suspended", "expired", "refused", "copied"])
def test_a_key_at_rest_with_a_staged_version_does_not_keep_others_from_rotating(rest: str) -> None:
    story = Story(maxConcurrentRotations=1, allowedScopes=["ingest"])
    story.apply("beta")
    story.now += SECOND
    story.apply("alpha")
    story.run()
    story.pod.held = True
    story.rotate()
    story.stall()
    at_rest(story, rest)
    story.stall()
    assert story.ledger().staged is not None, "or the test shows nothing"
    story.pod.held = False
    story.rotate("beta")
    story.run()
    assert story.ledger("beta").highest == 2
    assert story.digest("beta") == story.digest("beta-v2")


def test_a_key_that_only_waits_for_its_secret_does_not_keep_others_from_rotating() -> None:
    """A policy of somebody else may refuse to let the client Secret of one key be written, for ever."""
    story = Story(maxConcurrentRotations=1)
    story.apply("alpha")
    story.apply("beta")
    story.run()
    story.rotate("alpha")
    story.until("VersionActivated")
    story.rotate("beta")
    assert {"VersionStaged", "VersionActivated"} <= set(story.kinds())


def test_first_versions_do_not_wait_for_rotations() -> None:
    story = Story(maxConcurrentRotations=1)
    story.apply("alpha")
    story.run()
    story.pod.held = True
    story.rotate()
    story.stall()
    story.apply("beta")
    story.apply("gamma")
    story.round()
    assert {"alpha-v2", "beta-v1", "gamma-v1"} <= set(story.secrets)


def test_what_was_lost_goes_before_what_is_only_due() -> None:
    story = Story(maxConcurrentRotations=1)
    for name in ("alpha", "beta", "gamma"):
        story.apply(name, rotation={"period": "1000h"})
    story.run()
    story.now += timedelta(hours=1000)
    story.rotate("beta")
    story.lose("gamma", "gamma-v1")
    story.run()
    made = [name for name in story.secrets if name.endswith("-v2")]
    assert made == ["gamma-v2", "beta-v2", "alpha-v2"]


def test_a_key_that_was_recreated_does_not_rotate() -> None:
    story = running(rotation={"period": "720h"})
    story.now += 20 * DAY
    story.run()
    story.remove("alpha", orphan=True)
    story.apply("alpha")
    story.now += 2 * DAY
    story.run()
    assert story.ledger().highest == 1
    [owner] = story.secrets["alpha-v1"].metadata.owner_references
    assert owner.uid == story.keys["alpha"].metadata.uid


def test_a_key_that_was_recreated_with_its_secrets_gone_gets_another_version_and_the_old_its_overlap() -> None:
    story = running()
    old = story.digest("alpha")
    story.remove("alpha")
    story.apply("alpha")
    story.run()
    assert story.digest("alpha") != old
    assert story.refusal(old) is None
    assert story.entries()["alpha", 1].not_after == story.now + DAY


def test_a_key_restored_with_its_secrets_into_an_empty_cluster_does_not_rotate() -> None:
    story = running()
    story.lose(PUBLISHED)
    story.run()
    assert story.ledger().highest == 1
    assert story.entries()["alpha", 1].digest == story.digest("alpha")


def test_a_key_of_which_only_the_client_secret_is_left_is_adopted() -> None:
    story = running()
    old = story.digest("alpha")
    story.lose(PUBLISHED, "alpha-v1")
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v1") == old


def test_a_deleted_key_is_out_of_the_key_set_at_once() -> None:
    story = running(pods=0)
    story.remove("alpha")
    assert story.kinds() == ["PublishKeySet"]
    story.round()
    assert story.entries() == {}


def test_a_key_made_again_after_that_starts_again() -> None:
    story = running()
    old = story.digest("alpha")
    story.remove("alpha")
    story.run()
    story.apply("alpha")
    story.run()
    assert story.refusal(old) == "unknown"
    assert story.ledger().highest == 1


def test_a_second_look_has_nothing_to_write() -> None:
    assert running(rotation={"period": "720h"}).plan().actions == ()


def test_a_status_that_was_erased_changes_nothing_else() -> None:
    story = running()
    before = dict(story.secrets)
    story.keys["alpha"] = replace(story.keys["alpha"], status={})
    assert {type(action) for action in story.plan().actions} == {world.SetStatus, world.EmitEvent}
    story.run()
    assert story.secrets == before


def test_the_engine_knows_which_secrets_to_look_for_by_name() -> None:
    story = running()
    story.apply("beta", delivery={"mode": "Provided", "digest": keys.digest("theirs")})
    assert sorted(wanted_names(story.look(story.operator))) == ["alpha", "alpha-v1"]


def test_a_plan_can_be_followed_by_its_deadlines_alone() -> None:
    story = running(rotation={"period": "100h", "overlap": "1h", "retirePolicy": "Retire"})
    for _ in range(12):
        deadline = story.plan().next_deadline
        assert deadline is not None
        assert deadline > story.now
        story.now = deadline
        story.run()
    assert story.ledger().highest > 2


def test_a_deadline_is_a_delay_by_the_earlier_clock() -> None:
    story = running(rotation={"period": "1000h"})
    story.operator.skew = HOUR
    plan, clock = story.plan(), story.clock(story.operator)
    assert plan.next_deadline is not None
    assert plan.delay(clock) == plan.next_deadline - story.now
    story.now += timedelta(hours=2000)
    assert plan.delay(story.clock(story.operator)) == timedelta()


def test_without_anything_to_come_there_is_no_deadline() -> None:
    story = running()
    assert story.plan().next_deadline is None
    assert story.plan().delay(story.clock(story.operator)) is None


def test_without_its_key_set_a_key_says_so_and_left_alone() -> None:
    story = running()
    before = dict(story.secrets)
    story.keyset = None
    story.now += TOGETHER
    story.run()
    assert story.secrets == before
    assert story.condition("Ready") == ("False", "KeySetNotFound")
    assert story.plan().next_deadline is None


@pytest.mark.parametrize("minutes", [0, 30, 90])
def test_a_clock_that_jumps_ahead_ends_nothing_early(minutes: int) -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    old = story.digest("alpha")
    story.rotate()
    story.run()
    story.now += DAY - 2 * MINUTE
    story.operator.skew = minutes * MINUTE
    story.run()
    assert story.refusal(old) is None
    assert "alpha-v1" in story.secrets


def test_a_clock_that_is_behind_shortens_no_overlap() -> None:
    story = running()
    story.operator.skew = -HOUR
    story.rotate()
    story.run()
    assert story.entries()["alpha", 1].not_after == story.now + DAY


def test_an_overlap_starts_with_the_later_clock() -> None:
    story = running()
    story.operator.skew = HOUR
    story.rotate()
    story.run()
    assert story.entries()["alpha", 1].not_after == story.now + HOUR + DAY


def test_what_is_published_is_known_by_its_revision() -> None:
    story = Story()
    [published] = [action for action in story.writes() if isinstance(action, world.PublishKeySet)]
    assert keys.parse_document(published.document).revision == published.revision
