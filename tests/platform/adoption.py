"""What exists in an account and in no state, as a failed create tells of it: docs/runbooks/interrupted.md, the table of ids."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.platform.emulator.process import Emulator

# The provider's words: what it was creating with its name, AWS's refusal, and its address.
TWICE = re.compile(
    r"\((?P<name>[^()]*)\):.*(AlreadyExists|ResourceInUse|Duplicate).* \((?P<address>module\.[^()]+)\)$", re.DOTALL
)
KIND = re.compile(r"\b(aws_\w+)\.")


def existing(aws: Emulator, error: str) -> tuple[str, str] | None:
    """Address and id of what an error says is there already; None: it says something else."""
    found = TWICE.search(error)
    if found is None:
        return None
    kind = KIND.findall(found["address"])[-1]
    return found["address"], IDS.get(kind, named)(aws, found["name"])


def named(aws: Emulator, name: str) -> str:
    """Most have their name as their id."""
    return name


def launch_template(aws: Emulator, name: str) -> str:
    found = aws.client("ec2").describe_launch_templates(LaunchTemplateNames=[name])
    return str(found["LaunchTemplates"][0]["LaunchTemplateId"])


def security_group(aws: Emulator, name: str) -> str:
    found = aws.client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])
    return str(found["SecurityGroups"][0]["GroupId"])


def strangers(aws: Emulator, state: str, environment: str = "dev") -> list[str]:
    """ARNs of what has our tags, and whose last part stands nowhere in the state."""
    wanted = {"Project": "sluice", "Environment": environment}
    pages = aws.client("resourcegroupstaggingapi").get_paginator("get_resources")
    filters = [{"Key": key, "Values": [value]} for key, value in wanted.items()]
    found = [one["ResourceARN"] for page in pages.paginate(TagFilters=filters) for one in page["ResourceTagMappingList"]]
    return [arn for arn in found if re.split("[:/]", arn)[-1] not in state and not expected(aws, arn)]


def expected(aws: Emulator, arn: str) -> bool:
    """RDS's own snapshots, which go by themselves; and keys on their way out, for one that is half made is replaced."""
    if ":kms:" in arn:
        return str(aws.client("kms").describe_key(KeyId=arn)["KeyMetadata"]["KeyState"]) == "PendingDeletion"
    return ":snapshot:rds:" in arn


# Those that have another one.
IDS: dict[str, Callable[[Emulator, str], str]] = {
    "aws_launch_template": launch_template,
    "aws_security_group": security_group,
}
