"""`sluice check`: does a service work, seen from outside? What `helm test` runs."""

from __future__ import annotations

import uuid
from pathlib import Path

import click

from sluice.client import check as checks
from sluice.client import http
from sluice.client.check import Check
from sluice.client.http import ClientError
from sluice.commands.peer import Waits, key_options
from sluice.doctor import Finding


@click.command(
    epilog="""\b
Examples:
  sluice check
  sluice check https://events.example.org
  SLUICE_API_KEY_FILE=/run/secrets/key sluice check http://sluice:8080 --retry-for 60
  sluice check http://sluice:8080 --no-key"""
)
@click.argument("url", envvar="SLUICE_URL", default="http://127.0.0.1:8080")
@click.option("--no-key", is_flag=True, help="Check only that it is ready and that an event without a key is refused.")
@key_options
@click.option(
    "--retry-for",
    default=checks.RETRY_FOR,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds to keep trying while the service is away or not ready.",
)
def check(url: str, no_key: bool, api_key: str | None, key_file: Path | None, data_dir: Path, retry_for: float) -> None:
    """Prove that the service at URL works: it is ready, stores an event, knows it again and gives it back.

    URL is SLUICE_URL, or http://127.0.0.1:8080. One small event, `sluice_check`, stays behind. With a key that may not read,
    the event is not read back. Exits with 1 when a step failed.
    """
    try:
        key = None if no_key else http.find_key(api_key, key_file, data_dir, url)
        steps = Check(checks.connect(url, key, retry_for=retry_for, on_wait=Waits().say), f"sluice-check-{uuid.uuid4()}")
    except ClientError as error:
        raise click.ClickException(error.detail) from error
    failed = False
    for finding in checks.findings(steps.without_key() if no_key else steps.with_key()):
        click.echo(line(finding))
        failed = finding.verdict == "failed"
    raise SystemExit(1 if failed else 0)


def line(finding: Finding) -> str:
    fix = f"; {finding.fix}" if finding.fix else ""
    return f"{finding.verdict:<8} {finding.what}{fix}"
