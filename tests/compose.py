"""compose.yaml as Docker Compose reads it: variables filled in (`${NAME:?why}`, `${NAME:-default}`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from tests.conftest import ROOT

VARIABLE = re.compile(r"\$\{(\w+)(:[?-])([^}]*)\}")
GIVEN = {
    "API_KEYS": "a-plain-key-of-the-tests-0123456789",
    "DATABASE_PASSWORD": "canary-of-the-owner",
    "READER_PASSWORD": "canary-of-the-reader",
}
OURS = ("migrate", "service", "worker", "pull")


def read(**given: str) -> dict[str, Any]:
    """The document with `given` over GIVEN; raises KeyError for a variable that must be given and is not."""
    values: Mapping[str, str] = {**GIVEN, **given}

    def value(found: re.Match[str]) -> str:
        name, how, default = found.groups()
        return values[name] if how == ":?" else values.get(name, default)

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: filled(each) for name, each in node.items()}
        if isinstance(node, list):
            return [filled(each) for each in node]
        return VARIABLE.sub(value, node) if isinstance(node, str) else node

    document: dict[str, Any] = filled(yaml.safe_load((ROOT / "compose.yaml").read_text()))
    return document


def environment(document: dict[str, Any], service: str) -> dict[str, str]:
    found: dict[str, str] = document["services"][service]["environment"]
    return found
