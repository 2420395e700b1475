"""After an interrupted apply: what exists and is in no state is found by what the next apply tells."""

from __future__ import annotations

import re

import pytest
from tests.platform import adoption
from tests.platform.emulator.process import Emulator
from tests.platform.terraform import FOLDER

RUNBOOK = FOLDER / "docs" / "runbooks" / "interrupted.md"
ROLE = 'module.identity.module.workload["service"].aws_iam_role.this'
TEMPLATE = 'module.cluster.aws_launch_template.node["general"]'
REFUSED = "operation error {}, https response error StatusCode: 409, api error {}"


def told(what: str, refusal: str, address: str) -> str:
    return f"creating {what}: {REFUSED.format('AWS', refusal)}:  ({address})"


def test_most_are_known_by_their_name(aws: Emulator) -> None:
    refusal = "EntityAlreadyExists: Role with name sluice-dev-service already exists."
    error = told("IAM Role (sluice-dev-service)", refusal, ROLE)
    assert adoption.existing(aws, error) == (ROLE, "sluice-dev-service")


def test_a_launch_template_is_looked_up(aws: Emulator) -> None:
    made = aws.client("ec2").create_launch_template(LaunchTemplateName="exists", LaunchTemplateData={"ImageId": "ami-1"})
    refusal = "InvalidLaunchTemplateName.AlreadyExistsException: Launch template name already in use."
    error = told("EC2 Launch Template (exists)", refusal, TEMPLATE)
    assert adoption.existing(aws, error) == (TEMPLATE, made["LaunchTemplate"]["LaunchTemplateId"])


def test_a_security_group_is_looked_up(aws: Emulator) -> None:
    made = aws.client("ec2").create_security_group(GroupName="sluice-exists", Description="Exists.")
    address = "module.database.aws_security_group.this"
    refusal = "InvalidGroup.Duplicate: The security group 'sluice-exists' already exists"
    assert adoption.existing(aws, told("Security Group (sluice-exists)", refusal, address)) == (address, made["GroupId"])


@pytest.mark.parametrize("error", ["creating IAM Role (x): AccessDenied (module.x.aws_iam_role.this)", "execution halted:  ()"])
def test_any_other_error_is_no_such_thing(aws: Emulator, error: str) -> None:
    assert adoption.existing(aws, error) is None


def test_the_runbook_names_the_same_exceptions() -> None:
    rows = re.findall(r"^ +\| `(aws_\w+)` \|", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(adoption.IDS)


def test_what_has_our_tags_and_is_in_no_state_is_a_stranger(aws: Emulator) -> None:
    ec2, kms = aws.client("ec2"), aws.client("kms")
    tags = [("Project", "sluice"), ("Environment", "stranger")]
    named = [{"ResourceType": "vpc", "Tags": [{"Key": key, "Value": value} for key, value in tags]}]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=named)["Vpc"]["VpcId"]
    key = kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in tags])["KeyMetadata"]["KeyId"]
    assert {re.split("[:/]", arn)[-1] for arn in adoption.strangers(aws, "{}", "stranger")} == {vpc, key}
    (left,) = adoption.strangers(aws, f'{{"id": "{vpc}"}}', "stranger")
    assert left.endswith(key)
    kms.schedule_key_deletion(KeyId=key)
    assert adoption.strangers(aws, vpc, "stranger") == []
