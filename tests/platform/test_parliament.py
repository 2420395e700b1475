"""parliament's judgement of every policy that Terraform rendered."""

from __future__ import annotations

from tests.platform import parliament
from tests.platform.conftest import Dev
from tests.platform.iam import rendered

REPOSITORY = "arn:aws:ecr:eu-central-1:123456789012:repository/sluice"
STATEMENT = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": REPOSITORY}
# Of September 2026, and so newer than what parliament knows.
NEW = "ec2:ValidateSecurityGroupQuotasForInterface"
WRONG = {"Version": "2012-10-17", "Statement": [STATEMENT]}


def test_parliament_finds_nothing(dev: Dev) -> None:
    roles = rendered.roles(dev.account.aws)
    documents = {f"{name}.{policy}": document for name, role in roles.items() for policy, document in role.own.items()}
    assert len(documents) >= 10
    assert [one for one in parliament.findings(documents) if one["detail"] != f"Unknown action {NEW}"] == []


def test_parliament_would_find_what_the_seed_did() -> None:
    """Defect 5: the action knows no resource."""
    assert [one["issue"] for one in parliament.findings({"seed": WRONG})] == ["RESOURCE_MISMATCH"]
