"""Pull sources in DynamoDB: seed 003's own setup, by its variables, against a real server with a list."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import tenacity
from prometheus_client import CollectorRegistry
from tests.conftest import ROOT
from tests.integration import upstream as up
from tests.integration.checks import at_once
from tests.integration.pulling import source_at
from tests.integration.service import INHERITED, running
from tests.integration.upstream import Upstream
from tests.integration.waiting import until
from tests.stores import subjects
from tests.stores.aws import ENVIRONMENT, Aws

from sluice import errors
from sluice.cursors import Cursor
from sluice.events import Rules
from sluice.ingest.pipeline import utc_now
from sluice.settings import Settings
from sluice.sources import definitions
from sluice.sources.definitions import Pagination, Source
from sluice.sources.dynamodb import DynamodbSources
from sluice.sources.failures import Failed
from sluice.sources.metrics import PullMetrics
from sluice.sources.pages import Found
from sluice.sources.puller import Puller
from sluice.sources.run import Parts
from sluice.sources.store import Ending, Page
from sluice.stores.dynamodb import migrate
from sluice.stores.dynamodb.table import Table

START = Cursor("", 0, 0, True)


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def settings(aws: Aws) -> Settings:
    settings = subjects.of_dynamodb(aws)
    migrate.migrate(settings)
    return settings


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(settings: Settings, clock: Clock) -> DynamodbSources:
    return DynamodbSources(Table(settings, 8), 30, clock)


def puller(kept: DynamodbSources, *sources: Source) -> Puller:
    metrics = PullMetrics(CollectorRegistry(), sources, utc_now)
    pauses: list[float] = []
    parts = Parts(store=kept, metrics=metrics, rules=Rules(), pause=pauses.append, backoff=tenacity.wait_none())
    made = Puller(sources, parts, 30)
    made.register()
    return made


def pull(kept: DynamodbSources, source: Source) -> Ending:
    ending = puller(kept, source).pull(source, forced=True)
    assert ending is not None
    return ending


def versions(kept: DynamodbSources) -> list[tuple[str, int]]:
    listed = (msgspec.json.decode(record) for _, _, record in kept.records("items", START, 1_000)[0])
    return [(record["id"], record["version"]) for record in listed]


def found(*numbers: int) -> list[Found]:
    return [Found(str(number), b'{"id": %d}' % number, number.to_bytes(4)) for number in numbers]


def test_a_record_is_stored_once_and_a_changed_one_is_its_next_version(kept: DynamodbSources, upstream: Upstream) -> None:
    source = source_at(upstream.url)
    upstream.answers = [up.listed([up.record(2), up.record(1)])]
    assert pull(kept, source).status == "success"
    upstream.answers = [up.listed([up.record(3), up.record(1, title="another"), up.record(2)])]
    assert pull(kept, source).status == "success"
    assert versions(kept) == [("2", 1), ("1", 2), ("3", 1)]
    state, runs = kept.history("items", 20) or pytest.fail("the source is not known")
    assert (state.status, state.records_ingested) == ("success", 3)
    assert [(run.created, run.updated, run.unchanged) for run in runs] == [(1, 1, 1), (2, 0, 0)]


def test_a_page_of_more_records_than_a_transaction_holds_is_counted_whole(kept: DynamodbSources, upstream: Upstream) -> None:
    upstream.answers = [up.records(60)]
    assert pull(kept, source_at(upstream.url)).status == "success"
    assert [id for id, _ in versions(kept)] == [str(number) for number in range(1, 61)]
    assert kept.count("items", 50) == 50
    (state,) = kept.states()
    assert state.records_ingested == 60


def test_a_run_that_fails_in_the_middle_keeps_the_pages_before_and_says_so(kept: DynamodbSources, upstream: Upstream) -> None:
    source = source_at(upstream.url, retries=0, pagination=Pagination(type="page", parameter="page", size=2))
    upstream.answers = [up.records(2), up.status(500)]
    assert pull(kept, source).reason == "server_error"
    (state,) = kept.states()
    assert (state.status, state.reason, state.records_ingested, len(versions(kept))) == ("failure", "server_error", 2, 2)
    upstream.answers = [up.paged(5, 2)]
    assert pull(kept, source).status == "success"
    assert versions(kept) == [(str(number), 1) for number in range(1, 6)]


def test_of_many_pullers_at_once_one_has_the_source(kept: DynamodbSources, upstream: Upstream) -> None:
    source = source_at(upstream.url)
    kept.register([source])
    taken = at_once(8, lambda _number: kept.take(source))
    assert [run.id for run in taken if run is not None] == [1]
    assert kept.due(["items"])[0].due is False


def test_a_puller_that_lost_its_lease_stores_nothing(kept: DynamodbSources, clock: Clock, upstream: Upstream) -> None:
    source = source_at(upstream.url)
    kept.register([source])
    late = kept.take(source)
    clock.ahead = timedelta(seconds=60)
    (state,) = kept.states()
    assert (state.status, state.reason) == ("failure", "interrupted"), "nobody wrote it down yet"
    mine = kept.take(source)
    assert late is not None
    assert mine is not None
    with pytest.raises(Failed, match="another puller"):
        kept.renew(late, 1)
    with pytest.raises(Failed, match="another puller"):
        kept.commit(source, late, clock(), Page(1, found(1)), None)
    assert versions(kept) == []
    kept.commit(source, mine, clock(), Page(1, found(2)), Ending(status="success", next_run=None, definition=source.digest))
    _, runs = kept.history("items", 20) or pytest.fail("the source is not known")
    assert [(run.status, run.reason) for run in runs] == [("success", None), ("failure", "interrupted")]


def test_a_page_that_is_committed_again_is_counted_once(kept: DynamodbSources, clock: Clock, upstream: Upstream) -> None:
    source = source_at(upstream.url)
    kept.register([source])
    run = kept.take(source)
    assert run is not None
    first = kept.commit(source, run, clock(), Page(1, found(1, 2)), None)
    assert kept.commit(source, run, clock(), Page(1, found(1, 2)), None) == first
    assert (first.created, first.records) == (2, 2)


def test_runs_before_the_newest_are_gone_after_their_days(kept: DynamodbSources, clock: Clock, upstream: Upstream) -> None:
    upstream.answers = [up.records(1)]
    for _ in range(2):
        pull(kept, source_at(upstream.url))
    clock.ahead = timedelta(days=31)
    _, runs = kept.history("items", 20) or pytest.fail("the source is not known")
    assert [run.id for run in runs] == [2]


def environment(settings: Settings, upstream: Upstream, **more: str) -> dict[str, str]:
    """Seed 003's variables."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own = {
        "STORAGE_TYPE": "dynamodb",
        "TABLE_NAME": settings.dynamodb_table,
        "DYNAMODB_ENDPOINT": settings.dynamodb_endpoint or "",
        "API_ENDPOINT": upstream.url,
        "API_ALLOW_PRIVATE": "true",
        "ADMIN_PORT": "0",
        "PYTHONPATH": str(ROOT / "app"),
    }
    return {**inherited, **ENVIRONMENT, **own, **more}


def start(settings: Settings, upstream: Upstream, *arguments: str, **more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sluice", "pull", *arguments]
    return subprocess.Popen(command, env=environment(settings, upstream, **more), stdout=subprocess.PIPE, text=True)


def test_after_a_kill_in_the_middle_of_a_run_the_status_is_true_and_another_puller_begins_again(
    settings: Settings, kept: DynamodbSources, clock: Clock, upstream: Upstream, tmp_path: Any
) -> None:
    file = tmp_path / "sources.yaml"
    paging = "pagination: {type: page, size: 40}"
    file.write_text(f"sources: [{{name: items, url: '{upstream.url}', interval: 1h, allow_private: true, {paging}}}]\n")
    given = {"API_ENDPOINT": "", "SOURCES_FILE": str(file)}
    upstream.answers = [up.paged(60, 40), up.hang]
    with start(settings, upstream, **given) as killed:
        until(lambda: len(upstream.requests) == 2, 30, "the second page is asked for")
        killed.kill()
    (state,) = kept.states()
    assert (state.status, state.records_ingested, len(versions(kept))) == ("running", 40, 40)
    clock.ahead = timedelta(minutes=2)
    (state,) = kept.states()
    assert (state.status, state.reason) == ("failure", "interrupted")
    upstream.answers = [up.paged(60, 40)]
    source = source_at(upstream.url, pagination=Pagination(type="page", parameter="page", size=40))
    assert pull(kept, source).status == "success"
    assert versions(kept) == [(str(number), 1) for number in range(1, 61)]
    (state,) = kept.states()
    assert (state.status, state.records_ingested) == ("success", 60)


def test_seed_003_finds_its_posts_and_its_status(settings: Settings, upstream: Upstream) -> None:
    upstream.answers = [up.records(12)]
    with start(settings, upstream, "--once") as once:
        assert (once.wait(60), once.stdout and once.stdout.read()) == (0, "placeholder_api: pulled\n")
    given = environment(settings, upstream)
    place = {name: given[name] for name in ("STORAGE_TYPE", "TABLE_NAME", "DYNAMODB_ENDPOINT", *ENVIRONMENT)}
    with running("", ready_within=40, **place) as service, service.client() as client:
        page = client.get("/posts", params={"limit": 5, "offset": 10}).json()
        assert [post["id"] for post in page.pop("posts")] == [11, 12]
        assert page == {"count": 2, "limit": 5, "offset": 10}
        post = client.get("/posts/3").json()
        assert (post["userId"], post["title"], post["source"]) == (1, "title 3", "placeholder_api")
        assert datetime.fromisoformat(post["ingested_at"]) <= datetime.now(UTC)
        assert client.get("/posts/13").status_code == 404
        told = client.get("/status").json()
        assert (told["status"], told["records_ingested"]) == ("success", 12)
        assert told["last_successful_run"] >= told["last_attempt"]
        first = client.get("/api/v1/sources/placeholder_api/records", params={"limit": 7}).json()["data"]
        after = {"limit": 7, "cursor": first["next_cursor"]}
        rest = client.get("/api/v1/sources/placeholder_api/records", params=after).json()["data"]
        assert [record["id"] for record in first["records"] + rest["records"]] == [str(number) for number in range(1, 13)]
        assert (first["total_count"], rest["next_cursor"]) == (12, None)
        assert client.post("/api/v1/sources/placeholder_api/run").status_code == 202
        assert client.get("/api/v1/sources").json()["data"][0]["requested_at"] is not None
        assert client.get("/api/v1/sources/other/status").status_code == 404
        assert client.get("/tasks", params={"status": "pending"}).json()["reason"] == "database"


def test_emit_is_refused_for_an_event_and_its_record_are_no_one_commit_there(
    settings: Settings, upstream: Upstream, tmp_path: Any
) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(f"sources: [{{name: items, url: '{upstream.url}', interval: 1h, emit: true}}]\n")
    with pytest.raises(errors.SettingsError, match="emit"):
        definitions.load(replace(settings, sources_file=file))
