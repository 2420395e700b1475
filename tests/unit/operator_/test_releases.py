"""Operator and service may be one release apart: each reads what the other writes, and a new restriction is never ignored."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluice import errors, keyring, keys

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = keys.mint("prod", lambda count: bytes(range(count)))
# What the other release does, with the document's path as argument.
OPERATOR = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sluice import keys
entry = keys.KeyEntry(digest=sys.argv[2], key_id="web", owner="shop", scopes=frozenset({"ingest", "read"}), **%s)
Path(sys.argv[1]).write_bytes(keys.publish([entry], datetime(2026, 3, 1, 12, tzinfo=UTC)))
"""
SERVICE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sluice import keyring
ring = keyring.Keyring([], Path(sys.argv[1]), lambda: datetime(2026, 3, 1, 12, tzinfo=UTC))
assert ring.poll(), ring.last_error
print(ring.verify(sys.argv[2]).key_id, ring.revision)
"""


def later_release(folder: Path, schema: int) -> Path:
    """The package as a later release might have it: an entry has one more field."""
    shutil.copytree(Path(keys.__file__).parent, folder / "sluice", ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "sluice" / "keys.py"
    text = source.read_text()
    more = text.replace("    owner: Owner\n", "    owner: Owner\n    team: str = 'none'\n", 1)
    more = more.replace("Literal[1, 2] = 1", f"Literal[1, 2, {schema}] = {schema}")
    assert more != text
    source.write_text(more)
    return folder


def release_before(folder: Path) -> Path:
    """The package as release 0.1 has it: three scopes, and one schema."""
    shutil.copytree(Path(keys.__file__).parent, folder / "sluice", ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "sluice" / "keys.py"
    text = source.read_text()
    less = text.replace(', "tasks", "sources"]', "]").replace("Literal[1, 2]", "Literal[1]")
    assert (less.count("Literal[1]"), "tasks" in less.partition("SCOPES")[0]) == (2, False)
    source.write_text(less)
    return folder


def run(package: Path, script: str, *arguments: str | Path) -> str:
    """The last line that a script prints in a process of its own, which imports that release."""
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return "".join(printed.splitlines()[-1:])


def test_this_service_takes_the_key_set_of_the_next_operator(tmp_path: Path) -> None:
    path = tmp_path / "keyset.json"
    run(later_release(tmp_path / "next", 1), OPERATOR % "{'team': 'payments'}", path, keys.digest(KEY))
    assert b"payments" in path.read_bytes()
    ring = keyring.Keyring([], path, lambda: NOW)
    assert ring.poll()
    assert ring.verify(KEY).key_id == "web"


def test_the_next_service_takes_the_key_set_of_this_operator(tmp_path: Path) -> None:
    path = tmp_path / "keyset.json"
    entry = keys.KeyEntry(digest=keys.digest(KEY), key_id="web", owner="shop", scopes=frozenset({"ingest", "read"}))
    path.write_bytes(keys.publish([entry], NOW))
    found = run(later_release(tmp_path / "next", 1), SERVICE, path, KEY)
    assert found == f"web {keys.parse_document(path.read_bytes()).revision}"


def test_a_document_of_a_newer_schema_is_refused_and_the_last_good_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "keyset.json"
    entry = keys.KeyEntry(digest=keys.digest(KEY), key_id="web", owner="shop", scopes=frozenset({"ingest"}))
    path.write_bytes(keys.publish([entry], NOW))
    ring = keyring.Keyring([], path, lambda: NOW)
    assert ring.poll()
    other = keys.digest("another")
    run(later_release(tmp_path / "next", 3), OPERATOR % "{'team': 'only-from-paris'}", path, other)
    assert not ring.poll()
    assert "schema" in (ring.last_error or "")
    assert ring.verify(KEY).key_id == "web"
    with pytest.raises(errors.ApiError):
        ring.verify("another")


def test_the_service_before_takes_the_key_set_of_this_operator_unless_it_has_a_new_scope(tmp_path: Path) -> None:
    path, package = tmp_path / "keyset.json", release_before(tmp_path / "before")
    entry = keys.KeyEntry(digest=keys.digest(KEY), key_id="web", owner="shop", scopes=frozenset({"ingest", "read", "admin"}))
    path.write_bytes(keys.publish([entry], NOW))
    assert run(package, SERVICE, path, KEY).startswith("web ")
    tasks = keys.KeyEntry(digest=keys.digest("other"), key_id="desk", owner="shop", scopes=frozenset({"tasks"}))
    path.write_bytes(keys.publish([entry, tasks], NOW))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(package, SERVICE, path, KEY)
    assert "scopes must be a list of one or more of ingest, read, admin" in caught.value.stderr


def test_this_service_takes_the_key_set_of_the_operator_before(tmp_path: Path) -> None:
    path = tmp_path / "keyset.json"
    run(release_before(tmp_path / "before"), OPERATOR % "{}", path, keys.digest(KEY))
    ring = keyring.Keyring([], path, lambda: NOW)
    assert ring.poll(), ring.last_error
    assert ring.verify(KEY).key_id == "web"
