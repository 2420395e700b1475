"""The image as it would be shipped, built from this tree, and a PostgreSQL server in a container beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.certificates import Authority
from tests.image.container import Container, running
from tools import Missing, images
from tools.images import Image

SERVICE_USER, DATABASE_USER = 10001, 10002


@dataclass(frozen=True)
class Database:
    """A server whose certificate names DB_HOST, in its container's network. `files`: what a client mounts.

    `other_name` leads to the same server.
    """

    container: Container
    settings: dict[str, str]
    files: dict[str, Path]
    other_name: str = "database"

    def query(self, sql: str) -> str:
        """What psql prints for one statement, as the superuser."""
        psql = ("psql", "--host=/tmp", "--username=postgres", "--tuples-only", "--no-align", f"--command={sql}")
        return self.container.run(*psql).stdout.strip()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first builds: with empty caches on a busy machine that takes minutes."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session", autouse=True)
def _can_build() -> None:
    reason = images.missing()
    if reason is not None:
        raise Missing(f"no image can be built: {reason}")


@pytest.fixture(scope="session")
def image() -> Image:
    # The name under which tests/cluster builds it, too.
    return images.build(name="localhost/sluice:one")


@pytest.fixture(scope="session")
def root(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of the image."""
    yield from unpacked(image, tmp_path_factory)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return owned(tmp_path / "data", SERVICE_USER)


@pytest.fixture(scope="session")
def postgres_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from unpacked(images.postgres(), tmp_path_factory)


@pytest.fixture(scope="session")
def database(postgres_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("database")
    authority, host, password = Authority(), "db.sluice.test", "canary-of-the-owner"
    certificate, key = authority.sign(host)
    files = {"tls/tls.crt": certificate, "tls/tls.key": key, "secret/password": password, "ca": authority.certificate}
    for name, text in {**files, "hosts": f"127.0.0.1 {host} {Database.other_name}\n"}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    volumes = {"/data": owned(folder / "data", DATABASE_USER), "/tls": folder / "tls", "/secret": folder / "secret"}
    with running(images.postgres(), postgres_root, "-c", "max_connections=40", volumes=volumes) as container:
        container.says("database system is ready to accept connections")
        # DB_SSL_MODE is left to its default, verify-full.
        settings = {"DB_HOST": host, "DB_NAME": "postgres", "DB_USER": "postgres", "DB_PASSWORD": password}
        mounted = {"/etc/hosts": folder / "hosts", "/etc/ca.pem": folder / "ca"}
        yield Database(container, {**settings, "DATABASE_CA_FILE": "/etc/ca.pem"}, mounted)


def unpacked(image: Image, factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = factory.mktemp("root")
    # Others than root start programs in it.
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    image.unpack(folder)
    yield folder
    # Hundreds of megabytes that pytest would keep for three runs.
    shutil.rmtree(folder)


def owned(folder: Path, user: int) -> Path:
    """A new folder of this user, as a volume with fsGroup would be."""
    folder.mkdir()
    os.chown(folder, user, user)
    return folder
