"""`python -m tools.install [NAME]...`: what tests need and a clone does not bring, installed or built by one process.

The makefile's targets call it before their tests, which find a part or skip. What is there costs nothing, so an interrupted run
goes on where it stopped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tools import Missing, apt, binaries, folders, isolated
from tools.binaries import Report
from tools.cluster import means
from tools.images import debian, host

INTERRUPTED = 130
CRDS = folders.ROOT / "tests/cluster/crds"
PROBLEMS = (Missing, apt.Failed, binaries.BuildFailed, click.ClickException, subprocess.CalledProcessError, OSError)
Reason = Callable[[], str | None]


@dataclass(frozen=True)
class Part:
    """`there` says whether it is installed, `impossible` why it cannot be here (None: it can); both change nothing."""

    name: str
    there: Callable[[], bool]
    install: Callable[[Report], object]
    impossible: Reason = lambda: None


def packages(name: str, wanted: Callable[[], list[str]], impossible: Reason = lambda: None) -> Part:
    """Packages of Debian; `wanted` names those that are not there."""
    return Part(name, lambda: not wanted(), lambda _: apt.install(wanted), lambda: impossible() or apt.impossible())


def unpacked(program: str, package: str) -> Part:
    """A program out of a package of Debian that is not installed."""
    there = without_missing(lambda: apt.program(program, package))
    return Part(program, there, lambda _: apt.unpack(package), apt.no_download)


def go(name: str, impossible: Reason = lambda: None) -> Part:
    """The programs of tools/NAME/go.mod."""
    module = binaries.modules()[name]
    there = without_missing(lambda: module.cached().exists())
    return Part(name, there, lambda report: binaries.build(module, report), impossible)


def environment(name: str) -> Part:
    """A Python program in an environment of its own."""
    return Part(name, lambda: isolated.folder(name).exists(), lambda _: isolated.install(name))


def sources(name: str, folder: Path, *modules: str) -> Part:
    """The files of the modules that folder/go.mod requires, or of some of them, in Go's own cache."""
    there = without_missing(lambda: binaries.sources(folder, *modules))
    return Part(name, there, lambda _: binaries.sources(folder, *modules, offline=False))


def without_missing(look: Callable[[], object]) -> Callable[[], bool]:
    """Whether `look` finds something; Missing is a no."""

    def there() -> bool:
        try:
            return bool(look())
        except Missing:
            return False

    return there


def no_base_image() -> str | None:
    return host.impossible() or (apt.impossible() if host.packages() else None)


def no_chromium() -> list[str]:
    """The headless shell is a third of the whole browser, and all that tests need."""
    return [] if shutil.which("chromium-headless-shell") or shutil.which("chromium") else ["chromium-headless-shell"]


RABBITMQ = packages("rabbitmq", lambda: [] if Path("/usr/lib/rabbitmq").exists() else ["rabbitmq-server"])
# Servers that take minutes to build: `make soak` has them built, `make test-stores` uses those that are there.
BUILT = "stores-built"
# What is named after make's target is for that target, in the order of installation.
GROUPS: dict[str, list[Part]] = {
    "test": [
        unpacked("promtool", "prometheus"),
        unpacked("nginx", "nginx"),
        packages("redis", lambda: [] if shutil.which("redis-server") else ["redis-server"]),
        packages("pgbouncer", lambda: [] if Path("/usr/sbin/pgbouncer").exists() else ["pgbouncer"]),
    ],
    "bench": [packages("wrk", lambda: [] if shutil.which("wrk") else ["wrk"]), RABBITMQ],
    "node": [
        packages("node-packages", means.packages, means.impossible),
        *(go(name, means.impossible) for name in means.MODULES),
    ],
    "images": [
        packages("images-packages", host.packages, host.impossible),
        Part("base-image", lambda: debian.kept().exists(), lambda _: debian.install(), no_base_image),
    ],
    "cluster": [go("kubeconform"), environment("checkov"), sources(CRDS.name, CRDS), go("traefik", host.impossible)],
    "gitops": [
        packages("redis", lambda: [] if shutil.which("redis-server") else ["redis-server"]),
        packages("shellcheck", lambda: [] if shutil.which("shellcheck") else ["shellcheck"]),
        *(go(name) for name in ("crane", "actionlint", "argocd", "cosign")),
        sources("argocd-files", folders.ROOT / "tools/argocd", "github.com/argoproj/argo-cd/v3"),
        environment("zizmor"),
        environment("cyclonedx-py"),
    ],
    "console": [packages("chromium", no_chromium)],
    "stores": [RABBITMQ],
    BUILT: [go("ferretdb"), go("influxdb", binaries.no_rust)],
    "terraform": [go("tflint"), environment("checkov"), environment("parliament")],
}


def chosen(names: Iterable[str]) -> list[Part]:
    """The parts of groups and single parts, each once; raises click.BadParameter."""
    single = {part.name: [part] for group in GROUPS.values() for part in group}
    unknown = [name for name in names if name not in GROUPS and name not in single]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join([*GROUPS, *single])}")
    parts = [part for name in names for part in GROUPS.get(name, single.get(name, []))]
    return list({part.name: part for part in parts}.values())


def run(parts: Iterable[Part], console: Console) -> list[str]:
    """Install what is missing; the names of the parts that failed. Under CI=true the first failure is the last thing it does."""
    failed: list[str] = []
    columns = SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def say(text: str) -> None:
            bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

        for part in bars.track(list(parts), description="looking"):
            bars.update(bars.task_ids[0], description=part.name)
            try:
                one(part, say)
            except PROBLEMS as problem:
                failed.append(part.name)
                say(f"{part.name}: failed: {problem}")
                if os.environ.get("CI") == "true":
                    break
    return failed


def one(part: Part, say: Callable[[str], None]) -> None:
    if part.there():
        return
    reason = part.impossible()
    if reason is not None:
        say(f"{part.name}: not installed: {reason}")
        return
    say(f"{part.name} ...")
    began = time.monotonic()
    part.install(lambda program, seconds: say(f"{part.name}: {program} built in {seconds:.0f} s"))
    if not part.there():
        raise Missing("it was installed, and is still not found")
    say(f"{part.name}: installed in {time.monotonic() - began:.0f} s")


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Install NAMES: groups (test, bench, node, images, cluster, gitops, console, stores, stores-built, terraform)
    or parts of them; all but stores-built without one.

    What cannot be here (packages without root, a node elsewhere than on Linux) is named with the reason, and tests skip with it.
    """
    try:
        failed = run(chosen(names or [name for name in GROUPS if name != BUILT]), Console(stderr=True))
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(INTERRUPTED)
    if failed:
        raise click.ClickException(f"not installed: {', '.join(failed)}; the same command tries again")


if __name__ == "__main__":
    main(prog_name="python -m tools.install")
