"""Tags of everything that EKS tags; moto knows those of clusters only."""

from __future__ import annotations

from moto.eks.exceptions import EKSError
from moto.eks.models import Cluster, EKSBackend
from tests.platform.emulator.eks import records
from tests.platform.emulator.patching import added


class NotFoundException(EKSError):
    """The error of the three operations (API reference, TagResource), not the one of all others."""

    TYPE = "NotFoundException"
    STATUS = 404


@added(EKSBackend)
def tag_resource(self: EKSBackend, resource_arn: str, tags: dict[str, str]) -> None:
    tags_of(self, resource_arn).update(tags)


@added(EKSBackend)
def untag_resource(self: EKSBackend, resource_arn: str, tag_keys: list[str] | str) -> None:
    tags = tags_of(self, resource_arn)
    for key in [tag_keys] if isinstance(tag_keys, str) else tag_keys:
        tags.pop(key, None)


@added(EKSBackend)
def list_tags_for_resource(self: EKSBackend, resource_arn: str) -> dict[str, str]:
    return tags_of(self, resource_arn)


def tags_of(backend: EKSBackend, arn: str) -> dict[str, str]:
    for cluster in backend.clusters.values():
        if (tags := tagged(cluster).get(arn)) is not None:
            return tags
    raise NotFoundException(message=f"Resource was not found: {arn}")


def tagged(cluster: Cluster) -> dict[str, dict[str, str]]:
    groups = {group.arn: group.tags for group in cluster.nodegroups.values()}
    return {cluster.arn: cluster.tags} | groups | records.of(cluster).tagged()
