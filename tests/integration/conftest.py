"""Real PostgreSQL 18 for the integration tests.

`database` is the one to begin with: a migrated database of its own for each test, cloned in some 25 ms.
`store` is a PostgresqlStore on it, logged in as the service's role. `database.url` can be the DATABASE_URL of a `sluice serve`
that a test starts, `database.owner_url` that of a `sluice migrate`.
Tests that stop, kill or misconfigure the server take `private_server`, and databases from `private_server.database()`.
`tests.integration.sample` makes rows, `tests.integration.waiting` waits with a deadline.

TEST_DATABASE_URL: a superuser's URL of another server, meant for tests only: databases `sluice_*` are made and dropped there and
the role sluice_app gets a known password. Tests that take `private_server` use the embedded server nevertheless.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import PARTS, require
from tests.integration import postgres
from tests.integration import upstream as upstreams
from tests.integration.keysets import keyset_file
from tests.integration.waiting import without_error

from sluice import errors
from sluice.stores.postgresql import embedded
from sluice.stores.postgresql.store import PostgresqlStore


@pytest.fixture(scope="session")
def pristine() -> Iterator[Path]:
    """The data folder of a stopped, migrated server."""
    require("embedded PostgreSQL", PARTS["embedded PostgreSQL"])
    folder = postgres.temporary_folder()
    try:
        yield postgres.make_pristine(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pristine_with_tls() -> Iterator[Path]:
    """As `pristine`, made by the machine's own PostgreSQL (`postgres.installed`): the embedded one is built without TLS."""
    if postgres.installed() is None:
        pytest.skip("a PostgreSQL with TLS is missing; to get it: apt-get install postgresql")
    folder = postgres.temporary_folder()
    try:
        yield postgres.make_pristine(folder, postgres.installed())
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[postgres.Server]:
    """The server that all tests share: leave it as it is."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield postgres.Server(url)
        return
    local = postgres.LocalServer(request.getfixturevalue("pristine"))
    try:
        local.start()
        yield local
    finally:
        local.remove()


@pytest.fixture(scope="session")
def template(server: postgres.Server) -> Iterator[str]:
    """The name of a migrated database on `server` that nobody is connected to."""
    if isinstance(server, postgres.LocalServer):
        yield postgres.TEMPLATE
        return
    name = f"{postgres.TEMPLATE}_{uuid.uuid4().hex[:8]}"
    try:
        server.make_template(name)
        yield name
    finally:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def migrated(server: postgres.Server, template: str) -> Iterator[postgres.Database]:
    """A migrated, empty database of its own."""
    with server.database(template) as database:
        yield database


database = pytest.fixture(migrated)
keyset = pytest.fixture(keyset_file)


@pytest.fixture(scope="module")
def initialised() -> Iterator[Path]:
    """The data folder of an embedded PostgreSQL after a first start and a clean end: initdb is the slow part."""
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        with embedded.owned(Path(name) / "data"):
            pass
        yield Path(name) / "data"


@pytest.fixture
def upstream() -> Iterator[upstreams.Upstream]:
    with upstreams.running() as server:
        yield server


@pytest.fixture
def empty_database(server: postgres.Server) -> Iterator[postgres.Database]:
    """A database without our schema."""
    with server.database("template0") as database:
        yield database


OpenStore = Callable[..., PostgresqlStore]


@pytest.fixture
def open_store() -> Iterator[OpenStore]:
    """Opens stores as stores.postgresql.PostgresqlStore does, and closes them after the test."""
    with contextlib.ExitStack() as stack:

        def open_store(*args: object, **more: object) -> PostgresqlStore:
            store = PostgresqlStore(*args, **more)  # type: ignore[arg-type]
            stack.callback(store.close)
            return store

        yield open_store


@pytest.fixture
def store(database: postgres.Database, open_store: OpenStore) -> PostgresqlStore:
    """The service's store on `database`, connected."""
    return ready(open_store(database.login))


@pytest.fixture
def private_server(pristine: Path) -> Iterator[postgres.LocalServer]:
    """A started server of the test's own, to stop, kill, freeze or misconfigure."""
    local = postgres.LocalServer(pristine)
    try:
        local.start()
        yield local
    finally:
        local.remove()


@pytest.fixture
def standby(private_server: postgres.LocalServer) -> Iterator[postgres.LocalServer]:
    """A standby that stays behind `private_server`."""
    private_server.stop()
    copy = postgres.LocalServer(private_server.data)
    copy.write("data/standby.signal", b"")
    private_server.start()
    try:
        copy.start()
        yield copy
    finally:
        copy.remove()


@pytest.fixture
def private_database(private_server: postgres.LocalServer) -> Iterator[postgres.Database]:
    """A migrated database on `private_server`."""
    with private_server.database() as database:
        yield database


def reason(work: Callable[[], object]) -> str:
    """Why the store that `work` uses is not available."""
    with pytest.raises(errors.StoreUnavailable) as caught:
        work()
    return caught.value.reason


def ready(store: PostgresqlStore, seconds: float = 10) -> PostgresqlStore:
    """`store` as soon as it works; after `seconds` its StoreUnavailable is raised."""
    without_error(store.check, errors.StoreUnavailable, seconds=seconds)
    return store
