"""One run of one source: page after page is fetched and stored, the last one with the word that the run succeeded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
import structlog

from sluice import errors
from sluice.events import Rules
from sluice.ingest.pipeline import utc_now
from sluice.sources import addresses, fetch, pages
from sluice.sources.definitions import HEADER_VALUE, Source
from sluice.sources.failures import Failed
from sluice.sources.fetch import BACKOFF, Answer, Backoff, Session
from sluice.sources.metrics import PullMetrics
from sluice.sources.store import Ending, Keeper, Page, Run, Totals

log = structlog.get_logger()
# The longest that a Retry-After puts off the next run.
MAX_ASKED = 86_400.0
# When a source is tried again whose secret file is not there.
FOR_A_SECRET = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every run of a puller uses. `rules`: of what a record may be. The last three are others in tests."""

    store: Keeper
    metrics: PullMetrics
    rules: Rules
    stopping: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], datetime] = utc_now
    pause: Callable[[float], object] | None = None
    backoff: Backoff = BACKOFF
    resolve: addresses.Resolve = addresses.resolve


class Pull:
    """`abort` may be called by another thread."""

    def __init__(self, parts: Parts, source: Source, run: Run) -> None:
        self._parts = parts
        self._source = source
        self._run = run
        self._began = time.monotonic()
        self._give_up = self._began + source.deadline
        self._totals = Totals()
        self._seen = 0
        # Of the page before: its records, and how many the largest page so far has.
        self._before: list[msgspec.Raw] = []
        self._most = 0
        # The URLs of the pages so far.
        self._asked = set[str]()
        # The first record that cannot be stored.
        self._problem = ""
        self._session: Session | None = None

    def abort(self) -> None:
        if self._session is not None:
            self._session.abort()

    def ending(self) -> Ending:
        """Fetch and store everything; how the run ended, as it is stored.

        Raises StoreUnavailable: then nobody wrote down how it ended, and its lease runs out.
        """
        try:
            return self._pages()
        except Failed as failed:
            ending = self._failure(failed)
        except errors.StoreUnavailable:
            raise
        except Exception:
            log.exception("sources.broken", source=self._source.name)
            ending = self._failure(Failed("internal", "something in the puller is broken; its log says what"))
        try:
            self._commit(None, ending)
        except Failed as failed:
            # The lease is lost: who has it now wrote down the end of this run.
            ending = self._failure(failed)
        return ending

    def _pages(self) -> Ending:
        source, number = self._source, 0
        session = self._session = Session(source, fetch.headers_of(source), self._parts.resolve)
        try:
            url = pages.first_url(source)
            while True:
                number += 1
                if number > source.max_pages:
                    raise Failed("too_many_pages", f"the list has more than {source.max_pages} pages (`max_pages`)")
                if url in self._asked:
                    raise Failed("pagination", "the page before names one as the next that was read already")
                self._asked.add(url)
                following, ending = self._page(session, number, url)
                if following is None:
                    return ending
                url = following
        except Failed as failed:
            failed.detail = f"page {number}: {failed.detail}" if number > 1 else failed.detail
            raise
        finally:
            session.close()

    def _page(self, session: Session, number: int, url: str) -> tuple[str | None, Ending]:
        """Fetch and store one page; the URL of the next one, or None and the end that was stored with this one."""
        source, parts = self._source, self._parts
        numbered = source.pagination.type in ("page", "offset")
        answer, raws = self._fetch(session, url, beyond=numbered and number > 1)
        success = Ending(status="success", next_run=source.next_run(self._run.started), definition=source.digest)
        if answer.status == 304:
            success.not_modified, success.etag, success.last_modified = True, self._run.etag, self._run.last_modified
            self._commit(None, success)
            return None, success
        if answer.status == fetch.PART and source.pagination.type == "none":
            raise Failed("pagination", "the server answers 206, a part of the list; name by `pagination` how it goes on")
        if numbered and raws and raws == self._before:
            raise Failed("pagination", f"it is the same as the page before; the server knows no `{source.pagination.parameter}`")
        self._seen += len(raws)
        if self._seen > source.max_records:
            raise Failed("too_many_records", f"the list has more than {source.max_records} records (`max_records`)")
        page, now = Page(number, []), parts.clock()
        for place, raw in enumerate(raws, 1):
            try:
                page.found.append(pages.found_in(raw, source, now, parts.rules))
            except errors.InvalidEvent as problem:
                page.invalid += 1
                self._problem = self._problem or f"the first is number {place} of page {number} ({problem.reason})"
        following = None
        if answer.status in fetch.LISTS:
            following = pages.next_url(source, answer.headers, answer.body, len(raws), number, self._seen, self._most)
        self._before, self._most = raws, max(self._most, len(raws))
        following = None if following is None else fetch.followed(answer.url, following)
        # A cursor that stands on every page does not move any more behind the last record.
        if following is None or (not raws and following in self._asked):
            return None, self._last(page, success, answer)
        self._commit(page, None)
        return following, success

    def _last(self, page: Page, success: Ending, answer: Answer) -> Ending:
        """Store the last page with the end of the run: a failure when there are records that cannot be stored."""
        ending = success
        if invalid := self._totals.invalid + page.invalid:
            detail = f"{invalid} of {self._seen} records cannot be stored; {self._problem}"
            ending = self._failure(Failed("invalid_record", detail))
        elif self._source.pagination.type == "none":
            ending.etag, ending.last_modified = validator(answer, "ETag"), validator(answer, "Last-Modified")
        self._commit(page, ending)
        return ending

    def _failure(self, failed: Failed) -> Ending:
        # By the clock of the store, which judges what is due.
        now = self._run.started + timedelta(seconds=time.monotonic() - self._began)
        regular = self._source.next_run(self._run.started)
        due: datetime | None = regular
        if failed.reason == "stopped":
            due = None
        elif failed.reason == "secret_missing":
            # A Secret may come after its Pod, and a rotated token is in use before it is mounted everywhere.
            due = min(regular, now + FOR_A_SECRET)
        elif failed.retry_after:
            due = max(regular, now + timedelta(seconds=min(failed.retry_after, MAX_ASKED)))
        return Ending(status="failure", next_run=due, reason=failed.reason, error_message=failed.detail)

    def _commit(self, page: Page | None, ending: Ending | None) -> None:
        parts = self._parts
        totals = parts.store.commit(self._source, self._run, parts.clock(), page, ending)
        parts.metrics.stored(self._source, self._totals, totals)
        self._totals = totals

    def _fetch(self, session: Session, url: str, *, beyond: bool) -> tuple[Answer, list[msgspec.Raw]]:
        """A page and its records: what is not JSON may be an answer that was cut off, and is asked for again."""
        parts, source, run = self._parts, self._source, self._run
        conditions = run.conditions if source.pagination.type == "none" else {}

        def attempt() -> tuple[Answer, list[msgspec.Raw]]:
            if parts.stopping.is_set():
                raise Failed("stopped", "the puller was stopped")
            if time.monotonic() > self._give_up:
                raise Failed("timeout", f"the run took longer than {source.deadline:g} s (`deadline`)")
            parts.store.renew(run, source.timeout)
            answer = session.get(url, conditions, beyond=beyond)
            return answer, pages.records_of(answer.body, source.list) if answer.status in fetch.LISTS else []

        def pause(seconds: float) -> None:
            parts.store.renew(run, seconds)
            (parts.pause or parts.stopping.wait)(seconds)

        return fetch.persistently(attempt, source.retries, pause, self._give_up, backoff=parts.backoff)


def validator(answer: Answer, name: str) -> str | None:
    """An ETag or a Last-Modified that can be sent back."""
    value = answer.headers.get(name) or ""
    return value if value and len(value) <= 1_024 and HEADER_VALUE.fullmatch(value) else None
