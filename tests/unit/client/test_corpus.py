"""Small logs of many programs, and the events that each of them must give.

corpus/NAME is a log as a program wrote it, or as its documentation shows it; corpus/expected/NAME.ndjson has its events in order,
without their ids. To add one, write both; `python -m tests.unit.client.test_corpus NAME` prints what a log gives.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sluice import events
from sluice.client.files import Input
from sluice.client.importer import Importer, Item
from sluice.parsing.timestamps import Timestamps

CORPUS = Path(__file__).parent / "corpus"
LOGS = sorted(path.name for path in CORPUS.iterdir() if path.is_file())
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def events_of(name: str) -> list[dict[str, Any]]:
    with (CORPUS / name).open("rb") as file:
        given = Input(file)
        entries = list(Importer("corpus", times=Timestamps(now=NOW)).read(given.stream, given.format))
    assert given.binary == ""
    for entry in entries:
        assert isinstance(entry, Item), entry
        events.prepare(events.parse(entry.json), now=NOW, key_id="k", rules=events.Rules())
    return [json.loads(entry.json) for entry in entries if isinstance(entry, Item)]


@pytest.mark.parametrize("name", LOGS)
def test_a_log_gives_its_events(name: str) -> None:
    found = events_of(name)
    assert len({event.pop("event_id") for event in found}) == len(found)
    assert found == [
        json.loads(line) for line in (CORPUS / "expected" / f"{name}.ndjson").read_text(encoding="utf-8").splitlines()
    ]


def test_the_corpus_is_large() -> None:
    assert len(LOGS) >= 40


if __name__ == "__main__":
    for event in events_of(sys.argv[1]):
        del event["event_id"]
        print(json.dumps(event, ensure_ascii=False))
