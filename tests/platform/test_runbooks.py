"""The commands of README.md and the runbooks: AWS has them, and the emulator obeys those that it can."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.platform import canonical, commands
from tests.platform.commands import Command
from tests.platform.conftest import Dev
from tests.platform.emulator.process import Emulator
from tests.platform.terraform import FOLDER

DOCUMENTS = [FOLDER / "README.md", *sorted((FOLDER / "docs" / "runbooks").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_aws_has_every_command_with_its_options(aws: Emulator, document: Path) -> None:
    for command in commands.told(document):
        if command.operation.startswith("wait "):
            name = command.operation.removeprefix("wait ").replace("-", "_")
            assert name in aws.client(command.service).waiter_names
        elif (command.service, command.operation) not in commands.CUSTOM:
            assert command.parameters is not None


VARIABLES = {one.name for folder in (FOLDER, FOLDER / "bootstrap") for one in canonical.of_kind("variable", folder)}
OUTPUTS = {one.name for folder in (FOLDER, FOLDER / "bootstrap") for one in canonical.of_kind("output", folder)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_of_terraform_name_what_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    files = re.findall(r"-(?:var-file|backend-config)=(envs/[\w.]+)", text)
    assert [name for name in files if not (FOLDER / name).exists()] == []
    assert set(re.findall(r"-var[ =]'?(\w+)=", text)) <= VARIABLES
    assert set(re.findall(r"terraform output (?:-raw |-json )?(\w+)", text)) <= OUTPUTS


ADDRESS = re.compile(r"module\.\w+(?:\[[^\]]*\])?(?:\.module\.\w+(?:\[[^\]]*\])?)*\.aws_\w+\.\w+(?:\[[^\]]*\])?")


def test_addresses_of_the_runbooks_are_those_of_the_state(dev: Dev) -> None:
    named = {address for document in DOCUMENTS for address in ADDRESS.findall(document.read_text(encoding="utf-8"))}
    assert len(named) >= 4
    assert named - set(dev.account.terraform.state()) == set()


def test_the_runbook_of_a_restore_ends_with_the_restored_database_in_the_old_one_s_place(aws: Emulator) -> None:
    rds = aws.client("rds")
    prepared(aws)
    before = rds.describe_db_instances(DBInstanceIdentifier="sluice-prod")["DBInstances"][0]["DbiResourceId"]
    for command in commands.told(FOLDER / "docs" / "runbooks" / "restore.md"):
        if command.operation.startswith("wait "):
            rds.get_waiter(command.operation.removeprefix("wait ").replace("-", "_")).wait(**waited(command))
        else:
            getattr(rds, command.operation.replace("-", "_"))(**command.parameters)
    (now,) = rds.describe_db_instances(DBInstanceIdentifier="sluice-prod")["DBInstances"]
    assert now["DbiResourceId"] != before
    assert now["DeletionProtection"] is True
    left = {one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]}
    assert not {"sluice-prod-old", "sluice-prod-restored"} & left
    (kept,) = rds.describe_db_snapshots(DBSnapshotIdentifier="sluice-prod-old-last")["DBSnapshots"]
    assert kept["DBInstanceIdentifier"] == "sluice-prod-old"


def waited(command: Command) -> dict[str, Any]:
    (identifier,) = command.options["db-instance-identifier"]
    return {"DBInstanceIdentifier": identifier, "WaiterConfig": {"Delay": 0, "MaxAttempts": 5}}


def prepared(aws: Emulator) -> None:
    """prod's database as Terraform makes it, as far as the runbook touches it."""
    rds, ec2 = aws.client("rds"), aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{part}.0/24")["Subnet"]["SubnetId"] for part in range(2)]
    rds.create_db_subnet_group(DBSubnetGroupName="sluice-prod", DBSubnetGroupDescription="-", SubnetIds=subnets)
    rds.create_db_parameter_group(
        DBParameterGroupName="sluice-prod-postgres17", DBParameterGroupFamily="postgres17", Description="-"
    )
    rds.create_db_instance(
        DBInstanceIdentifier="sluice-prod", DBInstanceClass="db.m7g.large", Engine="postgres", EngineVersion="17",
        MasterUsername="owner", ManageMasterUserPassword=True, DeletionProtection=True,
        DBParameterGroupName="sluice-prod-postgres17", DBSubnetGroupName="sluice-prod",
    )  # fmt: skip
