from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.unit.client.script import Service, Time


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def time() -> Time:
    return Time()
