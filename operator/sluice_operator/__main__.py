"""The command line: `python -m sluice_operator`."""

from __future__ import annotations

import asyncio
import sys

import click

from sluice import __version__
from sluice.errors import SettingsError
from sluice_operator import telemetry
from sluice_operator.settings import Settings, known


class BadSettings(click.ClickException):
    """The environment is wrong."""

    exit_code = 2

    def __init__(self, error: SettingsError) -> None:
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        super().__init__(f"the settings are wrong:\n{lines}")


WIDTH = max(map(len, known()))
VARIABLES = "\n".join(f"  {name:<{WIDTH}}  {spec.metadata['doc']}" for name, spec in known().items())


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"""\b
Environment:
{VARIABLES}

\b
Examples:
  python -m sluice_operator                      in a Pod, as the chart runs it
  KUBECONFIG=kubeconfig WATCH_NAMESPACES=sluice POD_NAMESPACE=sluice POD_NAME=me python -m sluice_operator
  curl localhost:8082/readyz?verbose             what it waits for""",
)
@click.version_option(__version__, prog_name="sluice_operator")
def main() -> None:
    """Keep the API keys of every KeySet: make, publish, hand out, rotate, revoke. Until SIGTERM."""
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        raise BadSettings(error) from None
    telemetry.configure(settings.log_level)
    # Its libraries are only loaded when there is something to do: --help is quick.
    from sluice_operator.process import Process  # noqa: PLC0415

    sys.exit(asyncio.run(Process(settings).run()))


if __name__ == "__main__":
    main()
