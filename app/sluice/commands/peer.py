"""The options that name a service and a key, for the commands that talk to one.

SLUICE_URL, SLUICE_API_KEY and SLUICE_API_KEY_FILE are options of the client, which click reads. They are no settings of the
service, so sluice.settings does not know them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from sluice.client import http
from sluice.client.delivery import IngestClient
from sluice.client.http import ClientError

INTERRUPTED = 130
Command = Callable[..., None]
C = TypeVar("C", bound=http.Client)


@dataclasses.dataclass(frozen=True)
class Peer:
    """Where to send, and with which key."""

    url: str
    api_key: str | None = dataclasses.field(repr=False)
    key_file: Path | None
    data_dir: Path
    compress: bool
    retry_for: float

    def patient(self, seconds: float) -> Peer:
        """The same, tried for `seconds`."""
        return dataclasses.replace(self, retry_for=seconds)

    def client(self, on_wait: Callable[[str, float], None]) -> IngestClient:
        """Raises ClientError for an address or key that cannot be used."""
        return self.client_of(IngestClient, on_wait)

    def client_of(self, kind: type[C], on_wait: Callable[[str, float], None]) -> C:
        """As `client`, of another kind."""
        key = http.find_key(self.api_key, self.key_file, self.data_dir, self.url)
        return kind(self.url, key, compress=self.compress, retry_for=self.retry_for, on_wait=on_wait)


class Waits:
    """Says on stderr why a command waits, once for each reason in a row; called by several threads."""

    _said = ""

    def say(self, why: str, seconds: float) -> None:
        if why != self._said:
            self._said = why
            click.echo(f"waiting {seconds:.1f} s and trying again: {why}", err=True)


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """How a command ends that prints what it reads: by a refusal in one line, by Ctrl-C, or when nobody reads on."""
    try:
        yield
    except ClientError as error:
        raise click.ClickException(error.detail) from error
    except BrokenPipeError:
        # `sluice tail | head` has what it wanted.
        sys.stderr.close()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def not_as_argument(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Takes the key from the environment only: every user of a machine can read the arguments of its processes."""
    if parameter.name and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE:
        raise click.BadParameter("a key on the command line can be read by others; set SLUICE_API_KEY instead")
    return value


def key_options(command: Command) -> Command:
    """Adds where the key comes from: `api_key`, `key_file` and `data_dir`, as http.find_key takes them."""
    for option in (
        click.option(
            "--data-dir", envvar="DATA_DIR", default=".sluice", hidden=True, type=click.Path(readable=False, path_type=Path)
        ),
        click.option(
            "--api-key-file",
            "key_file",
            envvar="SLUICE_API_KEY_FILE",
            show_envvar=True,
            type=click.Path(path_type=Path),
            help="File that holds the key. Default: SLUICE_API_KEY, then DATA_DIR/first-run.key.",
        ),
        click.option("--api-key", envvar="SLUICE_API_KEY", hidden=True, callback=not_as_argument),
    ):
        command = option(command)
    return command


def peer_options(command: Command) -> Command:
    """Adds the options of a Peer to `command`, which gets it as one argument `peer`."""

    @click.option(
        "--url", envvar="SLUICE_URL", default="http://127.0.0.1:8080", show_default=True, show_envvar=True, help="The service."
    )
    @key_options
    @click.option("--gzip/--no-gzip", "compress", default=False, help="Compress what is sent; worth it beyond this machine.")
    @click.option(
        "--retry-for",
        default=http.RETRY_FOR,
        show_default=True,
        type=click.FloatRange(min=0),
        help="Seconds to keep trying while the service is away or refuses for its limits.",
    )
    @functools.wraps(command)
    def run(**given: Any) -> None:
        peer = Peer(**{each.name: given.pop(each.name) for each in dataclasses.fields(Peer)})
        command(peer=peer, **given)

    return run


batch_size_option = click.option(
    "--batch-size", default=500, show_default=True, type=click.IntRange(1, 1000), help="Events in one request."
)
