"""The three places of a plaintext: kept, dropped, never here."""

from __future__ import annotations

from tests.unit.operator_.cluster import START
from tests.unit.operator_.story import DAY, HOUR, SECOND, Story, running

from sluice import keys
from sluice_operator import api_types

FIRST, SECOND_DIGEST, THIRD = keys.digest("one"), keys.digest("two"), keys.digest("three")


def dropping() -> Story:
    return running(delivery={"mode": "DropAfter", "dropAfter": "1h"})


def provided(digest: str = FIRST) -> dict[str, str]:
    return {"mode": "Provided", "digest": digest}


def test_another_name_for_the_client_secret_is_honoured() -> None:
    story = running(delivery={"secretName": "checkout"})
    assert story.digest("checkout") == story.digest("alpha-v1")
    assert "alpha" not in story.secrets
    assert story.keys["alpha"].status["secretName"] == "checkout"


def test_a_plaintext_to_be_dropped_is_in_secrets_that_can_be_changed() -> None:
    assert dropping().secrets["alpha-v1"].immutable is False


def test_a_plaintext_is_dropped_on_its_date_and_the_key_goes_on() -> None:
    story = dropping()
    old = story.digest("alpha")
    assert (story.keys["alpha"].status["nextAction"], story.keys["alpha"].status["nextActionAt"]) == (
        "Drop",
        "2026-03-01T13:00:00Z",
    )
    assert story.plan().next_deadline == START + HOUR
    story.now += HOUR - SECOND
    assert story.writes() == []
    story.now += SECOND
    assert story.kinds() == ["ClientRemoved", "PlaintextDropped"]
    story.run()
    assert story.plaintext("alpha") is None
    assert story.plaintext("alpha-v1") is None
    assert story.refusal(old) is None
    assert story.condition("Ready") == ("True", "Active")
    assert "secretName" not in story.keys["alpha"].status
    assert story.writes() == []


def test_by_one_clock_alone_nothing_is_dropped() -> None:
    story = dropping()
    story.operator.skew = HOUR
    assert story.writes() == []


def test_a_client_secret_that_is_gone_early_comes_back_until_its_date() -> None:
    story = dropping()
    story.lose("alpha")
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v1")
    story.now += HOUR
    story.lose("alpha")
    assert story.kinds() == ["PlaintextDropped"]


def test_a_dropped_plaintext_that_comes_back_is_dropped_again() -> None:
    story = dropping()
    kept = story.secrets["alpha"], story.secrets["alpha-v1"]
    story.now += HOUR
    story.run()
    story.put("alpha", kept[0])
    story.put("alpha-v1", kept[1])
    assert sorted(story.kinds()) == ["ClientRemoved", "PlaintextDropped"]


def test_nothing_is_dropped_before_it_is_noted_when_it_was_handed_out() -> None:
    story = dropping()
    story.stomp("alpha-v1")
    story.now += HOUR
    assert "ClientRemoved" not in story.kinds()
    story.run()
    assert story.plaintext("alpha") is None
    assert story.secrets["alpha-v1"].metadata.annotations[api_types.ACTIVATED_AT] == "2026-03-01T12:00:00Z"


def test_a_dropped_key_whose_record_is_deleted_goes_on() -> None:
    story = dropping()
    old = story.digest("alpha")
    story.now += HOUR
    story.run()
    story.lose("alpha-v1")
    story.run()
    assert story.refusal(old) is None
    assert story.secrets["alpha-v1"].metadata.annotations[api_types.DIGEST] == old
    assert story.ledger().highest == 1


def test_a_dropped_key_whose_key_set_is_deleted_goes_on() -> None:
    story = dropping()
    old = story.digest("alpha")
    story.now += HOUR
    story.run()
    story.lose("main-published")
    story.run()
    assert story.refusal(old) is None


def test_a_record_that_is_deleted_before_the_drop_is_made_again_with_the_key() -> None:
    story = dropping()
    story.lose("alpha-v1")
    story.run()
    assert story.plaintext("alpha-v1") == story.plaintext("alpha")
    assert story.secrets["alpha-v1"].immutable is False


def test_a_rotation_drops_the_old_plaintext_at_once_and_the_new_one_on_its_date() -> None:
    story = dropping()
    old = story.digest("alpha")
    story.now += 10 * DAY
    story.run()
    story.rotate()
    story.run()
    new = story.digest("alpha")
    assert story.plaintext("alpha-v1") is None
    assert (story.refusal(old), story.refusal(new)) == (None, None)
    story.now += HOUR
    story.run()
    assert story.plaintext("alpha") is None
    assert (story.refusal(old), story.refusal(new)) == (None, None)


def test_a_rotation_before_the_date_drops_the_old_plaintext() -> None:
    story = dropping()
    story.rotate()
    story.run()
    assert story.plaintext("alpha-v1") is None
    assert story.digest("alpha") == story.digest("alpha-v2")


def test_a_crash_between_hand_over_and_note_loses_no_dropped_key() -> None:
    story = dropping()
    story.now += 10 * DAY
    story.run()
    story.rotate()
    story.do(story.operator, story.until("VersionActivated"))
    new = story.digest("alpha")
    story.now += 5 * HOUR
    story.run()
    assert story.refusal(new) is None
    assert story.ledger().highest == 2


def test_an_edited_version_secret_that_was_dropped_is_emptied() -> None:
    story = dropping()
    story.now += HOUR
    story.run()
    story.edit("alpha-v1", **{api_types.KEY_DATA: b"edited"})
    assert story.kinds() == ["PlaintextDropped"]
    story.run()
    assert story.plaintext("alpha-v1") is None


def test_an_edited_version_secret_is_made_again_from_the_client_s() -> None:
    story = dropping()
    story.edit("alpha-v1", **{api_types.KEY_DATA: b"edited"})
    assert story.kinds() == ["VersionRetired"]
    story.run()
    assert story.plaintext("alpha-v1") == story.plaintext("alpha")
    assert story.ledger().highest == 1


def test_a_provided_key_is_accepted_and_no_plaintext_is_anywhere() -> None:
    story = running(delivery=provided())
    assert sorted(story.secrets) == ["alpha-v1", "main-published"]
    record = story.secrets["alpha-v1"]
    assert (record.data, record.immutable) == ({}, True)
    assert record.metadata.annotations[api_types.DIGEST] == FIRST
    assert api_types.ACTIVATED_AT in record.metadata.annotations
    assert story.refusal(FIRST) is None
    assert story.condition("Ready") == ("True", "Active")
    assert "secretName" not in story.keys["alpha"].status


def test_a_provided_key_waits_for_the_pods_too() -> None:
    story = Story()
    story.pod.held = True
    story.apply("alpha", delivery=provided())
    story.stall()
    assert api_types.ACTIVATED_AT not in story.secrets["alpha-v1"].metadata.annotations
    assert story.condition("Ready") == ("False", "Converging")


def test_another_digest_is_another_version_and_the_old_one_has_its_overlap() -> None:
    story = running(delivery=provided(), rotation={"retirePolicy": "Retire"})
    story.apply("alpha", delivery=provided(SECOND_DIGEST))
    story.run()
    assert (story.refusal(FIRST), story.refusal(SECOND_DIGEST)) == (None, None)
    assert story.entries()["alpha", 1].not_after == story.now + DAY
    story.now += DAY
    assert (story.refusal(FIRST), story.refusal(SECOND_DIGEST)) == ("expired", None)


def test_a_digest_that_is_changed_again_before_it_is_handed_out_is_dropped() -> None:
    story = running(delivery=provided())
    story.pod.held = True
    story.apply("alpha", delivery=provided(SECOND_DIGEST))
    story.stall()
    story.apply("alpha", delivery=provided(THIRD))
    story.pod.held = False
    story.run()
    assert {entry.digest for entry in story.entries().values()} == {FIRST, THIRD}
    assert "alpha-v2" not in story.secrets


def test_a_digest_that_comes_back_within_its_overlap_is_the_newest_again() -> None:
    story = running(delivery=provided())
    story.apply("alpha", delivery=provided(SECOND_DIGEST))
    story.run()
    story.apply("alpha", delivery=provided(FIRST))
    story.now += 3 * DAY
    story.run()
    story.now += 3 * DAY
    story.run()
    assert story.refusal(FIRST) is None
    assert FIRST in {entry.digest for entry in story.entries().values()}


def test_rotate_now_means_nothing_to_a_provided_key() -> None:
    story = running(delivery=provided())
    story.rotate()
    assert story.writes() == []


def test_a_record_of_a_provided_key_that_is_deleted_or_stomped_is_made_again() -> None:
    story = running(delivery=provided())
    before = story.secrets["alpha-v1"]
    story.lose("alpha-v1")
    story.run()
    assert story.secrets["alpha-v1"].metadata.annotations[api_types.DIGEST] == FIRST
    story.stomp("alpha-v1")
    story.run()
    assert story.secrets["alpha-v1"].metadata.annotations.keys() == before.metadata.annotations.keys()
    assert story.refusal(FIRST) is None
    assert story.ledger().highest == 1


def test_a_record_of_a_provided_key_that_is_stomped_while_the_key_set_is_gone_takes_the_digest_asked_for() -> None:
    story = running(delivery=provided())
    story.stomp("alpha-v1", "nonsense")
    story.lose("main-published")
    story.run()
    assert story.refusal(FIRST) is None
    assert story.ledger().highest == 1


def test_the_client_secret_has_what_its_template_asks_for() -> None:
    template = {
        "labels": {"team": "shop", api_types.LABEL_API_KEY: "other", "argocd.argoproj.io/instance": "x"},
        "annotations": {"reloader.stakater.com/match": "true", api_types.VERSION: "9"},
    }
    story = running(delivery={"secretTemplate": template})
    found = story.secrets["alpha"].metadata
    assert found.labels == {"team": "shop", api_types.LABEL_API_KEY: "alpha", api_types.LABEL_KEYSET: "main"}
    assert (found.annotations["reloader.stakater.com/match"], found.annotations[api_types.VERSION]) == ("true", "1")
    assert "team" not in story.secrets["alpha-v1"].metadata.labels
    story.apply("alpha", delivery={"secretTemplate": {"labels": {"team": "checkout"}}})
    story.run()
    assert story.secrets["alpha"].metadata.labels["team"] == "checkout"
    assert story.writes() == []
