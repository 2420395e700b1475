"""A key set file as the operator publishes it, and services that read it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.service import Service
from tests.integration.waiting import until

from sluice import keys

# The service looks at the file every second, and its parent asks each worker twice a second.
PICKED_UP = 3.5


class KeysetFile:
    """Keys and what the file says of each of them. Nothing counts before `publish`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, keys.KeyEntry] = {}

    def add(self, name: str, *, scopes: tuple[keys.Scope, ...] = ("ingest", "read"), **fields: Any) -> str:
        """A new key; `fields` are those of keys.KeyEntry."""
        key = keys.mint("test")
        self.entries[key] = keys.KeyEntry(digest=keys.digest(key), key_id=name, owner="tests", scopes=frozenset(scopes), **fields)
        return key

    def change(self, key: str, **fields: Any) -> None:
        old = {name: getattr(self.entries[key], name) for name in keys.KeyEntry.__struct_fields__}
        self.entries[key] = keys.KeyEntry(**{**old, **fields})

    def publish(self) -> str:
        """Write the file by an atomic rename, as the kubelet does; the revision."""
        document = keys.publish(self.entries.values(), datetime.now(UTC))
        self.replace(document)
        return str(json.loads(document)["revision"])

    def replace(self, content: bytes) -> None:
        new = self.path.with_suffix(".new")
        new.write_bytes(content)
        os.rename(new, self.path)

    def publish_to(self, service: Service) -> None:
        """Publish, and return when every worker has it."""
        revision = self.publish()
        until(lambda: loaded(service) == revision, PICKED_UP, "both workers have the new key set")


def keyset_file(tmp_path_factory: pytest.TempPathFactory) -> KeysetFile:
    return KeysetFile(tmp_path_factory.mktemp("keyset") / "keyset.json")


def loaded(service: Service) -> str | None:
    """The revision that every worker has, as the admin port tells it."""
    _, state = service.admin("/keyset")
    return state["revision"] if state["workers"] == state["loaded"] == 2 else None
