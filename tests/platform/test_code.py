"""Terraform's own judgement of the code: layout, types, and `terraform test` without AWS. And checkov's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.conftest import require
from tests.platform import account
from tests.platform.conftest import TERRAFORM, provider_needed
from tests.platform.emulator.process import Emulator
from tests.platform.runs import must
from tests.platform.terraform import FOLDER, Terraform
from tools import binaries, isolated

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def local(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform with no state anywhere; the emulator only so that nothing can ask AWS."""
    require("terraform", TERRAFORM)
    work = tmp_path_factory.mktemp("code")
    made = Terraform(account.program(), work, {**aws.environment, **account.configured(work)})
    with provider_needed():
        must(made.run("init", "-backend=false", "-input=false", "-no-color", "-lockfile=readonly"))
    return made


def test_the_code_is_formatted_and_valid(local: Terraform) -> None:
    assert local.run("fmt", "-check", "-recursive", "-list=true").stdout == ""
    validated = json.loads(must(local.run("validate", "-json")))
    assert (validated["valid"], validated["diagnostics"]) == (True, [])


def test_init_reads_no_test_that_only_newer_terraform_knows() -> None:
    """OpenTofu, and Terraform before 1.11, end there at the first `state_key`."""
    assert [file.name for folder in (".", "tests") for file in (FOLDER / folder).glob("*.tftest.hcl")] == []


def test_terraform_test_passes_with_at_least_40_runs(local: Terraform) -> None:
    verdict = local.test("tests/short")
    assert verdict.errors == []
    assert (verdict.failed, verdict.skipped) == (0, 0)
    assert verdict.passed >= 40


def test_terraform_test_passes_for_bootstrap_too(local: Terraform) -> None:
    verdict = local.at("bootstrap").test()
    assert (verdict.errors, verdict.failed, verdict.passed) == ([], 0, 14)


def test_checkov_finds_nothing_to_repair() -> None:
    """Skips stand at their lines with their reasons (tests/unit/test_terraform_code.py)."""
    command = [str(isolated.program("checkov")), "--directory", str(FOLDER), "--framework", "terraform", "--skip-download"]
    done = subprocess.run([*command, "--compact", "--quiet", "--output", "json"], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    failed = {(one["check_id"], one["resource"], Path(one["file_path"]).name) for one in report["results"]["failed_checks"]}
    assert failed == set()
    assert report["summary"]["passed"] > 300
    assert report["summary"]["parsing_errors"] == 0


@pytest.fixture(scope="module")
def tflint() -> Path:
    """Its rules for AWS are a plugin that no module proxy has."""
    return binaries.path("tflint")


def findings(tflint: Path, folder: Path) -> list[str]:
    """The rules that are broken somewhere in a folder and in those below it."""
    command = [str(tflint), "--recursive", f"--config={FOLDER / '.tflint.hcl'}", "--format=json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["errors"] == []
    return [issue["rule"]["name"] for issue in report["issues"]]


def test_tflint_finds_nothing_to_repair(tflint: Path) -> None:
    assert findings(tflint, FOLDER) == []


def test_tflint_finds_what_nobody_uses(tflint: Path, tmp_path: Path) -> None:
    module = tmp_path / "modules" / "sample"
    module.mkdir(parents=True)
    (module / "main.tf").write_text('variable "unused" {\n  type = string\n}\n', encoding="utf-8")
    assert "terraform_unused_declarations" in findings(tflint, tmp_path)
