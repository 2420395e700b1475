"""Every environment as it would be made from nothing: its price, and no warning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests import docs
from tests.conftest import require
from tests.platform import account
from tests.platform.account import Account
from tests.platform.conftest import TERRAFORM, initialize
from tests.platform.terraform import FOLDER

pytestmark = pytest.mark.timeout(300)
PARTS = {"nodes, as they start": "nodes", "NAT gateways": "network", "interface endpoints": "endpoints", "together": "total"}


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


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_an_environment_costs_what_the_documents_say(vacant: Account, environment: str) -> None:
    initialize(vacant, environment)
    assert vacant.terraform.planned_outputs(environment)["monthly_estimate"] == told(environment)


def test_prod_is_as_it_should_be_and_so_warns_of_nothing(vacant: Account) -> None:
    initialize(vacant, "prod")
    plan = vacant.terraform.plan("prod")
    assert (plan.code, plan.surprises, plan.actions("delete")) == (2, [], set())
    assert len([change for change in plan.changes if change.kind == "aws_nat_gateway"]) == 3
