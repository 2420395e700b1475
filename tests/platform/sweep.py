"""What is left in an account, apart from what AWS itself has there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.platform.emulator.process import Emulator

# States of things that are gone, which AWS tells of for an hour more.
GONE = ("deleted", "deleting")


def left(aws: Emulator) -> dict[str, list[str]]:
    """Names or ids by kind; kinds of which nothing is left do not stand there. Keys stand with their state."""
    found = {kind: look(aws) for kind, look in LOOKS.items()}
    return {kind: names for kind, names in found.items() if names}


def keys(aws: Emulator) -> list[str]:
    kms = aws.client("kms")
    return [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] for key in kms.list_keys()["Keys"]]


def aliases(aws: Emulator) -> list[str]:
    names = [alias["AliasName"] for alias in aws.client("kms").list_aliases()["Aliases"]]
    return [name for name in names if not name.startswith("alias/aws/")]


def ec2(operation: str, kind: str, name: str, keep: Callable[[dict[str, Any]], bool] = lambda one: True) -> Any:
    def look(aws: Emulator) -> list[str]:
        return [one[name] for one in getattr(aws.client("ec2"), operation)()[kind] if keep(one)]

    return look


def ours(one: dict[str, Any]) -> bool:
    return str(one["GroupName"]) != "default"


def alive(one: dict[str, Any]) -> bool:
    return one["State"] not in GONE


def listed(service: str, operation: str, kind: str, name: str = "", **more: str) -> Any:
    """Of a call that answers with a list `kind` of names, or of records with a member `name`."""

    def look(aws: Emulator) -> list[str]:
        found = getattr(aws.client(service), operation)(**more)[kind]
        return [one[name] if name else one for one in found]

    return look


LOOKS: dict[str, Callable[[Emulator], list[str]]] = {
    "VPCs": ec2("describe_vpcs", "Vpcs", "VpcId", lambda vpc: not vpc["IsDefault"]),
    "security groups": ec2("describe_security_groups", "SecurityGroups", "GroupName", ours),
    "launch templates": ec2("describe_launch_templates", "LaunchTemplates", "LaunchTemplateName"),
    "addresses": ec2("describe_addresses", "Addresses", "PublicIp"),
    "NAT gateways": ec2("describe_nat_gateways", "NatGateways", "NatGatewayId", alive),
    "endpoints": ec2("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", alive),
    "flow logs": ec2("describe_flow_logs", "FlowLogs", "FlowLogId"),
    "clusters": listed("eks", "list_clusters", "clusters"),
    "repositories": listed("ecr", "describe_repositories", "repositories", "repositoryName"),
    "databases": listed("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier"),
    "snapshots": listed("rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier", SnapshotType="manual"),
    "parameter groups": listed("rds", "describe_db_parameter_groups", "DBParameterGroups", "DBParameterGroupName"),
    "subnet groups": listed("rds", "describe_db_subnet_groups", "DBSubnetGroups", "DBSubnetGroupName"),
    "roles": listed("iam", "list_roles", "Roles", "RoleName"),
    "log groups": listed("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "secrets": listed("secretsmanager", "list_secrets", "SecretList", "Name"),
    "aliases": aliases,
    "keys": keys,
}
