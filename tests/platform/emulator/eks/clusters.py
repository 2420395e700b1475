"""Clusters: moto forgets most of what they are made with, and answers an update with a cluster, at which the provider panics."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.eks.exceptions import InvalidParameterException
from moto.eks.models import Cluster
from moto.eks.responses import EKSResponse
from moto.moto_api._internal import mock_random
from tests.platform.emulator.eks import records, updates
from tests.platform.emulator.eks.records import Record
from tests.platform.emulator.patching import added, around

ANYWHERE = ["0.0.0.0/0"]
# What is kept as it was sent, and changed as a whole: the API's name, moto's attribute, the API's UpdateType.
KEPT = (
    ("logging", "logging", "LoggingUpdate"),
    ("accessConfig", "access_config", "AccessConfigUpdate"),
    ("upgradePolicy", "upgrade_policy", "UpgradePolicyUpdate"),
    ("zonalShiftConfig", "zonal_shift_config", "ZonalShiftConfigUpdate"),
    ("computeConfig", "compute_config", "AutoModeUpdate"),
    ("storageConfig", "storage_config", "AutoModeUpdate"),
)


@around(EKSResponse, "create_cluster")
def create_cluster(old: Any, self: EKSResponse) -> ActionResult:
    """As the API reference of CreateCluster and of the types it takes tells the defaults."""
    answer: ActionResult = old(self)
    cluster = records.cluster_of(self)
    given: dict[str, Any] = {attribute: self._get_param(name) for name, attribute, _ in KEPT if name != "logging"}
    given["access_config"] = access_of(given["access_config"] or {})
    given["upgrade_policy"] = given["upgrade_policy"] or {"supportType": "EXTENDED"}
    given["kubernetes_network_config"] = {
        "ipFamily": "ipv4",
        "serviceIpv4Cidr": "172.20.0.0/16",
        **(self._get_param("kubernetesNetworkConfig") or {}),
    }
    given["resources_vpc_config"] = network_of(self, cluster)
    vars(cluster).update(given)
    return answer


def access_of(given: Record) -> Record:
    """Defaults: ConfigMap only, and the principal that makes the cluster administers it."""
    return {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True, **given}


def network_of(self: EKSResponse, cluster: Cluster) -> Record:
    """With the VPC of its first subnet, and the security group that EKS makes for nodes and pods."""
    ec2 = ec2_backends[self.current_account][self.region]
    given = dict(cluster.resources_vpc_config)
    vpc = ec2.get_subnet(given["subnetIds"][0]).vpc_id
    name = f"eks-cluster-sg-{cluster.name}-{mock_random.get_random_string(6)}"
    group = ec2.create_security_group(name, "EKS created security group", vpc_id=vpc)
    open_to = given.get("publicAccessCidrs") or (ANYWHERE if given.get("endpointPublicAccess", True) else [])
    return {**given, "vpcId": vpc, "clusterSecurityGroupId": group.id, "publicAccessCidrs": open_to}


@around(EKSResponse, "delete_cluster")
def delete_cluster(old: Any, self: EKSResponse) -> ActionResult:
    """Takes its security group along; the VPC could not go otherwise."""
    cluster = records.cluster_of(self)
    answer: ActionResult = old(self)
    ec2 = ec2_backends[self.current_account][self.region]
    ec2.delete_security_group(group_id=cluster.resources_vpc_config["clusterSecurityGroupId"])
    return answer


@added(EKSResponse)
def update_cluster_config(self: EKSResponse) -> ActionResult:
    cluster = records.cluster_of(self)
    kind = "ConfigUpdate"
    for name, attribute, told in KEPT:
        if (value := self._get_param(name)) is not None:
            setattr(cluster, attribute, value)
            kind = told
    if network := self._get_param("resourcesVpcConfig"):
        refuse_other_zones(self, cluster, network)
        cluster.resources_vpc_config = {**cluster.resources_vpc_config, **network}
        kind = "VpcConfigUpdate"
    return updates.begin(cluster, kind)


def refuse_other_zones(self: EKSResponse, cluster: Cluster, network: Record) -> None:
    """A control plane stays in the zones that it was made in (API reference, UpdateClusterConfig)."""
    ec2 = ec2_backends[self.current_account][self.region]
    kept = {ec2.get_subnet(one).availability_zone for one in cluster.resources_vpc_config["subnetIds"]}
    wanted = {ec2.get_subnet(one).availability_zone for one in network.get("subnetIds") or []}
    if wanted and wanted != kept:
        raise InvalidParameterException(
            message=f"Provided subnets belong to the AZs {sorted(wanted)}. But they should belong to the exact set of AZs "
            f"{sorted(kept)} in which subnets were provided during cluster creation."
        )


@added(EKSResponse)
def update_cluster_version(self: EKSResponse) -> ActionResult:
    cluster = records.cluster_of(self)
    cluster.version = self._get_param("version")
    return updates.begin(cluster, "VersionUpdate")
