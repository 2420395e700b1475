"""Fixtures of the tests that talk to a running service; a test module takes them with `pytest_plugins`.

`service` is shared by all of them, for a start takes a second: so each test uses event ids of its own, which `mine` makes.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.integration.checks import Mine
from tests.integration.conftest import migrated
from tests.integration.postgres import Database
from tests.integration.service import Service, running

# The database behind `service`.
shared_database = pytest.fixture(migrated, scope="session")


@pytest.fixture(scope="session")
def shared_service(shared_database: Database) -> Iterator[Service]:
    with running(shared_database.url) as service:
        yield service


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    """A service with two workers and no limit that a test would meet. What it logs meanwhile is shown if the test fails."""
    before = shared_service.log_path.stat().st_size
    yield shared_service
    with shared_service.log_path.open("rb") as log:
        log.seek(before)
        print(log.read().decode(errors="replace")[-20_000:])


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """A client of `service` with a key for everything."""
    with service.client() as client:
        yield client


@pytest.fixture
def mine(shared_database: Database) -> Mine:
    """Event ids of the test's own behind `service`."""
    return Mine(shared_database)
