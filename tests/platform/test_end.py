"""The end of the environment that all other tests look at: collected last (conftest.py)."""

from __future__ import annotations

from tests.platform import sweep
from tests.platform.account import STATE_BUCKET
from tests.platform.conftest import Dev
from tests.platform.runs import worked


def test_destroy_leaves_nothing_but_keys_pending_deletion(dev: Dev) -> None:
    aws = dev.account.aws
    put_an_image(dev)
    worked(dev.account.terraform.destroy("dev"))
    assert sweep.left(aws) == {"keys": ["PendingDeletion"] * 5}
    assert dev.account.terraform.state() == []
    kept = [entry["Key"] for entry in aws.client("s3").list_objects_v2(Bucket=STATE_BUCKET)["Contents"]]
    assert kept == ["dev/terraform.tfstate"], "the lock is gone, the state stays"


def put_an_image(dev: Dev) -> None:
    """dev goes with its images: they are made again by the next push."""
    manifest = '{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": []}'
    dev.account.aws.client("ecr").put_image(repositoryName="sluice-dev/sluice", imageManifest=manifest, imageTag="v1.0.0")
