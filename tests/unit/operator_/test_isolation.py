"""Whatever one object contains, the others are planned, and a revocation is in the first plan."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.operator_.cluster import START, Stored
from tests.unit.operator_.story import DAY, PUBLISHED, Story, running

from sluice import keys
from sluice_operator import api_types, cache, schedule, status, steps, world
from sluice_operator.api_types import FIRST, LAST, ApiKey, within
from sluice_operator.world import Aside

EDGES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T23:59:59-14:00",
    "0000-12-31T23:59:59Z",
    "1969-12-31T23:59:59Z",
    "9000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T00:00:00.999999999+14:00",
    "2026-02-30T00:00:00Z",
]
FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def take_in(story: Story, raw: dict[str, Any]) -> None:
    """An ApiKey as the watch brings it, whatever it is."""
    kept = cache.api_key(raw)
    name = raw["metadata"]["name"]
    if isinstance(kept, ApiKey):
        story.keys[name] = kept
    else:
        story.aside[name] = kept.aside


def raw_key(name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "uid": f"uid-{name}",
        "creationTimestamp": START.isoformat(),
        "generation": 1,
        "resourceVersion": "1",
    }
    base = {"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]}
    return {"metadata": metadata, "spec": base | spec, "status": {}} | more


def revoked_in(found: world.Plan, name: str = "alpha") -> bool:
    first = found.actions[0]
    assert isinstance(first, world.PublishKeySet), "the key set goes first"
    return {entry.state for entry in keys.parse_document(first.document).entries if entry.key_id == name} == {"revoked"}


@pytest.mark.parametrize("date", EDGES)
@pytest.mark.parametrize("field", ["expiresAt", "notBefore"])
def test_a_date_at_the_ends_of_the_calendar_holds_no_other_key_up(field: str, date: str) -> None:
    story = running()
    take_in(story, raw_key("odd", {field: date, "delivery": {"mode": "DropAfter", "dropAfter": "999999h"}}))
    story.run()
    story.apply("alpha", revoked=True)
    assert revoked_in(story.plan())
    assert story.plan().faults == {}
    story.run()


@pytest.mark.parametrize("note", [api_types.ACTIVATED_AT, api_types.ENDS_AT])
@pytest.mark.parametrize("date", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_date_that_somebody_wrote_on_a_secret_holds_nothing_up(note: str, date: str) -> None:
    story = running(
        delivery={"mode": "DropAfter", "dropAfter": "999999h"}, rotation={"overlap": "999999h", "maxOverlap": "999999h"}
    )
    story.apply("beta")
    story.run()
    stored = story.secrets["alpha-v1"]
    notes = {**stored.metadata.annotations, note: date}
    story.put("alpha-v1", replace(stored, metadata=replace(stored.metadata, annotations=notes)))
    story.apply("beta", revoked=True)
    assert revoked_in(story.plan(), "beta")
    assert story.plan().faults == {}


@pytest.mark.parametrize("text", EDGES)
def test_every_moment_that_is_read_lies_within_the_bounds(text: str) -> None:
    found = cache.moment(text)
    assert found is None or FIRST <= found <= LAST
    assert within(FOREVER) == LAST


def test_what_a_pod_says_of_the_last_use_holds_nothing_up() -> None:
    story = running()
    for dates in (story.used, story.refused):
        found = cache.moment("9999-12-31T23:59:59Z")
        assert found is not None
        dates["alpha/1"] = found
    story.apply("beta")
    story.run()
    story.apply("beta", revoked=True)
    assert revoked_in(story.plan(), "beta")
    assert story.plan().faults == {}


def broken(monkeypatch: pytest.MonkeyPatch, module: Any, function: str, names_of: set[str]) -> None:
    """From now on the planner fails at these keys."""
    real = getattr(module, function)

    def failing(first: Any, *others: Any) -> Any:
        name = first.name if isinstance(first, ApiKey) else first.ledger.key.name
        if name in names_of:
            raise ZeroDivisionError(name)
        return real(first, *others)

    monkeypatch.setattr(module, function, failing)


@pytest.mark.parametrize(
    ("module", "function"), [(steps, "removals"), (steps, "stage"), (status, "of_key"), (status, "upcoming")]
)
@pytest.mark.parametrize("count", [1, 5])
def test_a_key_that_the_planner_fails_at_is_set_aside_and_reported(
    monkeypatch: pytest.MonkeyPatch, module: Any, function: str, count: int
) -> None:
    story = running()
    bad = {f"bad-{number}" for number in range(count)}
    for name in (*sorted(bad), *(f"good-{number}" for number in range(10))):
        story.apply(name)
    story.run()
    before = story.entries()
    broken(monkeypatch, module, function, bad)
    story.apply("alpha", revoked=True)
    story.apply("good-3", revoked=True)
    found = story.plan()
    assert revoked_in(found)
    assert revoked_in(found, "good-3")
    assert found.faults.keys() == bad
    after = {(entry.key_id, entry.version): entry for entry in keys.parse_document(found.actions[0].document).entries}  # type: ignore[union-attr]
    assert all(after[name, 1] == before[name, 1] for name in bad), "its clients cannot help it"
    told = {each.name: each.status["conditions"] for each in found.actions if isinstance(each, world.SetStatus)}
    assert all({"NotPlanned"} == {each["reason"] for each in told[name] if each["type"] in ("Ready", "Degraded")} for name in bad)


def test_a_key_that_the_planner_fails_at_can_still_be_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    story = running()
    story.apply("alpha", revoked=True)
    broken(monkeypatch, status, "of_key", {"alpha"})
    assert revoked_in(story.plan())


def test_a_fault_that_is_no_key_s_leaves_the_key_set_published(monkeypatch: pytest.MonkeyPatch) -> None:
    story = running()
    story.apply("alpha", revoked=True)
    monkeypatch.setattr(schedule, "unacknowledged", lambda _: 1 / 0)
    monkeypatch.setattr(schedule, "dates", lambda _: 1 / 0)
    found = story.plan()
    assert revoked_in(found)
    assert list(found.faults) == [""]


# What somebody writes into the published Secret


def forge(story: Story, *entries: keys.KeyEntry, seal: str | None = None) -> None:
    stored = story.secrets[PUBLISHED]
    document = keys.publish(entries, START)
    notes = stored.metadata.annotations if seal is None else {**stored.metadata.annotations, api_types.SEAL: seal}
    data = {api_types.KEYSET_DATA: document}
    story.put(PUBLISHED, Stored(replace(stored.metadata, annotations=notes), stored.type, data))


def stone(number: int, **more: Any) -> keys.KeyEntry:
    name, digest = f"forged-{number}", keys.digest(f"forged {number}")
    base = keys.KeyEntry(digest=digest, key_id=name, owner="x", scopes=frozenset({"admin"}), state="revoked", not_after=FOREVER)
    return replace(base, **more)


@pytest.mark.parametrize("seal", [None, "", "0" * 64, "no seal"])
def test_forged_tombstones_never_count_and_real_ones_stay(seal: str | None) -> None:
    story = running()
    old = story.digest("alpha")
    story.apply("alpha", revoked=True)
    story.apply("beta")
    story.run()
    story.remove("alpha")
    story.run()
    before = story.entries()
    forge(story, *(stone(number) for number in range(500)), seal=seal)
    story.run()
    assert story.entries() == before
    assert story.refusal(old) == "revoked"


def test_forged_tombstones_never_count_after_a_restart_either() -> None:
    story = running()
    old = story.digest("alpha")
    story.apply("alpha", revoked=True)
    story.run()
    forge(story, *(stone(number) for number in range(500)))
    story.operator.crash()
    story.run()
    assert {entry.key_id for entry in story.entries().values()} <= {"alpha"}
    assert story.refusal(old) in ("revoked", "unknown")


@pytest.mark.parametrize("version", [1, 2, 7, 2**31 - 1])
def test_a_backdoor_in_the_name_of_a_live_key_is_removed(version: int) -> None:
    story = running()
    before = story.entries()
    forge(story, *before.values(), stone(1, key_id="alpha", version=99), stone(0, key_id="gone", state="active"), seal="0" * 64)
    backdoor = stone(2, key_id="alpha", version=version, state="active", not_after=None)
    forge(story, backdoor, *(entry for entry in before.values() if entry.version != version))
    story.run()
    assert story.entries() == before
    story.rotate()
    story.run()
    assert story.digest("alpha") == story.digest("alpha-v2"), "its number tells nothing either"


def test_a_backdoor_of_an_apikey_that_cannot_be_read_is_removed_and_its_own_version_stays() -> None:
    story = running()
    before = story.entries()
    metadata = story.keys.pop("alpha").metadata
    story.aside["alpha"] = Aside(metadata=metadata, reason="InvalidApiKey")
    backdoor = stone(2, key_id="alpha", version=2, state="active", not_after=None)
    forge(story, backdoor, *before.values())
    story.run()
    assert story.entries() == before


def test_a_seal_is_of_one_document() -> None:
    first, second = (keys.parse_document(keys.publish([stone(number)], START)) for number in (1, 2))
    later = replace(first, generated_at=START + timedelta(seconds=1))
    assert len({world.seal(b"k", first), world.seal(b"k", second), world.seal(b"k", later), world.seal(b"l", first)}) == 4


# A KeySet with a field that cannot be read


BROKEN_SPECS: list[dict[str, Any]] = [
    {"environment": "Not One"},
    {"environment": None},
    {"target": {"name": "web", "adminPort": "http"}},
    {"target": None},
    {"allowedScopes": ["ingest", "of a later release"]},
    {"maxKeys": 0},
    {"maxConcurrentRotations": "many"},
    {"probes": {"mode": "Repair"}},
    {"selector": {"matchLabels": {"team": 7}}},
    {"environment": "", "target": [], "allowedScopes": {}, "maxKeys": {}, "probes": 3, "selector": "all"},
]


@pytest.mark.parametrize("spec", BROKEN_SPECS, ids=lambda spec: ",".join(spec))
def test_a_key_set_that_cannot_be_read_revokes_and_suspends_and_leaves_all_else_as_it_is(spec: dict[str, Any]) -> None:
    story = running()
    for name in ("beta", "gamma", "gone"):
        story.apply(name, rotation={"period": "1h"})
    story.run()
    before, conditions = story.entries(), story.keys["beta"].status
    assert story.keyset is not None
    good = {"environment": "test", "target": {"name": "web"}}
    raw = {"metadata": msgspec.to_builtins(story.keyset.metadata), "spec": good | spec, "status": story.keyset.status}
    story.keyset = cache.key_set(raw)
    story.apply("alpha", revoked=True)
    story.apply("gamma", suspended=True)
    story.apply("new")
    story.remove("gone")
    story.now += 5 * DAY
    assert revoked_in(story.plan())
    story.run()
    after = story.entries()
    assert {name: entry.state for (name, _), entry in after.items()} == {
        "alpha": "revoked",
        "beta": "active",
        "gamma": "suspended",
    }
    assert after["beta", 1] == before["beta", 1]
    assert story.keys["beta"].status == conditions
    assert {"beta", "beta-v1", "gamma", "gamma-v1"} <= story.secrets.keys()
    assert story.condition("Degraded", "main") == ("True", "InvalidKeySet")
    [told] = [each["message"] for each in story.keyset.status["conditions"] if each["type"] == "Degraded"]
    assert "wrong value at" in told or "$" in told


def test_a_key_set_that_is_corrected_goes_on_where_it_was() -> None:
    story = running()
    good = story.keyset
    assert good is not None
    raw = {
        "metadata": msgspec.to_builtins(good.metadata),
        "spec": {"environment": "test", "target": {"name": "web"}, "maxKeys": 0},
    }
    story.keyset = cache.key_set(raw)
    story.run()
    story.apply("beta")
    story.run()
    assert ("beta", 1) not in story.entries()
    story.keyset = replace(good, status=story.keyset.status)
    story.run()
    assert story.entries().keys() == {("alpha", 1), ("beta", 1)}
    assert story.condition("Degraded", "main") == ("False", "AsExpected")


def test_a_suspended_key_that_is_deleted_leaves_no_entry_behind_as_a_revoked_one_does() -> None:
    story = running(expiresAt=(START + 99 * DAY).isoformat())
    story.apply("beta", expiresAt=(START + 99 * DAY).isoformat())
    story.run()
    story.apply("alpha", suspended=True)
    story.apply("beta", revoked=True)
    story.run()
    story.remove("alpha")
    story.remove("beta")
    story.run()
    assert {name: entry.state for (name, _), entry in story.entries().items()} == {"beta": "revoked"}


@pytest.mark.parametrize(("seconds", "told"), [(0, False), (9, False), (10, True), (11, True), (3600, True)])
def test_a_key_without_a_key_set_says_so_ten_seconds_after_it_was_made(seconds: int, told: bool) -> None:
    story = Story()
    story.apply("alpha")
    story.keyset = None
    story.now += timedelta(seconds=seconds)
    found = [each.status["conditions"][0]["reason"] for each in story.plan().actions if isinstance(each, world.SetStatus)]
    assert found == ["KeySetNotFound"] * told
