"""`sluice index`: indexes for what is filtered by often."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from sluice import errors, logs
from sluice.commands import environment
from sluice.settings import Settings
from sluice.stores.postgresql import embedded, indexes, login
from sluice.stores.postgresql.login import Login

EXAMPLES = """\b
Examples:
  sluice index add user_id
  sluice index add properties.tags.provider device_info.os
  DATABASE_URL=postgresql://owner@db/sluice sluice index list
  sluice index drop user_id"""


@click.group(epilog=EXAMPLES)
def index() -> None:
    """List, add and drop indexes, each for one filter parameter: user_id, properties.tags.provider.

    There is none by default: each makes every insert dearer (docs/performance.md). Run it as the schema's owner, not through
    a pooler. Events go on coming meanwhile, and an interrupted `add` is repaired by the next.
    """


@index.command("list")
def list_() -> None:
    """Show the indexes that were added."""
    table = Table("filter", "state", "size")
    with owner() as parameters:
        for found in indexes.listed(parameters):
            state = "ready" if found.valid else "not ready: being built, or interrupted (add it again)"
            # As Text: the name of a property may hold what rich takes for markup.
            table.add_row(Text(found.name or found.relation), state, f"{found.size / (1 << 20):,.0f} MiB")
    Console().print(table)


@index.command()
@click.argument("names", nargs=-1, required=True)
def add(names: tuple[str, ...]) -> None:
    """Build an index for each of NAMES while events go on coming."""
    with owner() as parameters:
        build(parameters, names)


@index.command()
@click.argument("names", nargs=-1, required=True)
def drop(names: tuple[str, ...]) -> None:
    """Remove the index of each of NAMES."""
    with owner() as parameters:
        for name in names:
            click.echo(f"dropped {name}" if indexes.drop(parameters, name) else f"there is no index for {name}")


def build(parameters: Login, names: tuple[str, ...]) -> None:
    """Add an index for each of `names`, with progress on a terminal."""
    try:
        for name in names:
            indexes.expression_of(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    for name in names:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(name, total=1.0)

            def show(phase: str, done: float, name: str = name, task: TaskID = task, bar: Progress = bar) -> None:
                bar.update(task, description=f"{name}: {phase}", completed=done)

            added = indexes.add(parameters, name, show)
        click.echo(f"added {name}" if added else f"{name} is there already")


@contextlib.contextmanager
def owner(settings: Settings | None = None) -> Iterator[Login]:
    """The login of the schema's owner. `settings`: of a command that makes the embedded database when there is none yet."""
    makes = settings is not None
    settings = settings or environment.settings_once_there()
    logs.configure(settings.log_level)
    if settings.storage_type != "postgresql":
        raise errors.SettingsError([f"STORAGE_TYPE={settings.storage_type} has no indexes to choose; they are for postgresql"])
    if settings.embedded:
        if not makes and not embedded.has_database(settings.data_dir):
            fix = "set DATABASE_URL, or DATA_DIR to where `sluice serve` runs"
            raise errors.SettingsError([f"DATA_DIR {settings.data_dir} has no database; {fix}"])
        with embedded.running(settings.data_dir) as server:
            yield server.owner
    else:
        yield login.of_owner(settings)
