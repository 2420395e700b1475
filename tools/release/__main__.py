"""`python -m tools.release`: the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from tools.release import environment, proof, repository
from tools.release.environment import Pin, Release
from tools.release.proof import Trust
from tools.release.repository import Change, Clone

# Environments that are changed by a pull request, which a person approves.
BY_PROPOSAL = {"prod"}
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Remote:
    given: str | None
    branch: str

    @property
    def url(self) -> str:
        return self.given or repository.origin()


@contextmanager
def told() -> Iterator[None]:
    """Known problems end the command with their text."""
    try:
        yield
    except (environment.Malformed, proof.Unproven, repository.GitFailed) as problem:
        raise click.ClickException(str(problem)) from None


@click.group()
@click.option("--repository", "url", envvar="RELEASE_REPOSITORY", help="The repository that Argo CD reads. Default: origin.")
@click.option("--branch", envvar="RELEASE_BRANCH", default="main", show_default=True, help="The branch that Argo CD reads.")
@click.pass_context
def main(context: click.Context, url: str | None, branch: str) -> None:
    """Release, promote and roll back by git."""
    context.obj = Remote(url, branch)


def matching(pattern: re.Pattern[str], what: str) -> Callable[[Any, Any, str], str]:
    def check(_context: object, _parameter: object, value: str) -> str:
        if value and not pattern.fullmatch(value):
            raise click.BadParameter(f"{value!r} is not {what}")
        return value

    return check


def duration(_context: object, _parameter: object, value: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,3})([hdw])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 12h, 2d or 1w")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


DIGEST = click.option(
    "--digest", required=True, callback=matching(environment.DIGEST, "sha256: and 64 hex digits"), help="Of the image's index."
)
COMMIT = click.option(
    "--commit", required=True, callback=matching(environment.COMMIT, "40 hex digits"), help="That the image was built from."
)
BODY = click.option("--body", type=click.Path(dir_okay=False, path_type=Path), help="Where the pull request's text goes.")


def trusting(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what proves an image."""
    options = (
        click.option(
            "--proof", "folder", type=click.Path(path_type=Path), required=True, help="Folder with the Sigstore bundles."
        ),
        click.option("--key", envvar="RELEASE_KEY", help="Public key that images are signed with: a file or a KMS URI."),
        click.option("--identity", envvar="RELEASE_IDENTITY", help="Or the workflow that signs, in full."),
        click.option("--issuer", envvar="RELEASE_ISSUER", help="And who attests that identity."),
        click.option("--log/--no-log", default=True, help="Whether signatures must be in the transparency log."),
        click.option("--cosign", envvar="COSIGN", default="cosign", hidden=True),
    )
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@DIGEST
@COMMIT
@trusting
def verify(digest: str, commit: str, folder: Path, cosign: str, **trust: Any) -> None:
    """Check signature and provenance of an image, and write nothing."""
    with told():
        proof.verify(digest, commit, folder, Trust(**trust), cosign)
    click.echo(f"verified: {digest} of commit {commit}")


@main.command()
@click.argument("name", metavar="ENVIRONMENT")
@DIGEST
@COMMIT
@click.option("--build", type=click.IntRange(1), required=True, help="Grows with each build: `git rev-list --count COMMIT`.")
@click.option("--run", default="", help="URL of the workflow run, for the record.")
@BODY
@trusting
@click.pass_obj
def bump(
    remote: Remote,
    /,
    name: str,
    digest: str,
    commit: str,
    build: int,
    run: str,
    body: Path | None,
    folder: Path,
    cosign: str,
    **trust: Any,
) -> None:
    """Verify an image and let ENVIRONMENT run it: by a commit, for prod by a branch for a pull request."""
    with told():
        proof.verify(digest, commit, folder, Trust(**trust), cosign)
        update(remote, name, Release(digest, build, commit), run, body)


@main.command()
@click.argument("origin", metavar="FROM")
@click.argument("name", metavar="TO")
@click.option("--run", default="", help="URL of the workflow run, for the record.")
@BODY
@trusting
@click.pass_obj
def promote(
    remote: Remote, /, origin: str, name: str, run: str, body: Path | None, folder: Path, cosign: str, **trust: Any
) -> None:
    """Verify what FROM runs and let TO run it too."""
    with told():
        with repository.clone(remote.url, remote.branch) as tree:
            release = tree.state(origin).release
        if release is None:
            raise click.ClickException(f"{origin} runs nothing yet")
        proof.verify(release.digest, release.commit, folder, Trust(**trust), cosign)
        update(remote, name, release, run, body, f"It is what {origin} runs.")


@main.command()
@click.argument("name", metavar="ENVIRONMENT")
@click.option("--reason", required=True, help="Why; it is shown to whoever wants to update before the pin expires.")
@click.option("--to", "build", type=click.IntRange(1), help="Which former build. Default: the last one before the current.")
@click.option(
    "--pin", "pinned", default="24h", show_default=True, callback=duration, help="How long no update is taken: 12h, 2d, 1w."
)
@click.pass_obj
def rollback(remote: Remote, name: str, reason: str, build: int | None, pinned: timedelta) -> None:
    """Back to a former release of ENVIRONMENT, and hold it there: by one commit, in every environment."""
    pin = Pin(datetime.now(UTC).replace(microsecond=0) + pinned, reason)

    def decide(tree: Clone) -> Change:
        state = tree.state(name)
        if state.release is None:
            raise click.ClickException(f"{name} runs nothing yet")
        found = next((pair for pair in tree.former(name, state.release.build) if build in (None, pair[1].build)), None)
        if found is None:
            raise click.ClickException(f"{name} had no {f'build {build}' if build else 'release'} before {state.release}")
        after = environment.rolled_back(state, found[1], pin)
        values = environment.write(tree.text(repository.values_of(name)) or "", found[1], after.refused)
        held = f"Build {state.release.build} is not taken again, and until {pin.until.isoformat()} no other."
        paragraphs = (
            f"Roll {name} back to build {found[1].build}",
            reason,
            held,
            f"{trailers(found[1])}\nSluice-Restores: {found[0]}",
        )
        message = "\n\n".join(paragraphs)
        return Change({repository.values_of(name): values, repository.pin_of(name): pin.text()}, message)

    with told():
        done = repository.change(remote.url, remote.branch, decide)
    click.echo(subject(done))


@main.command()
@click.argument("name", metavar="ENVIRONMENT")
@click.pass_obj
def unpin(remote: Remote, name: str) -> None:
    """Take updates of ENVIRONMENT again before the pin expires."""

    def decide(tree: Clone) -> Change | None:
        if tree.state(name).pin is None:
            return None
        return Change({repository.pin_of(name): None}, f"Take updates of {name} again")

    with told():
        done = repository.change(remote.url, remote.branch, decide)
    click.echo(subject(done) if done else f"{name} is not pinned")


@main.command()
@click.argument("name", metavar="ENVIRONMENT")
@click.pass_obj
def status(remote: Remote, name: str) -> None:
    """What ENVIRONMENT runs, as JSON: digest, build, commit, and the pin."""
    with told(), repository.clone(remote.url, remote.branch) as tree:
        state = tree.state(name)
    release = vars(state.release) if state.release else {"digest": None, "build": 0, "commit": None}
    pin = {"until": state.pin.until.isoformat(), "reason": state.pin.reason} if state.pin else None
    click.echo(json.dumps({**release, "refused": state.refused, "pin": pin}))


def update(remote: Remote, name: str, release: Release, run: str, body: Path | None, more: str = "") -> None:
    """By a commit, or for BY_PROPOSAL by a branch of its own and the text of a pull request."""
    hindrances: list[str] = []
    texts: list[str] = []

    def decide(tree: Clone) -> Change | None:
        state = tree.state(name)
        hindrance = environment.hindrance(state, release, datetime.now(UTC))
        if hindrance is not None:
            hindrances.append(hindrance)
            return None
        texts[:] = [proposal(tree, name, state.release, release, run, more)]
        files: dict[str, str | None] = {
            repository.values_of(name): environment.write(tree.text(repository.values_of(name)) or "", release, state.refused)
        }
        if state.pin is not None:
            files[repository.pin_of(name)] = None
        return Change(files, f"Release build {release.build} to {name}\n\n{trailers(release, run)}")

    target = f"release/{name}-{release.build}" if name in BY_PROPOSAL else None
    done = repository.change(remote.url, remote.branch, decide, target)
    if done is None:
        click.echo(f"{name} stays as it is: {hindrances[-1]}")
        return
    if body is not None:
        body.write_text(texts[0])
    click.echo(f"proposed as branch {target}" if target else subject(done))


def proposal(tree: Clone, name: str, old: Release | None, new: Release, run: str, more: str) -> str:
    """The text of a pull request."""
    lines = [f"Release build {new.build} to {name}.", more, "", f"- image `{new.digest}`, of commit {new.commit}"]
    lines += [f"- replaces build {old.build}, of commit {old.commit}"] if old else ["- the first release"]
    lines += [f"- built and signed by {run}"] if run else []
    lines.append("- signature and provenance were verified before this was written")
    if old is not None:
        try:
            log = tree.git(
                "log", "--oneline", "--no-decorate", "--max-count=50", f"{old.commit}..{new.commit}", "--", "app", "operator"
            )
        except repository.GitFailed:  # the source is another repository
            log = ""
        lines += ["", "What comes with it:", "", *(f"    {line}" for line in log.splitlines())] if log else []
    return "\n".join(lines) + "\n"


def trailers(release: Release, run: str = "") -> str:
    found = {"Digest": release.digest, "Build": release.build, "Commit": release.commit, **({"Run": run} if run else {})}
    return "\n".join(f"Sluice-{name}: {value}" for name, value in found.items())


def subject(change: Change | None) -> str:
    return change.message.splitlines()[0] if change else "nothing to do"


if __name__ == "__main__":
    main(prog_name="python -m tools.release")
