"""Sources over HTTP: seed 003's paths and ours, before, while and after a source is pulled."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.integration import upstream as up
from tests.integration.checks import data_of
from tests.integration.conftest import OpenStore, ready
from tests.integration.keysets import KeysetFile
from tests.integration.postgres import Database
from tests.integration.pulling import Pulls, source_at
from tests.integration.service import running
from tests.integration.upstream import Upstream

pytest_plugins = ["tests.integration.services"]
pytestmark = pytest.mark.needs("embedded PostgreSQL")


@pytest.fixture
def pulls(shared_database: Database, open_store: OpenStore, upstream: Upstream) -> Pulls:
    """Pulls of 25 records, into the database behind `service`."""
    upstream.answers = [up.records(25)]
    store = ready(open_store(shared_database.login))
    source = source_at(f"{upstream.url}?token=secret", name="placeholder_api", retries=0)
    return Pulls(store, shared_database, source)


@pytest.fixture(autouse=True)
def no_sources(shared_database: Database) -> None:
    """Each test begins without any."""
    shared_database.execute("TRUNCATE sluice.sources, sluice.source_records, sluice.source_runs")


def state(client: httpx.Client, name: str = "placeholder_api") -> Any:
    return data_of(client.get(f"/api/v1/sources/{name}/status"))["source"]


def test_before_any_source_the_seed_s_paths_answer_as_it_does(client: httpx.Client) -> None:
    assert client.get("/posts").json() == {"posts": [], "count": 0, "limit": 10, "offset": 0}
    assert client.get("/posts/1").status_code == 404
    never = {"last_successful_run": None, "last_attempt": None, "status": "never_run", "records_ingested": 0}
    assert client.get("/status").json() == never
    assert data_of(client.get("/api/v1/sources")) == []


def test_posts_are_those_of_the_seed_and_its_offset_works(client: httpx.Client, pulls: Pulls) -> None:
    pulls()
    first = client.get("/posts").json()
    assert (first["count"], first["limit"], first["offset"]) == (10, 10, 0)
    post = first["posts"][0]
    assert post.pop("ingested_at").endswith("+00:00")
    assert post == {"userId": 1, "id": 1, "title": "title 1", "body": "text", "source": "placeholder_api"}
    rest = client.get("/posts", params={"limit": 10, "offset": 20}).json()
    assert [post["id"] for post in rest["posts"]] == [21, 22, 23, 24, 25]
    assert (rest["count"], rest["offset"]) == (5, 20)
    assert client.get("/posts/25").json()["title"] == "title 25"


@pytest.mark.parametrize("path", ["/posts/26", "/posts/x", "/posts/%00", "/posts/1/2", "/api/v1/sources/none/status"])
def test_what_is_not_there_is_404(client: httpx.Client, pulls: Pulls, path: str) -> None:
    pulls()
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "offset=100001", "limit=1&limit=2", "page=1"])
def test_a_bad_query_is_refused_with_its_parameter(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/posts?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, query.partition("=")[0])


def test_the_status_is_true_at_every_moment(
    client: httpx.Client, pulls: Pulls, upstream: Upstream, shared_database: Database
) -> None:
    told: list[str] = []

    def while_it_runs(handler: up.Handler) -> None:
        told.append(client.get("/status").json()["status"])
        up.records(25)(handler)

    upstream.answers = [while_it_runs]
    assert client.get("/status").json()["status"] == "never_run"
    pulls()
    assert told == ["running"]
    success = client.get("/status").json()
    assert (success["status"], success["records_ingested"]) == ("success", 25)
    assert success["last_attempt"] <= success["last_successful_run"]
    assert "error_message" not in success
    upstream.answers = [up.status(500)]
    pulls()
    failure = client.get("/status").json()
    assert (failure["status"], failure["error_message"], failure["records_ingested"]) == ("failure", "the server answers 500", 0)
    assert failure["last_successful_run"] == success["last_successful_run"]
    assert failure["last_attempt"] > success["last_attempt"]
    # A puller that was killed leaves a run that nobody ended.
    assert pulls.parts.store.take(pulls.source, forced=True) is not None
    assert client.get("/status").json()["status"] == "running"
    shared_database.execute("UPDATE sluice.sources SET lease_until = now() - interval '1 second'")
    assert (state(client)["status"], state(client)["reason"]) == ("failure", "interrupted")
    runs = data_of(client.get("/api/v1/sources/placeholder_api/status"))["runs"]
    assert [(run["status"], run["reason"]) for run in runs] == [
        ("failure", "interrupted"),
        ("failure", "server_error"),
        ("success", None),
    ]


def test_sources_are_listed_without_the_query_of_their_url(client: httpx.Client, pulls: Pulls, upstream: Upstream) -> None:
    pulls()
    (source,) = data_of(client.get("/api/v1/sources"))
    assert (source["name"], source["url"], source["schedule"], source["is_default"]) == (
        "placeholder_api",
        upstream.url,
        "every 300 s",
        True,
    )
    assert source["next_run_at"] > source["last_attempt"]


def test_records_come_in_pages_by_cursor_with_their_versions(client: httpx.Client, pulls: Pulls, upstream: Upstream) -> None:
    pulls()
    upstream.answers = [
        up.listed([up.record(number, title="new" if number == 2 else f"title {number}") for number in range(1, 26)])
    ]
    pulls()
    path, found, cursor = "/api/v1/sources/placeholder_api/records", [], None
    while True:
        page = data_of(client.get(path, params={"limit": 10, **({"cursor": cursor} if cursor else {})}))
        assert (page["total_count"], page["total_count_exact"]) == (25, True)
        found += page["records"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [record["id"] for record in found] == [str(number) for number in range(1, 26)]
    assert [record["version"] for record in found[:3]] == [1, 2, 1]
    assert (found[1]["content"]["title"], found[1]["ingested_at"] > found[1]["created_at"]) == ("new", True)
    assert data_of(client.get(path, params={"limit": 1, "cursor": None}))["records"] == found[:1], "an empty one is none"
    assert client.get(path, params={"cursor": "x.y"}).json()["error"] == "invalid_cursor"


def test_a_run_that_is_asked_for_comes_although_it_is_not_due(client: httpx.Client, pulls: Pulls) -> None:
    pulls()
    store = pulls.parts.store
    assert not store.due(["placeholder_api"])[0].due
    first = client.post("/api/v1/sources/placeholder_api/run")
    assert data_of(first, 202)["name"] == "placeholder_api"
    assert data_of(client.post("/api/v1/sources/placeholder_api/run"), 202) == first.json()["data"]
    assert state(client)["requested_at"] is not None
    assert store.due(["placeholder_api"])[0].due
    assert pulls.puller.pull(pulls.source) is not None
    assert (state(client)["requested_at"], store.due(["placeholder_api"])[0].due) == (None, False)
    assert client.post("/api/v1/sources/other/run").status_code == 404


def test_reading_needs_read_and_running_needs_sources(shared_database: Database, pulls: Pulls, keyset: KeysetFile) -> None:
    pulls()
    reader, runner = keyset.add("reader", scopes=("read",)), keyset.add("runner", scopes=("sources",))
    keyset.publish()
    run, read = ("POST", "/api/v1/sources/placeholder_api/run"), ("GET", "/posts")
    with running(shared_database.url, KEYSET_FILE=str(keyset.path), WORKERS="1") as service:
        statuses = {}
        for key in (reader, runner):
            with service.client(key) as client:
                statuses[key] = [client.request(*request).status_code for request in (read, run)]
    assert statuses == {reader: [200, 403], runner: [403, 202]}
