"""RDS: what moto takes and does not tell again, and three things that it does wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from moto.moto_api._internal import mock_random
from moto.rds.exceptions import RDSClientError
from moto.rds.models import DBInstance, DBParameterGroup, DBSubnetGroup, MasterUserSecret, RDSBackend
from tests.platform.emulator.patching import added, around

# As moto names a parameter -> as it names the member that tells it.
TOLD = {
    "enable_performance_insights": "performance_insights_enabled",
    "performance_insights_kms_key_id": "performance_insights_kms_key_id",
    "performance_insights_retention_period": "performance_insights_retention_period",
    "engine_lifecycle_support": "engine_lifecycle_support",
}

DEFAULTS = {("rds.force_ssl", "1")}
WAITS = ("engine_version", "db_parameter_group_name")


@around(DBInstance, "__init__")
def make_instance(old: Any, self: DBInstance, *args: Any, **given: Any) -> None:
    """With an id of its own, where moto gives all the same: policies name an instance by it."""
    old(self, *args, **given)
    tell(self, given)
    self.dbi_resource_id = f"db-{mock_random.get_random_string(26, include_digits=False).upper()}"


@around(RDSBackend, "modify_db_instance")
def modify_db_instance(old: Any, self: RDSBackend, identifier: str, given: dict[str, Any]) -> DBInstance:
    """Another major version, with its parameter group, waits for the maintenance window unless it is to be at once."""
    now = given
    if not given.get("apply_immediately") and (wanted := given.get("engine_version")):
        runs = self.describe_db_instances(identifier)[0].engine_version
        if wanted.split(".")[0] != runs.split(".")[0]:
            now = {name: value for name, value in given.items() if name not in WAITS}
    instance: DBInstance = old(self, identifier, now)
    tell(instance, now)
    return instance


@around(RDSBackend, "delete_db_parameter_group")
def delete_db_parameter_group(old: Any, self: RDSBackend, name: str) -> DBParameterGroup:
    """Not while an instance has it (API reference, DeleteDBParameterGroup)."""
    if any(name == one.db_parameter_group_name for one in self.databases.values()):
        text = f"One or more database instances are still members of this parameter group {name}, so the group cannot be deleted"
        raise RDSClientError("InvalidDBParameterGroupState", text)
    group: DBParameterGroup = old(self, name)
    return group


def tell(instance: DBInstance, given: dict[str, Any]) -> None:
    vars(instance).update({TOLD[name]: value for name, value in given.items() if name in TOLD})


@around(RDSBackend, "modify_db_subnet_group")
def modify_db_subnet_group(old: Any, self: RDSBackend, name: str, description: str, subnets: Any) -> DBSubnetGroup:
    """moto takes the group out of its table and does not put it back."""
    group: DBSubnetGroup = old(self, name, description, subnets)
    self.subnet_groups[name] = group
    return group


@around(DBParameterGroup, "update_parameters")
def update_parameters(old: Any, self: DBParameterGroup, new: Iterable[dict[str, Any]]) -> None:
    """Parameters that were set have the source `user`; the provider reads no others (API reference, DescribeDBParameters)."""
    given = list(new)
    old(self, given)
    for parameter in given:
        kept = self.parameters[parameter["ParameterName"]]
        kept["Source"] = "user"
        # Told of a value that is the family's default, however it was set (hashicorp/terraform-provider-aws, issue 39252).
        if (parameter["ParameterName"], parameter["ParameterValue"]) in DEFAULTS:
            kept["ApplyMethod"] = "pending-reboot"


@added(MasterUserSecret)
def _generate_secret_string(self: MasterUserSecret) -> str:
    """The instance's own user and a new password (RDS user guide, "Password management"); moto has the same for all."""
    return json.dumps({"username": self.resource.master_username, "password": mock_random.get_random_string(28)})


@added(MasterUserSecret)
def rotate_secret(self: MasterUserSecret) -> None:
    """The secret has a new value at once; after moto's own it has none."""
    self._status = "rotating"
    self.secretsmanager.put_secret_value(self.secret.arn, self._generate_secret_string(), "", "", ["AWSCURRENT"])
