"""The Condition element (IAM user guide, "Condition operators" and "Conditions with multiple context keys or values").

What is not known here is refused: an evaluator that guesses proves nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from fnmatch import translate
from typing import Any

Context = Mapping[str, str | list[str]]
Test = Callable[[str, str], bool]


class Unknown(Exception):
    """A policy says something that this evaluator does not understand."""


def like(pattern: str, value: str) -> bool:
    """`*` is any number of characters, `?` is one; a bracket is a bracket (fnmatch alone would read it as a class)."""
    return re.fullmatch(translate(pattern.replace("[", "[[]")), value) is not None


def arn_like(pattern: str, value: str) -> bool:
    """Each of the six parts for itself: a wildcard does not reach over a colon."""
    parts, values = pattern.split(":", 5), value.split(":", 5)
    return len(parts) == len(values) == 6 and all(like(*pair) for pair in zip(parts, values, strict=True))


def in_network(network: str, value: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


TESTS: dict[str, Test] = {
    "StringEquals": lambda wanted, value: value == wanted,
    "StringEqualsIgnoreCase": lambda wanted, value: value.casefold() == wanted.casefold(),
    "StringLike": like,
    "ArnEquals": arn_like,
    "ArnLike": arn_like,
    "Bool": lambda wanted, value: value.lower() == wanted.lower(),
    "IpAddress": in_network,
    "NumericEquals": lambda wanted, value: float(value) == float(wanted),
    "NumericLessThan": lambda wanted, value: float(value) < float(wanted),
    "NumericLessThanEquals": lambda wanted, value: float(value) <= float(wanted),
    "NumericGreaterThan": lambda wanted, value: float(value) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, value: float(value) >= float(wanted),
    "DateLessThan": lambda wanted, value: instant(value) < instant(wanted),
    "DateGreaterThan": lambda wanted, value: instant(value) > instant(wanted),
}
# Negated: holds when the value matches none of those wanted.
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
}
SETS = ("ForAllValues", "ForAnyValue")


def hold(conditions: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    """Whether all operators and all their keys hold. Names of keys have no case; their values have."""
    known = {key.lower(): value for key, value in context.items()}
    # All are looked at: one that is not understood is refused, even behind one that does not hold.
    found = [holds(operator, values_of(wanted), known.get(key.lower())) for operator, key, wanted in flat(conditions)]
    return all(found)


def flat(conditions: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    for operator, keys in conditions.items():
        for key, wanted in keys.items():
            yield operator, key, wanted


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def values_of(wanted: Any) -> list[str]:
    found = [str(one).lower() if isinstance(one, bool) else str(one) for one in many(wanted)]
    if any("${" in one for one in found):
        raise Unknown(f"a policy variable: {found}")
    return found


def holds(operator: str, wanted: list[str], value: str | list[str] | None) -> bool:
    """One operator on one key; `value` is None where the request has no such key."""
    among, _, plain = operator.rpartition(":")
    if among:
        return holds_among(among, plain, wanted, value)
    if plain == "Null":
        return wanted == ["true" if value is None else "false"]
    name = plain.removesuffix("IfExists")
    test = tester(name)
    if value is None:
        return plain != name or name in NEGATED
    if isinstance(value, list):
        raise Unknown(f"{operator} on many values")
    return any(test(one, value) for one in wanted) != (name in NEGATED)


def holds_among(among: str, name: str, wanted: list[str], values: str | list[str] | None) -> bool:
    """An operator on a key of many values. Without any, ForAllValues holds and ForAnyValue does not."""
    test = tester(name)
    if among not in SETS or isinstance(values, str):
        raise Unknown(f"{among}:{name} on {values!r}")
    found = [any(test(one, value) for one in wanted) != (name in NEGATED) for value in values or []]
    return any(found) if among == "ForAnyValue" else all(found)


def tester(name: str) -> Test:
    plain = NEGATED.get(name, name)
    if plain not in TESTS:
        raise Unknown(name)
    return TESTS[plain]
