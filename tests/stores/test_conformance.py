"""What every store promises, whatever its engine. What is PostgreSQL's alone is in tests/integration."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.integration.checks import at_once
from tests.integration.sample import NOW, row, rows, statuses
from tests.integration.walks import ids, ingest, parsed, walk
from tests.stores.subjects import Subject

from sluice import errors, filters, stores
from sluice.events import Integral
from sluice.filters import Filter
from sluice.stores import Store
from sluice.stores.volume import span

OTHER_CONTENT: dict[str, Any] = {"user_id": "somebody else"}
MINUTE = timedelta(minutes=1)


def log(store: Store, event_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(store.get(event_id) or b"null"))
    return found


# Writes


def test_every_field_comes_back_as_it_was_sent(subject: Subject) -> None:
    sent: dict[str, Any] = {
        "event_type": "error", "event_name": "naïve ☃ \\u0000 'quote'", "properties": {"a": [1, 2.5, None, {"b": "\u2028"}]},
        "device_info": {"os": "x", "big": 10**30, "small": 2.5e-30}, "user_id": "u", "session_id": "", "app_version": "1",
        "source": "t", "sequence_number": 2**63 - 1, "priority": "high",
    }  # fmt: skip
    (made,) = subject.store.insert([row("e", timestamp=NOW - timedelta(days=1), key_id="k", **sent)], NOW)
    found = log(subject.store, "e")
    assert {name: found[name] for name in sent} == sent
    assert (made.status, found["id"], found["key_id"], bool(found["fingerprint"])) == ("created", made.id, "k", True)
    assert datetime.fromisoformat(found["timestamp"]) == NOW - timedelta(days=1)
    assert datetime.fromisoformat(found["created_at"]) == NOW


def test_absent_fields_get_their_defaults(subject: Subject) -> None:
    subject.store.insert([row("e")], NOW)
    found = log(subject.store, "e")
    assert (datetime.fromisoformat(found["timestamp"]), found["priority"]) == (NOW, "normal")
    assert (found["properties"], found["device_info"]) == ({}, {})
    assert {found[name] for name in ("user_id", "session_id", "sequence_number", "fingerprint")} == {None}


def test_an_event_that_is_not_there_is_none_and_no_rows_are_no_outcomes(subject: Subject) -> None:
    assert subject.store.insert([], NOW) == []
    assert subject.store.get("nobody") is None
    assert subject.ids() == []


def test_an_event_accepted_earlier_keeps_that_time(subject: Subject) -> None:
    subject.store.insert([msgspec.structs.replace(row("e"), accepted=NOW - MINUTE, timestamp=NOW - MINUTE)], NOW)
    found = log(subject.store, "e")
    assert datetime.fromisoformat(found["created_at"]) == NOW - MINUTE
    assert datetime.fromisoformat(found["processed_at"]) > NOW - MINUTE


def test_outcomes_stand_in_the_order_of_the_request(subject: Subject) -> None:
    subject.store.insert([row("same"), row("other")], NOW)
    found = subject.store.insert([row("z"), row("same"), row("a"), row("other", **OTHER_CONTENT), row("m")], NOW)
    assert statuses(found) == ["created", "duplicate", "created", "conflict", "created"]
    assert [outcome.event_id for outcome in found] == ["z", "same", "a", "other", "m"]
    assert subject.ids() == ["a", "m", "other", "same", "z"]


def test_one_id_twice_in_a_call_is_stored_once(subject: Subject) -> None:
    found = subject.store.insert([row("b"), row("a"), row("b"), row("a", **OTHER_CONTENT), row("b")], NOW)
    assert statuses(found) == ["created", "created", "duplicate", "conflict", "duplicate"]
    assert found[0].id == found[2].id == found[4].id
    assert (subject.ids(), log(subject.store, "a")["user_id"]) == (["a", "b"], None)


def test_one_id_twice_beside_a_stored_one_is_judged_against_the_stored_one(subject: Subject) -> None:
    (before,) = subject.store.insert([row("a")], NOW)
    found = subject.store.insert([row("a", **OTHER_CONTENT), row("a"), row("a", **OTHER_CONTENT)], NOW)
    assert statuses(found) == ["conflict", "duplicate", "conflict"]
    assert found[1].id == before.id
    assert subject.ids() == ["a"]


def test_a_duplicate_has_the_id_of_the_first(subject: Subject) -> None:
    first = subject.store.insert(rows(3), NOW)
    again = subject.open().insert(rows(3)[::-1], NOW + MINUTE)
    assert [outcome.id for outcome in again] == [outcome.id for outcome in first[::-1]]


BY_VALUE = ({"properties": {"a": 100}}, {"properties": {"a": Integral(100.0)}, "device_info": {}, "priority": "normal"})


@pytest.mark.parametrize(("one", "other"), [BY_VALUE, BY_VALUE[::-1]])
def test_an_event_sent_again_with_equal_values_is_a_duplicate(
    subject: Subject, one: dict[str, Any], other: dict[str, Any]
) -> None:
    subject.store.insert([row("a", **one)], NOW)
    assert statuses(subject.store.insert([row("a", **other), row("a", user_id="x")], NOW)) == ["duplicate", "conflict"]


def test_clients_with_the_same_batch_store_each_event_once(subject: Subject) -> None:
    stores, batch = [subject.store, subject.open()], rows(15)
    found = at_once(4, lambda number: stores[number % 2].insert(random.Random(number).sample(batch, 15), NOW))
    told = Counter(status for some in found for status in statuses(some))
    if "conflicts" in subject.store.capabilities:
        assert told == {"created": 15, "duplicate": 45}
    else:  # Two that look at once may both have stored it.
        assert (told["created"] + told["duplicate"], told["created"] >= 15) == (60, True)
    assert subject.ids() == [one.event_id for one in batch]


@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_row_that_the_engine_refuses_does_not_take_its_neighbours_along(subject: Subject, place: int) -> None:
    batch = rows(20)
    batch[place] = subject.poisoned(batch[place].event_id)
    found = subject.store.insert(batch, NOW)
    assert [index for index, outcome in enumerate(found) if outcome.status != "created"] == [place]
    assert (found[place].status, found[place].reason, found[place].retryable) == ("invalid", "refused_by_store", False)
    assert subject.ids() == [one.event_id for one in batch if one is not batch[place]]


def test_ids_of_any_form_are_each_their_own(subject: Subject) -> None:
    names = ["a", "A", "a ", "e:a", "sluice", "%", "☃" * 255, "\U0001f600" * 255, "a\nb", "null", "0", "00"]
    assert statuses(subject.store.insert([row(name) for name in names], NOW)) == ["created"] * len(names)
    assert [log(subject.store, name)["event_id"] for name in names] == names
    assert subject.ids() == sorted(names) or Counter(subject.ids()) == Counter(names)


# Reads


SENT: dict[str, Any] = {
    "event_type": "error", "event_name": "it's \"here\" \\ %s", "user_id": "u%1", "session_id": "s", "app_version": "1.0",
    "source": "api", "sequence_number": -7, "priority": "high", "timestamp": NOW,
}  # fmt: skip
OTHER: dict[str, Any] = {
    "event_type": "log", "event_name": "other", "user_id": "u", "session_id": None, "app_version": "2", "source": "",
    "sequence_number": 7, "timestamp": NOW - MINUTE,
}  # fmt: skip
ODD = {
    "tags": {"provider": "stripe", "list": [10, {"deep": "yes"}]},
    "it's": {'"q"': "quoted"},
    "%s": "percent",
    "{a,b}": "braces",
    "back\\slash": "b",
    "NULL": "null name",
    " spaced ": "s",
    "ünï☃": "snow",
    "true": True,
    "empty": "",
    "none": None,
    "$where": "dollar",
}


@pytest.fixture(scope="module")
def pair(empty: Subject) -> Store:
    """The events "it" (fields of SENT, key k1, properties ODD) and "other" (OTHER, key k2, a minute later); only read."""
    empty.store.insert([row("it", key_id="k1", properties=ODD, device_info={"os": "x"}, **SENT)], NOW)
    empty.store.insert([row("other", key_id="k2", properties={"tags": "stripe"}, **OTHER)], NOW + MINUTE)
    return empty.store


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, str(SENT[name])) for name in SENT if name != "timestamp"),
        ("event_id", "it"),
        ("key_id", "k1"),
        ("id", ""),
        ("fingerprint", ""),
    ],
)
def test_a_field_finds_exactly_its_rows(pair: Store, name: str, value: str) -> None:
    page = pair.page(parsed(**{name: value or str(log(pair, "it")[name])}))
    assert (ids(page), page.total, page.exact) == (["it"], 1, True)


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"start_time": "2024-06-01T12:00:00Z"}, ["it"]),
        ({"start_time": "2024-06-01T11:59:00Z"}, ["it", "other"]),
        ({"end_time": "2024-06-01T11:59:00Z"}, ["other"]),
        ({"end_time": "2024-06-01T13:59:59.999999+02:00"}, ["other"]),
        ({"start_time": "2024-06-01T11:58:00Z", "end_time": "2024-06-01T11:59:30Z"}, ["other"]),
        ({"created_start_time": "2024-06-01T12:00:00.000001Z"}, ["other"]),
        ({"created_end_time": "2024-06-01T12:00:00Z"}, ["it"]),
        ({"created_start_time": "2024-06-01T12:00:00Z", "created_end_time": "2024-06-01T12:00:00Z"}, ["it"]),
        ({"start_time": "9999-12-31T23:59:59Z"}, []),
        ({"start_time": "9999-12-31T23:59:59-01:00"}, []),
        ({"end_time": "9999-12-31T23:59:59-01:00"}, ["it", "other"]),
        ({"end_time": "0001-01-02T00:00:00Z"}, []),
        ({"key_id": "k1", "event_type": "error"}, ["it"]),
        ({"key_id": "k1", "event_type": "log"}, []),
    ],
)
def test_conditions_find_exactly_their_rows(pair: Store, parameters: dict[str, str], found: list[str]) -> None:
    assert sorted(ids(pair.page(parsed(**parameters)))) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("provider_name", "stripe"), ("properties.tags.provider", "stripe"), ("properties.tags.list.0", "10"),
        ("properties.tags.list.1.deep", "yes"), ('properties.it\'s."q"', "quoted"), ("properties.%s", "percent"),
        ("properties.{a,b}", "braces"), ("properties.back\\slash", "b"), ("properties.NULL", "null name"),
        ("properties. spaced ", "s"), ("properties.ünï☃", "snow"), ("properties.true", "true"), ("properties.empty", ""),
        ("properties.$where", "dollar"), ("device_info.os", "x"),
    ],
)  # fmt: skip
def test_a_path_with_any_name_finds_its_row(pair: Store, name: str, value: str) -> None:
    assert ids(pair.page(parsed(**{name: value}))) == ["it"]


@pytest.mark.parametrize("name", ["none", "tags.provider.deeper", "tags.list.9", "no"])
def test_a_path_that_leads_nowhere_finds_nothing(pair: Store, name: str) -> None:
    assert ids(pair.page(parsed(**{f"properties.{name}": ""}))) == []


def test_the_newest_come_first_by_default(pair: Store) -> None:
    assert ids(pair.page(Filter())) == ["other", "it"]
    assert ids(pair.page(Filter(descending=False))) == ["it", "other"]


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize("size", [1, 4])
def test_a_walk_meets_every_row_once(subject: Subject, size: int, descending: bool) -> None:
    """Also of events that were accepted at once."""
    subject.store.insert(rows(5, "a"), NOW)
    subject.store.insert(rows(5, "b", event_type="error"), NOW)
    found = walk(subject.store, Filter(page_size=size, descending=descending))
    assert sorted(found) == subject.ids()
    assert walk(subject.store, Filter(page_size=size, descending=not descending)) == found[::-1]
    errors_only = msgspec.structs.replace(parsed(event_type="error"), page_size=size, descending=descending)
    assert sorted(walk(subject.store, errors_only)) == [one.event_id for one in rows(5, "b")]


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
def test_a_walk_during_ingest_meets_every_old_row_once(subject: Subject, descending: bool) -> None:
    old = rows(60, "old")
    subject.store.insert(old, NOW)
    with ingest(subject.open(), 100) as write:
        write()
        found = walk(subject.store, Filter(page_size=11, descending=descending), write)
    assert len(found) == len(set(found))
    assert {one.event_id for one in old} <= set(found)
    assert len(subject.ids()) > 80


def test_a_cursor_works_in_another_process_and_for_its_own_question_only(subject: Subject) -> None:
    subject.store.insert(rows(5), NOW)
    cursor = subject.store.page(Filter(page_size=3)).next_cursor or ""
    assert len(subject.open().page(Filter(page_size=3, cursor=cursor)).logs) == 2
    bent = f"{cursor[:9]}{'A' if cursor[9] != 'A' else 'B'}{cursor[10:]}"
    for foreign in (
        Filter(page_size=3, cursor=bent),
        Filter(descending=False, cursor=cursor),
        Filter(matches=(filters.Match("source", "=", "x"),), cursor=cursor),
    ):
        with pytest.raises(errors.InvalidCursor):
            subject.store.page(foreign)


# Texts in the order of their bytes, in which null and the empty text are the same.
USERS = [None, "", "A", "a", "a b", "ab", "z", "\u00e9", "\u2603", "\U0001f600"]


def test_a_sorted_walk_meets_every_row_once_in_order(subject: Subject) -> None:
    """Of stores that declare it: the others are held to the refusal below."""
    if "sorting" not in subject.store.capabilities:
        return
    for number, user in enumerate([*USERS, *reversed(USERS)]):
        some = row(f"e{number}", user_id=user, event_type=("log", "error")[number % 2], timestamp=NOW - MINUTE * (number % 7))
        subject.store.insert([some], NOW + MINUTE * (number % 3))
    for sort_by in filters.SORTS:
        rising = walk(subject.store, Filter(sort_by=sort_by, descending=False, page_size=7))
        assert sorted(rising) == subject.ids(), sort_by
        assert walk(subject.store, Filter(sort_by=sort_by, page_size=3))[::-1] == rising, sort_by
    users = [log(subject.store, id)["user_id"] or "" for id in walk(subject.store, Filter(sort_by="user_id", page_size=3))]
    assert users == sorted(users, key=lambda user: user.encode(), reverse=True)


def test_a_numbered_page_is_that_part_of_the_whole(subject: Subject) -> None:
    if "numbered_pages" not in subject.store.capabilities:
        return
    subject.store.insert([each for n in range(5) for each in rows(4, f"{n}-", properties={"n": n % 2})], NOW)
    for query in (Filter(page_size=6), msgspec.structs.replace(parsed(**{"properties.n": "0"}), page_size=5)):
        whole = walk(subject.store, query)
        pages = [subject.store.page(msgspec.structs.replace(query, page=number)) for number in (1, 2, 3, 4, 9)]
        assert [event_id for page in pages for event_id in ids(page)] == whole
        assert pages[2].next_cursor is None or len(whole) == 20


def exported(store: Store, query: Filter) -> list[dict[str, Any]]:
    text = b"".join(store.export(query))
    assert text == b"" or text.endswith(b"\n")
    return [msgspec.json.decode(line) for line in text.splitlines()]


def test_an_export_is_every_row_of_its_filter_oldest_first(subject: Subject) -> None:
    assert list(subject.store.export(Filter())) == []
    for number in range(3):
        subject.store.insert(rows(8, f"{number}-", priority=("normal", "high")[number % 2]), NOW - MINUTE * number)
    logs = exported(subject.store, Filter())
    assert [each["created_at"] for each in logs] == sorted(each["created_at"] for each in logs)
    assert sorted(each["event_id"] for each in logs) == subject.ids()
    assert {each["priority"] for each in exported(subject.store, parsed(priority="high"))} == {"high"}


# Retention is judged by the timestamp; what a store's own clock removes, no read shows.


def test_purge_leaves_what_is_not_older(subject: Subject) -> None:
    subject.store.insert([row("new"), row("old", timestamp=NOW - timedelta(days=9))], NOW)
    subject.store.purge(NOW - timedelta(days=10), NOW, 1_000)
    assert subject.ids() == ["new", "old"]


def refused(call: Callable[[], object]) -> str | None:
    with pytest.raises(errors.NotSupported) as caught:
        call()
    return caught.value.reason


def test_what_a_store_does_not_declare_is_refused_by_name(subject: Subject) -> None:
    store, records = subject.store, [row("a")]
    missing: dict[str, Callable[[], object]] = {
        "atomic": lambda: store.insert_all(records, NOW),
        "figures": lambda: store.figures(NOW),
        "volume": lambda: stores.volume_of(store, span(NOW, NOW), "event_type"),
    }
    for name in missing.keys() - store.capabilities:
        assert refused(missing[name]) == name
    assert subject.ids() == []
