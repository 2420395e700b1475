"""`sluice doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table

from sluice import doctor as checks
from sluice import errors
from sluice.commands import environment
from sluice.doctor import Finding
from sluice.settings import Settings
from sluice.stores.postgresql import embedded, inspection, login

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}
MENDS = {
    "database_unreachable": "start it, or correct DATABASE_URL / DB_HOST; is a firewall or NetworkPolicy between?",
    "login_refused": "correct user and password (DATABASE_URL, DB_*, DATABASE_PASSWORD_FILE); `sluice migrate` makes sluice_app",
    "tls_refused": "set DATABASE_CA_FILE to the CA of the server's certificate, and DB_HOST to a name that stands in it",
    "too_many_connections": "raise max_connections of the server, or lower WORKERS or DB_POOL_SIZE",
    "database_read_only": "name the primary, not a standby; several hosts in DATABASE_URL find it by themselves",
    "behind_pooler": "name the server itself: migrations and indexes need a session of their own, `serve` does not",
    "password_file_missing": "mount the file that DATABASE_PASSWORD_FILE names",
}


@click.command(epilog="\b\nExamples:\n  sluice doctor\n  DATABASE_URL=postgresql://db/sluice sluice doctor")
def doctor() -> None:
    """Say what is wrong with settings, keys, disk and database, and how to mend it.

    Changes nothing. The exit code is 1 when something failed.
    """
    settings = environment.settings()
    findings = [*checks.here(settings), *database(settings)]
    table = Table("", "what", "how to mend it", title="sluice doctor")
    for finding in findings:
        table.add_row(f"[{COLOURS[finding.verdict]}]{finding.verdict}[/]", finding.what, finding.mend)
    Console().print(table)
    sys.exit(any(finding.verdict == "failed" for finding in findings))


def database(settings: Settings) -> Iterator[Finding]:
    try:
        if settings.embedded:
            yield from embedded_server(settings)
        else:
            yield from checks.server(inspection.inspect(login.of_service(settings)))
    except errors.StoreUnavailable as error:
        yield Finding("failed", f"the database can not be used: {error.reason}", MENDS.get(error.reason, "see the server's log"))


def embedded_server(settings: Settings) -> Iterator[Finding]:
    server = embedded.found(settings.data_dir)
    if server is None:
        yield Finding("ok", "the embedded server is not running; `sluice serve` starts it")
    else:
        yield from checks.server(inspection.inspect(server.app))
