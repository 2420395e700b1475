"""Add-ons and their versions. moto has none."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks.exceptions import ResourceInUseException
from moto.eks.responses import EKSResponse
from tests.platform.emulator.eks import records, updates
from tests.platform.emulator.eks.records import Record
from tests.platform.emulator.patching import added

CHANGEABLE = ("addonVersion", "serviceAccountRoleArn", "configurationValues")
NEWEST_FIRST = (2, 1)


@added(EKSResponse)
def describe_addon_versions(self: EKSResponse) -> ActionResult:
    """Two made-up versions of whatever add-on is asked for; the older one is the default, as it usually is."""
    name, kubernetes = self._get_param("addonName"), self._get_param("kubernetesVersion") or "1.35"
    found = [version(kubernetes, patch) for patch in NEWEST_FIRST]
    addon = {"addonName": name, "type": "networking", "owner": "aws", "publisher": "eks", "addonVersions": found}
    return ActionResult({"addons": [addon]})


def version(kubernetes: str, patch: int) -> Record:
    fits = {"clusterVersion": kubernetes, "platformVersions": ["*"], "defaultVersion": patch == NEWEST_FIRST[-1]}
    name = f"v{kubernetes}.{patch}-eksbuild.1"
    return {"addonVersion": name, "architecture": ["amd64", "arm64"], "compatibilities": [fits]}


@added(EKSResponse)
def create_addon(self: EKSResponse) -> ActionResult:
    cluster = records.cluster_of(self)
    name, now = self._get_param("addonName"), utcnow()
    if name in records.of(cluster).addons:
        raise ResourceInUseException(message="Addon already exists.")
    addon: Record = {
        "addonName": name,
        "clusterName": cluster.name,
        "status": "ACTIVE",
        "addonVersion": version(cluster.version, NEWEST_FIRST[-1])["addonVersion"],
        "health": {"issues": []},
        "addonArn": records.arn(self, f"addon/{cluster.name}/{name}"),
        "createdAt": now,
        "modifiedAt": now,
        "tags": self._get_param("tags") or {},
        **records.chosen(self, *CHANGEABLE),
    }
    records.of(cluster).addons[name] = addon
    return ActionResult({"addon": addon})


@added(EKSResponse)
def describe_addon(self: EKSResponse) -> ActionResult:
    return ActionResult({"addon": addon_of(self)})


@added(EKSResponse)
def list_addons(self: EKSResponse) -> ActionResult:
    return ActionResult({"addons": sorted(records.of(records.cluster_of(self)).addons)})


@added(EKSResponse)
def update_addon(self: EKSResponse) -> ActionResult:
    records.touch(addon_of(self), records.chosen(self, *CHANGEABLE))
    return updates.begin(records.cluster_of(self), "AddonUpdate")


@added(EKSResponse)
def delete_addon(self: EKSResponse) -> ActionResult:
    addon = addon_of(self)
    del records.of(records.cluster_of(self)).addons[addon["addonName"]]
    return ActionResult({"addon": {**addon, "status": "DELETING"}})


def addon_of(self: EKSResponse) -> Record:
    cluster, name = records.cluster_of(self), self._get_param("addonName")
    return records.found(records.of(cluster).addons, name, f"No addon: {name} found in cluster: {cluster.name}")
