"""What people do in the console, done in a real browser."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, cast

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.console.conftest import signed_in
from tests.integration.checks import Mine, data_of, send
from tests.integration.postgres import Database
from tests.integration.service import Service, running
from tests.integration.test_console import PAGES, SCRIPT, TRACE
from tests.integration.test_machine import behind_nginx
from tests.integration.test_tail import tailing
from tests.stores import queues
from tests.stores.test_dead_letters import bury, dead

from sluice.queue import DEAD_LETTERS

pytest_plugins = ["tests.integration.services"]

FIRST_PAGE = 60 << 10


def failure(mine: Mine, name: str = "a", **fields: Any) -> dict[str, Any]:
    text = {"traceback": TRACE, "message": SCRIPT, "service": mine.id("s")}
    return mine.event(name, event_type="error", event_name=mine.id("failed"), properties=text, **fields)


def test_an_event_comes_live_into_the_page(page: Page, service: Service, mine: Mine) -> None:
    page.get_by_role("link", name="Live tail").click()
    page.get_by_label("Filters").fill(f"source={mine.id('s')}")
    page.wait_for_timeout(500)
    expect(page.locator("#state")).to_have_text("live")
    send(service, mine.event("other"), mine.event("a", source=mine.id("s"), event_name=SCRIPT, properties={"x": SCRIPT}))
    row = page.locator("#lines tr")
    expect(row).to_have_count(1)
    assert mine.id("s") in page.url
    expect(row).to_contain_text(SCRIPT)
    page.get_by_role("button", name="Pause").click()
    send(service, mine.event("b", source=mine.id("s"), event_name="while paused"))
    page.get_by_role("button", name="Go on").click()
    expect(row).to_have_count(2)
    row.first.get_by_role("link", name="while paused").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("while paused")


def test_a_tail_that_is_paused_before_its_first_event_misses_none(page: Page, service: Service, mine: Mine) -> None:
    page.goto(f"/console/tail?where=source={mine.id('s')}")
    state, row = page.locator("#state"), page.locator("#lines tr")
    expect(state).to_have_text("live")
    page.get_by_role("button", name="Pause").click()
    with contextlib.ExitStack() as stack:
        # Every worker has a tail of others, which has shown them already.
        others = [stack.enter_context(tailing(service, source=mine.id("s"))) for _ in range(6)]
        send(service, *(mine.event(name, source=mine.id("s"), event_name=name) for name in ("first", "second")))
        assert {len(other.take(2)) for other in others} == {2}
        expect(state).to_have_text("paused")
        expect(row).to_have_count(0)
        page.get_by_role("button", name="Go on").click()
        expect(row).to_have_count(2)
    expect(row.last).to_contain_text("first")


def test_an_error_is_searched_opened_and_resolved(page: Page, service: Service, mine: Mine) -> None:
    send(service, failure(mine, source=mine.id("s")))
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_label("source").fill(mine.id("s"))
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=mine.id("failed")).click()
    page.get_by_role("link", name=re.compile(r"^\d+:[0-9a-f]{32}$")).click()
    folded = page.get_by_text("1 frame of libraries")
    assert not page.get_by_text("site-packages/lib.py").first.is_visible()
    folded.click()
    page.get_by_role("button", name="Resolve").click()
    expect(page.get_by_role("button", name="Reopen")).to_be_visible()
    fingerprint = page.url.rpartition("=")[2].replace("%3A", ":")
    with service.client() as client:
        assert data_of(client.get(f"/api/v1/errors/{fingerprint}"))["error"]["status"] == "resolved"


def test_a_task_is_completed(page: Page, service: Service, mine: Mine) -> None:
    with service.client() as client:
        task = client.post("/tasks", json={"title": mine.id("look"), "priority": "high"}).json()
        page.goto("/console/tasks")
        page.get_by_role("button", name=f"Complete {mine.id('look')}").click()
        expect(page.get_by_role("region", name="completed").get_by_text(mine.id("look"))).to_be_visible()
        assert client.get(f"/tasks/{task['id']}").json()["status"] == "completed"


def test_the_chart_is_zoomed_by_click_and_by_keyboard(page: Page, service: Service, mine: Mine) -> None:
    send(service, *(mine.event(f"e{n}", source=mine.id("s")) for n in range(20)))
    page.goto("/console/?range=6h&by=source")
    bar = page.locator("svg.chart a").filter(has_text=mine.id("s"))
    bar.click()
    page.wait_for_url("**/console/?start=*by=source")
    link = page.locator(f'details a[href="{bar.get_attribute("href")}"]')
    page.get_by_text("As a table").focus()
    page.keyboard.press("Enter")
    expect(link).to_be_visible()
    zoomed = page.url
    link.press("Enter")
    page.wait_for_url(lambda url: url != zoomed)
    # Of a minute that has just begun the bars are seconds, and lead there at once.
    if "/console/events" not in page.url:
        page.get_by_role("link", name="Events of this time").click()
    expect(page.get_by_role("cell", name=mine.id("s"))).to_have_count(20)


def test_a_dead_letter_is_replayed_and_another_dropped(browser: Browser, queue_url: str, database: Database) -> None:
    first, second = bury(queue_url, dead("a"), dead(SCRIPT))
    with running(database.url, QUEUE_URL=queue_url) as service, signed_in(browser, service) as page:
        page.set_viewport_size({"width": 360, "height": 740})
        page.get_by_role("link", name="Dead letters").click()
        accessible(page)
        page.get_by_role("checkbox", name=f"Choose {second}").check()
        page.get_by_role("button", name="Drop the chosen").click()
        accessible(page)
        page.get_by_role("button", name="Drop for good").click()
        expect(page.get_by_role("status")).to_have_text("dropped: 1")
        page.get_by_role("link", name=first).click()
        accessible(page)
        page.get_by_role("button", name="Replay").click()
        expect(page.get_by_role("status")).to_have_text("replayed: 1")
        accessible(page)
    assert (queues.depth(queue_url, DEAD_LETTERS), queues.depth(queue_url)) == (0, 1)


def test_below_a_path_of_a_proxy_everything_in_the_console_leads_back(
    browser: Browser, database: Database, mine: Mine, tmp_path: Path
) -> None:
    with (
        running(database.url) as service,
        behind_nginx(service, tmp_path, "/tools/sluice") as proxy,
        signed_in(browser, cast(Any, proxy), "console") as page,
    ):
        (cookie,) = page.context.cookies()
        assert (cookie["name"], cookie["path"]) == ("sluice_console", "/tools/sluice/console")
        send(service, failure(mine, "https://a/../b?c=d"))
        with service.client() as client:
            client.post("/tasks", json={"title": "look", "priority": "high"})
        for name in page.get_by_role("navigation", name="Console").get_by_role("link").all_inner_texts():
            page.get_by_role("link", name=name, exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.get_by_role("link", name="Live tail").click()
        expect(page.locator("#state")).to_have_text("live")
        send(service, mine.event("https://a//live", event_name="live"))
        page.get_by_role("link", name="live", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("live")
        page.get_by_role("link", name="Errors").click()
        page.get_by_role("link", name=mine.id("failed")).click()
        page.get_by_role("link", name=mine.id("failed")).click()
        expect(page.get_by_text(mine.id("https://a/../b?c=d"))).to_be_visible()
        page.go_back()
        page.get_by_role("button", name="Resolve").click()
        expect(page.get_by_role("button", name="Reopen")).to_be_visible()
        page.get_by_role("link", name="Tasks").click()
        page.get_by_role("button", name="Complete look").click()
        expect(page.get_by_role("region", name="completed").get_by_text("look")).to_be_visible()
        page.get_by_role("link", name="Overview").click()
        page.get_by_role("link", name="6h").click()
        page.get_by_role("link", name="Events of this time").click()
        expect(page.get_by_role("link", name="live", exact=True)).to_be_visible()
        page.get_by_role("link", name="About").click()
        page.get_by_role("link", name="API documentation").click()
        page.locator("#operations-openapi-get_openapi_json").wait_for()
        page.goto("console/")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        assert page.context.cookies() == []
    assert database.execute("SELECT completed_at IS NOT NULL FROM sluice.tasks") == [(True,)]


def accessible(page: Page) -> None:
    """Axe finds nothing, and a phone need not scroll sideways."""
    # Axe is a script of its own, which the page's policy would refuse as one.
    found = Axe().run(page)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_and_no_page_is_wider_than_a_phone(page: Page, service: Service, mine: Mine, scheme: Any) -> None:
    send(service, failure(mine, "b", user_id=SCRIPT, source=SCRIPT), mine.event("c"))
    with service.client() as client:
        client.post("/tasks", json={"title": SCRIPT, "priority": "high"})
        fingerprint = data_of(client.get(f"/api/v1/events/{mine.id('b')}"))["fingerprint"]
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    for path in (
        *PAGES,
        "/?range=7d&by=status",
        "/keys?q=none",
        f"/event?event_id={mine.id('b')}",
        f"/error?fingerprint={fingerprint}",
    ):
        page.goto(f"/console{path}")
        accessible(page)


def test_a_page_is_used_by_keyboard(page: Page) -> None:
    page.goto("/console/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_first_page_is_small(page: Page, service: Service) -> None:
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(len(response.body())))
    page.goto("/console/")
    page.wait_for_load_state("networkidle")
    assert (len(sizes), sum(sizes) <= FIRST_PAGE) == (3, True), sizes
