"""The key's form and the published key set: what one side writes the other reads, what is wrong is refused in words."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import string
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import errors, keys

APP = Path(keys.__file__).parents[1]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = keys.mint("prod", lambda count: bytes(range(count)))
CANARY = "slk_prod_CANARYCANARYCANARY"

minted = st.builds(
    lambda environment, random: keys.mint(environment, lambda _: random),
    st.from_regex(keys.ENVIRONMENT, fullmatch=True),
    st.binary(min_size=32, max_size=32),
)
zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-11))])
moments = st.builds(
    lambda distance, zone: (NOW + distance).astimezone(zone),
    st.timedeltas(timedelta(days=-700_000), timedelta(days=2_900_000)),
    zones,
)
rates = st.none() | st.integers(0, 10**9)


@st.composite
def entries(draw: st.DrawFn) -> keys.KeyEntry:
    first, last = sorted(draw(st.lists(moments, min_size=2, max_size=2, unique=True)))
    return keys.KeyEntry(
        digest=keys.digest(draw(st.text(st.characters(exclude_categories=["Cs"])))),
        key_id=draw(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)),
        version=draw(st.integers(1, 2**31 - 1)),
        owner=draw(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255)),
        scopes=draw(st.frozensets(st.sampled_from(keys.SCOPES), min_size=1)),
        rate_limit=draw(st.none() | st.builds(keys.RateLimit, requests_per_minute=rates, events_per_minute=rates)),
        state=draw(st.sampled_from(["active", "suspended", "revoked"])),
        not_before=draw(st.sampled_from([None, first])),
        not_after=draw(st.sampled_from([None, last])),
    )


def distinct() -> st.SearchStrategy[list[keys.KeyEntry]]:
    return st.lists(entries(), max_size=8, unique_by=(lambda e: e.digest, lambda e: (e.key_id, e.version)))


def entry(**changes: Any) -> keys.KeyEntry:
    base = keys.KeyEntry(digest=keys.digest(KEY), key_id="web", owner="shop", scopes=frozenset({"ingest"}))
    return msgspec.structs.replace(base, **changes)


def document(**changes: Any) -> bytes:
    """A published document of one entry, spoiled by `changes` of that entry; its revision is right."""
    whole = json.loads(keys.publish([entry()], NOW))
    whole["entries"][0] |= changes
    whole["revision"] = hashlib.sha256(canonical_json(whole["entries"])).hexdigest()
    return json.dumps(whole).encode()


def decoded(digits: str) -> int:
    return functools.reduce(lambda number, digit: number * 62 + keys.ALPHABET.index(digit), digits, 0)


def canonical_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# The key


@given(minted)
def test_a_minted_key_has_the_published_form_and_a_right_checksum(key: str) -> None:
    assert re.fullmatch(r"slk_[a-z0-9]{1,16}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", key)
    assert keys.checksum_ok(key)
    assert keys.fault(key) is None


@given(minted, st.data())
def test_a_change_of_any_single_character_is_noticed(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.sampled_from(string.printable + "éß٣").filter(lambda char: char != key[at]))
    assert not keys.checksum_ok(key[:at] + other + key[at + 1 :])


@given(minted, st.data())
def test_a_key_that_was_cut_or_swapped_two_neighbours_is_noticed(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(key) - 2))
    swapped = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert not keys.checksum_ok(key[:at])
    assert swapped == key or not keys.checksum_ok(swapped)


@given(st.text(max_size=2_000))
def test_any_text_gets_a_verdict_and_none_is_repeated(text: str) -> None:
    fault = keys.fault(text)
    assert fault is None or len(text) < 8 or text not in fault


def test_all_256_random_bits_reach_the_key() -> None:
    lowest, highest = keys.mint("dev", bytes), keys.mint("dev", lambda count: b"\xff" * count)
    assert [decoded(key.split("_")[2][: keys.SECRET_LENGTH]) for key in (lowest, highest)] == [0, 2**256 - 1]


def test_two_keys_are_never_the_same() -> None:
    assert len({keys.mint("dev") for _ in range(1_000)}) == 1_000


def test_the_checksum_is_the_crc_32_of_all_before_it() -> None:
    assert keys.checksum("123456789") == keys.base62(0xCBF43926, 6)  # the CRC catalogue's check value


@pytest.mark.parametrize("environment", ["", "Prod", "a" * 17, "a_b", "é", "a\n"])
def test_an_environment_outside_a_to_z_and_0_to_9_is_refused(environment: str) -> None:
    with pytest.raises(ValueError, match="a-z and 0-9"):
        keys.mint(environment)


def test_the_digest_is_the_sha_256_in_hex() -> None:
    assert keys.digest("abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# The refusal


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"state": "revoked"}, "revoked"),
        ({"state": "suspended"}, "suspended"),
        ({"state": "revoked", "not_after": NOW - timedelta(days=1)}, "revoked"),
        ({"not_before": NOW}, None),
        ({"not_before": NOW + timedelta(microseconds=1)}, "not_yet_valid"),
        ({"not_after": NOW}, "expired"),
        ({"not_after": NOW + timedelta(microseconds=1)}, None),
        ({"not_before": NOW - timedelta(days=2), "not_after": NOW - timedelta(days=1)}, "expired"),
    ],
)
def test_an_entry_is_refused_with_the_first_reason_that_holds(changes: dict[str, Any], reason: str | None) -> None:
    assert keys.refusal(entry(**changes), NOW) == reason


def test_no_entry_at_all_is_an_unknown_key() -> None:
    assert keys.refusal(None, NOW) == "unknown"


# The document


@given(distinct())
def test_what_is_published_is_read_back_the_same(given: list[keys.KeyEntry]) -> None:
    read = keys.parse_document(keys.publish(given, NOW))
    assert {e.digest: e for e in read.entries} == {e.digest: e for e in given}
    assert read.generated_at == NOW
    assert [(e.key_id, e.version) for e in read.entries] == sorted((e.key_id, e.version) for e in given)


@given(distinct(), st.randoms())
def test_the_order_of_the_entries_changes_no_byte(given: list[keys.KeyEntry], random: Any) -> None:
    shuffled = random.sample(given, len(given))
    assert keys.publish(shuffled, NOW) == keys.publish(given, NOW)


@given(distinct())
def test_a_document_and_its_revision_are_the_canonical_json_of_any_tool(given: list[keys.KeyEntry]) -> None:
    data = keys.publish(given, NOW)
    whole = json.loads(data)
    assert data == canonical_json(whole)
    assert whole["revision"] == hashlib.sha256(canonical_json(whole["entries"])).hexdigest()


def test_a_document_carries_the_names_of_the_contract_and_nulls_for_what_is_absent() -> None:
    assert json.loads(keys.publish([entry(rate_limit=keys.RateLimit(requests_per_minute=9))], NOW))["entries"] == [
        {
            "digest": keys.digest(KEY), "keyId": "web", "version": 1, "owner": "shop", "scopes": ["ingest"],
            "rateLimit": {"requestsPerMinute": 9, "eventsPerMinute": None},
            "state": "active", "notBefore": None, "notAfter": None,
        }
    ]  # fmt: skip


def test_a_date_in_another_offset_is_the_same_revision() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5)))
    assert keys.publish([entry(not_before=there)], NOW) == keys.publish([entry(not_before=NOW)], NOW)


def test_white_space_and_the_order_of_names_do_not_matter_to_the_reader() -> None:
    data = json.dumps(dict(reversed(json.loads(keys.publish([entry()], NOW)).items())), indent=2).encode()
    assert keys.parse_document(data).entries == (entry(),)


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_part_of_what_a_person_edited() -> None:
    data = json.dumps(json.loads(keys.publish([entry()], NOW)), indent=2).replace("\n", "\r\n").encode("utf-8-sig")
    assert keys.parse_document(data).entries == (entry(),)
    assert keys.parse_entries(json.dumps(json.loads(data)["entries"]).encode("utf-8-sig")) == [entry()]


def test_an_edited_entry_no_longer_matches_the_revision() -> None:
    data = keys.publish([entry()], NOW).replace(b'"ingest"', b'"admin"')
    with pytest.raises(keys.InvalidKeySet, match=r"revision does not match.*sluice keys keyset"):
        keys.parse_document(data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digest": KEY}, "entries[0]: digest must be sha256:"),
        ({"digest": keys.digest(KEY).upper()}, "digest must be sha256:"),
        ({"digest": keys.digest(KEY) + "\n"}, "digest must be sha256:"),
        ({"keyId": CANARY}, "keyId must be"),
        ({"keyId": "a b"}, "keyId must be"),
        ({"keyId": "web\n"}, "keyId must be"),
        ({"version": 0}, "version must be a whole number from 1"),
        ({"version": "1"}, "version must be a whole number from 1"),
        ({"owner": f"\x1b[31m{CANARY}"}, "owner must be 1 to 255 printable"),
        ({"owner": ""}, "owner must be 1 to 255 printable"),
        ({"scopes": [CANARY]}, "scopes must be a list of one or more of ingest, read, admin, tasks, sources"),
        ({"scopes": []}, "scopes must be a list of one or more"),
        ({"state": CANARY}, "state must be active, suspended or revoked"),
        ({"rateLimit": {"requestsPerMinute": -1}}, "requestsPerMinute must be"),
        ({"notBefore": "2026-01-01T00:00:00"}, "notBefore must be RFC 3339 with an offset"),
        ({"notAfter": CANARY}, "notAfter must be RFC 3339 with an offset"),
        ({"notAfter": "0001-01-01T00:00:00+14:00"}, "years 1 to 9999"),
        (
            {"notBefore": "2026-01-02T00:00:00Z", "notAfter": "2026-01-02T00:00:00Z"},
            "entries[0].notAfter must be later",
        ),
    ],
)
def test_an_entry_that_breaks_a_rule_is_named_and_never_quoted(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(keys.InvalidKeySet, match=re.escape(words)) as caught:
        keys.parse_document(document(**changes))
    told = "".join(traceback.format_exception(caught.value))
    assert "CANARY" not in told
    assert KEY not in told
    assert keys.digest(KEY)[7:15] not in told


@pytest.mark.parametrize("name", ["digest", "keyId", "owner", "scopes"])
def test_an_entry_without_a_required_field_is_named(name: str) -> None:
    whole = json.loads(document())
    del whole["entries"][0][name]
    with pytest.raises(keys.InvalidKeySet, match=rf"entries\[0\] has no {name}; it must be"):
        keys.parse_document(json.dumps(whole).encode())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 3}, "schema must be 1 or 2"),
        ({"generatedAt": "2026-01-01T00:00:00"}, "generatedAt must be RFC 3339"),
        ({"entries": 5}, "entries must be a list"),
        ({"entries": [5]}, r"entries\[0\] must be a JSON object"),
        ({"generatedAt": "0001-01-01T00:00:00+14:00"}, "years 1 to 9999"),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(keys.InvalidKeySet, match=words):
        keys.parse_document(json.dumps(json.loads(document()) | changes).encode())


def test_only_a_document_with_a_new_scope_has_the_new_schema() -> None:
    scopes = {scope: json.loads(keys.publish([entry(scopes=frozenset({"read", scope}))], NOW))["schema"] for scope in keys.SCOPES}
    assert scopes == {"ingest": 1, "read": 1, "admin": 1, "tasks": 2, "sources": 2}


def of_later_release() -> dict[str, Any]:
    """A document with fields that this release does not know, at each level, and the revision that they give it."""
    whole: dict[str, Any] = json.loads(
        keys.publish([entry(rate_limit=keys.RateLimit(events_per_minute=5)), entry(key_id="b", digest=keys.digest("other"))], NOW)
    )
    whole |= {"note": {"any": "thing"}}
    for each in whole["entries"]:
        each |= {"label": "new", "nested": {"z": 1, "a": [1.5, None]}}
    whole["entries"][1]["rateLimit"]["burst"] = 7
    whole["revision"] = hashlib.sha256(canonical_json(whole["entries"])).hexdigest()
    return whole


def test_fields_of_a_later_release_are_ignored() -> None:
    whole = of_later_release()
    found = keys.parse_document(json.dumps(whole).encode())
    assert found.revision == whole["revision"]
    assert [each.key_id for each in found.entries] == ["b", "web"]


def test_an_edit_of_a_document_of_a_later_release_is_still_found() -> None:
    whole = of_later_release()
    whole["entries"][1]["label"] = "edited"
    with pytest.raises(keys.InvalidKeySet, match="revision does not match"):
        keys.parse_document(json.dumps(whole).encode())


@pytest.mark.parametrize("changes", [{CANARY: 1}, {"rateLimit": {CANARY: 1}}, {"requestsPerMinute": 1}])
def test_a_field_that_a_person_misspelled_is_named_by_its_place(changes: dict[str, Any]) -> None:
    with pytest.raises(keys.InvalidKeySet, match=r"entries\[0\] has a field that this release does not know") as caught:
        keys.parse_entries(json.dumps([json.loads(document())["entries"][0] | changes]).encode())
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"revision":"\xff"}', KEY.encode(), b"[" * 100_000])
def test_what_is_not_json_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(keys.InvalidKeySet, match=r"JSON") as caught:
        keys.parse_document(data)
    assert KEY not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([keys.digest(KEY), "ingest"]),
    lambda child: st.lists(child) | st.dictionaries(st.sampled_from([*keys.FIXES, "x"]), child),
    max_leaves=20,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_document_or_an_invalid_key_set(data: bytes) -> None:
    with contextlib.suppress(keys.InvalidKeySet):
        assert isinstance(keys.parse_entries(data), list)
    with contextlib.suppress(keys.InvalidKeySet):
        assert isinstance(keys.parse_document(data), keys.KeySetDocument)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"key_id": "api"}, "entries[0] and entries[1] have the same digest"),
        ({"digest": keys.digest("other")}, "entries[0] and entries[1] have the same keyId and version"),
    ],
)
def test_two_entries_for_one_key_are_never_published(other: dict[str, Any], words: str) -> None:
    with pytest.raises(keys.InvalidKeySet, match=re.escape(words)):
        keys.publish([entry(), entry(**other)], NOW)


def test_a_date_without_an_offset_is_never_published() -> None:
    with pytest.raises(keys.InvalidKeySet, match="notBefore must be RFC 3339 with an offset"):
        keys.publish([entry(not_before=datetime(2026, 1, 1))], NOW)  # noqa: DTZ001 - the very mistake


def test_fifteen_hundred_entries_fit_into_a_secret() -> None:
    longest = entry(owner="a" * 63, not_before=NOW, not_after=NOW + timedelta(days=90))
    changes = [{"digest": keys.digest(str(n)), "key_id": f"{n:063}"} for n in range(1_500)]
    assert len(keys.publish([msgspec.structs.replace(longest, **each) for each in changes], NOW)) < 1 << 20


def test_an_invalid_key_set_is_one_of_our_errors() -> None:
    assert issubclass(keys.InvalidKeySet, errors.SluiceError)


def test_the_operator_gets_keys_without_a_web_framework_or_a_driver() -> None:
    code = "import sys; before = set(sys.modules); import sluice.keys; print(*sorted(set(sys.modules) - before))"
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(APP)})
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "sluice" in loaded
    assert not loaded & {"flask", "psycopg", "kopf", "gunicorn", "structlog"}
