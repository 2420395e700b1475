"""What Terraform makes for events is what Sluice uses: the table, the queues, and every right that its calls need; no other."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.client import BaseClient
from tests.conftest import require
from tests.platform import account, parliament
from tests.platform.conftest import TERRAFORM, provider_needed
from tests.platform.emulator.process import ACCOUNT, REGION, Emulator
from tests.platform.iam.policy import Document, Request, allowed, statements
from tests.platform.runs import worked
from tests.platform.terraform import Terraform

from sluice.events import Event, Rules, prepare
from sluice.filters import Filter, Match
from sluice.queue import DEAD_LETTERS, EVENTS, dead_letters, sqs
from sluice.queue.link import Message
from sluice.queue.sqs import SqsLink
from sluice.settings import Settings
from sluice.stores.dynamodb import migrate
from sluice.stores.dynamodb.store import DynamodbStore

pytestmark = pytest.mark.timeout(600)
NOW = datetime.now(UTC)
PLACE = {"id": ACCOUNT, "partition": "aws", "region": REGION}
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.eks.{REGION}.amazonaws.com/id/ABCDEF"
CLUSTER = {
    "name": "shared",
    "arn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/shared",
    "workload_identity": "irsa",
    "oidc_provider_arn": PROVIDER,
}
KEDA = {"namespace": "keda", "name": "keda-operator"}
VIA = {"kms:ViaService": f"dynamodb.{REGION}.amazonaws.com"}
# What a batch asks for is the right to its single calls (Service Authorization Reference of SQS).
BATCH = re.compile(r"^(ChangeMessageVisibility|DeleteMessage|SendMessage)Batch$")
Call = tuple[str, Mapping[str, Any]]


@pytest.fixture(scope="module")
def roles(aws: Emulator) -> None:
    for name in ("service", "migrate", "worker-of-the-table"):
        aws.client("iam").create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []})
        )


def applied(aws: Emulator, factory: pytest.TempPathFactory, name: str, values: Mapping[str, Any]) -> Terraform:
    require("terraform", TERRAFORM)
    with provider_needed():
        made = account.module(aws, factory.mktemp(name), name)
    worked(made.apply(None, {"name": "events-prod", "account": PLACE, **values}))
    return made


@pytest.fixture(scope="module")
def table(aws: Emulator, roles: None, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    given = {"service_role_names": {"service": "service", "worker": "worker-of-the-table"}, "migrate_role_name": "migrate"}
    return applied(aws, tmp_path_factory, "dynamodb", given)


@pytest.fixture(scope="module")
def queue(aws: Emulator, roles: None, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    return applied(
        aws, tmp_path_factory, "queue", {"cluster": CLUSTER, "api_role_name": "service", "scaler_service_account": KEDA}
    )


@pytest.fixture
def calls(aws: Emulator, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Every call that is made of AWS from here on, by the action it needs and its parameters."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    made: list[Call] = []
    call = BaseClient._make_api_call

    def noted(self: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        # The tests' own looks at policies are not Sluice's.
        if service != "iam":
            single = BATCH.sub(r"\1", operation)
            made.append((f"{service}:{single}", parameters))
        return call(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return made


def settings(aws: Emulator, table: str, **more: str) -> Settings:
    given = {"STORAGE_TYPE": "dynamodb", "AWS_REGION": REGION, "TABLE_NAME": table, "DYNAMODB_ENDPOINT": aws.url}
    return Settings.from_env({**given, "API_KEYS": "a-plain-key-of-some-length", **more})


def policy(aws: Emulator, role: str, name: str) -> Document:
    found: Document = aws.client("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    return found


def actions(document: Document) -> set[str]:
    """Those that are about items and messages, not about keys."""
    listed = [one["Action"] for one in statements(document)]
    names = {name for one in listed for name in ([one] if isinstance(one, str) else one)}
    return {name for name in names if not name.startswith("kms:")}


def shape(aws: Emulator, name: str) -> dict[str, Any]:
    """What decides whether a table is one of ours."""
    client = aws.client("dynamodb")
    found = client.describe_table(TableName=name)["Table"]
    ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    return {
        "key": found["KeySchema"],
        "attributes": sorted(found["AttributeDefinitions"], key=lambda one: str(one["AttributeName"])),
        "indexes": {one["IndexName"]: (one["KeySchema"], one["Projection"]) for one in found["GlobalSecondaryIndexes"]},
        "billing": found["BillingModeSummary"]["BillingMode"],
        "time to live": (ttl["TimeToLiveStatus"], ttl["AttributeName"]),
    }


def test_the_table_is_the_one_that_sluice_migrate_makes(aws: Emulator, table: Terraform, calls: list[Call]) -> None:
    migrate.migrate(settings(aws, "made-by-migrate"))
    assert shape(aws, str(table.output("table"))) == shape(aws, "made-by-migrate")


def test_migrate_finds_nothing_to_make_and_uses_all_of_its_rights(aws: Emulator, table: Terraform, calls: list[Call]) -> None:
    assert migrate.migrate(settings(aws, str(table.output("table")))) == ["8 shards"]
    given = policy(aws, "migrate", "dynamodb")
    assert {name for name, _ in calls} == actions(given)
    arn = str(table.output("arn"))
    assert [name for name, _ in calls if not allowed([given], Request(name, arn))] == []


def test_the_store_uses_all_of_its_rights_and_needs_no_other(aws: Emulator, table: Terraform, calls: list[Call]) -> None:
    chosen, arn = settings(aws, str(table.output("table"))), str(table.output("arn"))
    migrate.migrate(chosen)
    calls.clear()
    with closing(DynamodbStore(chosen, 5.0)) as store:
        store.check()
        records = [prepare(Event(event_type="log", event_name=name), now=NOW, key_id="k", rules=Rules()) for name in ("a", "b")]
        assert [one.status for one in store.insert(records, NOW)] == ["created", "created"]
        assert store.get(records[0].event_id) is not None
        assert len(store.page(Filter(page_size=10)).logs) == 2
        assert len(store.page(Filter(matches=(Match("event_type", "=", "log"),), page_size=10)).logs) == 2
        assert b"".join(store.export(Filter(page_size=10))).count(b"\n") == 2
    for role in ("service", "worker-of-the-table"):
        given = policy(aws, role, "dynamodb")
        refused = [
            name
            for name, parameters in calls
            if not allowed([given], Request(name, f"{arn}/index/{parameters['IndexName']}" if "IndexName" in parameters else arn))
        ]
        assert refused == []
        assert {name for name, _ in calls} == actions(given)


def test_the_table_s_key_is_used_through_dynamodb_only(aws: Emulator, table: Terraform) -> None:
    found = aws.client("dynamodb").describe_table(TableName=table.output("table"))["Table"]
    key = found["SSEDescription"]["KMSMasterKeyArn"]
    for role in ("service", "migrate", "worker-of-the-table"):
        given = policy(aws, role, "dynamodb")
        assert allowed([given], Request("kms:Decrypt", key, context=VIA))
        assert not allowed([given], Request("kms:Decrypt", key))
    assert found["DeletionProtectionEnabled"] is True


def test_parliament_finds_nothing(aws: Emulator, table: Terraform, queue: Terraform) -> None:
    names = {
        "service": ("dynamodb", "queue"),
        "migrate": ("dynamodb",),
        "worker-of-the-table": ("dynamodb",),
        "events-prod-worker": ("sluice-worker",),
        "events-prod-scaler": ("keda-operator",),
    }
    documents = {f"{role}.{name}": policy(aws, role, name) for role, given in names.items() for name in given}
    assert parliament.findings(documents) == []


@pytest.fixture
def opened(aws: Emulator, queue: Terraform, monkeypatch: pytest.MonkeyPatch) -> str:
    """QUEUE_URL as Terraform tells it, in the emulator."""
    monkeypatch.setattr(sqs, "LONG_POLL", 0)
    return f"{queue.output('queue_url')}?endpoint={aws.url}"


def queues(aws: Emulator) -> dict[str, str]:
    """Name to ARN."""
    client = aws.client("sqs")
    urls = client.list_queues(QueueNamePrefix="events-prod").get("QueueUrls", [])
    asked = {
        url: client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"] for url in urls
    }
    return {url.rpartition("/")[2]: arn for url, arn in asked.items()}


def refused(document: Document, calls: list[Call], arns: Mapping[str, str]) -> list[Call]:
    """Calls that the policy does not allow on the queue that they name."""

    def arn(parameters: Mapping[str, Any]) -> str:
        return arns[str(parameters.get("QueueName") or parameters["QueueUrl"]).rpartition("/")[2]]

    return [(name, parameters) for name, parameters in calls if not allowed([document], Request(name, arn(parameters)))]


def test_service_and_worker_find_the_queues_and_need_no_other_right(aws: Emulator, opened: str, calls: list[Call]) -> None:
    arns = queues(aws)
    assert set(arns) == {f"events-prod-{EVENTS}", f"events-prod-{DEAD_LETTERS.replace('.', '-')}"}
    calls.clear()
    with closing(SqsLink(opened, EVENTS)) as service:
        service.probe()
        assert service.max_bytes == 175_000, "of messages of 256 KiB, which is what this provider makes"
        assert service.publish(EVENTS, [Message(b"one"), Message(b"two")]) == [None, None]
    sent = policy(aws, "service", "queue")
    assert refused(sent, calls, arns) == []
    assert {name for name, _ in calls} == actions(sent)
    calls.clear()
    with closing(SqsLink(opened, EVENTS, DEAD_LETTERS)) as worker:
        worker.consume(EVENTS, 10)
        first = worker.next(0)
        assert first is not None
        assert first.body == b"one"
        assert worker.publish(DEAD_LETTERS, [first]) == [None]
        worker.ack(first.tag)
        worker.depth(EVENTS)
        assert worker.next(0) is not None, "given back at the end"
    with closing(SqsLink(opened, EVENTS, DEAD_LETTERS)) as people:
        assert dead_letters.replay(people, frozenset()) == 1
    received = policy(aws, "events-prod-worker", "sluice-worker")
    assert refused(received, calls, arns) == []
    assert {name for name, _ in calls} == actions(received)
    assert queues(aws) == arns, "none was made"


def test_both_queues_are_encrypted_by_a_key_that_both_roles_may_use(aws: Emulator, queue: Terraform) -> None:
    client = aws.client("sqs")
    keys = set()
    for url in (queue.output("url"), queue.output("dead_letter_url")):
        keys.add(client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["KmsMasterKeyId"])
    (key,) = keys
    for document in (policy(aws, "service", "queue"), policy(aws, "events-prod-worker", "sluice-worker")):
        assert [allowed([document], Request(f"kms:{name}", key)) for name in ("Decrypt", "GenerateDataKey", "Encrypt")] == [
            True, True, False,
        ]  # fmt: skip


def test_what_sqs_itself_moves_is_a_dead_letter_that_can_be_shown_and_replayed(
    aws: Emulator, queue: Terraform, opened: str, calls: list[Call]
) -> None:
    """It has no reason, for no worker lived to give one."""
    client, url = aws.client("sqs"), str(queue.output("url"))
    redrive = json.loads(
        client.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    )
    assert (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])) == (queues(aws)["events-prod-logs-dead"], 50)
    with closing(SqsLink(opened, DEAD_LETTERS)) as moved:
        moved.publish(DEAD_LETTERS, [Message(b"{}", headers={})])
    with closing(SqsLink(opened, EVENTS, DEAD_LETTERS)) as link:
        (letter,) = dead_letters.each(link)
        assert "x-sluice-reason" not in letter.headers
    with closing(SqsLink(opened, EVENTS, DEAD_LETTERS)) as link:
        assert dead_letters.replay(link, frozenset()) == 1
