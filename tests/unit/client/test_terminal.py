"""What clients and publishers wrote is shown by a terminal, and never obeyed; a program gets it as it is."""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest

from sluice.commands import dead_letters, query
from sluice.queue import dead_letters as letters

EVIL = "a\x1b]0;title\x07\x9bb"


class Output(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__(newline="")
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def printed_csv() -> None:
    query.as_csv(iter([msgspec.Raw(msgspec.json.encode(dict.fromkeys(query.COLUMNS, EVIL)))]))


def printed_letter() -> None:
    command: Any = dead_letters.show.callback
    command("1")


@pytest.mark.parametrize("printed", [printed_csv, printed_letter])
def test_a_terminal_gets_no_control_characters_and_a_pipe_gets_all(printed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "queue_url", lambda: "")
    monkeypatch.setattr(letters, "opened", lambda _url: nullcontext())
    monkeypatch.setattr(letters, "chosen", lambda *_: iter([SimpleNamespace(body=EVIL.encode())]))
    found = {}
    for terminal in (True, False):
        output = Output(terminal)
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(click, "echo", lambda text, to=output: to.write(text if isinstance(text, str) else text.decode()))
        printed()
        found[terminal] = output.getvalue()
    assert EVIL in found[False]
    assert "a\\u001b]0;title\\u0007\\u009bb" in found[True]
    assert found[True].replace("\r\n", "").isprintable()
