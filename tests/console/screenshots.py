"""`make screenshots`: the pictures of docs/console.md, made of the real console with generated events."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, ViewportSize
from tests.bench import servers
from tests.conftest import ROOT
from tests.console.conftest import chromium, sign_in
from tests.integration.service import KEY, Service, running

IMAGES = ROOT / "docs/images"
# As if they had come over the last hour, most of them in its middle.
SPREAD = "UPDATE sluice.events SET created_at = now() - interval '30 minutes' * (random() + random())"
SIZE: ViewportSize = {"width": 1100, "height": 750}


@contextmanager
def service() -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as folder, servers.database(Path(folder)) as server, running(server.url) as found:
        ours = {"SLUICE_URL": found.url, "SLUICE_API_KEY": KEY, "PYTHONPATH": str(ROOT / "app")}
        command = [sys.executable, "-m", "sluice", "generate", "--count", "2000", "--seed", "7"]
        subprocess.run(command, env={**os.environ, **ours}, check=True, capture_output=True)
        servers.execute(server, SPREAD)
        yield found


def shoot(page: Page) -> None:
    sign_in(page)
    page.screenshot(path=IMAGES / "console-overview.png")
    page.goto("/console/errors")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=IMAGES / "console-errors.png")


def main() -> None:
    with service() as found, contextmanager(chromium)() as browser:
        shoot(browser.new_context(base_url=found.url, viewport=SIZE).new_page())


if __name__ == "__main__":
    main()
