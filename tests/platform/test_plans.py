"""Every environment as it would be made from nothing: its price, and no warning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from tests import docs
from tests.conftest import require
from tests.platform import account
from tests.platform.account import Account
from tests.platform.conftest import TERRAFORM, initialize
from tests.platform.runs import Run
from tests.platform.terraform import FOLDER, resources

pytestmark = pytest.mark.timeout(300)
# An override file: Terraform puts its values over those of locals.tf.
LATE = 'locals {\n  kubernetes_support_ends = { "1.35" = "2026-01-01", "1.36" = "2026-01-01" }\n}\n'
PARTS = {"nodes, as they start": "nodes", "NAT gateways": "network", "interface endpoints": "endpoints", "together": "total"}
Plans = Callable[[str], tuple[Run, dict[str, Any]]]


@pytest.fixture(scope="module")
def vacant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account that nothing is ever made in."""
    require("terraform", TERRAFORM)
    with account.opened(tmp_path_factory.mktemp("plans")) as opened:
        yield opened


def told(environment: str) -> dict[str, int]:
    """The column of an environment in docs/costs.md, by the parts of the output."""
    head, _, *rows = (
        [cell.strip(" *") for cell in line.split("|")[1:-1]]
        for line in docs.section(FOLDER / "docs" / "costs.md", "costs").splitlines()
    )
    column = head.index(environment)
    return {PARTS.get(row[0], row[0]): int(row[column]) for row in rows}


@pytest.fixture(scope="module")
def plans(vacant: Account) -> Plans:
    """The plan of an environment from nothing, made once, and what it would make."""

    @cache
    def planned(environment: str) -> tuple[Run, dict[str, Any]]:
        initialize(vacant, environment)
        return vacant.terraform.planned(environment)

    return planned


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_an_environment_costs_what_the_documents_say(plans: Plans, environment: str) -> None:
    _, made = plans(environment)
    assert made["outputs"]["monthly_estimate"]["value"] == told(environment)


def test_prod_is_as_it_should_be_and_so_warns_of_nothing(plans: Plans) -> None:
    plan, _ = plans("prod")
    assert (plan.surprises, plan.actions("delete")) == ([], set())
    assert len([change for change in plan.changes if change.kind == "aws_nat_gateway"]) == 3


# What an account, or its part of a region, has once; names of inline policies belong to their role.
NAMES = ("name", "bucket", "identifier", "ecr_repository_prefix", "prefix")


def names(made: dict[str, Any]) -> set[tuple[str, str]]:
    """Kind and name of everything that has a name of its own."""
    found = (one for one in resources(made["root_module"]) if one["type"] != "aws_iam_role_policy")
    return {(one["type"], one["values"][name]) for one in found for name in NAMES if one["values"].get(name)}


def test_two_environments_share_an_account(plans: Plans) -> None:
    dev, staging = (names(plans(environment)[1]) for environment in ("dev", "staging"))
    assert len(dev) > 20
    assert dev & staging == set()


@pytest.fixture(scope="module")
def circumstances(vacant: Account) -> list[str]:
    """What is warned of in another workspace, after the end of support. No run of `terraform test` can be there."""
    initialize(vacant)
    override = vacant.terraform.folder / "late_override.tf"
    override.write_text(LATE, encoding="utf-8")
    plan = vacant.terraform.under(TF_WORKSPACE="other").plan("dev")
    override.unlink()
    assert (plan.code, plan.errors) == (2, [])
    return plan.warnings


@pytest.mark.parametrize(
    "words", ["Standard support of Kubernetes 1.35 on EKS ends on 2026-01-01", "Workspaces are not used here"]
)
def test_what_no_variable_brings_about_is_warned_of(circumstances: list[str], words: str) -> None:
    (warning,) = (text for text in circumstances if words in text)
    assert warning.startswith("Check block assertion failed")
