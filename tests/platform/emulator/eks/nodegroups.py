"""Managed node groups: moto makes up remote access and version 1.19, drops update settings, and has no update of the version."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.eks.models import Nodegroup
from moto.eks.responses import EKSResponse
from tests.platform.emulator.eks import records, updates
from tests.platform.emulator.patching import added, around


@around(EKSResponse, "create_nodegroup")
def create_nodegroup(old: Any, self: EKSResponse) -> ActionResult:
    """Version and image follow the cluster unless they are named (API reference, CreateNodegroup)."""
    answer: ActionResult = old(self)
    group = group_of(self)
    vars(group).update(
        version=self._get_param("version") or records.cluster_of(self).version,
        remote_access=self._get_param("remoteAccess"),
        update_config=self._get_param("updateConfig") or {"maxUnavailable": 1},
        node_repair_config=self._get_param("nodeRepairConfig"),
        disk_size=self._get_param("diskSize"),
    )
    group.release_version = release_of(group)
    return answer


@around(EKSResponse, "update_nodegroup_config")
def update_nodegroup_config(old: Any, self: EKSResponse) -> ActionResult:
    old(self)
    return updates.begin(records.cluster_of(self), "ConfigUpdate")


@added(EKSResponse)
def update_nodegroup_version(self: EKSResponse) -> ActionResult:
    """Without a version: the cluster's (API reference, UpdateNodegroupVersion)."""
    cluster, group = records.cluster_of(self), group_of(self)
    group.version = self._get_param("version") or cluster.version
    group.launch_template = {**(group.launch_template or {}), **(self._get_param("launchTemplate") or {})} or None
    group.release_version = release_of(group)
    return updates.begin(cluster, "VersionUpdate")


def group_of(self: EKSResponse) -> Nodegroup:
    return self.eks_backend.describe_nodegroup(records.cluster_of(self).name, self._get_param("nodegroupName"))


def release_of(group: Nodegroup) -> str:
    """In the form of EKS's images."""
    return f"{group.version}.0-20261101"
