"""`python -m tools.images build`: the image of this project as a docker-archive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from tools import folders
from tools.images import builder, debian


@click.group()
def main() -> None:
    """Build images by buildah, without an engine and without a registry."""


@main.command()
@click.option("--file", "dockerfile", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Default: ./Dockerfile.")
@click.option("--tag", "name", default=builder.NAME, show_default=True, help="Name and tag inside the archive.")
@click.option("--arg", "args", multiple=True, metavar="NAME=VALUE", help="Build argument; may be repeated.")
@click.option("--fresh", is_flag=True, help="Use no layer of an earlier build.")
@click.option("--push-to-node", is_flag=True, help="Import it into the node that `make cluster` started.")
def build(dockerfile: Path | None, name: str, args: tuple[str, ...], fresh: bool, push_to_node: bool) -> None:
    """Print archive, digest and sizes of the image, built when anything that goes into it changed."""
    reason = debian.missing()
    if reason is not None:
        raise click.ClickException(reason)
    pairs = dict(arg.partition("=")[::2] for arg in args)
    image = builder.build(dockerfile, name, pairs, fresh=fresh)
    click.echo(f"archive     {image.archive}\nname        {image.name}\ndigest      {image.digest}")
    click.echo(f"size        {image.size() / 1e6:.1f} MB\ncompressed  {image.compressed() / 1e6:.1f} MB")
    if push_to_node:
        subprocess.run([sys.executable, "-m", "tools.cluster", "load", str(image.archive)], check=True, cwd=folders.ROOT)


if __name__ == "__main__":
    main(prog_name="python -m tools.images")
