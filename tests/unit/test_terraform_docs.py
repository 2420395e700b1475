"""terraform/README.md and terraform/docs tell what the code is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests import docs
from tests.platform import canonical, tables
from tests.platform.terraform import FOLDER

DOCS = FOLDER / "docs"
RUNBOOKS = ("destroy", "first-apply", "interrupted", "private", "restore", "rotate", "upgrade-kubernetes", "upgrade-rds")
MODULES = [FOLDER, FOLDER / "bootstrap", *sorted((FOLDER / "modules").iterdir())]
DATE = r"20\d\d-\d\d-\d\d"


@pytest.mark.parametrize("name", tables.PARTS)
def test_the_readme_s_parts_are_the_code_s(name: str) -> None:
    assert docs.section(tables.README, name) == tables.PARTS[name](), "run `python -m tests.platform.tables`"


@pytest.mark.parametrize("folder", tables.MODULES, ids=lambda path: path.name)
def test_every_module_has_a_readme_of_its_own_code(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == tables.module(folder), "run `python -m tests.platform.tables`"


def test_the_picture_shows_every_module_of_the_root() -> None:
    picture = docs.section(tables.README, "architecture")
    modules = {one.name for one in canonical.of_kind("module")}
    assert modules == set(re.findall(r'^  (\w+)\["', picture, re.MULTILINE))
    assert "network --> cluster" in picture


@pytest.mark.parametrize("folder", MODULES, ids=lambda path: path.name)
def test_every_variable_and_output_is_described_and_typed(folder: Path) -> None:
    for one in [*canonical.of_kind("variable", folder), *canonical.of_kind("output", folder)]:
        assert one.text("description").endswith((".", "`")), one.name
        assert one.kind == "output" or one.attribute("type"), one.name


def test_every_variable_of_the_root_has_rules_unless_its_type_says_all() -> None:
    free = [one.name for one in canonical.of_kind("variable") if not one.inner("validation")]
    kinds = {one.name: one.attribute("type") for one in canonical.of_kind("variable")}
    assert {kinds[name] for name in free} == {"bool"}


def test_every_rule_names_its_variable_and_what_to_do() -> None:
    for one in canonical.of_kind("variable"):
        for rule in one.inner("validation"):
            assert one.name in rule.text("error_message"), one.name


def test_the_costs_have_a_date_and_a_source_for_every_price() -> None:
    text = (DOCS / "costs.md").read_text(encoding="utf-8")
    assert re.search(DATE, text)
    assert re.search(DATE, (FOLDER / "costs.tf").read_text(encoding="utf-8"))
    head, _, *rows = docs.section(DOCS / "costs.md", "costs").splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == ["part", "dev", "staging", "prod"]
    assert len(rows) == 7


@pytest.mark.parametrize("name", RUNBOOKS)
def test_a_runbook_is_there_with_commands_that_can_be_copied(name: str) -> None:
    text = (DOCS / "runbooks" / f"{name}.md").read_text(encoding="utf-8")
    assert re.search(r"`[^`]*(aws|terraform|kubectl) [^`]*`|```sh", text)
    assert f"runbooks/{name}.md" in tables.README.read_text(encoding="utf-8")


def test_an_upgrade_of_the_database_ends_with_a_restart() -> None:
    """The new parameter group is not in force before (RDS user guide, "How to perform a major version upgrade")."""
    text = (DOCS / "runbooks" / "upgrade-rds.md").read_text(encoding="utf-8")
    assert text.index("asks RDS for the upgrade") < text.index("aws rds reboot-db-instance") < text.index("ANALYZE")


def test_an_import_has_the_environment_s_variables() -> None:
    """Without them Terraform asks for each."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in DOCS.rglob("*.md"))
    imports = re.findall(r"terraform import [^`]*", text)
    assert len(imports) >= 3
    assert [line for line in imports if "-var-file=envs/" not in line] == []


def test_no_runbook_is_forgotten() -> None:
    assert sorted(file.stem for file in (DOCS / "runbooks").iterdir()) == sorted(RUNBOOKS)


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for file in [tables.README, *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
