"""Pod Identity associations: a ServiceAccount and its role. moto has none."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks.exceptions import ResourceInUseException
from moto.eks.models import Cluster
from moto.eks.responses import EKSResponse
from moto.moto_api._internal import mock_random
from tests.platform.emulator.eks import records
from tests.platform.emulator.eks.records import Record
from tests.platform.emulator.patching import added

# What a list tells of an association (API reference, PodIdentityAssociationSummary).
SUMMARY = ("clusterName", "namespace", "serviceAccount", "associationArn", "associationId")


@added(EKSResponse)
def create_pod_identity_association(self: EKSResponse) -> ActionResult:
    """A ServiceAccount has one role: a second association of it is refused."""
    cluster = records.cluster_of(self)
    who = {name: self._get_param(name) for name in ("namespace", "serviceAccount")}
    if listed(cluster, who):
        raise ResourceInUseException(message="Association already exists")
    now = utcnow()
    key = f"a-{mock_random.get_random_hex(17)}"
    association: Record = {
        "clusterName": cluster.name,
        **who,
        "roleArn": self._get_param("roleArn"),
        "associationArn": f"arn:aws:eks:{self.region}:{self.current_account}:podidentityassociation/{cluster.name}/{key}",
        "associationId": key,
        "tags": self._get_param("tags") or {},
        "createdAt": now,
        "modifiedAt": now,
    }
    records.of(cluster).associations[key] = association
    return ActionResult({"association": association})


@added(EKSResponse)
def describe_pod_identity_association(self: EKSResponse) -> ActionResult:
    return ActionResult({"association": association_of(self)})


@added(EKSResponse)
def list_pod_identity_associations(self: EKSResponse) -> ActionResult:
    found = listed(records.cluster_of(self), records.chosen(self, "namespace", "serviceAccount"))
    return ActionResult({"associations": [{name: one[name] for name in SUMMARY} for one in found]})


@added(EKSResponse)
def update_pod_identity_association(self: EKSResponse) -> ActionResult:
    association = association_of(self)
    records.touch(association, records.chosen(self, "roleArn"))
    return ActionResult({"association": association})


@added(EKSResponse)
def delete_pod_identity_association(self: EKSResponse) -> ActionResult:
    association = association_of(self)
    del records.of(records.cluster_of(self)).associations[association["associationId"]]
    return ActionResult({"association": association})


def listed(cluster: Cluster, like: Record) -> list[Record]:
    return [one for one in records.of(cluster).associations.values() if like.items() <= one.items()]


def association_of(self: EKSResponse) -> Record:
    key = self._get_param("associationId")
    return records.found(records.of(records.cluster_of(self)).associations, key, f"No association found with id: {key}")
