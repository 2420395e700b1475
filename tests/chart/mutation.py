"""Wrong values, made from the chart's schema: for each value every way to get it wrong that the schema knows a rule against.

The rules of draft-07 that this reads are those the schema uses; `unread` tells a keyword that it would pass over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]
Path = tuple[str | int, ...]

EXAMPLES: dict[str, Any] = {"string": "text", "integer": 7, "number": 7.5, "boolean": True, "array": [], "object": {}}
READ = {
    "type",
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "additionalProperties",
    "propertyNames",
    "items",
    "required",
    "$ref",
    "definitions",
    "description",
    "default",
    "examples",
    "title",
    "$schema",
    "$id",
    "$comment",
}
UNLIKELY = ("no such\nvalue!", "", " ", "-", "0", "x" * 300)


@dataclass(frozen=True)
class Mutant:
    path: Path
    kind: str  # of mistake
    why: str
    values: dict[str, Any]

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.why}"


def mutants(schema: Schema, defaults: Mapping[str, Any]) -> Iterator[Mutant]:
    """Each wrong value alone, as values to lay over `defaults`, in which everything else is right."""
    for path, node in nodes(schema, schema):
        for kind, why, key, value in wrong(path, node, defaults):
            yield Mutant(path, kind, why, placed((*path, *key), value))


def nodes(schema: Schema, root: Schema, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Every value the schema describes, with references followed; an item of an array is [0], one of a free map `example`."""
    node = resolved(schema, root)
    yield path, node
    for name, inner in (node.get("properties") or {}).items():
        yield from nodes(inner, root, (*path, name))
    for key, step in (("items", 0), ("additionalProperties", "example")):
        if isinstance(node.get(key), dict):
            yield from nodes(node[key], root, (*path, step))


def resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def unread(schema: Schema) -> set[str]:
    """Keywords of the schema that this module has no wrong value for."""
    return {key for _, node in nodes(schema, schema) for key in node} - READ


Wrong = tuple[str, str, Path, Any]  # kind of mistake, words, where below the node, value


def wrong(path: Path, node: Schema, defaults: Mapping[str, Any]) -> Iterator[Wrong]:
    yield from types(node) if path else ()
    yield from names(path, node, defaults)
    yield from removed(path, node, defaults)
    yield from numbers(node)
    yield from texts(node)
    yield from lists(node)


def types(node: Schema) -> Iterator[Wrong]:
    """One value of each JSON type that is not allowed; 7 is a number too, and draft-07 takes 7.0 as an integer."""
    allowed = allowed_types(node)
    for kind, example in EXAMPLES.items():
        if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
            yield "type", f"a {kind} instead of {'|'.join(allowed)}", (), example


def allowed_types(node: Schema) -> list[str]:
    kind = node.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def names(path: Path, node: Schema, defaults: Mapping[str, Any]) -> Iterator[Wrong]:
    """In a closed object an unknown sibling, and each of its keys misspelt; in a free one a key that its rule forbids."""
    if "pattern" in node.get("propertyNames", {}):
        yield "key", "a forbidden key", (unlike(node["propertyNames"]["pattern"]),), "text"
    if node.get("additionalProperties") is not False:
        return
    known = node.get("properties") or {}
    yield "key", "an unknown key", ("unknownKey",), "text"
    for key in known:
        misspelt = key[:-2] + key[:-3:-1] if key[:-2] + key[:-3:-1] != key else key + key[-1]
        if misspelt not in known:
            yield "spelling", f"{misspelt} for {key}", (misspelt,), value_at(defaults, (*path, key))


def removed(path: Path, node: Schema, defaults: Mapping[str, Any]) -> Iterator[Wrong]:
    """A mapping or value left empty: YAML's null, by which Helm removes the default."""
    for key in node.get("properties") or {}:
        if value_at(defaults, (*path, key), absent=None) is not None:
            yield "null", f"nothing for {key}", (key,), None


def numbers(node: Schema) -> Iterator[Wrong]:
    if "minimum" in node:
        yield "range", "below the minimum", (), node["minimum"] - 1
    if "exclusiveMinimum" in node:
        yield "range", "at the excluded minimum", (), node["exclusiveMinimum"]
    if "maximum" in node:
        yield "range", "above the maximum", (), node["maximum"] + 1


def texts(node: Schema) -> Iterator[Wrong]:
    if "enum" in node or "const" in node:
        yield "choice", "none of the listed", (), "no-such-value"
    if "pattern" in node:
        yield "pattern", "not of the pattern", (), unlike(node["pattern"])
    if node.get("minLength"):
        yield "length", "too short", (), "x" * (node["minLength"] - 1)
    if "maxLength" in node:
        yield "length", "too long", (), "x" * (node["maxLength"] + 1)


def unlike(pattern: str) -> str:
    return next(text for text in UNLIKELY if not re.search(pattern, text))


def lists(node: Schema) -> Iterator[Wrong]:
    if node.get("minItems"):
        yield "length", "too few", (), []
    if "maxItems" in node:
        yield "length", "too many", (), ["x"] * (node["maxItems"] + 1)


def placed(path: Path, value: Any) -> Any:
    """`value` at `path` and nothing else: ("a", 0, "b") -> {"a": [{"b": value}]}."""
    for step in reversed(path):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def value_at(values: Any, path: Path, absent: Any = "text") -> Any:
    """What stands at `path`, or `absent` where nothing does: a misspelt key has a plausible value."""
    for step in path:
        values = values.get(step) if isinstance(values, Mapping) else None
    return absent if values is None else values
