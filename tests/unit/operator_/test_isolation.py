"""Whatever one object contains, the others are planned, and a revocation is in the first plan."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.operator_.cluster import START, Stored
from tests.unit.operator_.story import PUBLISHED, Story, running
from tests.unit.operator_.test_crds import schema

from sluice import keys
from sluice_operator import api_types, cache, schedule, status, steps, world
from sluice_operator.api_types import DURATION, FIRST, LAST, ApiKey, within
from sluice_operator.plan import plan
from sluice_operator.world import Aside, Pod, Report, World

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
def test_a_key_that_the_planner_fails_at_is_set_aside_and_told(
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


# Every value that the CRD lets through


TEXT = st.characters(exclude_categories=["Cs"])


def values(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What the API server takes for a schema, its CEL rules apart."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("format") == "date-time":
        return st.sampled_from(EDGES) | st.datetimes(timezones=st.just(UTC)).map(lambda date: date.isoformat())
    if node["type"] == "object" and "additionalProperties" in node:
        return st.dictionaries(st.text(max_size=10), values(node["additionalProperties"]), max_size=3)
    if node["type"] == "object":
        fields = {name: values(inner) for name, inner in node.get("properties", {}).items()}
        required = {name: fields.pop(name) for name in node.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    if node["type"] == "array":
        return st.lists(values(node["items"]), min_size=node.get("minItems", 0), max_size=min(3, node["maxItems"]), unique_by=str)
    if node["type"] == "integer":
        return st.integers(node.get("minimum", -(2**63)), node.get("maximum", 2**63 - 1))
    if node["type"] == "boolean":
        return st.booleans()
    if "hours, minutes and seconds" in str(node.get("x-kubernetes-validations")):
        return st.from_regex(DURATION, fullmatch=True)
    if "pattern" in node:
        pattern = node["pattern"].replace("$", r"\Z")
        return st.from_regex(pattern).filter(lambda text: len(text) <= node.get("maxLength", 300))
    return st.text(
        st.characters(exclude_categories=["Cs"]), min_size=node.get("minLength", 0), max_size=min(30, node.get("maxLength", 30))
    )


KEY, SET = schema("ApiKey")["properties"], schema("KeySet")["properties"]
FUZZ = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


@FUZZ
@given(spec=values(KEY["spec"]), stored=values(KEY["status"]), data=st.data())
def test_any_apikey_that_the_crd_takes_leaves_the_others_alone(spec: dict[str, Any], stored: Any, data: st.DataObject) -> None:
    story = running()
    spec |= {"keySetRef": {"name": "main"}}
    annotations = data.draw(st.dictionaries(st.just(api_types.ROTATE), st.text(max_size=20)))
    raw = raw_key("odd", spec, status=stored)
    raw["metadata"]["annotations"] = annotations
    take_in(story, raw)
    for _ in range(6):
        story.catch_up()
        story.round()
    assert story.plan().faults == {}
    story.apply("alpha", revoked=True)
    assert revoked_in(story.plan())


@FUZZ
@given(spec=values(SET["spec"]), stored=values(SET["status"]))
def test_any_keyset_that_the_crd_takes_publishes_its_revocations(spec: dict[str, Any], stored: Any) -> None:
    story = running()
    assert story.keyset is not None
    spec |= {"target": {"name": "web"}}
    raw = {"metadata": msgspec.to_builtins(story.keyset.metadata), "spec": spec, "status": stored}
    found = cache.key_set(raw)
    assert not isinstance(found, cache.Unreadable)
    story.keyset = found
    story.apply("alpha", revoked=True)
    assert revoked_in(story.plan())
    assert story.plan().faults == {}


secrets_of_others = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["odd", "odd-v1", "odd-v2", "odd-v999999999", "alpha-v7", "beta-v3", "main-published"]),
        "type": st.sampled_from([api_types.KEY_TYPE, api_types.KEYSET_TYPE, "Opaque", ""]),
        "annotations": st.dictionaries(
            st.sampled_from(
                [
                    api_types.DIGEST,
                    api_types.MADE_FOR,
                    api_types.ACTIVATED_AT,
                    api_types.ENDS_AT,
                    api_types.VERSION,
                    api_types.SEAL,
                ]
            ),
            st.text(max_size=10) | st.sampled_from([*EDGES, "1", "999999999", keys.digest("x")]),
        ),
        "labels": st.dictionaries(
            st.sampled_from([api_types.LABEL_KEYSET, api_types.LABEL_API_KEY]), st.sampled_from(["main", "odd", ""])
        ),
        "data": st.dictionaries(st.sampled_from([api_types.KEY_DATA, api_types.KEYSET_DATA]), st.binary(max_size=60)),
    }
)
whole_sets = st.lists(
    st.builds(stone, st.integers(0, 5), version=st.integers(1, 2**31 - 1)), max_size=3, unique_by=lambda entry: entry.digest
)


@FUZZ
@given(found=st.lists(secrets_of_others, max_size=4), document=st.none() | whole_sets)
def test_whatever_secrets_contain_revocations_are_published(
    found: list[dict[str, Any]], document: list[keys.KeyEntry] | None
) -> None:
    story = running()
    story.apply("odd")
    story.apply("beta")
    story.run()
    story.apply("alpha", revoked=True)
    seen = story.look(story.operator)
    secrets = dict(seen.secrets)
    for each in found:
        head = {
            "name": each["name"],
            "creationTimestamp": START.isoformat(),
            "labels": each["labels"],
            "annotations": each["annotations"],
        }
        data = {name: base64.b64encode(value).decode() for name, value in each["data"].items()}
        kept = cache.secret({"metadata": head, "type": each["type"], "data": data})
        if isinstance(kept, world.Secret):
            secrets[kept.name] = kept
    published = seen.published
    if document is not None and published is not None:
        forged = cache.document({api_types.KEYSET_DATA: base64.b64encode(keys.publish(document, START)).decode()})
        published = replace(published, document=forged, sealed=False)
    made = plan(replace(seen, secrets=secrets, published=published), story.clock(story.operator))
    assert made.faults == {}
    assert revoked_in(made)


pods = st.builds(
    Pod,
    name=st.text(max_size=5),
    uid=st.text(max_size=5),
    created=st.datetimes(timezones=st.just(UTC)).map(within),
    edition=st.none() | st.text(max_size=5),
    started=st.booleans(),
    was_ready=st.booleans(),
    terminating=st.booleans(),
    finished=st.booleans(),
    report=st.none() | st.builds(Report, revision=st.none() | st.text(max_size=5)),
)
uses = st.dictionaries(st.sampled_from(["alpha/1", "beta/1"]), st.datetimes(timezones=st.just(UTC)).map(within))


@FUZZ
@given(found=st.lists(pods, max_size=3), used=uses, refused=uses)
def test_whatever_pods_say_revocations_are_published(found: list[Pod], used: Any, refused: Any) -> None:
    story = running()
    story.apply("beta")
    story.run()
    story.apply("alpha", revoked=True)
    seen: World = replace(story.look(story.operator), pods=tuple(found), last_used=used, last_refused=refused)
    made = plan(seen, story.clock(story.operator))
    assert made.faults == {}
    assert revoked_in(made)
