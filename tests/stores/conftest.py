"""What needs a server of its own beside PostgreSQL: `make test-stores`.

`broker` is the RabbitMQ of all tests of a session; a test that kills or blocks it leaves it as it was. `queue_url` is its address
with both queues gone. `subject` is each store in turn, empty; `empty` the same for tests of a module that share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from tests.conftest import PARTS, require
from tests.integration.conftest import (  # noqa: F401 - fixtures
    database,
    keyset,
    pristine,
    private_database,
    private_server,
    server,
    template,
    upstream,
)
from tests.stores import queues, subjects
from tests.stores.aws import ENVIRONMENT, Aws
from tests.stores.ferretdb import Ferretdb
from tests.stores.influxdb import Influxdb
from tests.stores.rabbitmq import Broker
from tests.stores.subjects import Clock, Subject
from tools import Missing

STORES = ("postgresql", "dynamodb", "mongodb", "influxdb")


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    require("RabbitMQ", PARTS["RabbitMQ"])
    with Broker() as shared:
        yield shared


@pytest.fixture
def queue_url(broker: Broker) -> str:
    queues.delete(broker.url)
    return broker.url


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    with pytest.MonkeyPatch.context() as patch, Aws() as aws:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield aws


@pytest.fixture(scope="session")
def mongo() -> Iterator[Ferretdb]:
    """Skips where it is not built, also under CI=true: that takes minutes, and `make soak` does it."""
    try:
        server = Ferretdb()
    except Missing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="session")
def influx() -> Iterator[Influxdb]:
    """Skips where it is not built, also under CI=true: that takes minutes, and `make soak` does it."""
    try:
        server = Influxdb()
    except Missing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


def opened(name: str, request: pytest.FixtureRequest) -> AbstractContextManager[Subject]:
    if name == "dynamodb":
        return subjects.dynamodb(request.getfixturevalue("aws"))
    if name == "mongodb":
        return subjects.mongodb(request.getfixturevalue("mongo"))
    if name == "influxdb":
        return subjects.influxdb(request.getfixturevalue("influx"))
    return subjects.postgresql(request.getfixturevalue("server"), request.getfixturevalue("template"))


@pytest.fixture(params=STORES)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with opened(request.param, request) as subject:
        yield subject


@pytest.fixture(scope="module", params=STORES)
def empty(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """As `subject`, once for all tests of a module."""
    with opened(request.param, request) as subject:
        yield subject


@pytest.fixture
def clock() -> Clock:
    return Clock()
