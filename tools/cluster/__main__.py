"""`python -m tools.cluster`: the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tools import Missing, kubectl
from tools.cluster import control, images, means, progress, run, sandbox, screen
from tools.cluster.components import Failed, tail

INTERRUPTED = 130
NOT_RUNNING = 3


class Unavailable(click.ClickException):
    """A cluster cannot be made here; told apart from a cluster that fails, so that tests can skip."""

    exit_code = 69  # sysexits.h, EX_UNAVAILABLE


@contextmanager
def told() -> Iterator[None]:
    """Known problems end the command with their text."""
    try:
        yield
    except Missing as problem:
        raise Unavailable(str(problem)) from None
    except (Failed, sandbox.NotRunning, run.BadFolder) as problem:
        raise click.ClickException(str(problem)) from None


@click.group()
def main() -> None:
    """One real Kubernetes node in a sandbox of this machine: built from source, gone with one kill."""


@main.command()
def up() -> None:
    """Start the node and wait until it is ready."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with told():
        here = run.here()
        reason = means.missing()
        if reason is not None:
            raise Missing(reason)
        with sandbox.alone(here):
            if sandbox.state(here) == "ready":
                click.echo("the cluster is up already")
            else:
                bring_up(here)
    screen.entrances(here)


def bring_up(here: run.Run) -> None:
    """Ctrl-C or a failure leaves nothing behind."""
    try:
        if sandbox.state(here) == "absent":
            images.coredns()
            sandbox.start(here)
        screen.show(sandbox.follow(here))
    except KeyboardInterrupt:
        click.echo("interrupted; ending the cluster")
        sandbox.stop(here)
        raise SystemExit(INTERRUPTED) from None


@main.command()
def down() -> None:
    """End the node and everything in it."""
    with told():
        ended = sandbox.stop(run.here())
    click.echo("the cluster is gone" if ended else "no cluster was running")


@main.command()
def status() -> None:
    """Whether it runs; exit code 3 when it does not. A cluster that ended by itself says why."""
    with told():
        here = run.here()
        now = sandbox.state(here)
    last = progress.read(here.progress)[-1:]
    if now == "ready":
        click.echo("the cluster is up")
        screen.entrances(here)
    elif now == "starting":
        click.echo(f"the cluster is starting: {''.join(step.text for step in last)}")
    else:
        click.echo("no cluster is running")
        click.echo("".join(f"the last one failed: {step.text}" for step in last if step.state == "failed"), nl=False)
        raise SystemExit(NOT_RUNNING)


@main.command()
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load(archive: Path) -> None:
    """Import ARCHIVE (docker-archive or OCI archive) into the node's containerd."""
    with told(), archive.open("rb") as content:
        click.echo(sandbox.import_image(run.here(), content), nl=False)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def enter(command: tuple[str, ...]) -> None:
    """Run COMMAND (a shell without one) in the sandbox's network, with KUBECONFIG, kubectl and helm of the cluster."""
    with told():
        here = run.here()
        start = sandbox.entering(here, "net")
        programs = kubectl.kubectl().parent
    os.environ["KUBECONFIG"] = str(here.inside_kubeconfig)
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    words = [*start, *(command or [os.environ.get("SHELL", "/bin/sh")])]
    os.execvp(words[0], words)


@main.command()
@click.argument("component", required=False)
@click.option("--lines", "-n", default=100, show_default=True, help="How many of its last lines.")
def logs(component: str | None, lines: int) -> None:
    """The end of COMPONENT's log, or the list of logs."""
    with told():
        here = run.here()
    names = sorted(file.stem for file in here.logs.glob("*.log"))
    if component is None:
        click.echo("\n".join(str(here.log(name)) for name in names))
    elif component not in names:
        raise click.ClickException(f"there is no log of {component}; there are {', '.join(names)}")
    else:
        click.echo(tail(here.log(component), lines))


def command(verb: str, doc: str) -> None:
    @main.command(verb, help=doc)
    @click.argument("component")
    def act(component: str) -> None:
        with told():
            answer = sandbox.command(run.here(), f"{verb} {component}")
        if answer != control.OK:
            raise click.ClickException(answer)


command("stop", "Kill COMPONENT (kube-apiserver, kubelet, ...) and leave it dead.")
command("start", "Start a stopped COMPONENT again.")
command("restart", "Kill COMPONENT and start it again at once.")

if __name__ == "__main__":
    main()
