"""The console in a real browser: `make test-console`.

Debian's Chromium (or its headless shell), driven by Playwright; nothing is downloaded. `page` is signed in with a key
for everything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright
from tests.integration.conftest import database, pristine, server, template  # noqa: F401 - fixtures
from tests.integration.service import KEY, Service
from tests.stores.conftest import broker, queue_url  # noqa: F401 - fixtures
from tools import Missing


def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        raise Missing("Chromium is missing; make test-console installs it (as root)")
    # As root it has no sandbox of its own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=arguments)
        yield found
        found.close()


browser = pytest.fixture(chromium, scope="session")


def sign_in(page: Page, start: str = "/") -> None:
    page.goto(start)
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Overview").wait_for()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    with signed_in(browser, service) as page:
        yield page


@contextlib.contextmanager
def signed_in(browser: Browser, service: Service, start: str = "/") -> Iterator[Page]:
    """A page with a key for everything; at its end nothing may have gone wrong in it."""
    context = browser.new_context(base_url=f"{service.url}/")
    page = context.new_page()
    page.set_default_timeout(15_000)
    faults: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        faults.append("a dialog opened")
        dialog.dismiss()

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            faults.append(message.text)

    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", listen)
    page.on("dialog", dismiss)
    sign_in(page, start)
    yield page
    context.close()
    # Also what the Content-Security-Policy refused.
    assert faults == []
