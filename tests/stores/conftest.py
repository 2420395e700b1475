"""What needs a server of its own beside PostgreSQL: `make test-stores`.

`broker` is the RabbitMQ of all tests of a session; a test that kills or blocks it leaves it as it was. `queue_url` is its address
with both queues gone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conftest import PARTS, require
from tests.integration.conftest import database, pristine, private_server, server, template  # noqa: F401 - fixtures
from tests.stores import queues
from tests.stores.rabbitmq import Broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    require("RabbitMQ", PARTS["RabbitMQ"])
    shared = Broker()
    try:
        shared.start()
        yield shared
    finally:
        shared.remove()


@pytest.fixture
def queue_url(broker: Broker) -> str:
    queues.delete(broker.url)
    return broker.url
