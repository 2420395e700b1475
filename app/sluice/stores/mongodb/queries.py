"""A Filter in MongoDB's words. Pure.

Conditions on fields are exact. One on a path is wider than it is meant (`wide`): MongoDB looks into the elements of arrays, and
a document that is JSON text has no paths, so what it finds still has to be looked at (stores.matching).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sluice.events import MAX_AHEAD
from sluice.filters import Filter, Match
from sluice.stores import matching

Conditions = dict[str, Any]
# Where what is sorted by is found; the others have their own name.
KEYS = {"created_at": "at", "event_id": "_id"}
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
INT64 = range(-(2**63), 2**63)
# Behind the `at` of every event of one moment, which goes on with "#".
BEHIND = "$"


def key_of(sort_by: str) -> str:
    return KEYS.get(sort_by, sort_by)


def order(query: Filter) -> list[tuple[str, int]]:
    direction = -1 if query.descending else 1
    key = key_of(query.sort_by)
    return [(key, direction)] if key == "at" else [(key, direction), ("at", direction)]


def wide(matches: Iterable[Match]) -> bool:
    """Whether what `conditions` finds still has to be looked at."""
    return any(match.path for match in matches)


def conditions(query: Filter, after: tuple[Any, str] | None = None) -> Conditions:
    """`after`: the value that is sorted by, and `at`, of the last event of the page before."""
    found = [each for match in query.matches for each in of_match(match)]
    if after is not None:
        found.append(behind(query, *after))
    return {"$and": found} if found else {}


def of_match(match: Match) -> list[Conditions]:
    if match.path:
        return of_path(match.column, match.path, str(match.value))
    if not isinstance(match.value, datetime):
        return [{key_of(match.column): match.value}]
    moment = matching.stamp(match.value)
    if match.operator == "<=":
        return [{"at": {"$lt": moment + BEHIND}} if match.column == "created_at" else {match.column: {"$lte": moment}}]
    if match.column == "created_at":
        return [{"at": {"$gte": moment}}]
    # No event is more than a day ahead of its receipt: so the order that pages come in ends the search.
    return [{match.column: {"$gte": moment}}, {"at": {"$gte": matching.stamp(match.value - MAX_AHEAD)}}]


def of_path(column: str, path: Sequence[str], value: str) -> list[Conditions]:
    """A condition that every event fulfils which has this text at this path; none where there is no such condition."""
    text = {column: {"$type": "string"}}
    if any("." in step or step.startswith("$") for step in path):
        return [text]
    if value[:1] in ("[", "{") or not all(map(is_plain, path)):
        return []
    return [{"$or": [text, {".".join((column, *path)): {"$in": [value, *scalars(value)]}}]}]


def is_plain(step: str) -> bool:
    """Whether MongoDB takes the step as we do: not an index from behind or in other digits, and not a name without a letter."""
    return step.strip() == step != "" and (not step.lstrip("-").isdecimal() or INDEX.fullmatch(step) is not None)


def scalars(text: str) -> list[int | float | bool]:
    """The JSON numbers and booleans that are written so."""
    if text in ("true", "false"):
        return [text == "true"]
    if not NUMBER.fullmatch(text):
        return []
    number = json.loads(text)
    return [number] if (number in INT64 if isinstance(number, int) else math.isfinite(number)) else []


def behind(query: Filter, value: Any, at: str) -> Conditions:
    """What comes after this place. Null is before every value."""
    key, direction = key_of(query.sort_by), "$lt" if query.descending else "$gt"
    if key == "at":
        return {"at": {direction: at}}
    same = {key: value, "at": {direction: at}}
    if query.descending:
        return same if value is None else {"$or": [same, {key: {"$lt": value}}, {key: None}]}
    return {"$or": [same, {key: {"$ne": None}} if value is None else {key: {"$gt": value}}]}
