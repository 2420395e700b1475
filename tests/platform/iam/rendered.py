"""Policies as Terraform rendered them, read from the account that it was applied to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.platform.emulator.process import Emulator
from tests.platform.iam.policy import Document


@dataclass(frozen=True)
class Role:
    """`own` by the policy's name; `managed` are the ARNs of AWS's own policies that are attached."""

    arn: str
    trust: Document
    own: dict[str, Document] = field(default_factory=dict)
    managed: list[str] = field(default_factory=list)
    boundary: str | None = None


def roles(aws: Emulator) -> dict[str, Role]:
    """By name."""
    iam = aws.client("iam")
    return {role["RoleName"]: of(iam, role) for role in iam.list_roles(MaxItems=1000)["Roles"]}


def of(iam: Any, role: dict[str, Any]) -> Role:
    name = role["RoleName"]
    own = {one: iam.get_role_policy(RoleName=name, PolicyName=one)["PolicyDocument"] for one in listed(iam, name)}
    managed = [one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]]
    boundary = iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return Role(role["Arn"], role["AssumeRolePolicyDocument"], own, managed, boundary)


def listed(iam: Any, role: str) -> list[str]:
    names: list[str] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return names


def keys(aws: Emulator) -> dict[str, Document]:
    """The policy of every key of ours by its alias without `alias/`."""
    kms = aws.client("kms")
    ours = {one["AliasName"]: one.get("TargetKeyId", "") for one in kms.list_aliases()["Aliases"]}
    return {name.removeprefix("alias/"): of_key(kms, key) for name, key in ours.items() if not name.startswith("alias/aws/")}


def of_key(kms: Any, key: str) -> Document:
    found: Document = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    return found
