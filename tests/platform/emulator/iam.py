"""IAM: which values of tags it refuses, where moto looks at their length only."""

from __future__ import annotations

from typing import Any

from moto.iam.exceptions import InvalidInput
from moto.iam.models import IAMBackend
from tests.platform.emulator.patching import around

Tags = list[dict[str, str]]


@around(IAMBackend, "_tag_verification")
def tag_verification(old: Any, self: IAMBackend, tags: Tags) -> dict[str, dict[str, str]]:
    """Letters, spaces and digits of any language, and some signs (API reference, Tag)."""
    for tag in tags:
        if wrong := [sign for sign in tag["Value"] if not (sign.isalnum() or sign.isspace() or sign in "_.:/=+-@")]:
            raise InvalidInput(f"The tag value {tag['Value']} has {wrong}; it must match [\\p{{L}}\\p{{Z}}\\p{{N}}_.:/=+\\-@]*")
    checked: dict[str, dict[str, str]] = old(self, tags)
    return checked
