"""EC2: tags of launch templates, descriptions of rules, routes of gateway endpoints."""

from __future__ import annotations

from typing import Any

from moto.ec2.models import EC2Backend
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.models.security_groups import SecurityGroupRule
from tests.platform.emulator.patching import around


@around(EC2Backend, "create_launch_template")
def create_launch_template(
    old: Any, self: EC2Backend, name: str, description: str, data: dict[str, Any], tags: Any
) -> LaunchTemplate:
    """moto counts the template's own tags among those of the instances that are made from it."""
    if "TagSpecifications" in data:
        data["TagSpecifications"] = [one for one in data["TagSpecifications"] if one["ResourceType"] != "launch-template"]
    made: LaunchTemplate = old(self, name, description, data, tags)
    return made


def tags_now(self: LaunchTemplate) -> list[dict[str, str]]:
    """moto tells those of the template's birth for ever."""
    return self.get_tags()


def description_of(self: SecurityGroupRule) -> str | None:
    """moto looks at ranges only, not at rules for another security group."""
    return self.ip_range.get("Description") or self.source_group.get("Description")


@around(EC2Backend, "modify_vpc_endpoint")
def modify_vpc_endpoint(old: Any, self: EC2Backend, **given: Any) -> None:
    """A route table that is added to a gateway endpoint gets its route; deleting the endpoint fails without it."""
    endpoint = self.describe_vpc_endpoints(vpc_end_point_ids=[given["vpc_id"]])[0]
    services: Any = endpoint.destination_prefix_list_id
    for table in given["add_route_tables"]:
        self.create_route(table, None, gateway_id=endpoint.id, destination_prefix_list_id=services)
    for table in given["remove_route_tables"]:
        self.delete_route(table, services)
    old(self, **given)


# moto's constructor assigns the tags, so the property takes them and forgets them.
LaunchTemplate.tags = property(tags_now, lambda self, value: None)  # type: ignore[assignment]
SecurityGroupRule.description = property(description_of)  # type: ignore[method-assign, assignment]
