"""`python -m tests.traces.record`: run the programs and write what they print when they fail into recorded/.

Each bug fails in two deploys: in another folder, some lines further down, for another order, in another build. It needs javac,
go and node; the tests read only what is recorded.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
ORDERS = ("4711", "b9f1e0c3-0d3a-4f6e-8d8a-1a2b3c4d5e6f")
Command = Sequence[str | Path]


def java(folder: Path, source: str) -> Command:
    (folder / "Shop.java").write_text(source, encoding="utf-8")
    subprocess.run(["javac", "-g", "-d", folder, folder / "Shop.java"], check=True)
    return ["java", "-cp", folder, "Shop"]


def go(folder: Path, source: str) -> Command:
    (folder / "go.mod").write_text("module example.com/shop\n\ngo 1.21\n", encoding="utf-8")
    (folder / "shop.go").write_text(source, encoding="utf-8")
    subprocess.run(["go", "build", "-gcflags=-l", "-o", folder / "shop", "."], cwd=folder, check=True)
    return [folder / "shop"]


def javascript(folder: Path, source: str) -> Command:
    (folder / "shop.mjs").write_text(source, encoding="utf-8")
    return ["node", folder / "shop.mjs"]


def minified(folder: Path, source: str) -> Command:
    """The name of a build's file holds a hash of it, and the line is another's length."""
    path = folder / f"app.{folder.name[-1]}f2a{len(source)}c.min.mjs"
    path.write_text(f"/* {folder.name} */{source.lstrip()}", encoding="utf-8")
    return ["node", path]


PROGRAMS: dict[str, tuple[str, Callable[[Path, str], Command], tuple[str, ...]]] = {
    "java": ("Shop.java", java, ("null", "number", "caused")),
    "go": ("shop.go", go, ("index", "map", "error", "goroutine", "library")),
    "javascript": ("shop.mjs", javascript, ("null", "number", "caused", "rejection", "library")),
    "minified": ("minified.mjs", minified, ("null", "number")),
}


def main() -> None:
    RECORDED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shop-") as name:
        for language, (file, build, bugs) in PROGRAMS.items():
            source = (HERE / "programs" / file).read_text(encoding="utf-8")
            for number, order in enumerate(ORDERS, 1):
                folder = Path(name, f"{language}-release-{number}")
                folder.mkdir()
                command = build(folder, "\n" * 95 * (number - 1) + source)
                for bug in bugs:
                    done = subprocess.run([*command, bug, order], capture_output=True, text=True, check=False, timeout=60)
                    (RECORDED / f"{language}-{bug}-{number}.txt").write_text(done.stderr, encoding="utf-8")


if __name__ == "__main__":
    main()
