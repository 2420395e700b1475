"""The tests' own tools: how Terraform is found, and what is understood of what it tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from tests.platform import mirror, runs
from tests.platform.emulator.process import ACCOUNT, REGION, Emulator
from tests.platform.runs import Run

PLACE = "registry.example.org/hashicorp/aws"


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


def test_the_emulator_ends_with_its_parent() -> None:
    with Emulator() as emulator:
        kms = emulator.client("kms")
        assert kms.list_keys()["Keys"] == []
    with pytest.raises(EndpointConnectionError):
        emulator.client("kms").list_keys()


TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.mark.parametrize("tags", [{"Environment": "dev", "environment": "x"}, {"Team": "R&D"}], ids=["a key twice", "a value"])
def test_the_emulator_refuses_tags_that_iam_refuses(aws: Emulator, tags: dict[str, str]) -> None:
    iam = aws.client("iam")
    with pytest.raises(ClientError):
        iam.create_role(
            RoleName="tagged",
            AssumeRolePolicyDocument=TRUST,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )


def test_the_emulator_says_of_a_parameter_with_its_default_value_that_it_waits(aws: Emulator) -> None:
    rds = aws.client("rds")
    rds.create_db_parameter_group(DBParameterGroupName="seventeen", DBParameterGroupFamily="postgres17", Description="x")
    parameter = {"ParameterName": "rds.force_ssl", "ParameterValue": "1", "ApplyMethod": "immediate"}
    rds.modify_db_parameter_group(DBParameterGroupName="seventeen", Parameters=[parameter])
    (kept,) = rds.describe_db_parameters(DBParameterGroupName="seventeen", Source="user")["Parameters"]
    assert kept["ApplyMethod"] == "pending-reboot"


def test_the_emulator_keeps_a_control_plane_in_the_zones_that_it_was_made_in(aws: Emulator) -> None:
    ec2, eks = aws.client("ec2"), aws.client("eks")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{place}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"]["SubnetId"]
        for place, zone in enumerate("abca")
    ]
    eks.create_cluster(name="two", roleArn=f"arn:aws:iam::{ACCOUNT}:role/x", resourcesVpcConfig={"subnetIds": subnets[:2]})
    with pytest.raises(ClientError, match="exact set of AZs"):
        eks.update_cluster_config(name="two", resourcesVpcConfig={"subnetIds": subnets[:3]})
    eks.update_cluster_config(name="two", resourcesVpcConfig={"subnetIds": [subnets[1], subnets[3]]})
