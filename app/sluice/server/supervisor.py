"""`sluice serve`: gunicorn's parent, and PID 1 in the image.

It starts what the service needs, serves the admin port, watches, and ends everything in order:

    SIGTERM            not ready at once; DRAIN_SECONDS later gunicorn gets SIGTERM; exit 0
    SIGINT, SIGHUP     the same without the drain: somebody sits at the terminal
    a second signal    everything ends at once
    gunicorn dies      whatever is left of it is killed; exit 1, so that Kubernetes starts the container again
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import structlog
from prometheus_client.registry import Collector

from sluice import errors, keyring, keys, logs
from sluice.http import plain_request
from sluice.server.admin import Admin, serve
from sluice.server.metrics_archive import Archive
from sluice.server.worker_state import Reason, SharedState, WorkerReport, known, live
from sluice.settings import Settings
from sluice.stores.postgresql import embedded, programs
from sluice.stores.postgresql.login import Login, of_owner
from sluice.values import host_part

log = structlog.get_logger()

APP = "sluice.server.wsgi:app"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
SHARED_MEMORY_FREE = 16 << 20
BACKLOG = 2_048
# TCP keep-alive of every connection, which has it from its listener: after a minute of silence, and every 15 s, the kernel asks
# whether the peer is still there. One that vanished frees its place, and the layer 4 load balancers of clouds, which drop what
# was idle for 4 to 6 minutes without a word, know the connection for as long as it is kept.
PEER_THERE: Mapping[tuple[int, int], int] = {(socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1} | {
    (socket.IPPROTO_TCP, option): seconds
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if (option := getattr(socket, name, None)) is not None
}
TICK = 0.5
# Until a duty in the background that failed begins again.
AGAIN = 10.0
# Readiness goes when no worker's heart beat for so long; liveness waits for HEARTBEAT_TIMEOUT.
WORKERS_DEAD = 10.0
# How much longer than GRACEFUL_TIMEOUT gunicorn may take, and how long the kernel may take to end what was killed.
PATIENCE = 5.0
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# What the main thread waits for: a signal, or None for the end of gunicorn.
Events = queue.SimpleQueue[signal.Signals | None]


@dataclass(frozen=True, kw_only=True)
class Duties:
    """What the parent does beside watching its workers.

    `check`: returns when the store can be used, else raises StoreUnavailable; called until it returned once.
    `background`: each runs in a thread until the event is set. `collectors`: of metrics beside those of the workers.
    `close`: called at the end.
    """

    check: Callable[[], None]
    background: Sequence[Callable[[threading.Event], object]] = ()
    collectors: Sequence[Collector] = ()
    close: Callable[[], None] = lambda: None


def run(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    duties: Callable[[Settings], Duties],
    say: Callable[[str], object],
    migrate: Callable[[Login], object] | None = None,
    app: str = APP,
) -> int:
    """Serve until a signal comes or gunicorn ends; the exit code.

    `duties` gets the settings with the store's address in them. `migrate`, when given, gets the owner's login before anything
    is served. `say` writes to people. `app`: `module:attribute` of the WSGI application.
    Raises SettingsError, and StoreUnavailable when the embedded server does not start or `migrate` cannot reach its database.
    """
    logs.configure(settings.log_level)
    stop_while_starting()
    key = key_file(settings)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(embedded.owned(settings.data_dir, settings.data_dir_wait)) if settings.embedded else None
        if migrate is not None:
            migrate(server.owner if server is not None else of_owner(settings))
        folder = stack.enter_context(run_dir(settings.run_dir))
        settings = replace(settings, run_dir=folder, database_url=server.url if server is not None else settings.database_url)
        listener = stack.enter_context(listen(settings.host, settings.port, "PORT"))
        admin = listen(settings.host, settings.admin_port, "ADMIN_PORT")
        fast_path = plain_request.state(settings.fast_path)
        greeting = welcome(url_of(settings.host, listener), url_of(settings.host, admin), key, fast_path)
        own = duties(settings)
        monitor = Monitor(settings, SharedState(folder), own, server, lambda: say(greeting))
        stack.callback(monitor.close)
        serve(Admin(settings, monitor.shared, monitor.archive, own.collectors), admin)
        environment = {
            **environ,
            "PORT": str(port_of(listener)),
            "SLUICE_RUN_DIR": str(folder),
            "PROMETHEUS_MULTIPROC_DIR": f"{folder}/metrics",
            **({"DATABASE_URL": server.url} if server is not None else {}),
            **({"API_KEYS_FILE": str(key)} if key is not None else {}),
        }
        events = signals()
        gunicorn = stack.enter_context(gunicorn_of(app, listener, environment, events))
        # From here on the port is gunicorn's alone: it closes with it.
        listener.close()
        monitor.start()
        return supervise(settings, monitor.shared, gunicorn, events)


def supervise(settings: Settings, shared: SharedState, gunicorn: subprocess.Popen[bytes], events: Events) -> int:
    """Wait for what ends the service, and begin its end; the exit code."""
    first = events.get()
    if first is None:
        log.error("gunicorn.ended", code=gunicorn.returncode, fix="the lines before this one say why")
        return 1
    shared.drain()
    log.info("drain.started", signal=first.name)
    if first is signal.SIGTERM and happened(events, settings.drain_seconds):
        return 0
    gunicorn.terminate()
    if not happened(events, settings.graceful_timeout + PATIENCE):
        log.warning("drain.cut_short", fix="raise GRACEFUL_TIMEOUT, or find the request that does not end")
    return 0


def happened(events: Events, seconds: float) -> bool:
    """Whether a second signal came, or gunicorn ended, within `seconds`."""
    try:
        events.get(timeout=seconds)
    except queue.Empty:
        return False
    return True


def on_stop(handler: Callable[[int, FrameType | None], object]) -> None:
    """Have `handler` called for each of STOPPING, but for what was ignored when we came: `nohup` has SIGHUP ignored, and a shell
    without job control SIGINT of what it runs in the background.

    SIGUSR1 and SIGUSR2 end nothing: there is no log file to open again.
    """
    for number in STOPPING:
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def stop_while_starting() -> None:
    """Until `signals`, a signal ends the start, and what was started is stopped; a second signal does not disturb that."""

    def end_start(_number: int, _frame: object) -> None:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        raise SystemExit(0)

    on_stop(end_start)


def signals() -> Events:
    """A queue of the signals that come from now on."""
    events: Events = queue.SimpleQueue()
    on_stop(lambda got, _frame: events.put(signal.Signals(got)))
    return events


@contextlib.contextmanager
def gunicorn_of(
    app: str, listener: socket.socket, environ: Mapping[str, str], events: Events
) -> Iterator[subprocess.Popen[bytes]]:
    """gunicorn in a session of its own, so that Ctrl-C reaches only us; at the end whatever is left of it is killed."""
    conf = ("--config", "python:sluice.server.gunicorn_conf", "--bind", f"fd://{listener.fileno()}")
    process = subprocess.Popen(  # noqa: S603 - every word is ours
        [sys.executable, "-m", "gunicorn", *conf, app],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )

    def report_end() -> None:
        process.wait()
        events.put(None)

    threading.Thread(target=report_end, name="gunicorn", daemon=True).start()
    try:
        yield process
    finally:
        kill_session(process)


def kill_session(leader: subprocess.Popen[bytes]) -> None:
    """Kill what is left, and wait until nothing is."""
    give_up = time.monotonic() + PATIENCE
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()
        while time.monotonic() < give_up:
            # As PID 1 we inherit its orphans; nobody else will fetch them.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-leader.pid, os.WNOHANG)
            with contextlib.suppress(PermissionError):  # macOS, of a group that has only dead ones left
                os.killpg(leader.pid, 0)
            time.sleep(0.02)
        log.error("gunicorn.left_behind", session=leader.pid)


@contextlib.contextmanager
def run_dir(parent: Path | None) -> Iterator[Path]:
    """A new folder for this run, in memory where there is such a file system: the workers' counters are mapped files."""
    if parent is None:
        # A mapped file that finds no memory left kills who writes into it.
        roomy = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free >= SHARED_MEMORY_FREE
        with embedded.usable("SLUICE_RUN_DIR", Path("/tmp")):  # noqa: S108
            parent = SHARED_MEMORY if roomy else Path(tempfile.gettempdir())
    with embedded.usable("SLUICE_RUN_DIR", parent):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkdtemp gives it mode 0700.
        path = Path(tempfile.mkdtemp(prefix="sluice-", dir=parent))
    # Of supervisors that were killed nobody holds the lock, and `state` is made after it was taken.
    for state in parent.glob("sluice-*/state"):
        with contextlib.suppress(OSError, errors.SettingsError), embedded.locked(state.parent) as free:
            if free:
                shutil.rmtree(state.parent)
    try:
        with embedded.locked(path):
            (path / "metrics").mkdir()
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def key_file(settings: Settings) -> Path | None:
    """The file of the first-run key, made when it is missing; None when keys come from elsewhere. Raises SettingsError."""
    problems = keyring.check_plain(settings.api_keys)
    if problems:
        raise errors.SettingsError(problems)
    if settings.api_keys or settings.keyset_file is not None:
        return None
    if not (settings.loopback and settings.embedded):
        why = f"one is made only while HOST, here {settings.host}, is a loopback address and the store the embedded one"
        raise errors.SettingsError([f"there is no API key: set API_KEYS or KEYSET_FILE ({why})"])
    path = settings.data_dir / "first-run.key"
    with embedded.usable("DATA_DIR", settings.data_dir):
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if not keys.checksum_ok(path.read_text(errors="replace").strip()):
                raise errors.SettingsError([f"{path} holds no API key; remove it, and the next start makes another"]) from None
            return path
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{keys.mint('local')}\n")
        programs.hand_over(path)
    return path


def listen(host: str, port: int, name: str) -> socket.socket:
    """A listening socket; `name`: the setting that chose the port. Raises SettingsError."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        dual = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except (OSError, UnicodeError) as error:
        fix = f"end what uses it, or set HOST and {name} to a free one"
        raise errors.SettingsError(
            [f"{name}: cannot listen on {host}:{port} ({getattr(error, 'strerror', 'no name of a host')}); {fix}"]
        ) from error
    for (level, option), seconds in PEER_THERE.items():
        listener.setsockopt(level, option, seconds)
    return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def url_of(host: str, listener: socket.socket) -> str:
    """As a client on this machine writes it."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://{host_part(near)}:{port_of(listener)}"


NO_FAST_PATH = {
    "off": "FAST_PATH is off",
    "no_parser": "gunicorn's HTTP parser in C is missing; with a C compiler at hand, pip install 'sluice[fast]'",
}


def welcome(url: str, admin: str, key: Path | None, fast_path: plain_request.State) -> str:
    """What people read once the service is ready."""
    lines = [f"Sluice is ready at {url} (probes and metrics: {admin})"]
    if fast_path != "on":
        lines += [f"Single posts take the slow path, a thread for each: {NO_FAST_PATH[fast_path]}."]
    if key is not None:
        secret = key.read_text().strip()
        headers = f"-H 'Authorization: Bearer {secret}' -H 'Content-Type: application/json'"
        event = '{"event_type": "log", "event_name": "hello"}'
        lines += [f"Its first-run key, kept in {key}:", f"  {secret}"]
        lines += ["Try it:", f"  curl -sS {url}/api/v1/ingest {headers} -d '{event}'"]
    return "".join(f"\n{line}\n" for line in lines).encode(errors="backslashreplace").decode()


def readiness(latched: bool, awake: Sequence[WorkerReport], store: Reason | None) -> Reason:
    """Ready, or why not. `awake`: workers whose heart beats; `store`: why the store cannot be used.

    Once it was ready (`latched`) only a fault of this Pod counts: without any ready Pod a Service answers nothing at all.
    """
    if not awake:
        return "workers_dead" if latched else "starting"
    if latched:
        return "ready"
    if store is not None:
        return store
    return "ready" if all(report.loaded for report in awake) else "keyset_missing"


class Monitor:
    """Looks after the parts twice a second, in a thread of its own. `on_ready` is called once."""

    def __init__(
        self,
        settings: Settings,
        shared: SharedState,
        duties: Duties,
        server: embedded.Owned | None,
        on_ready: Callable[[], object],
    ) -> None:
        self.shared = shared
        self.archive = Archive(shared.path / "metrics")
        self._duties = duties
        self._each_round = (self.archive.sweep, *([server.revive] if server is not None else []), self._judge)
        self._on_ready = on_ready
        self._latched = False
        # Not the shared one, which says `draining` whatever is judged.
        self._judged: Reason = shared.reason
        self._stop = threading.Event()
        self._patience = min(WORKERS_DEAD, settings.heartbeat_timeout)
        self._threads = [threading.Thread(target=self._run, name="monitor", daemon=True)]
        self._threads += [
            threading.Thread(target=self._begin, args=(duty,), name="background", daemon=True) for duty in duties.background
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(PATIENCE)
        self._duties.close()

    def _begin(self, duty: Callable[[threading.Event], object]) -> None:
        """One that ended by an error would be missed by nobody, until a disk is full."""
        while True:
            try:
                duty(self._stop)
            except Exception:
                log.exception("background.failed", duty=getattr(duty, "__qualname__", ""), again_in_seconds=AGAIN)
            else:
                return
            if self._stop.wait(AGAIN):
                return

    def _run(self) -> None:
        while True:
            for duty in self._each_round:
                try:
                    duty()
                except Exception:
                    # It is tried again in the next round.
                    log.exception("monitor.failed", duty=duty.__name__)
            if self._stop.wait(TICK):
                return

    def _judge(self) -> None:
        store: Reason | None = None
        if not self._latched:
            try:
                self._duties.check()
            except errors.StoreUnavailable as error:
                store = known(error.reason)
        reason = readiness(self._latched, live(self.shared.reports(), time.monotonic(), self._patience), store)
        # At the end the workers go, which is no news.
        if reason != self._judged and not self.shared.draining:
            log.info("readiness", reason=reason)
        self._judged = reason
        self.shared.set_reason(reason)
        if reason == "ready" and not self._latched:
            self._latched = True
            self._on_ready()
