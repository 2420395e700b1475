"""Rendered objects as plain dictionaries, and the few questions that every test asks of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import yaml

Object = dict[str, Any]


class Loader(yaml.CSafeLoader):
    """Refuses a mapping that names a key twice, of which YAML libraries and the API server keep the last."""


def without_doubles(loader: Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    names = [key.value for key, _ in node.value]
    doubled = {name for name in names if names.count(name) > 1}
    assert not doubled, f"named twice: {doubled} at{node.start_mark}"
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, without_doubles)


def parse(text: str) -> list[Object]:
    return [one for one in yaml.load_all(text, Loader=Loader) if one]


def title(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def only(objects: Iterable[Object], kind: str) -> Object:
    found = of_kind(objects, kind)
    assert len(found) == 1, f"one {kind} is rendered, not {[title(one) for one in found]}"
    return found[0]


def annotation(one: Object, name: str) -> str:
    """Empty when there is none."""
    text: str = (one["metadata"].get("annotations") or {}).get(name) or ""
    return text


def pod_of(one: Object) -> Object | None:
    """The Pod or the Pod template (metadata and spec) that an object brings."""
    spec = one.get("spec") or {}
    if one["kind"] == "Pod":
        return one
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Object | None = spec.get("template")
    return template if template and "containers" in (template.get("spec") or {}) else None


def pods(objects: Iterable[Object]) -> dict[str, Object]:
    """Title of the bringing object -> Pod or Pod template; hooks and tests too."""
    return {title(one): pod for one in objects if (pod := pod_of(one)) is not None}
