"""What EKS keeps for a cluster and moto does not. It hangs on moto's own Cluster, so it goes when that goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from moto.core.utils import utcnow
from moto.eks.exceptions import ResourceNotFoundException
from moto.eks.models import Cluster
from moto.eks.responses import EKSResponse
from moto.moto_api._internal import mock_random

# A member of an API answer, by the names of the API.
Record = dict[str, Any]


@dataclass
class Records:
    """Each by its key: ARN of the principal, name, id. `policies`: by principal, then by the policy's ARN."""

    entries: dict[str, Record] = field(default_factory=dict)
    policies: dict[str, dict[str, Record]] = field(default_factory=dict)
    addons: dict[str, Record] = field(default_factory=dict)
    associations: dict[str, Record] = field(default_factory=dict)
    updates: dict[str, Record] = field(default_factory=dict)

    def tagged(self) -> dict[str, dict[str, str]]:
        """The tags of everything that has some, by ARN."""
        kinds = (("accessEntryArn", self.entries), ("addonArn", self.addons), ("associationArn", self.associations))
        return {record[key]: record["tags"] for key, records in kinds for record in records.values()}


def of(cluster: Cluster) -> Records:
    found: Records = cluster.__dict__.setdefault("records", Records())
    return found


def cluster_of(response: EKSResponse) -> Cluster:
    """The cluster that the request names; ResourceNotFoundException when there is none."""
    name = response._get_param("clusterName") or response._get_param("name")
    return response.eks_backend.describe_cluster(name)


def found(records: dict[str, Record], key: str, message: str) -> Record:
    if key not in records:
        raise ResourceNotFoundException(message=message)
    return records[key]


def arn(response: EKSResponse, path: str) -> str:
    """The ARN of an EKS resource in the request's account and region, with an id of its own at the end."""
    return f"arn:aws:eks:{response.region}:{response.current_account}:{path}/{mock_random.uuid4()}"


def chosen(response: EKSResponse, *names: str) -> Record:
    """Those parameters that the request has."""
    given = {name: response._get_param(name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def touch(record: Record, changes: Record) -> None:
    record.update(changes, modifiedAt=utcnow())
