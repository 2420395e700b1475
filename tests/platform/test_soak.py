"""The soak keeps what it did, and tells it in a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import require
from tests.platform import lives, soak
from tests.platform.conftest import TERRAFORM
from tests.platform.lives import Step
from tests.platform.runs import Failed
from tests.platform.soak import Run
from tests.platform.terraform import FOLDER
from tests.soak import kept

STEP = Step("first apply", 101.4, made=99, replaced=1)


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    run = soak.resumed(tmp_path / "new")
    run.results["interrupted"] = [STEP]
    kept.keep(tmp_path / "new", run)
    assert soak.resumed(tmp_path / "new") == run


def test_every_part_is_a_life_or_a_folder_of_runs() -> None:
    samples = list((FOLDER / soak.SAMPLES).glob("*.tftest.hcl"))
    assert len(soak.parts()) == len(lives.LIVES) + 1 + len(samples)
    assert len(samples) > 3


def test_the_report_names_date_and_command_and_has_a_row_for_each_step() -> None:
    require("terraform", TERRAFORM)
    head, _, *lines = soak.report(Run("2026-11-21T17:00+00:00", {"dev": [STEP]}, ["1a", "2b"]))
    assert head.startswith("2026-11-21 17:00 UTC, commit 1a, then 2b, Terraform ")
    assert lines[-1].splitlines()[-1] == "| dev | first apply | 101 | 99 |  | 1 |  |"


def test_the_report_says_what_was_not_run() -> None:
    require("terraform", TERRAFORM)
    run = Run("2026-11-21T17:00+00:00", {name: [STEP] for name in soak.parts()})
    assert "Not run" not in "\n".join(soak.report(run))
    del run.results["interrupted"], run.results["bootstrap"]
    assert "Not run yet: interrupted; bootstrap." in soak.report(run)


def test_a_life_that_does_not_hold_ends_with_words() -> None:
    with pytest.raises(Failed, match="not empty"):
        lives.must_hold(False, "the plan afterwards is not empty")
    lives.must_hold(True, "never told")


def test_the_document_reports_every_life() -> None:
    told = (FOLDER / "docs" / "proof.md").read_text(encoding="utf-8")
    assert [name for name in lives.LIVES if f"\n| {name} | " not in told] == []
