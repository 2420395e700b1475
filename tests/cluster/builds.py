"""Images of this tree with more migrations: what the next releases would be."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT
from tools import images

MIGRATIONS = "app/sluice/migrations"
CAN_WAIT = "-- serving does not wait for this"

# One release adds what may be there or not, as every release should.
EXPANDED = {
    "0900.add-note.sql": f"""{CAN_WAIT}
ALTER TABLE sluice.events ADD COLUMN IF NOT EXISTS note text;
CREATE INDEX IF NOT EXISTS events_note ON sluice.events (note);
""",
}
# The next one can not serve without a table of its own, and drops what the last one added.
CONTRACTED = {
    **EXPANDED,
    "0901.create-notes.sql": "CREATE TABLE IF NOT EXISTS sluice.notes (event_id text PRIMARY KEY, note text NOT NULL);\n",
    "0902.drop-note.sql": f"{CAN_WAIT}\nALTER TABLE sluice.events DROP COLUMN IF EXISTS note;\n",
}


def with_migrations(folder: Path, name: str, migrations: Mapping[str, str]) -> images.Image:
    """The image called `name`. `folder`, an empty one, is where a copy of this tree goes."""
    for path in context():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)
    for file, text in migrations.items():
        (folder / MIGRATIONS / file).write_text(text)
    return images.build(name=name, context=folder)


def context() -> list[Path]:
    """What a build of this tree reads."""
    ignore = ROOT / ".dockerignore"
    allowed = [line[1:] for line in ignore.read_text().splitlines() if line.startswith("!")]
    return [ignore, ROOT / "Dockerfile", *(ROOT / name for name in allowed)]
