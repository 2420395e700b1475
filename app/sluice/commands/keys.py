"""`sluice keys`: make, check and publish API keys by hand.

A key comes in by stdin only: arguments stay in the shell's history.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

import sluice.keys
from sluice import keyring

# A pasted `cat big.log |` ends here.
MAX_STDIN = 64 << 10
RATES = ("requestsPerMinute", "eventsPerMinute")
FIELDS = ("keyId", "version", "owner", "digest", "scopes", "state", "notBefore", "notAfter", *RATES)

USES = """
Keep the key in a secret store; it cannot be shown again. Use it in one of two ways:
  API_KEYS   set it to the key (several: separate with commas); only for one machine or a first try
  key set    sluice keys keyset --entry keyId=NAME,owner=TEAM,scopes=ingest,digest=DIGEST > keyset.json
             and set KEYSET_FILE=keyset.json; it holds no key, only the digest"""


def environment(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not sluice.keys.ENVIRONMENT.fullmatch(value):
        raise click.BadParameter("use 1 to 16 characters out of a-z and 0-9")
    return value


@click.group(
    epilog="""\b
Examples:
  sluice keys new --environment prod
  sluice keys check < key.txt
  sluice keys keyset --entry keyId=web,owner=shop,scopes=ingest,digest=sha256:... > keyset.json
  sluice keys show keyset.json"""
)
def keys() -> None:
    """Make, check and publish API keys."""


@keys.command(
    epilog="""\b
Examples:
  sluice keys new
  sluice keys new --environment prod --count 3 > keys.txt"""
)
@click.option("--environment", default="dev", show_default=True, callback=environment, help="Where the keys are used.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1000), help="How many keys.")
def new(environment: str, count: int) -> None:
    """Print new keys, each once, with its digest.

    Only keys and digests go to stdout; how to use them goes to stderr.
    """
    for _ in range(count):
        key = sluice.keys.mint(environment)
        click.echo(f"key     {key}\ndigest  {sluice.keys.digest(key)}")
    click.echo(USES, err=True)


# Extra arguments are taken only to be refused without being repeated: what stands there may be a key.
STDIN_ONLY = {"ignore_unknown_options": True, "allow_extra_args": True}


@keys.command(
    context_settings=STDIN_ONLY,
    epilog="""\b
Examples:
  sluice keys digest < key.txt
  kubectl get secret web -o jsonpath='{.data.key}' | base64 -d | sluice keys digest
  sluice keys digest            (asks, and does not show what you type)""",
)
@click.pass_context
def digest(context: click.Context) -> None:
    """Read a key from stdin and print its digest, for a key set."""
    click.echo(sluice.keys.digest(key_from_stdin(context)))


@keys.command(
    context_settings=STDIN_ONLY,
    epilog="""\b
Examples:
  sluice keys check < key.txt   (exit code 1 when no service would accept it)
  sluice keys check             (asks, and does not show what you type)""",
)
@click.pass_context
def check(context: click.Context) -> None:
    """Read a key from stdin and check its form. Nothing is looked up."""
    key = key_from_stdin(context)
    click.echo("whole: the checksum is right" if sluice.keys.has_prefix(key) else "a plain key: it has no checksum to check")


def key_from_stdin(context: click.Context) -> str:
    if context.args:
        raise click.UsageError("give the key by stdin (`< key.txt`): an argument stays in the shell's history", context)
    if sys.stdin.isatty():
        text: str = click.prompt("Key", hide_input=True, err=True)
    else:
        text = sys.stdin.buffer.read(MAX_STDIN).decode("utf-8-sig", "replace")
    key = text.strip()
    if not key:
        raise click.ClickException("stdin is empty; give the key by stdin, for example `< key.txt`")
    if fault := sluice.keys.fault(key):
        raise click.ClickException(f"the key {fault}")
    return key


@keys.command(
    epilog="""\b
Fields of an entry: keyId, owner, digest, scopes (of ingest, read, admin, tasks,
  sources, joined by +);
  if wanted version (1), state (active, suspended, revoked), notBefore, notAfter
  (RFC 3339), requestsPerMinute, eventsPerMinute (0: no limit).
\b
Examples:
  sluice keys keyset --entry keyId=web,owner=shop,scopes=ingest,digest=sha256:... > keyset.json
  sluice keys keyset --from entries.json --entry keyId=ops,owner=sre,scopes=read+admin,digest=sha256:...
  jq .entries keyset.json | sluice keys keyset --from - > new.json && mv new.json keyset.json
\b
entries.json is a JSON list, as `entries` in a key set:
  [{"keyId": "web", "owner": "shop", "scopes": ["ingest"], "digest": "sha256:...",
    "rateLimit": {"requestsPerMinute": 600}, "notAfter": "2027-01-01T00:00:00Z"}]"""
)
@click.option("--entry", "texts", multiple=True, metavar="NAME=VALUE,...", help="One entry; may be repeated.")
@click.option("--from", "source", type=click.File("rb"), help="A JSON list of entries; - is stdin.")
def keyset(texts: tuple[str, ...], source: IO[bytes] | None) -> None:
    """Write a key set to stdout, canonical, with its revision."""
    if not texts and source is None:
        raise click.UsageError("give at least one --entry, or --from FILE")
    given = {"--from": source.read()} if source else {}
    given["--entry"] = msgspec.json.encode([entry_of(text) for text in texts])
    entries = []
    for option, data in given.items():
        try:
            entries += sluice.keys.parse_entries(data)
        except sluice.keys.InvalidKeySet as error:
            raise click.ClickException(f"{option}: {error}") from error
    try:
        click.echo(sluice.keys.publish(entries, datetime.now(UTC)))
    except sluice.keys.InvalidKeySet as error:
        raise click.ClickException(str(error)) from error


def entry_of(text: str) -> dict[str, object]:
    """One --entry as the JSON object of a KeyEntry. No message repeats the text: a key may have been put into it."""
    pairs = {name: value for name, _, value in (part.partition("=") for part in text.split(","))}
    if not set(pairs) <= set(FIELDS):
        raise click.UsageError(f"--entry takes NAME=VALUE,NAME=VALUE,...; the names are {', '.join(FIELDS)}")
    rates = {name: pairs.pop(name) for name in RATES if name in pairs}
    return {**pairs, "scopes": pairs.get("scopes", "").split("+"), "rateLimit": rates or None}


@keys.command(
    epilog="""\b
Examples:
  sluice keys show keyset.json
  sluice keys show /etc/sluice/keyset/keyset.json"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def show(file: Path) -> None:
    """Check the key set in FILE and draw it as a table. Of a digest only the first 8 hex digits are shown."""
    try:
        document = keyring.parse(keyring.read(file)[0])
    except (OSError, sluice.keys.InvalidKeySet) as error:
        raise click.ClickException(str(error)) from error
    written = keyring.rfc3339(document.generated_at)
    caption = f"entries: {len(document.entries)}, revision {document.revision[:8]}, written {written}"
    table = Table("keyId", "version", "owner", "scopes", "state", "notBefore", "notAfter", "digest", caption=caption)
    for entry in document.entries:
        dates = (keyring.rfc3339(moment) if moment else "-" for moment in (entry.not_before, entry.not_after))
        scopes, digest = " ".join(sorted(entry.scopes)), entry.digest.removeprefix("sha256:")[:8]
        cells = (entry.key_id, str(entry.version), entry.owner, scopes, entry.state, *dates, digest)
        # As Text: an owner may hold what rich takes for markup.
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    Console().print(table)
