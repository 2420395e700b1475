"""What the emulator repairs in moto's EC2 and RDS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.platform.emulator.process import Emulator

TAGS = [{"Key": "Project", "Value": "sluice"}]


@pytest.fixture(scope="module")
def ec2(aws: Emulator) -> Any:
    return aws.client("ec2")


@pytest.fixture(scope="module")
def rds(aws: Emulator) -> Any:
    return aws.client("rds")


@pytest.fixture(scope="module")
def vpc(ec2: Any) -> str:
    return str(ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"])


def template(ec2: Any, name: str) -> str:
    instance = {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "node"}]}
    made = ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"TagSpecifications": [instance]},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": TAGS}],
    )
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def test_a_launch_template_s_own_tags_are_not_its_instances(ec2: Any) -> None:
    key = template(ec2, "one")
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateId=key)["LaunchTemplateVersions"]
    assert [one["ResourceType"] for one in version["LaunchTemplateData"]["TagSpecifications"]] == ["instance"]


def test_a_launch_template_tells_the_tags_it_has_now(ec2: Any) -> None:
    key = template(ec2, "two")
    ec2.create_tags(Resources=[key], Tags=[{"Key": "Team", "Value": "x"}])
    (told,) = ec2.describe_launch_templates(LaunchTemplateIds=[key])["LaunchTemplates"]
    assert {tag["Key"] for tag in told["Tags"]} == {"Project", "Team"}


def test_a_rule_for_another_group_keeps_its_description(ec2: Any, vpc: str) -> None:
    one, two = (ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"] for name in ("one", "two"))
    pair = {"GroupId": two, "Description": "PostgreSQL from the cluster"}
    permission = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [pair]}
    (rule,) = ec2.authorize_security_group_ingress(GroupId=one, IpPermissions=[permission])["SecurityGroupRules"]
    (told,) = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])["SecurityGroupRules"]
    assert told["Description"] == "PostgreSQL from the cluster"


def test_a_route_table_that_joins_a_gateway_endpoint_gets_its_route(ec2: Any, vpc: str) -> None:
    first, second = (ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2))
    endpoint = ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName="com.amazonaws.eu-central-1.s3", RouteTableIds=[first], VpcEndpointType="Gateway"
    )
    key = endpoint["VpcEndpoint"]["VpcEndpointId"]
    ec2.modify_vpc_endpoint(VpcEndpointId=key, AddRouteTableIds=[second])
    assert through(ec2, second) == [key]
    ec2.modify_vpc_endpoint(VpcEndpointId=key, RemoveRouteTableIds=[first])
    assert through(ec2, first) == []
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=[key]).get("Unsuccessful", []) == []


def through(ec2: Any, table: str) -> list[str]:
    """The endpoints that a table's routes lead to."""
    (told,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    return [route["GatewayId"] for route in told["Routes"] if route.get("GatewayId", "").startswith("vpce-")]


def instance(rds: Any, name: str, **more: Any) -> dict[str, Any]:
    what = {"DBInstanceClass": "db.t4g.small", "Engine": "postgres", "MasterUsername": "owner", "ManageMasterUserPassword": True}
    made: dict[str, Any] = rds.create_db_instance(DBInstanceIdentifier=name, **what, **more)["DBInstance"]
    return made


def test_an_instance_tells_performance_insights_and_its_support(rds: Any) -> None:
    given = {
        "EnablePerformanceInsights": True,
        "PerformanceInsightsRetentionPeriod": 7,
        "EngineLifecycleSupport": "open-source-rds-extended-support-disabled",
    }
    made = instance(rds, "insights", **given)
    assert (made["PerformanceInsightsEnabled"], made["PerformanceInsightsRetentionPeriod"]) == (True, 7)
    assert made["EngineLifecycleSupport"] == given["EngineLifecycleSupport"]
    rds.modify_db_instance(DBInstanceIdentifier="insights", EnablePerformanceInsights=False)
    (told,) = rds.describe_db_instances(DBInstanceIdentifier="insights")["DBInstances"]
    assert told["PerformanceInsightsEnabled"] is False


def test_each_instance_has_an_id_of_its_own(rds: Any) -> None:
    assert len({instance(rds, name)["DbiResourceId"] for name in ("first", "second")}) == 2


def test_a_managed_password_is_of_the_master_user_and_changes_when_it_is_rotated(aws: Emulator, rds: Any) -> None:
    arn = instance(rds, "managed")["MasterUserSecret"]["SecretArn"]
    secrets = aws.client("secretsmanager")
    before = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    rds.modify_db_instance(DBInstanceIdentifier="managed", RotateMasterUserPassword=True, ApplyImmediately=True)
    after = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    assert (before["username"], after["username"]) == ("owner", "owner")
    assert before["password"] != after["password"]


def test_a_changed_subnet_group_is_still_there(ec2: Any, rds: Any, vpc: str) -> None:
    ids = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.8.{part}.0/24")["Subnet"]["SubnetId"] for part in range(3)]
    rds.create_db_subnet_group(DBSubnetGroupName="group", DBSubnetGroupDescription="-", SubnetIds=ids[:2])
    rds.modify_db_subnet_group(DBSubnetGroupName="group", SubnetIds=ids)
    (told,) = rds.describe_db_subnet_groups(DBSubnetGroupName="group")["DBSubnetGroups"]
    assert len(told["Subnets"]) == 3


def test_a_parameter_that_was_set_has_the_source_user(rds: Any) -> None:
    rds.create_db_parameter_group(DBParameterGroupName="group", DBParameterGroupFamily="postgres17", Description="-")
    parameter = {"ParameterName": "rds.force_ssl", "ParameterValue": "1", "ApplyMethod": "immediate"}
    rds.modify_db_parameter_group(DBParameterGroupName="group", Parameters=[parameter])
    (told,) = rds.describe_db_parameters(DBParameterGroupName="group", Source="user")["Parameters"]
    assert (told["ParameterName"], told["ParameterValue"]) == ("rds.force_ssl", "1")


def test_a_parameter_group_that_an_instance_has_is_not_deleted(rds: Any) -> None:
    for major in ("17", "18"):
        rds.create_db_parameter_group(
            DBParameterGroupName=f"of{major}", DBParameterGroupFamily=f"postgres{major}", Description="-"
        )
    instance(rds, "grouped", EngineVersion="17", DBParameterGroupName="of17")
    newer = {"DBInstanceIdentifier": "grouped", "EngineVersion": "18", "DBParameterGroupName": "of18"}
    rds.modify_db_instance(**newer, ApplyImmediately=False)
    with pytest.raises(rds.exceptions.InvalidDBParameterGroupStateFault, match="still members of this parameter group of17"):
        rds.delete_db_parameter_group(DBParameterGroupName="of17")
    rds.modify_db_instance(**newer, ApplyImmediately=True)
    rds.delete_db_parameter_group(DBParameterGroupName="of17")
