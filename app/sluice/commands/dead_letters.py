"""`sluice dead-letters`: what the worker could not store."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sluice import errors, logs
from sluice.client.reading import safe
from sluice.commands import environment

EXAMPLES = """\b
Examples:
  sluice dead-letters list
  sluice dead-letters show 5d1c6f3e9b0a4f57a1c2d3e4f5a6b7c8
  sluice dead-letters replay --all
  sluice dead-letters drop 5d1c6f3e9b0a4f57a1c2d3e4f5a6b7c8"""
WHICH = click.argument("ids", nargs=-1)
ALL = click.option("--all", "everything", is_flag=True, help="Every dead letter that is there.")


@click.group("dead-letters", epilog=EXAMPLES)
def dead_letters() -> None:
    """List, show, replay and drop messages of the queue that could not be stored; each has its reason."""


@dead_letters.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many, oldest first.")
def list_(limit: int) -> None:
    """Show the oldest: id, when it was moved there, reason and event."""
    from sluice.queue import dead_letters as letters  # noqa: PLC0415 - extra `queue`

    table = Table("id", "since", "reason", "event_id", "detail")
    with letters.opened(queue_url()) as link:
        for letter in letters.each(link, limit):
            found = letters.described(letter)
            # As Text: an id may hold what rich takes for markup.
            table.add_row(*(Text(safe(cell)) for cell in (found.id, found.since, found.reason, found.event_id, found.detail)))
    Console(width=None if Console().is_terminal else 250).print(table)


@dead_letters.command()
@click.argument("id")
def show(id: str) -> None:
    """Print the body of one."""
    from sluice.queue import dead_letters as letters  # noqa: PLC0415 - extra `queue`

    with letters.opened(queue_url()) as link:
        letter = next(letters.chosen(link, frozenset((id,))), None)
    if letter is None:
        raise click.ClickException(f"there is no dead letter {id}; `sluice dead-letters list` shows them")
    if sys.stdout.isatty():
        # A terminal would obey what was published there.
        click.echo("\n".join(map(safe, letter.body.decode(errors="replace").splitlines())))
    else:
        click.echo(letter.body)


@dead_letters.command()
@WHICH
@ALL
def replay(ids: tuple[str, ...], everything: bool) -> None:
    """Put these back into the queue, for a worker to try again: after an upgrade, or when the store took a value it refused."""
    from sluice.queue import dead_letters as letters  # noqa: PLC0415 - extra `queue`

    click.echo(f"replayed {moved(letters.replay, ids, everything)}")


@dead_letters.command()
@WHICH
@ALL
def drop(ids: tuple[str, ...], everything: bool) -> None:
    """Remove these for good."""
    from sluice.queue import dead_letters as letters  # noqa: PLC0415 - extra `queue`

    click.echo(f"dropped {moved(letters.drop, ids, everything)}")


def moved(move: Callable[[Any, frozenset[str]], int], ids: tuple[str, ...], everything: bool) -> int:
    from sluice.queue import dead_letters as letters  # noqa: PLC0415 - extra `queue`

    if bool(ids) == everything:
        raise click.UsageError("name the ids of dead letters, or --all")
    with letters.opened(queue_url()) as link:
        count = move(link, frozenset(ids))
    if count < len(frozenset(ids)):
        raise click.ClickException(f"only {count} of these {len(ids)} are there; `sluice dead-letters list` shows what is")
    return count


def queue_url() -> str:
    settings = environment.settings_once_there()
    logs.configure(settings.log_level)
    if settings.queue_url is None:
        raise errors.SettingsError(["there is no queue; set QUEUE_URL"])
    return settings.queue_url
