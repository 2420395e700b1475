"""Access entries and the policies that are associated with them. moto has none."""

from __future__ import annotations

from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.eks.exceptions import InvalidParameterException, ResourceInUseException
from moto.eks.responses import EKSResponse
from tests.platform.emulator.eks import records
from tests.platform.emulator.eks.records import Record
from tests.platform.emulator.patching import added

# "Create access entries" of the EKS user guide.
RESERVED = ("amazon:", "aws:", "eks:", "iam:", "system:")
MISSING = "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'."


@added(EKSResponse)
def create_access_entry(self: EKSResponse) -> ActionResult:
    cluster = records.cluster_of(self)
    principal = self._get_param("principalArn")
    if principal in records.of(cluster).entries:
        raise ResourceInUseException(message="The specified access entry resource is already in use on this cluster.")
    if reserved := [group for group in self._get_param("kubernetesGroups") or [] if group.startswith(RESERVED)]:
        raise InvalidParameterException(
            message=f"The kubernetes group name {reserved[0]} cannot start with {', '.join(RESERVED)}"
        )
    now = utcnow()
    entry: Record = {
        "clusterName": cluster.name,
        "principalArn": principal,
        "kubernetesGroups": self._get_param("kubernetesGroups") or [],
        # arn:aws:eks:region:account:access-entry/cluster/role/account/name/id
        "accessEntryArn": records.arn(self, f"access-entry/{cluster.name}/{path_of(principal)}"),
        "createdAt": now,
        "modifiedAt": now,
        "tags": self._get_param("tags") or {},
        "username": self._get_param("username") or principal,
        "type": self._get_param("type") or "STANDARD",
    }
    records.of(cluster).entries[principal] = entry
    records.of(cluster).policies[principal] = {}
    return ActionResult({"accessEntry": entry})


def path_of(principal: str) -> str:
    """arn:aws:iam::111122223333:role/my-role -> role/111122223333/my-role."""
    account, resource = principal.split(":")[4:6]
    kind, _, name = resource.partition("/")
    return f"{kind}/{account}/{name}"


@added(EKSResponse)
def describe_access_entry(self: EKSResponse) -> ActionResult:
    return ActionResult({"accessEntry": entry_of(self)})


@added(EKSResponse)
def update_access_entry(self: EKSResponse) -> ActionResult:
    entry = entry_of(self)
    records.touch(entry, records.chosen(self, "kubernetesGroups", "username"))
    return ActionResult({"accessEntry": entry})


@added(EKSResponse)
def delete_access_entry(self: EKSResponse) -> EmptyResult:
    entry = entry_of(self)
    kept = records.of(records.cluster_of(self))
    del kept.entries[entry["principalArn"]], kept.policies[entry["principalArn"]]
    return EmptyResult()


@added(EKSResponse)
def list_access_entries(self: EKSResponse) -> ActionResult:
    return ActionResult({"accessEntries": sorted(records.of(records.cluster_of(self)).entries)})


@added(EKSResponse)
def associate_access_policy(self: EKSResponse) -> ActionResult:
    """A second call for the same policy changes its scope (API reference, AssociateAccessPolicy)."""
    policies = policies_of(self)
    arn, now = self._get_param("policyArn"), utcnow()
    known = policies.get(arn, {"associatedAt": now})
    policies[arn] = {"policyArn": arn, **known, "accessScope": self._get_param("accessScope"), "modifiedAt": now}
    entry = entry_of(self)
    where = {name: entry[name] for name in ("clusterName", "principalArn")}
    return ActionResult({**where, "associatedAccessPolicy": policies[arn]})


@added(EKSResponse)
def disassociate_access_policy(self: EKSResponse) -> EmptyResult:
    policies_of(self).pop(self._get_param("policyArn"), None)
    return EmptyResult()


@added(EKSResponse)
def list_associated_access_policies(self: EKSResponse) -> ActionResult:
    entry = entry_of(self)
    where = {name: entry[name] for name in ("clusterName", "principalArn")}
    return ActionResult({**where, "associatedAccessPolicies": list(policies_of(self).values())})


def entry_of(self: EKSResponse) -> Record:
    return records.found(records.of(records.cluster_of(self)).entries, self._get_param("principalArn"), MISSING)


def policies_of(self: EKSResponse) -> dict[str, Record]:
    return records.of(records.cluster_of(self)).policies[entry_of(self)["principalArn"]]
