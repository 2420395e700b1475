"""What is wrong with this place, and how to fix it. Each check says one thing and changes nothing of what is there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from sluice import errors, keyring, keys, stores
from sluice.settings import Settings
from sluice.stores.postgresql import embedded, inspection, login
from sluice.stores.postgresql.inspection import ServerFacts

log = structlog.get_logger()

Verdict = Literal["ok", "warning", "failed"]
MIN_DISK = 1 << 30
MAX_SKEW_SECONDS = 5.0
FIXES = {
    "database_unreachable": "start it, or correct DATABASE_URL / DB_HOST / AWS_REGION / INFLUXDB_URL / MONGODB_URI;"
    " is a firewall or NetworkPolicy between?",
    "schema_behind": "run `sluice migrate` as the schema's owner",
    "database_missing": "create it (`createdb`), or correct the name in DATABASE_URL / DB_NAME",
    "login_refused": "correct user and password (DATABASE_URL, DB_*, DATABASE_PASSWORD_FILE, INFLUXDB_TOKEN, MONGODB_URI),"
    " or give it the rights that docs/stores.md names;"
    " for PostgreSQL `sluice migrate` makes sluice_app",
    "not_permitted": "let a role that may CREATE in this database run `sluice migrate`; let the service log in as sluice_app,"
    " or as a role that was given its rights (`GRANT sluice_app TO ...`)",
    "tls_refused": "set DATABASE_CA_FILE, or tlsCAFile in MONGODB_URI, to the CA of the server's certificate,"
    " and the host to a name that stands in it",
    "too_many_connections": "raise max_connections of the server, or lower WORKERS or DB_POOL_SIZE",
    "database_encoding": "use a database with the encoding UTF8 (`createdb -E UTF8 -T template0`): others refuse good events",
    "database_too_old": "use PostgreSQL 14 or newer; what only speaks its protocol (CockroachDB, Redshift) will not do",
    "sequence_behind": "run `sluice migrate` as the schema's owner: a sequence gives ids that are taken, for logical replication"
    " copies none",
    "database_busy": "another session holds a lock on a table of Sluice (a dump, VACUUM FULL, ALTER TABLE; pg_locks names it):"
    " try again when it has ended",
    "database_read_only": "name the primary, not a standby (several hosts in DATABASE_URL find it by themselves);"
    " on the primary, reset default_transaction_read_only of server, database and role",
    "behind_pooler": "name the server itself, or the pooler's port for session mode: migrations and indexes need a session of"
    " their own, `serve` does not",
    "database_full": "free some space on the server's disk, or make it larger",
    "password_file_missing": "mount the file that DATABASE_PASSWORD_FILE names, readable and in UTF-8",
}


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; `fix` is empty when all is well."""

    verdict: Verdict
    what: str
    fix: str = ""


def findings(settings: Settings) -> Iterator[Finding]:
    """Everything that can be said. A check that fails itself is a finding, and does not stop the others."""
    for check in (here, database, queue, redis, sources):
        try:
            yield from check(settings)
        except Exception as error:
            log.exception("doctor.failed", check=check.__name__)
            yield Finding("failed", f"{check.__name__}: {type(error).__name__}", "report it, with the lines above this table")


def queue(settings: Settings) -> Iterator[Finding]:
    """Findings about QUEUE_URL. Its queue is made where there is none, as by `serve`: that is what has to work."""
    if settings.queue_url is not None:
        from sluice.queue import FIXES, link  # noqa: PLC0415 - extra `queue`

        try:
            link.check(settings.queue_url)
        except errors.QueueUnavailable as error:
            yield Finding("failed", f"the queue cannot be used: {error.reason}", FIXES[error.reason])
        else:
            yield Finding("ok", "the queue takes messages")


def redis(settings: Settings) -> Iterator[Finding]:
    """Findings about REDIS_URL."""
    if settings.redis_url is not None:
        from sluice.redis import connection  # noqa: PLC0415 - extra `redis`

        try:
            connection.Connection(settings.redis_url).check()
        except connection.Away as away:
            fix = connection.NO_CLUSTER if str(away) == "MovedError" else "start it, or correct REDIS_URL"
            fix += "; without it each pod has limits of its own, and reads are not cached"
            yield Finding("warning", f"Redis does not answer: {away}", fix)
        else:
            yield Finding("ok", "Redis answers")


def sources(settings: Settings) -> Iterator[Finding]:
    """Findings about API_ENDPOINT and SOURCES_FILE: what is wrong there stops every start."""
    from sluice.sources import definitions  # noqa: PLC0415 - only here

    try:
        found = definitions.load(settings)
    except errors.SettingsError as error:
        yield from refused(error)
    else:
        if found:
            yield Finding("ok", f"pull sources: {len(found)}")


def refused(error: errors.SettingsError) -> Iterator[Finding]:
    """What would stop the start, each problem with its fix."""
    for problem in error.problems:
        what, _, fix = problem.rpartition("; ")
        yield Finding("failed", what or problem, fix if what else "")


def here(settings: Settings) -> Iterator[Finding]:
    """Findings about this machine and the settings."""
    yield Finding("ok", f"Python {sys.version_info.major}.{sys.version_info.minor}")
    yield disk(settings)
    yield from folders(settings)
    yield from ports(settings)
    yield from key_sources(settings)
    if settings.retention_days is None:
        yield Finding("warning", "events are kept for ever", "set RETENTION_DAYS when the disk is not endless")


def disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(existing(settings.data_dir)).free
    text = f"{free / (1 << 30):.1f} GiB free for DATA_DIR"
    if settings.embedded and free < MIN_DISK:
        return Finding("failed", text, "free some space, or set DATA_DIR to a larger disk")
    return Finding("ok", text)


def existing(folder: Path) -> Path:
    """`folder`, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def folders(settings: Settings) -> Iterator[Finding]:
    if settings.embedded:
        try:
            embedded.examine(settings.data_dir)
        except errors.SettingsError as error:
            yield from refused(error)
    run_dir = existing(settings.run_dir or Path(tempfile.gettempdir()))
    if not (run_dir.is_dir() and os.access(run_dir, os.W_OK | os.X_OK)):
        yield Finding("failed", f"SLUICE_RUN_DIR: {run_dir} cannot be written", "set it to a folder of the user who runs this")


def ports(settings: Settings) -> Iterator[Finding]:
    if not resolves(settings.host):
        yield Finding("failed", f"HOST {settings.host} is no address of this machine", "set HOST to 127.0.0.1, 0.0.0.0 or ::")
        return
    for name, port in (("PORT", settings.port), ("ADMIN_PORT", settings.admin_port)):
        hindrance = bind_error(settings.host, port)
        if hindrance is None:
            yield Finding("ok", f"{name} {port} is free")
        elif hindrance == errno.EADDRINUSE:
            yield Finding("warning", f"{name} {port} is in use", f"fine when that is Sluice; else set {name} to another port")
        else:
            fix = f"set HOST to an address of this machine and {name} to a port that this user may use (from 1024 on)"
            yield Finding("failed", f"{name} {port} on {settings.host}: {os.strerror(hindrance)}", fix)


def resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def bind_error(host: str, port: int) -> int | None:
    """The error number of an attempt to use the port; None when it is free."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.errno
    return None


def key_sources(settings: Settings) -> Iterator[Finding]:
    if settings.keyset_file is not None:
        yield keyset(settings.keyset_file)
    if settings.api_keys:
        yield from refused(errors.SettingsError(keyring.check_plain(settings.api_keys)))
        yield Finding("ok", f"{len(settings.api_keys)} plain keys in API_KEYS")
    elif settings.keyset_file is None and not (settings.embedded and settings.loopback):
        fix = "set API_KEYS (`sluice keys new`) or KEYSET_FILE; a first-run key is for loopback and the embedded store only"
        yield Finding("failed", "no key source", fix)
    elif settings.keyset_file is None:
        yield first_run_key(settings.data_dir / "first-run.key")


def first_run_key(path: Path) -> Finding:
    try:
        if keys.checksum_ok(path.read_text(errors="replace").strip()):
            return Finding("ok", "a first-run key in DATA_DIR")
    except (FileNotFoundError, NotADirectoryError):
        return Finding("ok", "the first-run key is missing; the first `sluice serve` makes it")
    except OSError as error:
        return Finding("failed", f"{path} cannot be read ({error.strerror})", "run as the user who owns it, or remove it")
    return Finding("failed", f"{path} holds no API key", "remove it, and the next start makes another")


def keyset(path: Path) -> Finding:
    try:
        document = keyring.parse(keyring.read(path)[0])
    except OSError as error:
        cause = "missing" if isinstance(error, FileNotFoundError) else str(error.strerror)
        return Finding("failed", f"KEYSET_FILE {path}: {cause}", "mount the key set there, or correct KEYSET_FILE")
    except keys.InvalidKeySet as error:
        return Finding("failed", f"KEYSET_FILE {path}: {error}", "write it with `sluice keys keyset`")
    return Finding("ok", f"key set with {len(document.entries)} entries, revision {document.revision[:12]}")


def database(settings: Settings) -> Iterator[Finding]:
    try:
        if settings.storage_type != "postgresql":
            with contextlib.closing(stores.open(settings)) as store:
                store.check()
            yield Finding("ok", f"the store ({settings.storage_type}) answers and is up to date")
        elif not settings.embedded:
            yield from server(inspection.inspect(login.of_service(settings)))
        elif (running := embedded.found(settings.data_dir)) is not None:
            yield from server(inspection.inspect(running.app))
        else:
            yield Finding("ok", "the embedded server is not running; `sluice serve` starts it")
    except errors.SettingsError as error:
        yield from refused(error)
    except errors.StoreUnavailable as error:
        yield Finding("failed", f"the database cannot be used: {error.reason}", FIXES.get(error.reason, "see the server's log"))


def server(facts: ServerFacts, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Finding]:
    """Findings about a database that answers."""
    yield Finding("ok", f"PostgreSQL {facts.version // 10_000}")
    if facts.behind_pooler:
        yield Finding(
            "ok",
            "a pooler stands before it: `serve` works through it, `migrate` and `index` where it keeps a session for each client",
        )
    if facts.durable:
        yield Finding("ok", "a commit survives a crash")
    else:
        yield Finding("failed", "a commit may be lost in a crash", "turn fsync, full_page_writes and synchronous_commit on")
    if facts.read_only:
        yield Finding("failed", "the database takes no writes", FIXES["database_read_only"])
    if facts.secured:
        text = f"row-level security may hide rows from this login: {', '.join(facts.secured)}"
        yield Finding("warning", text, "give the login BYPASSRLS, or disable row-level security on these tables")
    if facts.triggers:
        fix = "see that none keeps or changes rows: what is due would stay (`retention.kept` in the log), and erasures are 503"
        yield Finding("warning", f"triggers or rules that are not Sluice's: {', '.join(facts.triggers)}", fix)
    if facts.missing:
        yield Finding("failed", f"schema is behind by {', '.join(facts.missing)}", "run `sluice migrate` as the schema's owner")
    else:
        yield Finding("ok", "schema is up to date")
    skew = abs((facts.clock - now()).total_seconds())
    if skew > MAX_SKEW_SECONDS:
        yield Finding("warning", f"the database's clock differs by {skew:.0f} s", "synchronise the clocks (NTP)")
    if facts.role_may_ddl:
        yield Finding("warning", "this login may change the schema", "let the service log in as sluice_app")
