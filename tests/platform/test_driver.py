"""The tests' own tools: how Terraform is found, and what is understood of what it tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from tests.platform import canonical, mirror, runs
from tests.platform.emulator.process import Emulator
from tests.platform.runs import Change, Run, Verdict

PLACE = "registry.example.org/hashicorp/aws"
CODE = """# A comment.
variable "one" {
  description = "First."
  type        = object({ name = string })

  validation {
    condition     = var.one != null
    error_message = "one must be."
  }
}

resource "aws_vpc" "this" {
  cidr_block = "10.0.0.0/16"
}
"""


@pytest.mark.parametrize(
    "kept", [f"{PLACE}/5.100.0/linux_amd64/terraform-provider-aws_v5", f"{PLACE}/terraform-provider-aws_5.zip"]
)
def test_a_mirror_is_found_packed_or_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    file = tmp_path / "mirror" / kept
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setenv("TERRAFORM_MIRROR", str(tmp_path / "mirror"))
    assert mirror.found() == tmp_path / "mirror"
    assert str(tmp_path / "mirror") in mirror.configuration(mirror.found())


def test_a_folder_without_the_provider_is_no_mirror(tmp_path: Path) -> None:
    (tmp_path / "registry.example.org" / "hashicorp" / "random").mkdir(parents=True)
    assert not mirror.holds(tmp_path)
    assert not mirror.holds(tmp_path / "none")


def test_without_a_mirror_terraform_looks_where_it_would() -> None:
    assert mirror.configuration(None) == ""


def heard(*messages: dict[str, Any]) -> Run:
    run = Run(0, 0)
    for message in messages:
        runs.keep(run, message)
    return run


def test_planned_changes_and_what_is_done_are_told() -> None:
    resource = {"addr": "module.network.aws_vpc.this", "resource_type": "aws_vpc"}
    run = heard(
        {"type": "planned_change", "change": {"resource": resource, "action": "create"}},
        {"type": "apply_complete", "hook": {"resource": resource, "action": "create"}},
        {"type": "apply_complete", "hook": {"resource": resource, "action": "read"}},
    )
    assert run.changes == [Change("module.network.aws_vpc.this", "aws_vpc", "create")]
    assert (run.completed, run.actions("create"), run.actions("delete")) == (["module.network.aws_vpc.this"], {"aws_vpc"}, set())


def test_errors_are_kept_apart_from_warnings() -> None:
    said = [{"severity": severity, "summary": severity, "detail": "why"} for severity in ("error", "warning")]
    run = heard(*({"type": "diagnostic", "diagnostic": one} for one in said))
    assert (len(run.errors), len(run.warnings)) == (1, 1)
    assert run.surprises == run.warnings


def test_the_end_of_support_is_no_surprise() -> None:
    late = {
        "severity": "warning",
        "summary": "Check block assertion failed",
        "detail": "Standard support of Kubernetes 1.35 ends",
    }
    assert heard({"type": "diagnostic", "diagnostic": late}).surprises == []


def test_a_line_that_is_no_json_is_an_error() -> None:
    assert heard(runs.parsed("Error: no such folder\n")).errors == ["Error: no such folder"]
    assert heard(runs.parsed(json.dumps({"type": "version"}))).errors == []


def test_a_failed_command_raises_what_it_told() -> None:
    with pytest.raises(runs.Failed, match="no such thing"):
        runs.worked(Run(1, 0, errors=["no such thing"]))


def test_a_run_counts_once_when_it_is_complete() -> None:
    verdict = Verdict()
    for progress, status in (("starting", "pending"), ("complete", "pass"), ("complete", "error"), ("complete", "skip")):
        runs.judge(verdict, {"test_run": {"path": "a", "run": "b", "progress": progress, "status": status}})
    assert (verdict.passed, verdict.failed, verdict.skipped, verdict.errors) == (1, 1, 1, ["a: b"])


def test_code_is_read_with_its_inner_blocks() -> None:
    one, resource = canonical.blocks(CODE)
    assert (one.kind, one.labels, one.text("description")) == ("variable", ("one",), "First.")
    assert (one.attribute("type"), one.attribute("default")) == ("object({ name = string })", None)
    assert [rule.text("error_message") for rule in one.inner("validation")] == ["one must be."]
    assert (resource.labels, resource.name) == (("aws_vpc", "this"), "this")


def test_the_emulator_ends_with_its_parent() -> None:
    with Emulator() as emulator:
        kms = emulator.client("kms")
        assert kms.list_keys()["Keys"] == []
    with pytest.raises(EndpointConnectionError):
        emulator.client("kms").list_keys()
