"""Updates: what EKS answers to a change, and is asked for until it is done. Here it is done at once."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks.models import Cluster
from moto.eks.responses import EKSResponse
from moto.moto_api._internal import mock_random
from tests.platform.emulator.eks import records
from tests.platform.emulator.eks.records import Record
from tests.platform.emulator.patching import added


def begin(cluster: Cluster, kind: str) -> ActionResult:
    """A new update of the cluster, of its nodes or add-ons; `kind` as in the API's UpdateType."""
    update: Record = {
        "id": str(mock_random.uuid4()),
        "status": "Successful",
        "type": kind,
        "params": [],
        "createdAt": utcnow(),
        "errors": [],
    }
    records.of(cluster).updates[update["id"]] = update
    return ActionResult({"update": update})


@added(EKSResponse)
def describe_update(self: EKSResponse) -> ActionResult:
    key = self._get_param("updateId")
    update = records.found(records.of(records.cluster_of(self)).updates, key, f"No update found for ID: {key}")
    return ActionResult({"update": update})
