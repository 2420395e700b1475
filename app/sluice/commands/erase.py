"""`sluice erase`: all events of a user go, exported before if asked."""

from __future__ import annotations

from pathlib import Path

import click

from sluice.client.erase import EraseClient, Erased
from sluice.client.http import ClientError
from sluice.commands import peer as peers
from sluice.commands.peer import INTERRUPTED, Peer
from sluice.commands.progress import Meter

AGAIN = "What was erased is gone. Run it again for the rest; what is gone already is passed over."


@click.command(
    epilog="""\b
Examples:
  sluice erase --user-id user-42
  sluice erase --user-id user-42 --export user-42.ndjson
  SLUICE_URL=https://events.example.org SLUICE_API_KEY_FILE=admin.key sluice erase --user-id user-42"""
)
@peers.peer_options
@click.option("--user-id", required=True, help="Whose events go: those with this user_id.")
@click.option(
    "--export",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="First write these events into this new file as NDJSON; nothing is erased unless that is complete.",
)
def erase(peer: Peer, user_id: str, target: Path | None) -> None:
    """Erase all events of a user, and let the error groups forget the user.

    The key needs the scope admin, and read for --export. The service keeps a record of who asked and how many events went, under
    the id that is printed at the end. A client that sends an erased event again has it stored again: stop it before.
    """
    done = 0
    try:
        if target is not None:
            exported = export(peer, user_id, target)
            click.echo(f"exported {exported:,} events to {target}")
        with Meter(None, lambda: done) as meter:
            client = peer.client_of(EraseClient, meter.say)
            erased: Erased | None = None
            for erased in client.erase(user_id):
                done = erased.events
                meter.show(done)
    except FileExistsError as error:
        raise click.ClickException(f"{target} is there already; name a new file. Nothing was erased.") from error
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written ({error.strerror}). Nothing was erased.") from error
    except ClientError as error:
        raise click.ClickException(f"{error.detail}\n{AGAIN if done else 'Nothing was erased.'}") from error
    except KeyboardInterrupt:
        click.echo(f"stopped. {AGAIN}", err=True)
        raise SystemExit(INTERRUPTED) from None
    if erased is not None:
        click.echo(f"erased {erased.events:,} events (erasure {erased.erasure})")


def export(peer: Peer, user_id: str, target: Path) -> int:
    count = 0

    def progress(events: int) -> None:
        nonlocal count
        count = events
        meter.show(count)

    with Meter(None, lambda: count) as meter:
        return peer.client_of(EraseClient, meter.say).export(user_id, target, progress)
