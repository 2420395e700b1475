"""What docs/operator.md shows for tools of others, and a strict stub of the kind that one of them brings."""

from __future__ import annotations

from typing import Any

import yaml
from tests import docs
from tests.conftest import ROOT

PUSH_SECRETS = ROOT / "tests/operator/pushsecrets.yaml"


def example(name: str) -> dict[str, Any]:
    """The objects of one example, by kind."""
    text = docs.section(ROOT / "docs/operator.md", name).removeprefix("```yaml\n").removesuffix("```")
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def selected_labels(push_secret: dict[str, Any]) -> dict[str, str]:
    """What a Secret must have to be pushed."""
    found: dict[str, str] = push_secret["spec"]["selector"]["secret"]["selector"]["matchLabels"]
    return found
