"""What is DynamoDB's alone: its table, expiry, partial failures, and the service on it."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from tests.integration.sample import NOW, row, rows, statuses
from tests.integration.service import Service, running
from tests.integration.test_console import browser
from tests.stores import subjects
from tests.stores.aws import ENVIRONMENT, Aws
from tests.stores.subjects import Clock

from sluice import errors
from sluice.filters import Filter
from sluice.settings import Settings
from sluice.stores.dynamodb import migrate
from sluice.stores.dynamodb.store import DynamodbStore


@pytest.fixture
def settings(aws: Aws) -> Settings:
    return subjects.of_dynamodb(aws, retention_days=30)


@pytest.fixture
def store(settings: Settings, clock: Clock) -> Iterator[DynamodbStore]:
    migrate.migrate(settings)
    store = DynamodbStore(settings, 20.0, clock)
    yield store
    store.close()


def test_migrate_makes_what_is_missing_and_nothing_twice(settings: Settings, aws: Aws) -> None:
    store = DynamodbStore(settings, 5.0)
    with pytest.raises(errors.StoreUnavailable, match="schema_behind"):
        store.check()
    assert migrate.migrate(settings)[0] == f"table {settings.dynamodb_table}"
    store.check()
    secret = store.cursor_secret
    assert migrate.migrate(settings) == []
    aws.client("dynamodb").update_table(
        TableName=settings.dynamodb_table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by_type"}}]
    )
    assert migrate.migrate(settings) == ["index by_type"]
    assert DynamodbStore(settings, 5.0).cursor_secret == secret
    store.close()


STREAMED = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
ON_DEMAND = {"BillingMode": "PAY_PER_REQUEST"}
PROVISIONED = {"ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}}


def index_by(*keys: str) -> dict[str, Any]:
    return {"GlobalSecondaryIndexes": [{**migrate.index_of("by_time"), "KeySchema": migrate.key_schema(*keys)}]}


# The types of the attributes, the key, and the rest of a table that somebody else made; the time to live; what is said of it.
OTHERS: dict[str, tuple[dict[str, str], tuple[str, ...], dict[str, Any], str, str]] = {
    "seed 003": ({"number": "N"}, ("number",), ON_DEMAND, "", "another key than ours; set TABLE_NAME"),
    "a sort key": ({"id": "S", "at": "S"}, ("id", "at"), ON_DEMAND, "", "another key than ours; set TABLE_NAME"),
    "a number": ({"id": "N"}, ("id",), ON_DEMAND, "", "another key than ours; set TABLE_NAME"),
    "an index": ({"id": "S", "foo": "S", "at": "S"}, ("id",), ON_DEMAND | index_by("foo", "at"), "", "another index by_time"),
    "a type": ({"id": "S", "shard": "N", "at": "S"}, ("id",), ON_DEMAND | index_by("shard", "at"), "", "other types"),
    "time to live": ({"id": "S"}, ("id",), ON_DEMAND, "ttl", "a time to live by ttl"),
    "capacity": ({"id": "S"}, ("id",), PROVISIONED, "", "provisioned capacity .* set it to on-demand"),
    "a stream": ({"id": "S"}, ("id",), ON_DEMAND | STREAMED, "", ""),
}


@pytest.mark.parametrize(("types", "key", "more", "ttl", "told"), OTHERS.values(), ids=OTHERS)
def test_the_table_of_somebody_else_is_completed_or_left_alone_with_a_word_about_it(
    settings: Settings, aws: Aws, types: dict[str, str], key: tuple[str, ...], more: dict[str, Any], ttl: str, told: str
) -> None:
    client = aws.client("dynamodb")
    attributes = [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]
    client.create_table(
        TableName=settings.dynamodb_table, KeySchema=migrate.key_schema(*key), AttributeDefinitions=attributes, **more
    )
    if ttl:
        by = {"Enabled": True, "AttributeName": ttl}
        client.update_time_to_live(TableName=settings.dynamodb_table, TimeToLiveSpecification=by)
    before = client.describe_table(TableName=settings.dynamodb_table)["Table"]
    with contextlib.closing(DynamodbStore(settings, 5.0)) as store:
        with pytest.raises(errors.StoreUnavailable, match="schema_behind"):
            store.check()
        if told:
            with pytest.raises(errors.SettingsError, match=told):
                migrate.migrate(settings)
            assert client.describe_table(TableName=settings.dynamodb_table)["Table"] == before
        else:
            migrate.migrate(settings)
            assert statuses(store.insert([row("a")], NOW)) == ["created"]


def test_more_shards_lose_no_event_and_fewer_are_not_taken(store: DynamodbStore, settings: Settings, clock: Clock) -> None:
    store.insert(rows(20, "a"), NOW)
    subject = {name: getattr(settings, name) for name in ("storage_type", "aws_region", "dynamodb_endpoint", "table_name")}
    assert migrate.migrate(Settings(**subject, dynamodb_shards=7)) == ["7 shards"]
    assert migrate.migrate(Settings(**subject, dynamodb_shards=2)) == []
    store.insert(rows(20, "b"), NOW)  # this process still knows three
    other = DynamodbStore(settings, 20.0, clock)
    other.insert(rows(20, "c"), NOW)
    for each in (store, other):
        assert len(each.page(Filter(page_size=100)).logs) == 60
    other.close()


def test_an_expired_event_is_not_shown_and_its_id_is_free_again(store: DynamodbStore, clock: Clock) -> None:
    subjects.forgets(store, clock)


class Throttled:
    """The client of DynamoDB, which refuses the puts of some ids: moto never does."""

    def __init__(self, client: Any, ids: set[str]) -> None:
        self._client = client
        self._ids = {f"e:{id}" for id in ids}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **request: Any) -> Any:
        if request["Item"]["id"]["S"] in self._ids:
            code = {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}}
            raise self._client.exceptions.ProvisionedThroughputExceededException(code, "PutItem")
        return self._client.put_item(**request)


def test_an_event_that_is_throttled_is_failed_and_its_neighbours_are_stored(store: DynamodbStore) -> None:
    real = store._table._client
    store._table._client = Throttled(real, {"a", "c"})
    found = store.insert([row("a"), row("b"), row("c")], NOW)
    assert [(each.status, each.reason, each.retryable) for each in found[::2]] == [("failed", "database_busy", True)] * 2
    assert (found[1].status, store.get("a")) == ("created", None)
    with pytest.raises(errors.StoreUnavailable, match="database_busy"):
        store.insert([row("a")], NOW)
    store._table._client = real
    assert statuses(store.insert([row("a"), row("b"), row("c")], NOW)) == ["created", "duplicate", "created"]


class Slow:
    """The client of DynamoDB, which keeps the puts of a batch until `go_on`."""

    def __init__(self, client: Any, go_on: threading.Event) -> None:
        self._client = client
        self._go_on = go_on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **request: Any) -> Any:
        if request["Item"]["id"]["S"] != "e:alone":
            assert self._go_on.wait(60)
        return self._client.put_item(**request)


def test_a_single_event_does_not_wait_behind_a_batch(store: DynamodbStore) -> None:
    go_on = threading.Event()
    store._table._client = Slow(store._table._client, go_on)
    with ThreadPoolExecutor(1) as pool:
        batch = pool.submit(store.insert, rows(300), NOW)
        assert statuses(store.insert([row("alone")], NOW)) == ["created"]
        assert not batch.done()
        go_on.set()
        assert set(statuses(batch.result())) == {"created"}


@contextlib.contextmanager
def answered(store: DynamodbStore, status: int, body: bytes) -> Iterator[None]:
    """Every call is answered so by what stands before DynamoDB."""

    class Sent(io.BytesIO):
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield self.read()

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, status, {}, Sent(body))

    events = store._table._client.meta.events
    events.register("before-send.dynamodb", answer)
    try:
        yield
    finally:
        events.unregister("before-send.dynamodb", answer)


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"", b'{"Item": {"id"', b"null", b"\xff"])
def test_a_success_that_is_no_answer_of_dynamodb_is_none(store: DynamodbStore, body: bytes) -> None:
    assert statuses(store.insert([row("a")], NOW)) == ["created"]
    with answered(store, 200, body):
        for call in (lambda: store.insert([row("b")], NOW), lambda: store.get("a"), lambda: store.page(Filter()), store.check):
            with pytest.raises(errors.StoreUnavailable, match="database_unreachable"):
                call()
    assert statuses(store.insert([row("a"), row("b")], NOW)) == ["duplicate", "created"]


def test_an_answer_without_what_each_has_is_none(store: DynamodbStore) -> None:
    store.insert([row("a")], NOW)
    table = store._table
    calls = (lambda: list(table.keys("by_time", "0", "0", "A", descending=False, size=9)), lambda: table.get_all(["e:a"]))
    with answered(store, 200, b"{}"):
        for call in calls:
            with pytest.raises(errors.StoreUnavailable, match="database_unreachable"):
                call()


@pytest.mark.parametrize("code", ["ValidationException", "ThrottlingException", "ItemCollectionSizeLimitExceededException"])
def test_what_the_table_refuses_of_every_event_is_no_fault_of_an_event(store: DynamodbStore, code: str) -> None:
    store.check()
    with answered(store, 400, b'{"__type": "%s", "message": ""}' % code.encode()), pytest.raises(errors.StoreUnavailable):
        store.insert([row("a"), row("b")], NOW)
    assert statuses(store.insert([row("a"), row("b")], NOW)) == ["created", "created"]


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "UnrecognizedClientException", "AccessDenied", "InvalidIdentityToken", "ExpiredToken"]
)
def test_who_is_refused_by_dynamodb_or_by_the_role_that_is_assumed_is_told_so(store: DynamodbStore, code: str) -> None:
    """The last three are those of STS, for a ServiceAccount whose role does not trust it."""

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code}}, "AssumeRoleWithWebIdentity")

    store._table._client.meta.events.register("before-call.dynamodb", refuse)
    with pytest.raises(errors.StoreUnavailable, match=r"^login_refused$"):
        store.check()


def test_an_answer_that_lacks_the_item_there_is_looked_up(store: DynamodbStore) -> None:
    store.insert([row("a")], NOW)

    def forget(parsed: dict[str, Any], **_: Any) -> None:
        parsed.pop("Item", None) if "Error" in parsed else None

    store._table._client.meta.events.register("after-call.dynamodb.PutItem", forget)
    assert statuses(store.insert([row("a"), row("a", event_name="other"), row("b")], NOW)) == ["duplicate", "conflict", "created"]


@pytest.mark.usefixtures("aws")
def test_a_place_where_nobody_answers_is_unreachable() -> None:
    store = DynamodbStore(Settings(storage_type="dynamodb", dynamodb_endpoint="http://127.0.0.1:1"), 5.0)
    with pytest.raises(errors.StoreUnavailable, match="database_unreachable"):
        store.insert([row("a")], NOW)
    store.close()


@pytest.fixture
def service(settings: Settings, aws: Aws) -> Iterator[Service]:
    migrate.migrate(settings)
    more = {"STORAGE_TYPE": "dynamodb", "DYNAMODB_ENDPOINT": aws.url, "TABLE_NAME": settings.dynamodb_table, "WORKERS": "1"}
    with running("", ready_within=40, **ENVIRONMENT, **more) as service:
        yield service


def test_the_service_takes_events_in_gives_them_back_and_says_what_it_cannot(service: Service) -> None:
    with service.client() as client:
        subjects.takes_events_in_and_gives_them_back(client, exact=False)
        assert client.get("/api/v1/limits").json()["data"]["store"] == ["conflicts", "export", "filters", "sources"]
        state = client.get("/api/v1/status").json()["data"]
        assert (state["database"]["status"], state["metrics"]) == ("up", None)
        more = {"sorting": "/api/v1/logs/filter?sort_by=user_id", "numbered_pages": "/api/v1/logs/filter?page=2"}
        subjects.says_what_it_cannot(client, volume="/api/v1/volume", **more)


def test_the_console_s_first_page_says_what_this_store_cannot(service: Service) -> None:
    with browser(service) as client:
        page = client.get("/console/")
        assert (page.status_code, "does not count events over time" in page.text) == (200, True)
