"""What is wrong with this place, and how to mend it. Each check says one thing and touches nothing."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from sluice import keyring, keys
from sluice.settings import Settings
from sluice.stores.postgresql.inspection import ServerFacts

Verdict = Literal["ok", "warning", "failed"]
MIN_DISK = 1 << 30
MAX_SKEW_SECONDS = 5.0
MIN_SERVER = 140_000


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; `mend` is empty when all is well."""

    verdict: Verdict
    what: str
    mend: str = ""


def here(settings: Settings) -> Iterator[Finding]:
    """Findings about this machine and the settings."""
    yield Finding("ok", f"Python {sys.version_info.major}.{sys.version_info.minor}")
    yield disk(settings)
    yield from ports(settings)
    yield from key_sources(settings)
    if settings.retention_days is None:
        yield Finding("warning", "events are kept for ever", "set RETENTION_DAYS when the disk is not endless")


def disk(settings: Settings) -> Finding:
    folder = settings.data_dir if settings.data_dir.exists() else settings.data_dir.absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / (1 << 30):.1f} GiB free for DATA_DIR"
    if settings.embedded and free < MIN_DISK:
        return Finding("failed", text, "free some space, or set DATA_DIR to a larger disk")
    return Finding("ok", text)


def ports(settings: Settings) -> Iterator[Finding]:
    for name, port in (("PORT", settings.port), ("ADMIN_PORT", settings.admin_port)):
        if not resolves(settings.host):
            yield Finding("failed", f"HOST {settings.host} is no address of this machine", "set HOST to 127.0.0.1, 0.0.0.0 or ::")
        elif port == 0 or is_free(settings.host, port):
            yield Finding("ok", f"{name} {port} is free")
        else:
            yield Finding("warning", f"{name} {port} is in use", f"fine when that is Sluice; else set {name} to another port")


def resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def key_sources(settings: Settings) -> Iterator[Finding]:
    if settings.keyset_file is not None:
        yield keyset(settings)
    if settings.api_keys:
        yield Finding("ok", f"{len(settings.api_keys)} plain keys in API_KEYS")
    if not settings.api_keys and settings.keyset_file is None:
        if settings.embedded and settings.loopback:
            yield Finding("ok", "a first-run key in DATA_DIR")
        else:
            mend = "set API_KEYS (`sluice keys new`) or KEYSET_FILE; a first-run key is for loopback and the embedded store only"
            yield Finding("failed", "no key source", mend)


def keyset(settings: Settings) -> Finding:
    path = settings.keyset_file
    assert path is not None  # noqa: S101 - the caller looked
    try:
        document = keyring.parse(keyring.read(path)[0])
    except OSError as error:
        return Finding("failed", f"KEYSET_FILE {path}: {type(error).__name__}", "mount the key set there, or correct KEYSET_FILE")
    except keys.InvalidKeySet as error:
        return Finding("failed", f"KEYSET_FILE {path}: {error}", "write it with `sluice keys keyset`")
    return Finding("ok", f"key set with {len(document.entries)} entries, revision {document.revision[:12]}")


def server(facts: ServerFacts, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Finding]:
    """Findings about a database that answers."""
    text = f"PostgreSQL {facts.version // 10_000}"
    yield Finding("ok", text) if facts.version >= MIN_SERVER else Finding("failed", text, "use PostgreSQL 14 or newer")
    if facts.behind_pooler:
        yield Finding(
            "ok", "a pooler stands before it: `serve` works through it, `migrate` and `index` need the server's own address"
        )
    if facts.durable:
        yield Finding("ok", "a commit survives a crash")
    else:
        yield Finding("failed", "a commit may be lost in a crash", "turn fsync, full_page_writes and synchronous_commit on")
    if facts.missing:
        yield Finding("failed", f"schema is behind by {', '.join(facts.missing)}", "run `sluice migrate` as the schema's owner")
    else:
        yield Finding("ok", "schema is up to date")
    skew = abs((facts.clock - now()).total_seconds())
    if skew > MAX_SKEW_SECONDS:
        yield Finding("warning", f"the database's clock differs by {skew:.0f} s", "synchronise the clocks (NTP)")
    if facts.role_may_ddl:
        yield Finding("warning", "this login may change the schema", "let the service log in as sluice_app")
