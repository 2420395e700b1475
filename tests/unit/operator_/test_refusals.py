"""Revoked, suspended, expired, deleted, refused: what ends a key, what only holds it, and what is never let in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.operator_.cluster import SEAL, START, foreign
from tests.unit.operator_.story import DAY, HOUR, MINUTE, PUBLISHED, SECOND, Story, running

from sluice import keys
from sluice_operator import api_types, entries, world
from sluice_operator.api_types import Metadata
from sluice_operator.world import Aside, Published, seal

DIGEST, OTHER = keys.digest("theirs"), keys.digest("others")


def test_a_revoked_key_is_unpublished_first_of_all_and_waits_for_nobody() -> None:
    story = running(2)
    for pod in story.pods.values():
        pod.held = pod.silent = True
    story.apply("alpha", revoked=True)
    assert story.kinds() == ["PublishKeySet"], "its Secrets go when the key set is written"
    story.stall()
    assert story.entries()["alpha", 1].state == "revoked"
    assert sorted(story.secrets) == [PUBLISHED]
    assert story.condition("Ready") == ("False", "Converging"), "Pods may still accept it"
    assert story.condition("Active") == ("False", "Revoked")


def test_a_revocation_comes_first_in_its_plan() -> None:
    story = running()
    story.apply("beta")
    story.apply("alpha", revoked=True)
    assert story.kinds()[0] == "PublishKeySet"


def test_a_revocation_in_the_middle_of_a_rotation_ends_both_versions() -> None:
    story = running()
    story.rotate()
    story.until("VersionActivated")
    staged = story.digest("alpha-v2")
    story.apply("alpha", revoked=True)
    story.run()
    assert {entry.state for entry in story.entries().values()} == {"revoked"}
    assert story.refusal(staged) == "revoked"


def test_a_revoked_key_is_told_apart_from_an_unknown_one_for_30_days() -> None:
    story = running()
    old = story.digest("alpha")
    story.apply("alpha", revoked=True)
    story.run()
    assert story.entries()["alpha", 1].not_after == story.now
    assert story.plan().next_deadline == story.now + timedelta(days=30)
    story.now += timedelta(days=30) - SECOND
    story.run()
    assert story.refusal(old) == "revoked"
    story.now += SECOND
    story.run()
    assert story.refusal(old) == "unknown"
    assert story.writes() == []


def test_a_tombstone_outlives_its_api_key_and_its_digest_is_never_taken_in_again() -> None:
    story = running(delivery={"mode": "Provided", "digest": DIGEST})
    story.apply("alpha", revoked=True)
    story.run()
    story.remove("alpha")
    story.specs.pop("alpha")
    story.apply("beta", delivery={"mode": "Provided", "digest": DIGEST})
    story.apply("alpha", delivery={"mode": "Provided", "digest": DIGEST})
    story.run()
    assert [(entry.key_id, entry.state) for entry in story.entries().values()] == [("alpha", "revoked")]
    assert story.condition("Ready", "beta") == ("False", "DigestTaken")
    assert story.condition("Ready") == ("False", "DigestTaken")


def test_a_key_made_again_after_its_revocation_gets_another_number() -> None:
    story = running()
    story.apply("alpha", revoked=True)
    story.run()
    story.remove("alpha")
    story.specs.pop("alpha")
    story.apply("alpha")
    story.run()
    assert {(number, entry.state) for (_, number), entry in story.entries().items()} == {(1, "revoked"), (2, "active")}


def test_secrets_of_a_revoked_key_that_come_back_are_removed() -> None:
    story = running()
    kept = {name: story.secrets[name] for name in ("alpha", "alpha-v1")}
    story.apply("alpha", revoked=True)
    story.run()
    for name, secret in kept.items():
        story.put(name, secret)
    story.run()
    assert sorted(story.secrets) == [PUBLISHED]
    assert story.entries()["alpha", 1].state == "revoked"


def test_a_revoked_version_that_comes_back_is_no_version_of_a_new_key_of_that_name() -> None:
    story = running()
    kept, old = story.secrets["alpha-v1"], story.digest("alpha")
    story.apply("alpha", revoked=True)
    story.run()
    story.remove("alpha")
    story.apply("alpha", revoked=False)
    story.put("alpha-v1", kept)
    story.run()
    assert "alpha-v1" not in story.secrets
    assert story.ledger().active is not None
    assert story.digest("alpha") == story.digest("alpha-v2") != old
    assert story.refusal(old) == "revoked"


def test_a_revoked_key_whose_key_set_was_lost_stays_revoked() -> None:
    story = running()
    old = story.digest("alpha")
    story.apply("alpha", revoked=True)
    story.lose(PUBLISHED)
    story.run()
    assert story.refusal(old) == "revoked"


def test_the_latest_tombstones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_TOMBSTONES", 2)
    story = Story()
    for name in ("alpha", "beta", "gamma"):
        story.apply(name)
    story.run()
    for name in ("beta", "alpha", "gamma"):
        story.now += HOUR
        story.apply(name, revoked=True)
        story.run()
    assert {name for name, _ in story.entries()} == {"alpha", "gamma"}


def test_a_tombstone_without_a_date_gets_one() -> None:
    story = running()
    bare = keys.KeyEntry(digest=DIGEST, key_id="gone", owner="x", scopes=frozenset({"read"}), state="revoked")
    document = keys.publish([bare], START)
    story.edit(PUBLISHED, **{api_types.KEYSET_DATA: document})
    stored = story.secrets[PUBLISHED]
    notes = {api_types.SEAL: seal(SEAL, keys.parse_document(document))}
    story.put(PUBLISHED, replace(stored, metadata=replace(stored.metadata, annotations=notes)))
    story.run()
    assert story.entries()["gone", 1].not_after == story.now


def test_a_suspended_key_keeps_its_value_and_comes_back_with_it() -> None:
    story = running(rotation={"period": "100h"})
    old = story.digest("alpha")
    story.apply("alpha", suspended=True)
    story.now += 30 * DAY
    story.run()
    assert story.refusal(old) == "suspended"
    assert story.condition("Ready") == ("True", "Suspended")
    assert story.digest("alpha") == old
    assert "nextAction" not in story.keys["alpha"].status
    story.apply("alpha", suspended=False)
    assert story.kinds()[0] == "PublishKeySet"
    story.round()
    story.catch_up()
    assert story.refusal(old) is None


def test_a_key_that_is_made_suspended_waits_to_be_made() -> None:
    story = Story()
    story.apply("alpha", suspended=True)
    story.run()
    assert list(story.secrets) == [PUBLISHED]


def test_a_version_that_was_staged_waits_while_the_key_is_suspended() -> None:
    story = running()
    story.rotate()
    story.until("VersionActivated")
    story.apply("alpha", suspended=True)
    story.run()
    assert story.plaintext("alpha") == story.plaintext("alpha-v1")
    story.apply("alpha", suspended=False)
    story.run()
    assert story.plaintext("alpha") == story.plaintext("alpha-v2")


def test_an_expired_key_is_refused_by_the_service_and_reported_by_the_operator() -> None:
    story = running(expiresAt=(START + DAY).isoformat(), rotation={"period": "200h"})
    assert story.keys["alpha"].status["nextAction"] == "Expire"
    assert story.keys["alpha"].status["expiresAt"] == "2026-03-02T12:00:00Z"
    old = story.digest("alpha")
    story.now += DAY - SECOND
    assert story.refusal(old) is None
    story.now += SECOND
    assert story.refusal(old) == "expired", "with no operator"
    assert {type(action) for action in story.plan().actions} == {world.SetStatus, world.EmitEvent}
    story.run()
    assert story.condition("Ready") == ("True", "Expired")
    story.now += 30 * DAY
    assert story.writes() == []


def test_an_expired_key_is_accepted_again_when_its_date_is_moved() -> None:
    story = running(expiresAt=(START + DAY).isoformat())
    old = story.digest("alpha")
    story.now += 2 * DAY
    story.run()
    story.apply("alpha", expiresAt=(START + 3 * DAY).isoformat())
    story.run()
    assert story.refusal(old) is None
    assert story.condition("Ready") == ("True", "Active")


def test_a_key_that_expired_before_it_was_made_is_not_made() -> None:
    story = Story()
    story.apply("alpha", expiresAt=(START - DAY).isoformat())
    story.run()
    assert list(story.secrets) == [PUBLISHED]
    assert story.condition("Ready") == ("True", "Expired")


def test_what_is_lost_of_an_expired_key_is_not_made_again() -> None:
    story = running(expiresAt=(START + DAY).isoformat())
    story.now += DAY
    story.run()
    story.lose("alpha", "alpha-v1")
    story.run()
    assert list(story.secrets) == [PUBLISHED]
    assert story.condition("Degraded") == ("False", "AsExpected")


def test_by_one_clock_alone_nothing_expires() -> None:
    story = running(expiresAt=(START + DAY).isoformat())
    story.now += DAY - MINUTE
    story.operator.skew = HOUR
    story.run()
    assert story.condition("Ready") == ("True", "Active")


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (timedelta(days=30, seconds=1), "NotSoon"),
        (timedelta(days=30), "Within30Days"),
        (timedelta(days=7), "Within7Days"),
        (timedelta(days=1), "Within1Day"),
    ],
)
def test_an_expiry_that_comes_near_is_reported(left: timedelta, reason: str) -> None:
    story = running(expiresAt=(START + timedelta(days=90)).isoformat())
    story.now = START + timedelta(days=90) - left
    story.run()
    assert story.condition("Expiring") == ("False" if reason == "NotSoon" else "True", reason)


def test_the_notices_of_an_expiry_come_in_time() -> None:
    story = running(expiresAt=(START + timedelta(days=90)).isoformat())
    for days in (60, 83, 89, 90):
        assert story.plan().next_deadline == START + timedelta(days=days)
        story.now = START + timedelta(days=days)
        story.run()


def test_an_entry_that_could_never_be_valid_is_left_out() -> None:
    story = running(rotation={"retirePolicy": "Retire"})
    story.rotate()
    story.run()
    story.apply("alpha", notBefore=(story.now + 2 * DAY).isoformat())
    story.run()
    assert list(story.entries()) == [("alpha", 2)]


def test_scopes_beyond_the_key_set_s_are_refused_to_a_new_key() -> None:
    story = Story(allowedScopes=["ingest"])
    story.apply("alpha", scopes=["ingest", "admin"])
    story.run()
    assert list(story.secrets) == [PUBLISHED]
    assert story.condition("Ready") == ("False", "ScopesNotAllowed")
    assert story.condition("Degraded") == ("True", "ScopesNotAllowed")


def test_scopes_beyond_the_key_set_s_are_not_granted_to_a_running_key() -> None:
    story = running(scopes=["ingest", "admin"])
    assert story.keyset is not None
    story.keyset = replace(story.keyset, spec=replace(story.keyset.spec, allowed_scopes=frozenset({"ingest"})))
    story.rotate()
    story.run()
    assert story.entries()["alpha", 1].scopes == {"ingest"}
    assert story.refusal(story.digest("alpha")) is None
    assert story.ledger().highest == 1, "and no new version of it"
    assert story.condition("Degraded") == ("True", "ScopesNotAllowed")
    assert story.condition("Ready") == ("True", "Active")


def test_a_key_that_has_no_scope_left_is_suspended() -> None:
    story = running(scopes=["admin"])
    assert story.keyset is not None
    story.keyset = replace(story.keyset, spec=replace(story.keyset.spec, allowed_scopes=frozenset({"ingest"})))
    story.run()
    assert story.refusal(story.digest("alpha")) == "suspended"
    assert story.condition("Ready") == ("False", "ScopesNotAllowed")


def test_a_key_without_the_labels_of_the_selector_is_refused() -> None:
    story = Story(selector={"matchLabels": {"team": "a"}})
    story.apply("alpha")
    story.run()
    assert story.condition("Ready") == ("False", "NotSelected")
    key = story.keys["alpha"]
    story.keys["alpha"] = replace(key, metadata=replace(key.metadata, labels={"team": "a", "other": "b"}))
    story.run()
    assert story.condition("Ready") == ("True", "Active")


def test_a_running_key_that_leaves_the_selector_goes_on() -> None:
    story = running()
    assert story.keyset is not None
    selector = replace(story.keyset.spec.selector, match_labels={"team": "a"})
    story.keyset = replace(story.keyset, spec=replace(story.keyset.spec, selector=selector))
    story.run()
    assert story.refusal(story.digest("alpha")) is None
    assert story.condition("Degraded") == ("True", "NotSelected")


def test_one_key_too_many_is_refused_the_newest_first() -> None:
    story = Story(maxKeys=2)
    for name in ("gamma", "beta", "alpha"):
        story.apply(name)
        story.now += SECOND
    story.run()
    assert {name for name, _ in story.entries()} == {"gamma", "beta"}
    assert story.condition("Ready") == ("False", "KeySetFull")
    story.remove("beta")
    story.run()
    assert {name for name, _ in story.entries()} == {"gamma", "alpha"}


def test_keys_of_one_second_are_taken_in_by_name() -> None:
    story = Story(maxKeys=1)
    story.apply("beta")
    story.apply("alpha")
    story.run()
    assert list(story.entries()) == [("alpha", 1)]


def test_a_running_key_is_not_evicted_by_an_older_one_or_a_lower_limit() -> None:
    story = Story(maxKeys=2)
    story.apply("beta")
    story.apply("gamma")
    story.run()
    story.apply("alpha")
    key = story.keys["alpha"]
    story.keys["alpha"] = replace(key, metadata=replace(key.metadata, creation_timestamp=START - DAY))
    assert story.keyset is not None
    story.keyset = replace(story.keyset, spec=replace(story.keyset.spec, max_keys=1))
    story.run()
    assert {name for name, _ in story.entries()} == {"beta", "gamma"}


def test_a_revoked_key_takes_no_place() -> None:
    story = Story(maxKeys=1)
    story.apply("alpha")
    story.run()
    story.apply("alpha", revoked=True)
    story.apply("beta")
    story.run()
    assert story.condition("Ready", "beta") == ("True", "Active")


def test_a_key_that_expired_before_it_had_a_version_takes_no_place() -> None:
    story = Story(maxKeys=1)
    story.apply("alpha", expiresAt=api_types.stamp(story.now + SECOND))
    story.now += MINUTE
    story.apply("beta")
    story.run()
    assert story.condition("Active", "alpha") == ("False", "Expired")
    assert story.condition("Ready", "beta") == ("True", "Active")


def test_a_key_set_that_is_as_large_as_a_secret_takes_no_new_version(monkeypatch: pytest.MonkeyPatch) -> None:
    story = running()
    monkeypatch.setattr(
        entries, "MAX_BYTES", len(keys.encode_canonical(list(story.entries().values()))) + entries.ENTRY_BYTES - 1
    )
    story.rotate()
    story.apply("beta")
    story.run()
    assert list(story.entries()) == [("alpha", 1)]
    assert story.condition("Ready", "beta") == ("False", "KeySetFull")
    assert story.condition("Degraded", "main") == ("True", "NoRoom")


def test_room_is_counted_in_whole_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    story = running()
    size = len(keys.encode_canonical(list(story.entries().values())))
    monkeypatch.setattr(entries, "MAX_BYTES", size + 2 * entries.ENTRY_BYTES)
    for name in ("beta", "gamma", "delta"):
        story.apply(name)
    story.round()
    assert sum(name.endswith("-v1") for name in story.secrets) == 3


def test_a_version_has_room_or_it_has_none() -> None:
    assert entries.room(()) == (entries.MAX_BYTES - len(b"[]")) // entries.ENTRY_BYTES


def test_the_largest_document_still_fits_a_secret() -> None:
    assert entries.MAX_BYTES < 1 << 20


@pytest.mark.parametrize("taken", ["alpha", "alpha-v1"])
def test_a_secret_of_somebody_else_is_left_alone_and_reported(taken: str) -> None:
    story = Story()
    story.secrets[taken] = foreign(taken)
    story.apply("alpha")
    story.run()
    assert story.secrets[taken] == foreign(taken)
    assert story.condition("Ready") == ("False", "SecretNotOwned")
    assert story.plan().foreign == {taken}
    told = {each["type"]: each["message"] for each in story.keys["alpha"].status["conditions"]}
    for kind in ("Ready", "Degraded"):
        assert told[kind].startswith(f"these Secrets belong to somebody else: {taken}; ")


def test_a_secret_of_our_type_that_a_namesake_of_another_kind_owns_is_left_alone() -> None:
    story = Story()
    [owner] = foreign("alpha").metadata.owner_references
    metadata = replace(foreign("alpha").metadata, owner_references=(replace(owner, name="alpha"),))
    theirs = replace(foreign("alpha"), type=api_types.KEY_TYPE, metadata=metadata)
    story.secrets["alpha"] = theirs
    story.apply("alpha")
    story.run()
    assert story.secrets["alpha"] == theirs
    assert story.condition("Ready") == ("False", "SecretNotOwned")


def test_the_client_secret_of_a_deleted_key_is_not_taken_over() -> None:
    story = Story()
    story.apply("alpha", delivery={"secretName": "shared"})
    story.run()
    before = story.secrets["shared"]
    del story.keys["alpha"]
    story.apply("beta", delivery={"secretName": "shared"})
    story.run()
    assert story.secrets["shared"] == before
    assert story.condition("Ready", "beta") == ("False", "SecretNotOwned")


def test_of_two_keys_that_want_one_client_secret_the_older_gets_it() -> None:
    story = Story()
    story.apply("beta", delivery={"secretName": "shared"})
    story.now += SECOND
    story.apply("alpha", delivery={"secretName": "shared"})
    story.run()
    assert story.digest("shared") == story.digest("beta-v1")
    assert story.condition("Ready") == ("False", "SecretNotOwned")
    assert story.condition("Ready", "beta") == ("True", "Active")
    story.stomp("shared")
    story.run()
    assert story.digest("shared") == story.digest("beta-v1")


def test_a_client_secret_whose_owner_was_stripped_is_known_by_its_label() -> None:
    story = Story()
    story.apply("beta", delivery={"secretName": "shared"})
    story.run()
    story.apply("alpha", delivery={"secretName": "shared"})
    key = story.keys["alpha"]
    story.keys["alpha"] = replace(key, metadata=replace(key.metadata, creation_timestamp=START - DAY))
    stored = story.secrets["shared"]
    story.put("shared", replace(stored, metadata=replace(stored.metadata, owner_references=())))
    story.run()
    assert story.digest("shared") == story.digest("beta-v1")


def test_a_published_secret_of_another_type_is_left_alone_and_reported() -> None:
    story = Story()
    story.secrets[PUBLISHED] = foreign(PUBLISHED)
    story.apply("alpha")
    for _ in range(5):
        story.round()
    assert story.secrets[PUBLISHED] == foreign(PUBLISHED)
    assert story.condition("Degraded", "main") == ("True", "SecretNotOwned")
    assert story.plan().foreign == {PUBLISHED}
    assert story.plaintext("alpha") is None


def test_a_key_set_of_another_type_is_no_key_set() -> None:
    document = keys.parse_document(keys.publish([], START))
    metadata = Metadata(name=PUBLISHED, creation_timestamp=START)
    assert Published(metadata=metadata, type=api_types.KEYSET_TYPE, document=document, sealed=True).authentic
    assert not Published(metadata=metadata, type="Opaque", document=document, sealed=True).authentic


def test_what_is_published_of_an_unreadable_api_key_stays() -> None:
    story = running()
    entry = story.entries()["alpha", 1]
    aside = unreadable(story)
    story.apply("beta")
    story.run()
    assert story.entries()["alpha", 1] == entry
    assert story.condition("Degraded", "main") == ("True", "KeysSetAside")
    told = {each["type"]: (each["status"], each["reason"]) for each in aside().status["conditions"]}
    assert (told["Ready"], told["Degraded"]) == (("False", "InvalidApiKey"), ("True", "InvalidApiKey"))


def unreadable(story: Story, **spec: Any) -> Callable[[], Aside]:
    """From now on ApiKey alpha breaks a rule of its kind; what is known of it."""
    metadata = story.keys.pop("alpha").metadata
    story.aside["alpha"] = Aside(metadata=metadata, reason="InvalidApiKey", **spec)
    return lambda: story.aside["alpha"]


@pytest.mark.parametrize(("field", "state"), [("revoked", "revoked"), ("suspended", "suspended")])
def test_an_unreadable_api_key_is_revoked_and_suspended_all_the_same(field: str, state: str) -> None:
    story = running()
    old = story.digest("alpha")
    unreadable(story, **{field: True})
    story.run()
    assert story.refusal(old) == state


def test_two_keys_that_bring_one_digest_do_not_break_the_key_set() -> None:
    story = Story()
    for name in ("alpha", "beta"):
        story.apply(name, delivery={"mode": "Provided", "digest": DIGEST})
    story.run()
    assert list(story.entries()) == [("alpha", 1)]
    assert story.condition("Ready", "beta") == ("False", "DigestTaken")


def test_a_digest_of_another_key_s_version_is_refused() -> None:
    story = running()
    story.apply("beta", delivery={"mode": "Provided", "digest": story.digest("alpha")})
    story.run()
    assert list(story.entries()) == [("alpha", 1)]
    assert story.condition("Ready", "beta") == ("False", "DigestTaken")


def test_a_record_that_claims_another_key_s_digest_does_not_break_the_key_set() -> None:
    story = running()
    story.apply("beta", delivery={"mode": "Provided", "digest": OTHER})
    story.run()
    record = story.secrets["beta-v1"]
    forged = {**record.metadata.annotations, api_types.DIGEST: story.digest("alpha")}
    story.lose(PUBLISHED)
    story.put("beta-v1", replace(record, metadata=replace(record.metadata, annotations=forged)))
    story.round()
    assert list(story.entries()) == [("alpha", 1)]
