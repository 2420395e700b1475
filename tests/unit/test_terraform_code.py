"""Rules of terraform/ that its text alone can keep or break."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from tests import docs
from tests.platform import canonical
from tests.platform.canonical import Block
from tests.platform.terraform import FOLDER

MODULES = sorted((FOLDER / "modules").iterdir())
ROOTS = [FOLDER, FOLDER / "bootstrap"]
ENVIRONMENTS = ("dev", "staging", "prod")
# The platforms that work on it: CI, and people's machines.
PLATFORMS = 3
# Tried in tests/platform/test_plans.py: no run of `terraform test` can be late, or in another workspace.
UNTRIED = {"kubernetes_is_supported", "workspace_is_default"}


def the(kind: str, label: str, folder: Path) -> Block:
    (found,) = (one for one in canonical.of_kind(kind, folder) if one.labels[0] == label)
    return found


def text_of(folder: Path) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.tf")))


@pytest.mark.parametrize("folder", [*ROOTS, *MODULES], ids=lambda path: path.name)
def test_versions_are_bounded_and_locked_for_every_platform(folder: Path) -> None:
    versions = (folder / "versions.tf").read_text(encoding="utf-8")
    assert 'required_version = ">= 1.11"' in versions
    if "required_providers" in versions:
        assert re.findall(r'^      version = "(.*)"', versions, re.MULTILINE) == [">= 5.100, < 7.0"]
    if folder in ROOTS:
        lock = (folder / ".terraform.lock.hcl").read_text(encoding="utf-8")
        assert lock.count("h1:") >= PLATFORMS


@pytest.mark.parametrize("name", ["complete", "dynamodb", "existing-cluster", "private", "single-account"])
def test_every_example_is_run_and_calls_the_modules(name: str) -> None:
    runs = (FOLDER / "tests" / "short" / "examples.tftest.hcl").read_text(encoding="utf-8")
    assert f'module {{ source = "./examples/{name}" }}' in runs
    sources = {one.text("source") for one in canonical.of_kind("module", FOLDER / "examples" / name)}
    assert sources
    assert all(source.startswith("../../modules/") for source in sources)


def test_the_only_provider_is_the_one_for_aws() -> None:
    """Another would be configured from what the same apply makes: helm and kubernetes talk to a cluster that is not there yet."""
    for folder in (*ROOTS, *MODULES):
        assert {one.name for one in canonical.of_kind("provider", folder)} <= {"aws"}
        sources = re.findall(r'source += "([a-z]+/[a-z]+)"', text_of(folder))
        assert set(sources) <= {"hashicorp/aws"}


def test_modules_configure_no_provider_and_come_from_this_repository() -> None:
    for folder in MODULES:
        assert canonical.of_kind("provider", folder) == []
    calls = [one for folder in (*ROOTS, *MODULES) for one in canonical.of_kind("module", folder)]
    assert {one.text("source").split("/")[0] for one in calls} == {".", ".."}


def test_rights_are_there_before_who_needs_them() -> None:
    """And so they go after it: EKS leaves network interfaces behind where it lost them first."""
    cluster = FOLDER / "modules" / "cluster"
    for kind, needed in (
        ("aws_eks_cluster", "aws_iam_role_policy_attachment.cluster"),
        ("aws_eks_node_group", "attachment.node"),
    ):
        assert needed in (the("resource", kind, cluster).attribute("depends_on") or "")


def test_an_alarm_is_made_after_what_it_watches() -> None:
    """A missing metric is an alarm, and a database takes its time: named by its variable alone it would be told as silent."""
    alarm = the("resource", "aws_cloudwatch_metric_alarm", FOLDER / "modules" / "database")
    assert alarm.attribute("dimensions") == "{ DBInstanceIdentifier = aws_db_instance.this.identifier }"


def test_the_state_is_kept_and_locked_in_s3_and_never_in_git() -> None:
    ignored = (FOLDER / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"*.tfstate", "*.tfstate.*", ".terraform/", "*.tfplan"} <= set(ignored)
    assert 'backend "s3" {}' in text_of(FOLDER)
    places = {name: (FOLDER / "envs" / f"{name}.s3.tfbackend").read_text(encoding="utf-8") for name in ENVIRONMENTS}
    for name, place in places.items():
        assert re.search(r"^use_lockfile = true$", place, re.MULTILINE)
        assert re.search(r"^encrypt +=\s*true$", place, re.MULTILINE)
        assert re.search(r'^kms_key_id +=\s*"arn:aws:kms:', place, re.MULTILINE), "else Terraform asks S3 for AES256"
        assert f'"{name}/terraform.tfstate"' in place


def test_there_is_no_script() -> None:
    """Nothing to run beside Terraform; its one local command refuses a destroy, and changes nothing."""
    assert [file for ending in ("sh", "py", "ps1") for file in FOLDER.rglob(f"*.{ending}")] == []
    commands = [(folder.name, text_of(folder).count('"local-exec"')) for folder in (*ROOTS, *MODULES)]
    assert [one for one in commands if one[1]] == [("terraform", 1)]


def test_nothing_legacy_is_left() -> None:
    for folder in (*ROOTS, *MODULES):
        text = text_of(folder)
        assert not re.search(
            r"thumbprint_list|AmazonEKSServicePolicy|aws-auth|(?<!aws_)dynamodb_table|ForAllValues|0\.0\.0\.0/0\"\]", text
        )
        # What provider 6.0 removed, or warns of, of the resources and data that are used here (its upgrade guide).
        assert not re.search(
            r"resolve_conflicts\b|log_group_name|elastic_(gpu|inference)|\bvpc += true|data\.aws_region\.\w+\.(name|id)\b", text
        )
        assert text.isascii(), "one language"


def test_tags_of_everything_are_set_once() -> None:
    """By the provider; a resource has its name and what a controller looks for."""
    assert "default_tags" in text_of(FOLDER)
    for folder in MODULES:
        assert not re.search(r"\b(Project|Environment|ManagedBy)\b *=", text_of(folder))


def refused(root: Path) -> Counter[str]:
    """How many runs of `terraform test` expect the refusal of each variable, rule and check."""
    runs = [one for file in (root / "tests").rglob("*.tftest.hcl") for one in canonical.of_file(file) if one.kind == "run"]
    expected = [one.attribute("expect_failures") or "" for one in runs]
    return Counter(name for text in expected for name in re.findall(r"[\w.]+\w", text))


@pytest.mark.parametrize("root", ROOTS, ids=lambda path: path.name)
def test_every_rule_has_a_refused_sample(root: Path) -> None:
    found = refused(root)
    rules = {one.name: len(one.inner("validation")) for one in canonical.of_kind("variable", root)}
    assert sum(rules.values()) >= 4
    assert {name: number for name, number in rules.items() if found[f"var.{name}"] < number} == {}


def test_what_is_chosen_once_and_what_is_warned_of_has_a_sample_too() -> None:
    found = refused(FOLDER)
    (preconditions,) = (one for one in canonical.of_kind("resource") if one.labels == ("terraform_data", "rules"))
    assert found["terraform_data.rules"] >= preconditions.body.count("precondition {")
    assert {one.name for one in canonical.of_kind("check") if not found[f"check.{one.name}"]} == UNTRIED


def test_there_are_more_than_120_runs_and_40_of_them_are_quick() -> None:
    whole = list((FOLDER / "tests").rglob("*.tftest.hcl"))
    quick = [file for file in whole if file.parent.name == "short"]
    runs = {file: file.read_text(encoding="utf-8").count('\nrun "') for file in whole}
    assert sum(runs.values()) >= 120
    assert sum(runs[file] for file in quick) >= 40
    (told,) = re.findall(
        r"terraform test -test-directory=tests/short +# (\d+) runs", (FOLDER / "README.md").read_text(encoding="utf-8")
    )
    assert int(told) == sum(runs[file] for file in quick)


def test_images_are_deleted_by_number_or_age() -> None:
    """ECR only archives what nobody pulled, and refuses to expire it (aws/containers-roadmap, issue 2728)."""
    text = text_of(FOLDER / "modules" / "registry")
    assert set(re.findall(r'countType = "(\w+)"', text)) == {"imageCountMoreThan", "sinceImagePushed"}
    assert set(re.findall(r'action += \{ type = "(\w+)" \}', text)) == {"expire"}


def test_a_skipped_check_of_checkov_says_why() -> None:
    skips = [line for folder in (*ROOTS, *MODULES) for line in re.findall(r"checkov:skip=.*", text_of(folder))]
    assert skips
    assert [line for line in skips if not re.fullmatch(r"checkov:skip=CKV2?_AWS_\d+:.{20,}", line)] == []


def test_the_schema_of_the_hand_over_describes_every_key() -> None:
    schema = json.loads((FOLDER / "handover.schema.json").read_text(encoding="utf-8"))
    metadata = schema["properties"]["metadata"]["properties"]
    for part in ("annotations", "labels"):
        assert [name for name, one in metadata[part]["properties"].items() if not one.get("description")] == []


def test_the_application_of_a_controller_reads_what_is_handed_over() -> None:
    schema = json.loads((FOLDER / "handover.schema.json").read_text(encoding="utf-8"))
    known = schema["properties"]["metadata"]["properties"]
    (file,) = (FOLDER.parent / "argocd" / "controllers").glob("*.yaml")
    text = file.read_text(encoding="utf-8")
    read = set(re.findall(r"annotations\.(\w+)", text))
    assert {"load_balancer_controller_helm_values", "load_balancer_controller_namespace"} == read
    assert read <= known["annotations"]["properties"].keys()
    assert set(re.findall(r"(enable_\w+)", text)) <= known["labels"]["properties"].keys()


def test_the_load_balancer_controller_has_every_right_of_its_version_but_those_that_are_left_out() -> None:
    application = FOLDER.parent / "argocd" / "controllers" / "aws-load-balancer-controller.yaml"
    (version,) = re.findall(r"targetRevision: (\S+)", application.read_text(encoding="utf-8"))
    asked = {line for line in rights_of_controller(version) if not line.startswith("#")}
    text = (FOLDER / "modules" / "identity" / "load_balancer_controller.tf").read_text(encoding="utf-8")
    named = set(re.findall(r'"((?:acm|ec2|elasticloadbalancing|iam):[A-Z]\w+)"', text))
    given = named - {"ec2:CreateAction", "iam:AWSServiceName"}
    assert asked - given == {name for name in asked if name.startswith(UNUSED_BY_CONTROLLER)}
    assert given - asked == ASKED_BY_LATER


# Release notes of 3.7.0, for every version: what AWS does when a load balancer is made is not the controller's.
ASKED_BY_LATER = {"ec2:ValidateSecurityGroupQuotasForInterface"}
# WAF and Shield are off in the hand-over's values; nobody uses Cognito, certificates of IAM, Outposts, IPAM or reserved capacity.
UNUSED_BY_CONTROLLER = (
    "cognito-idp:",
    "ec2:DescribeCoipPools",
    "ec2:DescribeIpamPools",
    "ec2:GetCoipPoolUsage",
    "elasticloadbalancing:ModifyCapacityReservation",
    "elasticloadbalancing:ModifyIpPools",
    "elasticloadbalancing:SetWebAcl",
    "iam:GetServerCertificate",
    "iam:ListServerCertificates",
    "shield:",
    "waf-regional:",
    "wafv2:",
)


def rights_of_controller(version: str) -> list[str]:
    file = FOLDER.parent / "tests" / "platform" / f"load_balancer_controller_{version}.txt"
    assert file.exists(), f"write what {version} asks for into {file.name}, by its docs/install/iam_policy.json"
    return file.read_text(encoding="utf-8").splitlines()


def test_the_readme_names_the_numbers_of_the_costs() -> None:
    (totals,) = re.findall(r"^\| \*\*together\*\* \|(.*)\|$", docs.section(FOLDER / "docs" / "costs.md", "costs"), re.MULTILINE)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "| " + " | ".join(f"${number}" for number in re.findall(r"\d+", totals)) + " |" in readme
