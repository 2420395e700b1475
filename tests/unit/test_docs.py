"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from tests import docs
from tests.conftest import ROOT
from tests.unit.test_repository import tracked

from sluice import cli, functions, logs, settings, stores  # noqa: F401 - functions declares their routes
from sluice.http.app import create_app
from sluice.parsing import timestamps
from sluice.settings import Settings

Endpoint = tuple[str, str]


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> set[Endpoint]:
    """Method and path of everything that the application serves."""
    monkeypatch.setattr(logs, "configure", lambda _level: None)
    app = create_app(Settings(), store=cast(Any, object()))
    rules = ((method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ())
    return {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path))
        for method, path in rules
        if method in ("GET", "POST", "PUT", "PATCH", "DELETE") and not path.startswith("/console")
    }


def test_the_settings_table_is_the_code_s() -> None:
    assert docs.section(docs.README, "settings") == docs.settings_table(), "run `python -m tests.docs`"


def test_the_table_of_what_each_store_can_do_is_the_code_s() -> None:
    assert docs.section(docs.STORES, "capabilities") == docs.capabilities_table(), "run `python -m tests.docs`"
    assert set(stores.MEANING) == set(get_args(stores.Capability))


def test_the_settings_table_has_every_variable_and_its_default_in_words() -> None:
    rows = [row.strip("|").split(" | ") for row in docs.settings_table().splitlines()[2:]]
    assert [docs.quoted(row[0])[0] for row in rows] == list(settings.known())
    assert [row for row in rows if len(row) != 3 or not all(cell.strip() for cell in row)] == []


def test_the_endpoints_table_lists_every_route(routes: set[Endpoint]) -> None:
    told = {(method, path) for row in docs.table("Endpoints") for method, path in map(str.split, docs.quoted(row[0]))}
    assert told == routes


def test_every_command_is_in_the_readme() -> None:
    text = docs.README.read_text(encoding="utf-8")
    assert [name for name in cli.COMMANDS if f"sluice {name}" not in text] == []


def test_the_fields_that_hold_a_time_are_those_that_the_page_on_importing_lists() -> None:
    text = (ROOT / "docs/import.md").read_text(encoding="utf-8")
    listed = text.partition("these fields are looked at:")[2].partition(".\n\n")[0]
    assert tuple(docs.quoted(listed)) == timestamps.TIME_FIELDS


def prose(text: str) -> list[str]:
    """The lines of a Markdown page without code, which is not wrapped, tables and lines that a link makes long."""
    outside = re.sub(r"`[^`\n]+`", "", re.sub(r"^ *(```|~~~).*?^ *\1", "", text, flags=re.MULTILINE | re.DOTALL))
    return [line for line in outside.splitlines() if not line.lstrip().startswith(("|", "    ")) and "http" not in line]


@pytest.mark.needs("git", "git clone")
def test_markdown_is_wrapped_at_120() -> None:
    pages = [path for path in tracked() if path.suffix == ".md"]
    long = {str(page.relative_to(ROOT)): [line for line in prose(page.read_text()) if len(line) > 120] for page in pages}
    assert {page: lines for page, lines in long.items() if lines} == {}


FENCE = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def bare(line: str) -> str:
    """What a shell may split and expand: without quoted words and a comment."""
    return re.sub(r"(^|\s)#.*", "", re.sub(r"""'[^']*'|"(\\.|[^"])*\"""", "Q", line))


@pytest.mark.needs("git", "git clone")
def test_every_command_can_be_pasted_into_zsh_as_well() -> None:
    """It takes brackets, * and ? for patterns that have to match a file, and splits no variable into words."""
    pages = {path: path.read_text(encoding="utf-8").replace("\\\n", " ") for path in tracked() if path.suffix == ".md"}
    blocks = [(path.name, FENCE.findall(text)) for path, text in pages.items()]
    lines = [(name, line) for name, found in blocks for block in found for line in block.splitlines()]
    assert len(lines) > 100
    assert [one for one in lines if re.search(r"\S\[|(?<!\\)[*?]|(^|\s)\$[a-z]", bare(one[1]))] == []


@pytest.mark.parametrize("text", ["", "a\nb", r"back\slash \1"])
def test_what_is_put_between_marks_is_found_there(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n")
    docs.put(page, "x", text)
    assert docs.section(page, "x") == text
    assert (page.read_text().startswith("before\n"), page.read_text().endswith("\nafter\n")) == (True, True)
