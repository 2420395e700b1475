"""Objects that come back from a backup: into a new cluster, or into one that has gone on since."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace
from tests.unit.operator_.cluster import Stored
from tests.unit.operator_.story import DAY, HOUR, PUBLISHED, Story, running

from sluice_operator import api_types


def backup(story: Story) -> dict[str, Stored]:
    """Its Secrets, as tools restore them: without their owners, which have other uids then."""
    return {
        name: replace(stored, metadata=replace(stored.metadata, owner_references=())) for name, stored in story.secrets.items()
    }


def rotated() -> tuple[Story, dict[str, Stored], str]:
    """A key whose first version has ended; a backup of before its rotation; the digest of that version."""
    story = running()
    kept, old = backup(story), story.digest("alpha")
    story.rotate()
    story.run()
    story.now += DAY + 2 * HOUR
    story.run()
    assert story.refusal(old) == "unknown"
    return story, kept, old


def test_a_version_that_has_ended_is_not_accepted_again_when_its_secret_comes_back() -> None:
    story, kept, old = rotated()
    story.put("alpha-v1", kept["alpha-v1"])
    story.run()
    assert story.refusal(old) == "unknown"
    assert "alpha-v1" not in story.secrets


def test_a_version_that_has_ended_is_not_accepted_again_by_a_key_set_of_before() -> None:
    story, kept, old = rotated()
    story.put(PUBLISHED, kept[PUBLISHED])
    story.run()
    assert story.refusal(old) == "unknown"
    assert "alpha-v1" not in story.secrets


def test_a_whole_backup_over_a_cluster_that_went_on_brings_no_ended_version_back() -> None:
    story, kept, old = rotated()
    new = story.digest("alpha")
    for name, stored in kept.items():
        story.put(name, stored)
    story.run()
    assert story.digest("alpha") == new
    assert story.refusal(old) == "unknown"
    assert story.refusal(new) is None


def test_a_key_set_of_before_brings_no_third_version() -> None:
    story, kept, old = rotated()
    story.rotate(value="again")
    story.run()
    accepted = story.entries()
    for name, stored in kept.items():
        story.put(name, stored)
    story.run()
    assert story.refusal(old) == "unknown"
    assert story.entries() == accepted


def test_a_newer_version_that_comes_back_leaves_the_present_one_its_overlap() -> None:
    story = running()
    before, old = backup(story), story.digest("alpha")
    story.rotate()
    story.run()
    newer = backup(story)
    story.lose(*story.secrets)
    story.annotate("alpha", "")
    story.now += 5 * DAY
    for name, stored in before.items():
        story.put(name, stored)
    story.run()
    story.now += 5 * DAY
    story.apply("alpha", owner="others")
    story.run()
    assert story.digest("alpha") == old
    story.put("alpha-v2", newer["alpha-v2"])
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v2") != old
    assert story.entries()["alpha", 1].not_after == story.now + DAY


def revoked_and_removed() -> tuple[Story, dict[str, Stored], str]:
    """A key that was revoked and removed; a backup of before that; its digest."""
    story = running()
    kept, old = backup(story), story.digest("alpha")
    story.apply("alpha", revoked=True)
    story.run()
    story.remove("alpha")
    story.run()
    return story, kept, old


def test_a_revoked_key_is_not_accepted_under_another_name() -> None:
    story = running()
    kept, old = backup(story), story.digest("alpha")
    story.apply("alpha", revoked=True)
    story.run()
    story.put("beta-v1", replace(kept["alpha-v1"], metadata=replace(kept["alpha-v1"].metadata, name="beta-v1", labels={})))
    story.apply("beta")
    story.run()
    assert story.refusal(old) == "revoked"
    assert story.digest("beta") != old


def test_a_revoked_key_that_is_restored_while_its_key_set_is_lost_stays_revoked() -> None:
    story, kept, old = revoked_and_removed()
    story.lose(PUBLISHED)
    story.apply("alpha", revoked=False)
    for name in ("alpha", "alpha-v1"):
        story.put(name, kept[name])
    story.run()
    assert story.refusal(old) == "revoked"
    assert story.digest("alpha") != old


def test_a_revoked_key_that_is_restored_with_the_key_set_of_before_stays_revoked() -> None:
    story, kept, old = revoked_and_removed()
    story.apply("alpha", revoked=False)
    for name, stored in kept.items():
        story.put(name, stored)
    story.run()
    assert story.entries()["alpha", 1].state == "revoked"
    assert story.refusal(old) == "revoked"
    story.now += timedelta(days=30)
    story.run()
    assert [number for _, number in story.entries()] == [2]


def test_a_client_secret_that_comes_back_beside_a_new_version_is_given_it_only_when_pods_accept_it() -> None:
    kept = backup(running())
    story = Story(pods=2)
    story.apply("alpha")
    story.until("VersionStaged")
    story.round()
    story.put("alpha", kept["alpha"])
    for pod in story.pods.values():
        pod.held = True
    story.stall()
    assert story.plaintext("alpha") == kept["alpha"].data[api_types.KEY_DATA].decode()
    for pod in story.pods.values():
        pod.held = False
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v1")
    assert story.refusal(story.digest("alpha")) is None


def test_an_old_version_goes_on_for_its_overlap_in_a_new_cluster() -> None:
    story = running()
    old = story.digest("alpha")
    story.rotate()
    story.run()
    kept = backup(story)
    fresh = Story()
    fresh.handed = story.handed
    fresh.now = story.now + HOUR
    fresh.run()
    for name in ("alpha", "alpha-v1", "alpha-v2"):
        fresh.put(name, kept[name])
    fresh.apply("alpha")
    fresh.run()
    assert fresh.refusal(old) is None
    assert fresh.entries()["alpha", 1].not_after == story.now + DAY
    assert fresh.refusal(story.digest("alpha")) is None
