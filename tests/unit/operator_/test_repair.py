"""What others do to our Secrets is fixed: the same value, never a new one, and nobody is locked out meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.operator_.story import DAY, HOUR, PUBLISHED, Story, running

from sluice import keys
from sluice_operator import api_types, world
from sluice_operator.world import Secret


def test_a_deleted_client_secret_comes_back_with_the_same_value() -> None:
    story = running()
    old = story.digest("alpha")
    story.lose("alpha")
    assert story.kinds() == ["ClientRepaired"]
    story.run()
    assert story.digest("alpha") == old
    assert story.condition("Ready") == ("True", "Active")


def test_an_edited_client_secret_is_restored() -> None:
    story = running()
    old = story.digest("alpha")
    story.edit("alpha", **{api_types.KEY_DATA: b"edited"})
    story.run()
    assert story.digest("alpha") == old


def test_an_emptied_client_secret_is_restored() -> None:
    story = running()
    story.edit("alpha")
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v1")


@pytest.mark.parametrize("secret", ["alpha", "alpha-v1", PUBLISHED])
@pytest.mark.parametrize("value", [None, "nonsense"])
def test_stomped_labels_annotations_and_owners_are_restored(secret: str, value: str | None) -> None:
    story = running()
    before = story.secrets[secret].metadata
    story.stomp(secret, value)
    assert len(story.writes()) == 1
    story.run()
    after = story.secrets[secret].metadata
    assert (after.labels, after.annotations, after.owner_references) == (
        before.labels,
        before.annotations,
        before.owner_references,
    )
    assert story.ledger().highest == 1


@pytest.mark.parametrize("secret", ["alpha", "alpha-v1", PUBLISHED])
def test_labels_and_annotations_of_others_are_left_alone(secret: str) -> None:
    story = running()
    stored = story.secrets[secret]
    labels, notes = stored.metadata.labels | {"theirs": "1"}, stored.metadata.annotations | {"theirs": "2"}
    story.put(secret, replace(stored, metadata=replace(stored.metadata, labels=labels, annotations=notes)))
    assert story.writes() == []


@pytest.mark.parametrize("secret", ["alpha", "alpha-v1", PUBLISHED])
def test_another_owner_beside_ours_is_removed(secret: str) -> None:
    story = running()
    stored = story.secrets[secret]
    [owner] = stored.metadata.owner_references
    owners = (owner, replace(owner, uid="uid-other"))
    story.put(secret, replace(stored, metadata=replace(stored.metadata, owner_references=owners)))
    assert len(story.writes()) == 1


def test_a_stomped_key_set_is_written_again_as_it_was() -> None:
    story = running()
    before = story.secrets[PUBLISHED].data
    story.now += HOUR
    stored = story.secrets[PUBLISHED]
    story.put(PUBLISHED, replace(stored, metadata=replace(stored.metadata, labels={})))
    story.run()
    assert story.secrets[PUBLISHED].data == before, "same revision, same date"


def test_a_deleted_version_secret_is_made_again_from_the_client_s() -> None:
    story = running()
    before = story.secrets["alpha-v1"]
    story.lose("alpha-v1")
    assert story.kinds() == ["VersionRestored"]
    story.run()
    after = story.secrets["alpha-v1"]
    assert (after.data, after.immutable) == (before.data, True)
    assert after.metadata.annotations == before.metadata.annotations
    assert story.ledger().highest == 1


def test_a_version_secret_that_was_replaced_is_made_again() -> None:
    story = running()
    before = story.secrets["alpha-v1"]
    story.put("alpha-v1", replace(before, data={api_types.KEY_DATA: b"forged"}))
    assert story.kinds() == ["VersionRetired"]
    story.run()
    assert story.secrets["alpha-v1"].data == before.data


def test_a_version_secret_without_its_key_is_made_again() -> None:
    story = running()
    before = story.secrets["alpha-v1"]
    story.put("alpha-v1", replace(before, data={}))
    story.run()
    assert story.secrets["alpha-v1"].data == before.data


def test_a_broken_version_secret_stays_until_its_digest_is_published() -> None:
    story = running()
    before = story.secrets["alpha-v1"]
    story.put("alpha-v1", replace(before, data={api_types.KEY_DATA: b"forged"}))
    story.lose(PUBLISHED)
    assert story.kinds() == ["PublishKeySet"]
    story.run()
    assert story.digest("alpha-v1") == story.digest("alpha")
    assert story.entries()["alpha", 1].digest == story.digest("alpha")


def test_a_lost_plaintext_is_replaced_and_the_lost_one_has_its_full_overlap() -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    old = story.digest("alpha")
    story.now += 10 * DAY
    story.lose("alpha", "alpha-v1")
    assert "VersionRestored" in story.kinds(), "its digest is noted again"
    story.round()
    story.round()
    assert story.condition("Degraded") == ("True", "PlaintextLost")
    assert story.condition("Ready") == ("False", "PlaintextLost")
    told = {each["type"]: each["message"] for each in story.keys["alpha"].status["conditions"]}
    assert told["Ready"].startswith("the Secrets of version 1 are gone")
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v2")
    assert story.entries()["alpha", 1].not_after == story.now + DAY
    assert story.refusal(old) is None
    assert story.condition("Ready") == ("True", "Active")


def test_a_lost_plaintext_is_noted_and_survives_the_loss_of_the_key_set_too() -> None:
    story = running()
    old = story.digest("alpha")
    story.lose("alpha", "alpha-v1")
    story.run()
    story.lose(PUBLISHED)
    story.run()
    assert story.refusal(old) is None


def test_a_plaintext_that_is_lost_within_an_overlap_is_replaced_after_it() -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    story.rotate()
    story.run()
    story.lose("alpha", "alpha-v2")
    story.run()
    assert story.ledger().highest == 2, "never a third version"
    story.now += DAY + HOUR
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v3")


def test_a_staged_version_that_is_lost_is_dropped_and_made_again() -> None:
    story = running()
    story.rotate()
    action = story.until("VersionActivated")
    assert isinstance(action, world.PutSecret)
    assert isinstance(action.data, world.Copy)
    story.lose("alpha-v2")
    story.run()
    assert action.data.digest not in {entry.digest for entry in story.entries().values()}
    assert len([entry for entry in story.entries().values() if entry.state == "active"]) == 2
    assert story.digest("alpha") != action.data.digest


def test_an_old_version_secret_that_is_lost_within_the_overlap_locks_nobody_out() -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    old = story.digest("alpha")
    story.rotate()
    story.run()
    story.lose("alpha-v1")
    story.run()
    assert story.refusal(old) is None
    assert story.plaintext("alpha-v1") is None
    assert story.secrets["alpha-v1"].metadata.annotations[api_types.ENDS_AT] == "2026-03-02T12:00:00Z"


def test_a_deleted_key_set_is_written_again_with_every_version() -> None:
    story = running()
    story.rotate()
    story.run()
    before = story.entries()
    story.lose(PUBLISHED)
    assert story.kinds()[0] == "PublishKeySet"
    story.round()
    assert story.entries() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense"])
def test_a_broken_key_set_is_written_again_and_reported(content: bytes) -> None:
    story = running()
    before = story.entries()
    story.edit(PUBLISHED, **{api_types.KEYSET_DATA: content})
    reasons = [action.reason for action in story.plan().actions if isinstance(action, world.EmitEvent)]
    assert "KeySetRestored" in reasons
    story.run()
    assert story.entries() == before


def tampered(story: Story, *entries: keys.KeyEntry) -> None:
    story.edit(PUBLISHED, **{api_types.KEYSET_DATA: keys.publish(entries, story.now)})


def test_an_entry_that_somebody_added_is_removed() -> None:
    story = running()
    [entry] = story.entries().values()
    forged = replace(entry, digest=keys.digest("forged"), version=7, scopes=frozenset({"admin"}))
    tampered(story, entry, forged, replace(forged, digest=keys.digest("other"), key_id="nobody"))
    story.round()
    assert list(story.entries().values()) == [entry]
    assert story.ledger().highest == 1


@pytest.mark.parametrize(
    "change",
    [
        {"digest": keys.digest("forged")},
        {"state": "revoked"},
        {"state": "suspended"},
        {"scopes": frozenset({"admin"})},
        {"owner": "other"},
        {"version": 2},
    ],
)
def test_an_entry_that_somebody_changed_is_changed_back(change: dict[str, Any]) -> None:
    story = running()
    [entry] = story.entries().values()
    tampered(story, replace(entry, **change))
    story.run()
    assert list(story.entries().values()) == [entry]
    assert story.digest("alpha") == story.digest("alpha-v1") == entry.digest


def test_an_entry_that_somebody_removed_comes_back() -> None:
    story = running()
    before = story.entries()
    tampered(story)
    story.run()
    assert story.entries() == before


def test_an_end_that_somebody_moved_is_moved_back() -> None:
    story = running()
    story.rotate()
    story.run()
    old, new = story.entries().values()
    tampered(story, replace(old, not_after=None), new)
    story.run()
    assert story.entries()["alpha", 1] == old


def test_an_old_entry_without_a_secret_is_not_believed_when_somebody_else_wrote_it() -> None:
    story = running()
    story.rotate()
    story.run()
    story.now += 10 * DAY
    story.run()
    [entry] = story.entries().values()
    tampered(story, replace(entry, digest=keys.digest("forged"), version=1), entry)
    story.round()
    assert list(story.entries()) == [("alpha", 2)]


def test_a_stray_version_secret_is_removed() -> None:
    """One that an operator with an old view made: nobody ever got it."""
    story = running()
    story.rotate()
    story.run()
    story.now += 10 * DAY
    story.run()
    stray = story.secrets["alpha-v2"]
    notes = {api_types.DIGEST: keys.digest("stray")}
    metadata = replace(stray.metadata, name="alpha-v1", annotations=notes)
    story.put("alpha-v1", replace(stray, metadata=metadata, data={api_types.KEY_DATA: b"stray"}))
    assert story.kinds() == ["VersionRetired"]
    story.run()
    assert "alpha-v1" not in story.secrets


def test_a_version_secret_that_nothing_is_known_of_is_removed() -> None:
    story = running()
    stored = story.secrets["alpha-v1"]
    empty = replace(stored.metadata, name="alpha-v5", annotations={})
    story.put("alpha-v5", replace(stored, metadata=empty, data={}))
    story.run()
    assert "alpha-v5" not in story.secrets
    assert list(story.entries()) == [("alpha", 1)]


def test_of_two_staged_versions_the_newer_is_handed_out_and_the_other_removed() -> None:
    story = running()
    stored = story.secrets["alpha-v1"]
    for number in (2, 3):
        text = f"key {number}"
        notes = {api_types.DIGEST: keys.digest(text)}
        metadata = replace(stored.metadata, name=f"alpha-v{number}", annotations=notes)
        story.put(f"alpha-v{number}", replace(stored, metadata=metadata, data={api_types.KEY_DATA: text.encode()}))
    story.run()
    assert story.plaintext("alpha") == "key 3"
    assert "alpha-v2" not in story.secrets


def test_when_nothing_says_which_version_was_handed_out_the_older_is_handed_out_again_first() -> None:
    story = running()
    story.rotate()
    story.until("VersionActivated")
    story.lose("alpha")
    story.stomp("alpha-v1")
    story.stomp("alpha-v2")
    story.lose(PUBLISHED)
    active = story.ledger().active
    assert active is not None
    assert active.number == 1
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v2")


def test_a_client_secret_that_claims_a_version_that_never_was_is_repaired() -> None:
    story = running()
    stored = story.secrets["alpha"]
    notes = stored.metadata.annotations | {api_types.VERSION: "9"}
    story.put("alpha", replace(stored, metadata=replace(stored.metadata, annotations=notes)))
    story.run()
    assert story.secrets["alpha"].metadata.annotations[api_types.VERSION] == "1"
    assert list(story.entries()) == [("alpha", 1)]


@pytest.mark.parametrize("claim", ["0", "x", "-1", "1234567890"])
def test_a_claim_that_is_no_version_number_is_none(claim: str) -> None:
    story = running()
    stored = story.secrets["alpha"]
    notes = stored.metadata.annotations | {api_types.VERSION: claim}
    story.put("alpha", replace(stored, metadata=replace(stored.metadata, annotations=notes)))
    story.run()
    assert story.ledger().highest == 1


def test_a_repaired_client_secret_keeps_the_time_of_its_hand_over() -> None:
    story = running()
    story.now += DAY
    story.lose("alpha")
    story.run()
    assert story.secrets["alpha"].metadata.annotations[api_types.ACTIVATED_AT] == "2026-03-01T12:00:00Z"


def test_a_secret_reports_its_notes() -> None:
    secret = running().look(Story().operator).secrets["alpha"]
    assert isinstance(secret, Secret)
    assert (secret.note(api_types.VERSION), secret.note("nothing")) == ("1", None)


def test_a_version_is_known_as_handed_out_by_the_client_s_key_alone() -> None:
    story = running()
    story.stomp("alpha")
    story.stomp("alpha-v1")
    active = story.ledger().active
    assert active is not None
    assert (active.number, active.activated_at) == (1, None)
    [adopted] = [each for each in story.writes() if isinstance(each, world.PatchSecret)]
    assert adopted.marks is not None
    assert adopted.marks.annotations[api_types.ACTIVATED_AT] == "2026-03-01T12:00:00Z", "from now on that is known again"
    assert "VersionActivated" not in story.kinds()


def test_a_version_whose_secrets_are_all_lost_is_the_active_one_until_its_successor_is_proved() -> None:
    story = running()
    story.rotate()
    story.until(world.ProbeWhoami)
    story.lose("alpha", "alpha-v1")
    ledger = story.ledger()
    assert ledger.active is not None
    assert ledger.staged is not None
    assert (ledger.active.number, ledger.staged.number) == (1, 2)
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v2")
    assert story.entries()["alpha", 1].not_after == story.now + DAY
