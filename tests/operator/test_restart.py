"""The API server ends and comes back. Nobody else may use it meanwhile."""

from __future__ import annotations

import subprocess

import pytest
from tests.cluster import bed
from tests.cluster.kube import Refused
from tests.conftest import ROOT
from tests.integration.waiting import without_error
from tests.operator.conftest import Start
from tests.operator.processes import clients
from tests.operator.stand import Stand


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("alone")
def test_an_api_server_that_restarts_stops_neither_clients_nor_rotations(stand_: Stand, start: Start) -> None:
    operator = start().leads()
    name = stand_.key()
    stand_.active(name)
    with clients(stand_.space.name, name, stand_.target.url) as under:
        subprocess.run([*bed.TOOL, "restart", "kube-apiserver"], check=True, cwd=ROOT)
        without_error(lambda: stand_.rotate(name), Refused, seconds=60)
        if not operator.running:
            operator.start()  # as the kubelet does with one that lost its Lease meanwhile
        stand_.active(name, 2, 90)
    assert set(under.answers) == {"200"}
