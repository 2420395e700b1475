"""`sluice doctor`: what is wrong, and how to fix it."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sluice import doctor as checks
from sluice.commands import environment

COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@click.command(epilog="\b\nExamples:\n  sluice doctor\n  DATABASE_URL=postgresql://db/sluice sluice doctor")
def doctor() -> None:
    """Say what is wrong with settings, keys, disk and database, and how to fix it.

    Changes nothing. The exit code is 1 when something failed.
    """
    findings = list(checks.findings(environment.settings()))
    table = Table("", "what", "how to fix it", title="sluice doctor")
    for finding in findings:
        # As Text: a path may hold what rich takes for markup.
        table.add_row(Text(finding.verdict, COLOURS[finding.verdict]), Text(finding.what), Text(finding.fix))
    Console().print(table)
    sys.exit(any(finding.verdict == "failed" for finding in findings))
