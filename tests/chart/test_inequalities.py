"""What has to fit together does, or the chart refuses it, names the values and the numbers, and says the fix."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.chart.manifests import of_kind
from tests.chart.mutation import placed
from tests.chart.render import PLAIN, SCHEMA_SAYS, Refused, merged, refusal, render

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:owner"
ALB = "alb.ingress.kubernetes.io/"


@dataclass(frozen=True)
class Edge:
    """A quantity at a path: the last one that is taken, the first one that is refused, and what the refusal names beside it."""

    path: str
    good: int | str
    bad: int | str
    names: str
    base: str = PLAIN

    def __str__(self) -> str:
        return f"{self.path} {self.good} {self.bad}"

    def values(self, quantity: int | str) -> dict[str, Any]:
        values: dict[str, Any] = placed(tuple(self.path.split(".")), quantity)
        return values


EDGES = [
    Edge("timing.requestTimeoutSeconds", 19, 20, "gracefulTimeoutSeconds 20 to at least 21 (must exceed"),
    Edge("timing.gracefulTimeoutSeconds", 20, 19, "deregistrationDelaySeconds 20"),
    Edge("timing.gracefulTimeoutSeconds", 20, 21, "deregistrationDelaySeconds 20"),
    Edge("timing.preStopSeconds", 21, 20, "deregistrationDelaySeconds 20"),
    Edge("timing.terminationGracePeriodSeconds", 51, 50, "preStopSeconds 25 drainSeconds 5 gracefulTimeoutSeconds 20"),
    Edge("timing.keepAliveSeconds", 61, 60, "idleTimeoutSeconds 60"),
    Edge("timing.heartbeatTimeoutSeconds", 11, 10, "requestTimeoutSeconds 10"),
    Edge("probes.startup.failureThreshold", 81, 80, "secretWaitSeconds 150 to at least 81"),
    Edge("probes.startup.failureThreshold", 111, 110, "secretWaitSeconds 150 terminationGracePeriodSeconds 60 = 220", "embedded"),
    Edge("rollout.progressDeadlineSeconds", 251, 250, "probes.startup.periodSeconds 240 rollout.minReadySeconds 10"),
    # As the operator's lints have them.
    Edge("probes.startup.timeoutSeconds", 1, 2, "probes.startup.periodSeconds 2 to at least 3"),
    Edge("probes.readiness.timeoutSeconds", 4, 5, "probes.readiness.periodSeconds 5 to at least 6"),
    Edge("probes.liveness.timeoutSeconds", 9, 10, "probes.liveness.periodSeconds 10 to at least 11"),
    Edge("probes.liveness.failureThreshold", 2, 1, "probes.liveness.periodSeconds 10 probes.readiness 15 to at least 2"),
    Edge("podDisruptionBudget.maxUnavailable", 2, 3, "replicaCount 3 to at least 4 (must exceed"),
    Edge("podDisruptionBudget.maxUnavailable", 2, 3, "autoscaling.minReplicas 3", base="autoscaling"),
    Edge("autoscaling.maxReplicas", 3, 2, "autoscaling.minReplicas 3", base="autoscaling"),
    # With a pool of one each; 80 % of the connections are 23 and 22.
    Edge("database.maxConnections", 29, 28, "config.workers 2 config.poolSize 1 = 23 = 22 to at least 29"),
    Edge("config.poolSize", 5, 6, "config.workers 2 database.maxConnections 100 = 93 = 80"),
    Edge("config.poolSize", 9, 10, "database.maxConnections 200 config.workers 2 pull.replicas 2 = 161 = 160", "pull"),
    Edge("worker.keda.maxReplicas", 2, 1, "worker.keda.minReplicas 2 to at least 2", "queue"),
    Edge("config.poolSize", 4, 5, "2 x (5 workers + 1) = 91 = 80", "queue"),
    # 100 + 2 x 40, and 2 x 13 for each of the 2 MiB that a worker holds at least.
    Edge("resources.limits.memory", "232Mi", "231Mi", "config.workers 2 config.limits.maxInflightBytes = 232Mi"),
    Edge("resources.limits.memory", "244M", "243M", "232Mi"),
    Edge("config.limits.maxInflatedBytes", 24 << 20, (24 << 20) + 1, "config.limits.maxInflightBytes 25165824"),
    Edge("config.limits.maxBodyBytes", 20 << 20, (20 << 20) + 1, "config.limits.maxInflatedBytes 20971520 to at least 20971521"),
    Edge("rollout.minReadySeconds", 21, 20, "healthcheck-interval-seconds 10 healthy-threshold-count 2 = 20", base="ingress-alb"),
]


@dataclass(frozen=True)
class Clash:
    """Values over a set that cannot be, what the refusal names, and what fixes them."""

    values: dict[str, Any]
    names: str
    fix: dict[str, Any]
    base: str = field(default=PLAIN)


GATEWAY = {"enabled": True, "parentRefs": [{"name": "public"}]}
NO_URL: dict[str, Any] = {"existingSecret": ""}
DYNAMODB: dict[str, Any] = {"storage": {"type": "dynamodb", "dynamodb": {"table": "events", "region": "eu-central-1"}}}
INFLUXDB = {"url": "https://influxdb", "org": "acme", "bucket": "events", "existingSecret": "influxdb"}
BY_PASSWORD: dict[str, Any] = {"url": NO_URL, "host": "db", "user": "events"}
CLASHES = [
    Clash({"image": {"digest": ""}}, "image.digest image.allowTag", {"image": {"allowTag": True}}),
    Clash(
        {"auth": {"existingSecret": ""}},
        "operator.enabled auth.existingSecret auth.keySet.secretName",
        {"auth": {"keySet": {"secretName": "published"}}},
    ),
    Clash({"operator": {"only": True}}, "operator.only operator.enabled", {"operator": {"enabled": True}}),
    Clash(
        {"auth": {"keySet": {"secretName": "published"}}},
        "auth.keySet.secretName operator.bootstrap.enabled",
        {"operator": {"bootstrap": {"enabled": False}}},
        "operator",
    ),
    Clash(
        {"operator": {"bootstrap": {"apiKey": {"name": "first-v2"}}}},
        "operator.bootstrap.apiKey.name first-v2",
        {"operator": {"bootstrap": {"apiKey": {"name": "first-v2-key"}}}},
        "operator",
    ),
    Clash(
        {"extraEnv": [{"name": "WATCH_NAMESPACES", "value": "all"}]}, "extraEnv WATCH_NAMESPACES", {"extraEnv": []}, "operator"
    ),
    Clash(
        {"ingress": {"enabled": True}, "httpRoute": GATEWAY}, "ingress.enabled httpRoute.enabled", {"ingress": {"enabled": False}}
    ),
    Clash(
        {"podSecurityContext": {"runAsUser": 20002}},
        "database.embedded podSecurityContext.runAsUser 20002",
        {"podSecurityContext": {"runAsUser": 0}},
        "embedded",
    ),
    Clash({"service": {"port": 8081}}, "service.port 8081", {"service": {"port": 80}}),
    Clash({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs", {"httpRoute": GATEWAY}),
    Clash(
        {"monitoring": {"prometheusRule": {"enabled": True}}},
        "monitoring.prometheusRule.runbookBaseUrl",
        {"monitoring": {"prometheusRule": {"runbookBaseUrl": "https://runbooks.example.org"}}},
    ),
    Clash({"pull": {"enabled": True}}, "pull.enabled pull.sources", {"pull": {"sources": "sources: []"}}),
    Clash(
        {"pull": {"enabled": True, "sources": "sources: []"}},
        "pull.enabled database.embedded",
        {"pull": {"enabled": False}},
        "embedded",
    ),
    Clash({"worker": {"enabled": True}}, "worker.enabled broker.existingSecret", {"broker": {"existingSecret": "broker"}}),
    Clash(
        {"broker": {"existingSecret": "broker"}},
        "broker.existingSecret database.embedded",
        {"broker": {"existingSecret": ""}},
        "embedded",
    ),
    Clash(
        {"broker": {"url": "sqs://eu-central-1/events-"}},
        "broker.url database.embedded",
        {"broker": {"url": ""}},
        "embedded",
    ),
    Clash(
        {"broker": {"existingSecret": "broker", "url": "sqs://eu-central-1/events-"}},
        "broker.existingSecret broker.url keep one",
        {"broker": {"existingSecret": ""}},
    ),
    Clash(
        {"broker": {"url": "sqs://eu-central-1/events-"}, "config": {"limits": {"maxEventBytes": 700001}}},
        "config.limits.maxEventBytes 700001 to at most 700000",
        {"config": {"limits": {"maxEventBytes": 700000}}},
    ),
    Clash(
        {"serviceAccount": {"worker": {"create": True}}},
        "serviceAccount.worker worker.enabled",
        {"serviceAccount": {"worker": {"create": False}}},
    ),
    # What acts only where something else is on.
    Clash({"autoscaling": {"external": True}}, "autoscaling.external autoscaling.enabled", {"autoscaling": {"enabled": True}}),
    Clash(
        {"worker": {"keda": {"enabled": True}}},
        "worker.keda.enabled worker.enabled",
        {"worker": {"enabled": True}, "broker": {"existingSecret": "broker"}},
    ),
    Clash({"migration": {"enabled": False, "indexes": ["user_id"]}}, "migration.indexes", {"migration": {"enabled": True}}),
    Clash({"migration": {"indexes": ["user_id"]}}, "migration.indexes", {"migration": {"indexes": []}}, "embedded"),
    Clash(
        {"serviceAccount": {"service": {"create": False, "annotations": {"eks.amazonaws.com/role-arn": "x"}}}},
        "serviceAccount.service.annotations serviceAccount.service.create",
        {"serviceAccount": {"service": {"create": True}}},
    ),
    Clash(
        {"serviceAccount": {"worker": {"annotations": {"eks.amazonaws.com/role-arn": "x"}}}},
        "serviceAccount.worker.annotations serviceAccount.worker.create",
        {"serviceAccount": {"worker": {"create": True}}},
        "queue",
    ),
    Clash(
        {"serviceAccount": {"service": {"name": "x"}, "migrate": {"name": "x"}}},
        "serviceAccount.service.name x serviceAccount.migrate",
        {"serviceAccount": {"service": {"create": False}}},
    ),
    Clash(
        {"serviceAccount": {"worker": {"create": True, "name": "blue-sluice"}}},
        "serviceAccount.worker.name blue-sluice serviceAccount.service",
        {"serviceAccount": {"worker": {"create": False}}},
        "queue",
    ),
    Clash(
        {"serviceAccount": {"service": {"name": "sluice-operator"}}},
        "serviceAccount.service.name sluice-operator operator",
        {"serviceAccount": {"service": {"name": "sluice"}}},
        "operator",
    ),
    Clash(DYNAMODB, "storage.type dynamodb database.url.existingSecret", {"database": {"url": NO_URL}}),
    Clash({"database": {"embedded": True}}, "database.embedded dynamodb", {"database": {"embedded": False}}, "dynamodb"),
    Clash({"database": {"host": "db"}}, "database.host dynamodb", {"database": {"host": ""}}, "dynamodb"),
    Clash(
        {"storage": {"dynamodb": {"table": ""}}},
        "storage.dynamodb.table storage.dynamodb.region",
        {"storage": {"dynamodb": {"table": "events"}}},
        "dynamodb",
    ),
    Clash(
        {"config": {"limits": {"maxEventBytes": 393217}}},
        "config.limits.maxEventBytes 393217 to at most 393216",
        {"config": {"limits": {"maxEventBytes": 393216}}},
        "dynamodb",
    ),
    Clash({"migration": {"indexes": ["user_id"]}}, "migration.indexes storage.type", {"migration": {"indexes": []}}, "dynamodb"),
    Clash(
        {
            "pull": {"enabled": True, "sources": "sources: []"},
            "storage": {"type": "mongodb", "mongodb": {"existingSecret": "mongodb"}},
        },
        "pull.enabled storage.type mongodb",
        {"pull": {"enabled": False}},
        "dynamodb",
    ),
    Clash(
        {"storage": {"type": "mongodb"}},
        "storage.mongodb.existingSecret",
        {"storage": {"mongodb": {"existingSecret": "mongodb"}}},
        "dynamodb",
    ),
    Clash(
        {"storage": {"type": "influxdb"}},
        "storage.influxdb.url existingSecret",
        {"storage": {"influxdb": INFLUXDB}},
        "dynamodb",
    ),
    Clash({"extraEnv": [{"name": "STORAGE_TYPE", "value": "dynamodb"}]}, "extraEnv STORAGE_TYPE", {"extraEnv": []}),
    Clash({"extraEnv": [{"name": "QUEUE_URL", "value": "amqp://x"}]}, "extraEnv QUEUE_URL", {"extraEnv": []}, "queue"),
    Clash({"extraEnv": [{"name": "SOURCES_FILE", "value": "x"}]}, "extraEnv SOURCES_FILE", {"extraEnv": []}, "pull"),
    Clash(
        {"image": {"architectures": ["amd64"]}, "nodeSelector": {"kubernetes.io/arch": "arm64"}},
        "nodeSelector kubernetes.io/arch arm64 image.architectures amd64",
        {"image": {"architectures": ["amd64", "arm64"]}},
    ),
    Clash({"extraEnv": [{"name": "WORKERS", "value": "9"}]}, "extraEnv WORKERS", {"extraEnv": [{"name": "TZ", "value": "UTC"}]}),
    Clash(
        {"config": {"limits": {"maxInflightBytes": (32 << 20) + 1}}},
        "resources.limits.memory 1Gi to at least 1038Mi config.limits.maxInflightBytes 33Mi",
        {"config": {"limits": {"maxInflightBytes": 32 << 20}}},
    ),
    Clash(
        {"config": {"limits": {"maxInflightBytes": (2 << 20) - 1}}},
        "config.limits.maxInflightBytes 2097151 to at least 2097152",
        {"config": {"limits": {"maxInflightBytes": 2 << 20}}},
    ),
    Clash({"extraEnv": [{"name": "DATABASE_URL", "value": "x"}]}, "extraEnv DATABASE_URL", {"extraEnv": []}),
    Clash(
        {"database": {"url": NO_URL}},
        "database.url.existingSecret database.host database.embedded",
        {"database": {"embedded": True}},
    ),
    Clash(
        {"database": {"embedded": True}},
        "database.embedded and database.url.existingSecret keep one",
        {"database": {"embedded": False}},
    ),
    Clash(
        {"autoscaling": {"enabled": True}},
        "database.embedded autoscaling.enabled",
        {"autoscaling": {"enabled": False}},
        "embedded",
    ),
    Clash(
        {"database": BY_PASSWORD},
        "database.host database.password.existingSecret database.iamAuth",
        {"database": {"password": {"existingSecret": "login"}}},
    ),
    Clash(
        {"database": {"password": {"existingSecret": "login"}}},
        "database.iamAuth database.password.existingSecret",
        {"database": {"password": {"existingSecret": ""}}},
        "rds-iam",
    ),
    Clash(
        {"database": {"iamAuth": True, "region": "eu-central-1"}},
        "database.iamAuth database.host",
        {"database": {"iamAuth": False}},
    ),
    Clash({"database": {"region": ""}}, "database.region", {"database": {"region": "eu-central-1"}}, "rds-iam"),
    Clash(
        {"database": {"owner": {"url": {"existingSecret": "owner"}}}},
        "database.owner secretArn url.existingSecret password.existingSecret",
        {"database": {"owner": {"secretArn": ""}}},
        "rds-iam",
    ),
    Clash(
        {"database": {"owner": {"password": {"existingSecret": "owner"}}}},
        "database.owner.password.existingSecret database.host",
        {"database": {"owner": {"password": {"existingSecret": ""}, "url": {"existingSecret": "owner"}}}},
    ),
    Clash(
        {"database": {**BY_PASSWORD, "user": "sluice_app", "password": {"existingSecret": "login"}}},
        "database.user sluice_app database.owner migration.enabled",
        {"database": {"owner": {"secretArn": ARN}, "region": "eu-central-1"}},
    ),
    Clash(
        {"ingress": {"annotations": {f"{ALB}target-group-attributes": "stickiness.enabled=false"}}},
        "deregistration_delay.timeout_seconds=20 timing.loadBalancer.deregistrationDelaySeconds",
        {
            "ingress": {
                "annotations": {
                    f"{ALB}target-group-attributes": "stickiness.enabled=false,deregistration_delay.timeout_seconds=20"
                }
            }
        },
        "ingress-alb",
    ),
    Clash(
        {"ingress": {"annotations": {f"{ALB}target-type": "instance"}}},
        "alb.ingress.kubernetes.io/target-type to ip",
        {"ingress": {"annotations": {f"{ALB}target-type": " ip "}}},
        "ingress-alb",
    ),
    Clash(
        {"ingress": {"annotations": {f"{ALB}healthcheck-path": "/healthz"}}},
        "alb.ingress.kubernetes.io/healthcheck-path /healthz to /readiness",
        {"ingress": {"annotations": {f"{ALB}healthcheck-path": "/"}}},
        "ingress-alb",
    ),
    Clash(
        {"ingress": {"annotations": {f"{ALB}backend-protocol": "HTTPS"}}},
        "alb.ingress.kubernetes.io/backend-protocol HTTPS to HTTP",
        {"ingress": {"annotations": {f"{ALB}backend-protocol": "HTTP"}}},
        "ingress-alb",
    ),
    Clash(
        # By itself it looks every 15 s, and twice.
        {"rollout": {"minReadySeconds": 30}},
        "rollout.minReadySeconds 30 to at least 31 (must exceed healthcheck-interval-seconds 15 healthy-threshold-count 2 = 30)",
        {"rollout": {"minReadySeconds": 31}},
        "everything",
    ),
    Clash(
        {"ingress": {"annotations": {f"{ALB}load-balancer-attributes": "idle_timeout.timeout_seconds=61"}}},
        "idle_timeout.timeout_seconds=60 timing.loadBalancer.idleTimeoutSeconds",
        {"timing": {"loadBalancer": {"idleTimeoutSeconds": 61}}},
        "ingress-alb",
    ),
]


def unnamed(words: str, told: str) -> list[str]:
    return [word for word in words.split() if word not in told]


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_a_number_at_the_edge_is_taken(edge: Edge) -> None:
    assert render(edge.base, edge.values(edge.good))


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_a_number_beyond_the_edge_is_refused_with_both_sides(edge: Edge) -> None:
    told = refusal(edge.base, edge.values(edge.bad))
    assert SCHEMA_SAYS not in told
    assert unnamed(f"{edge.path.rpartition('.')[2]} {edge.bad} {edge.names}", told) == []


@pytest.mark.parametrize("clash", CLASHES, ids=lambda clash: clash.names)
def test_what_cannot_be_together_is_refused_in_words(clash: Clash) -> None:
    told = refusal(clash.base, clash.values)
    assert SCHEMA_SAYS not in told
    assert unnamed(clash.names, told) == []


@pytest.mark.parametrize("clash", CLASHES, ids=lambda clash: clash.names)
def test_the_fix_is_taken(clash: Clash) -> None:
    assert render(clash.base, merged(clash.values, clash.fix))


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    wrong = {"podDisruptionBudget": {"maxUnavailable": 3}, "timing": {"preStopSeconds": 20}, "auth": {"existingSecret": ""}}
    told = refusal(PLAIN, wrong)
    assert len(re.findall(r"^- ", told, re.MULTILINE)) == 3


OF_THE_PARENT = 1  # `sluice serve` itself looks at the database with one connection
OF_THE_MIGRATION = 2
pods = st.integers(1, 12)


@given(
    fewest=pods,
    more=st.integers(0, 12),
    scaled=st.booleans(),
    workers=st.integers(1, 8),
    pool=st.integers(1, 20),
    connections=st.integers(10, 2000),
)
@example(fewest=3, more=0, scaled=False, workers=2, pool=4, connections=100)
@example(fewest=3, more=2, scaled=True, workers=2, pool=4, connections=136)
@settings(max_examples=12, derandomize=True)
def test_the_chart_counts_connections_as_the_design_does(
    fewest: int, more: int, scaled: bool, workers: int, pool: int, connections: int
) -> None:
    """(2 x most pods + surge) x connections of a pod + those of the migration <= 80 % of max_connections."""
    values = {
        "replicaCount": fewest,
        "autoscaling": {"enabled": scaled, "minReplicas": fewest, "maxReplicas": fewest + more},
        "config": {"workers": workers, "poolSize": pool},
        "database": {"maxConnections": connections},
        "podDisruptionBudget": {"enabled": False},
        "resources": {"limits": {"memory": "64Gi"}},
    }
    most = fewest + more if scaled else fewest
    needed = (2 * most + surge(most)) * (workers * pool + OF_THE_PARENT) + OF_THE_MIGRATION
    told = refused(values)
    assert (told is None) is (needed * 100 <= connections * 80)
    assert told is None or f"= {needed})" in told


def surge(most: int) -> int:
    """A quarter more at a time, rounded up as Kubernetes does."""
    return ceil(most / 4)


def refused(values: dict[str, Any]) -> str | None:
    """What the chart tells of connections when it refuses `values`."""
    try:
        render(PLAIN, values)
    except Refused as words:
        if "database.maxConnections" in str(words):
            return str(words)
        raise
    return None


def test_the_number_of_connections_that_a_refusal_asks_for_is_enough_and_no_more_than_that() -> None:
    values = {"replicaCount": 7, "config": {"poolSize": 4}}
    asked = re.search(r"database\.maxConnections \d+ to at least (\d+)", refusal(PLAIN, values))
    assert asked is not None
    assert refused({**values, "database": {"maxConnections": int(asked[1])}}) is None
    assert refused({**values, "database": {"maxConnections": int(asked[1]) - 1}}) is not None


# What people set first, and what follows from it.


def environment(values: dict[str, Any], base: str = PLAIN) -> dict[str, str]:
    service = next(one for one in of_kind(render(base, values), "Deployment") if one["metadata"]["name"] == "blue-sluice")
    return {one["name"]: one["value"] for one in service["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_one_pod_has_no_disruption_budget_that_would_only_be_in_the_way() -> None:
    assert of_kind(render(PLAIN, {"replicaCount": 1}), "PodDisruptionBudget") == []
    assert len(of_kind(render(PLAIN, {"replicaCount": 2}), "PodDisruptionBudget")) == 1


def test_pods_that_an_autoscaler_adds_to_one_have_a_disruption_budget_and_the_one_may_go() -> None:
    one_or_more = {"autoscaling": {"enabled": True, "minReplicas": 1}}
    for away in (1, 2):
        values = {**one_or_more, "podDisruptionBudget": {"maxUnavailable": away}}
        (budget,) = of_kind(render(PLAIN, values), "PodDisruptionBudget")
        assert budget["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("values", "pool"),
    [
        ({}, "4"),
        ({"autoscaling": {"enabled": True}}, "1"),
        ({"autoscaling": {"enabled": True}, "database": {"maxConnections": 300}}, "4"),
        ({"replicaCount": 4}, "3"),
        ({"replicaCount": 2, "database": {"maxConnections": 1000}}, "4"),
    ],
)
def test_the_pool_is_what_the_server_has_connections_for(values: dict[str, Any], pool: str) -> None:
    assert environment(values)["DB_POOL_SIZE"] == pool


@pytest.mark.parametrize(
    ("memory", "inflight", "body"), [("1Gi", 24, 10), ("1G", 24, 10), ("800Mi", 23, 10), ("512Mi", 12, 10), ("256Mi", 2, 2)]
)
def test_a_worker_holds_what_the_limit_of_memory_has_room_for(memory: str, inflight: int, body: int) -> None:
    values = {"resources": {"limits": {"memory": memory}}}
    found = environment(values)
    assert (int(found["MAX_INFLIGHT_BYTES"]), int(found["MAX_BODY_BYTES"])) == (inflight << 20, body << 20)
    assert int(found["MAX_INFLATED_BYTES"]) <= int(found["MAX_INFLIGHT_BYTES"])


@pytest.mark.parametrize(
    ("what", "limit", "requested"),
    [
        ("memory", "512Mi", "512Mi"),
        ("memory", "1G", "1G"),
        ("memory", "2Gi", "1Gi"),
        ("cpu", "100m", "100m"),
        ("cpu", 0.2, "0.2"),
        ("cpu", "0.3", "250m"),
        ("cpu", 2, "250m"),
        ("ephemeral-storage", "1Gi", "1Gi"),
    ],
)
def test_a_request_is_never_above_the_limit(what: str, limit: str | float, requested: str) -> None:
    disk = {"requests": {"ephemeral-storage": "2Gi"}}
    service = of_kind(render(PLAIN, {"resources": merged(disk, {"limits": {what: limit}})}), "Deployment")[0]
    assert service["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"][what] == requested


@given(idle=st.integers(1, 7185), delay=st.integers(0, 300))
@example(idle=60, delay=20)
@example(idle=1, delay=0)
@example(idle=3600, delay=20)
@settings(max_examples=8, derandomize=True)
def test_two_numbers_of_the_load_balancer_are_enough(idle: int, delay: int) -> None:
    """Every other time follows, and keeps the inequalities that are refused otherwise."""
    numbers = {"idleTimeoutSeconds": idle, "deregistrationDelaySeconds": delay}
    values = {"timing": {"loadBalancer": numbers}}
    found = environment(values)
    spec = of_kind(render(PLAIN, values), "Deployment")[0]["spec"]["template"]["spec"]
    stop = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    graceful, drain = int(found["GRACEFUL_TIMEOUT"]), int(found["DRAIN_SECONDS"])
    assert int(found["REQUEST_TIMEOUT_SECONDS"]) < graceful
    assert graceful == max(2, delay)
    assert delay < stop
    assert stop + drain + graceful < spec["terminationGracePeriodSeconds"]
    assert max(600, idle) < int(found["KEEP_ALIVE"])
    assert int(found["REQUEST_TIMEOUT_SECONDS"]) < int(found["HEARTBEAT_TIMEOUT"])


def test_a_tag_alone_is_taken_when_it_is_asked_for() -> None:
    objects = render(PLAIN, {"image": {"digest": "", "tag": "1.2.3", "allowTag": True}})
    images = {
        one["image"]
        for deployment in of_kind(objects, "Deployment")
        for one in deployment["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"sluice:1.2.3"}
