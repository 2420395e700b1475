"""The parts of the documents that are made from the code: `python -m tests.docs` writes them.

tests/unit/test_docs.py and tests/integration/test_metrics_endpoint.py hold the documents to them.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import Field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

from sluice import settings
from sluice.stores import MEANING
from sluice.stores.dynamodb.store import DynamodbStore
from sluice.stores.influxdb.store import InfluxdbStore
from sluice.stores.mongodb.store import MongodbStore
from sluice.stores.postgresql.store import PostgresqlStore

README = ROOT / "README.md"
STORES = ROOT / "docs/stores.md"
UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def settings_table() -> str:
    """Every variable that sluice.settings reads: its name, its default in words, what it does."""
    rows = ((name_of(name, spec), default_of(name, spec), spec.metadata["doc"]) for name, spec in settings.known().items())
    return "\n".join(["| variable | default | what |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def capabilities_table() -> str:
    """What each store declares, in the order of sluice.stores.MEANING."""
    stores: dict[str, Any] = {
        "PostgreSQL": PostgresqlStore,
        "DynamoDB": DynamodbStore,
        "MongoDB": MongodbStore,
        "InfluxDB": InfluxdbStore,
    }
    declared = {name: store.capabilities for name, store in stores.items()}
    head = f"| `reason` | what | {' | '.join(declared)} |\n|---|---|{'---|' * len(declared)}"
    rows = (
        f"| `{name}` | {what} | {' | '.join('yes' if name in able else '' for able in declared.values())} |"
        for name, what in MEANING.items()
    )
    return "\n".join((head, *rows))


def name_of(name: str, spec: Field[Any]) -> str:
    return f"`{name}`, `{name}_FILE`" if spec.metadata["secret"] else f"`{name}`"


def default_of(name: str, spec: Field[Any]) -> str:
    default: Any = spec.default
    if spec.metadata["shown"] is not None:
        return str(spec.metadata["shown"])
    if default is None:
        return "-"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if name.endswith("_BYTES"):
        return size_of(default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def size_of(number: int) -> str:
    """As people say it: 256 KiB. The variable itself takes bytes."""
    return next((f"`{number}` ({number // size} {unit})" for unit, size in UNITS if number % size == 0), f"`{number}`")


def section(path: Path, name: str) -> str:
    """What stands between `<!-- name: begin -->` and `<!-- name: end -->`."""
    found = re.search(marks(name), path.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"{path.name} has the marks of {name}"
    return found[2].strip()


def put(path: Path, name: str, text: str) -> None:
    """Put `text` between the marks of `name`."""
    old = path.read_text(encoding="utf-8")
    new, count = re.subn(marks(name), lambda found: f"{found[1]}\n{text}\n{found[3]}", old, flags=re.DOTALL)
    assert count == 1, f"{path.name} has the marks of {name} once"
    path.write_text(new, encoding="utf-8")


def marks(name: str) -> str:
    return rf"(<!-- {name}: begin -->)(.*?)(<!-- {name}: end -->)"


def table(heading: str) -> Iterator[list[str]]:
    """The rows of the first table under a heading of the README, a list of cells each."""
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    rows = re.findall(r"^\|(.*)\|$", rest.partition("\n## ")[0], re.MULTILINE)
    return ([cell.strip() for cell in row.split("|")] for row in rows[2:])


def quoted(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]*)`", cell)


def header(module: str) -> str:
    """Above figures: when, what and where they were measured, and the command: `module` as it was started."""
    command = " ".join([f"python -m {module}", *sys.argv[1:]])
    place = f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} cores"
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {place}, `{command}`:"


def commit() -> str:
    """Of this code; "unknown" outside of a repository."""
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


if __name__ == "__main__":
    put(README, "settings", settings_table())
    put(STORES, "capabilities", capabilities_table())
