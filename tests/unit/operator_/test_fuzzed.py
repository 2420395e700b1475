"""Every value that the CRDs, the API server and the service let through: the other keys' revocation is in the first plan."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs
from tests.unit.operator_.apiserver import ApiServer, run
from tests.unit.operator_.cluster import START
from tests.unit.operator_.story import running
from tests.unit.operator_.test_crds import schema
from tests.unit.operator_.test_engine_lease import Clock
from tests.unit.operator_.test_engine_loop import KEY, SPACE, Bench, furnish, published
from tests.unit.operator_.test_isolation import EDGES, raw_key, revoked_in, stone, take_in

from sluice import keys
from sluice_operator import api_types, cache, reconcile, world
from sluice_operator.api_types import API_KEYS, DEPLOYMENTS, DURATION, LEASES, PODS, Metadata, within
from sluice_operator.client import Api
from sluice_operator.leader import LONGEST_SECONDS, Lease
from sluice_operator.plan import plan
from sluice_operator.world import Pod, Report, World

TEXT = st.characters(exclude_categories=["Cs"])


def values(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What the API server takes for a schema, its CEL rules apart."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("format") == "date-time":
        return st.sampled_from(EDGES) | st.datetimes(timezones=st.just(UTC)).map(lambda date: date.isoformat())
    if node["type"] == "object" and "additionalProperties" in node:
        return st.dictionaries(st.text(max_size=10), values(node["additionalProperties"]), max_size=3)
    if node["type"] == "object":
        fields = {name: values(inner) for name, inner in node.get("properties", {}).items()}
        required = {name: fields.pop(name) for name in node.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    if node["type"] == "array":
        return st.lists(values(node["items"]), min_size=node.get("minItems", 0), max_size=min(3, node["maxItems"]), unique_by=str)
    if node["type"] == "integer":
        return st.integers(node.get("minimum", -(2**63)), node.get("maximum", 2**63 - 1))
    if node["type"] == "boolean":
        return st.booleans()
    if "hours, minutes and seconds" in str(node.get("x-kubernetes-validations")):
        return st.from_regex(DURATION, fullmatch=True)
    if "pattern" in node:
        pattern = node["pattern"].replace("$", r"\Z")
        return st.from_regex(pattern).filter(lambda text: len(text) <= node.get("maxLength", 300))
    return st.text(
        st.characters(exclude_categories=["Cs"]), min_size=node.get("minLength", 0), max_size=min(30, node.get("maxLength", 30))
    )


API_KEY, KEY_SET = schema("ApiKey")["properties"], schema("KeySet")["properties"]
FUZZ = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@FUZZ
@given(spec=values(API_KEY["spec"]), stored=values(API_KEY["status"]), data=st.data())
def test_any_apikey_that_the_crd_takes_leaves_the_others_alone(spec: dict[str, Any], stored: Any, data: st.DataObject) -> None:
    story = running()
    spec |= {"keySetRef": {"name": "main"}}
    annotations = data.draw(st.dictionaries(st.just(api_types.ROTATE), st.text(max_size=20)))
    raw = raw_key("odd", spec, status=stored)
    raw["metadata"]["annotations"] = annotations
    take_in(story, raw)
    for _ in range(6):
        story.catch_up()
        story.round()
    assert story.plan().faults == {}
    story.apply("alpha", revoked=True)
    assert revoked_in(story.plan())


@FUZZ
@given(spec=values(KEY_SET["spec"]), stored=values(KEY_SET["status"]))
def test_any_keyset_that_the_crd_takes_publishes_its_revocations(spec: dict[str, Any], stored: Any) -> None:
    story = running()
    assert story.keyset is not None
    spec |= {"target": {"name": "web"}}
    raw = {"metadata": msgspec.to_builtins(story.keyset.metadata), "spec": spec, "status": stored}
    story.keyset = cache.key_set(raw)
    assert story.keyset.fault == ""
    story.apply("alpha", revoked=True)
    assert revoked_in(story.plan())
    assert story.plan().faults == {}


secrets_of_others = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["odd", "odd-v1", "odd-v2", "odd-v999999999", "alpha-v7", "beta-v3", "main-published"]),
        "type": st.sampled_from([api_types.KEY_TYPE, api_types.KEYSET_TYPE, "Opaque", ""]),
        "annotations": st.dictionaries(
            st.sampled_from(
                [
                    api_types.DIGEST,
                    api_types.MADE_FOR,
                    api_types.ACTIVATED_AT,
                    api_types.ENDS_AT,
                    api_types.VERSION,
                    api_types.SEAL,
                ]
            ),
            st.text(max_size=10) | st.sampled_from([*EDGES, "1", "999999999", keys.digest("x")]),
        ),
        "labels": st.dictionaries(
            st.sampled_from([api_types.LABEL_KEYSET, api_types.LABEL_API_KEY]), st.sampled_from(["main", "odd", ""])
        ),
        "data": st.dictionaries(st.sampled_from([api_types.KEY_DATA, api_types.KEYSET_DATA]), st.binary(max_size=60)),
    }
)
whole_sets = st.lists(
    st.builds(stone, st.integers(0, 5), version=st.integers(1, 2**31 - 1)), max_size=3, unique_by=lambda entry: entry.digest
)


@FUZZ
@given(found=st.lists(secrets_of_others, max_size=4), document=st.none() | whole_sets)
def test_whatever_secrets_contain_revocations_are_published(
    found: list[dict[str, Any]], document: list[keys.KeyEntry] | None
) -> None:
    story = running()
    story.apply("odd")
    story.apply("beta")
    story.run()
    story.apply("alpha", revoked=True)
    seen = story.look(story.operator)
    secrets = dict(seen.secrets)
    for each in found:
        head = {
            "name": each["name"],
            "creationTimestamp": START.isoformat(),
            "labels": each["labels"],
            "annotations": each["annotations"],
        }
        data = {name: base64.b64encode(value).decode() for name, value in each["data"].items()}
        kept = cache.secret({"metadata": head, "type": each["type"], "data": data})
        if isinstance(kept, world.Secret):
            secrets[kept.name] = kept
    published = seen.published
    if document is not None and published is not None:
        forged = cache.document({api_types.KEYSET_DATA: base64.b64encode(keys.publish(document, START)).decode()})
        published = replace(published, document=forged, sealed=False)
    made = plan(replace(seen, secrets=secrets, published=published), story.clock(story.operator))
    assert made.faults == {}
    assert revoked_in(made)


pods = st.builds(
    Pod,
    metadata=st.builds(
        Metadata,
        name=st.text(max_size=5),
        uid=st.text(max_size=5),
        creation_timestamp=st.datetimes(timezones=st.just(UTC)),
        deletion_timestamp=st.none() | st.just(START),
        annotations=st.dictionaries(st.just(api_types.POD_REVISION), st.text(max_size=5)),
    ),
    started=st.booleans(),
    was_ready=st.booleans(),
    finished=st.booleans(),
    report=st.none() | st.builds(Report, revision=st.none() | st.text(max_size=5)),
)
uses = st.dictionaries(st.sampled_from(["alpha/1", "beta/1"]), st.datetimes(timezones=st.just(UTC)).map(within))


@FUZZ
@given(found=st.lists(pods, max_size=3), used=uses, refused=uses)
def test_whatever_pods_say_revocations_are_published(found: list[Pod], used: Any, refused: Any) -> None:
    story = running()
    story.apply("beta")
    story.run()
    story.apply("alpha", revoked=True)
    seen: World = replace(story.look(story.operator), pods=tuple(found), last_used=used, last_refused=refused)
    made = plan(seen, story.clock(story.operator))
    assert made.faults == {}
    assert revoked_in(made)


# Whatever else is read: raw objects of the API server, and what Pods answer


ATOMS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8) | st.sampled_from([*EDGES, 0.5, -1])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(EDGES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FEW = settings(FUZZ, max_examples=10)
CONTAINER = {
    "name": "service",
    "env": [{"name": "DRAIN_SECONDS", "value": "5"}],
    "ports": [{"name": "admin", "containerPort": 8081}],
    "volumeMounts": [{"name": "sluice-keyset", "mountPath": "/etc/sluice/keyset"}],
    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    **{
        name: {"httpGet": {"path": "/", "port": "admin"}, "periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 3}
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    },
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"labels": {"a": "b"}, "annotations": {"mute.sluice.dev/NoDisruptionBudget": "one node"}},
    "spec": {
        "replicas": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 1}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [CONTAINER],
                "volumes": [{"name": "sluice-keyset", "secret": {"secretName": "main-published"}}],
                "terminationGracePeriodSeconds": 30,
            },
        },
    },
}
POD: dict[str, Any] = {
    "metadata": {"annotations": {"a": "b"}},
    "spec": {"nodeName": "n"},
    "status": {
        "podIP": "127.0.0.1",
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"started": True, "state": {"running": {}}}],
    },
}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [each for name, part in inner for each in paths(part, (*path, name))]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at `path`."""
    if not path:
        return new
    parts = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    parts[path[0]] = put(parts[path[0]], path[1:], new)
    return parts if isinstance(value, dict) else list(parts.values())


def spoiled(whole: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """`whole` with anything at all in the place of one of its parts."""
    return st.builds(put, st.just(whole), st.sampled_from(paths(whole)), json_values)


def revocation_is_published(
    monkeypatch: pytest.MonkeyPatch, deployment: dict[str, Any], pod: dict[str, Any], answers: dict[str, bytes]
) -> None:
    """In a namespace with this Deployment and Pod, which answers so, by the engine itself."""
    monkeypatch.setattr(reconcile, "PUBLISH_SECONDS", 0.0)

    async def view(request: web.Request) -> web.Response:
        return web.Response(body=answers.get(request.path, b""), content_type="application/json")

    async def work(server: ApiServer, api: Api) -> None:
        bench = Bench(server, api)
        application = web.Application()
        application.router.add_get("/{path:.*}", view)
        async with TestServer(application) as service:
            await furnish(bench, int(service.port or 0))
            for resource, name, raw in ((DEPLOYMENTS, "web", deployment), (PODS, "web-1-a", pod)):
                stored = server.objects[resource.path(SPACE, name)]
                metadata = raw["metadata"] if isinstance(raw["metadata"], dict) else {}
                stored |= {**raw, "metadata": {**metadata, **stored["metadata"]}}
            await step(bench, 3)
            assert [entry.key_id for entry in published(bench, "main")] == ["alpha"]
            await api.merge(API_KEYS, SPACE, "alpha", {"spec": {"revoked": True}})
            await step(bench, 1)
            assert [entry.state for entry in published(bench, "main")] == ["revoked"]
            bench.errands.stop()
            await bench.asker.close()

    run(work)


async def step(bench: Bench, number: int) -> None:
    for _ in range(number):
        await bench.look()
        await bench.engine._look_after(KEY)


@FEW
@example(deployment=put(DEPLOYMENT, ("spec", "replicas"), "two"))
@example(deployment=put(DEPLOYMENT, ("metadata", "annotations", "mute.sluice.dev/NoDisruptionBudget"), 1))
@example(deployment=put(DEPLOYMENT, ("spec", "template"), None))
@given(deployment=spoiled(DEPLOYMENT))
def test_whatever_a_deployment_contains_revocations_are_published(deployment: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch, capture_logs():
        revocation_is_published(patch, deployment, POD, {})


@FEW
@given(pod=spoiled(POD))
def test_whatever_a_pod_contains_revocations_are_published(pod: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch, capture_logs():
        revocation_is_published(patch, DEPLOYMENT, pod, {})


KEYSET_ANSWER: dict[str, Any] = {
    "revision": "a" * 64,
    "workers": 2,
    "loaded": 2,
    "lastUsed": {"alpha/1": "2026-03-01T12:00:00Z"},
    "lastRefused": {"alpha/1": "2026-03-01T12:00:00Z"},
}
WHOAMI_ANSWER: dict[str, Any] = {"data": {"key_id": "alpha", "version": 1}}
dates = st.dictionaries(st.sampled_from(["alpha/1", "alpha/x", "alpha", "/", ""]) | st.text(max_size=5), st.sampled_from(EDGES))
keyset_answers = spoiled(KEYSET_ANSWER) | st.builds(lambda told: KEYSET_ANSWER | {"lastUsed": told, "lastRefused": told}, dates)


@FEW
@given(keyset=st.binary() | keyset_answers.map(msgspec.json.encode), whoami=spoiled(WHOAMI_ANSWER).map(msgspec.json.encode))
def test_whatever_the_service_answers_revocations_are_published(keyset: bytes, whoami: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch, capture_logs():
        revocation_is_published(patch, DEPLOYMENT, POD, {"/keyset": keyset, "/api/v1/whoami": whoami})


INT32 = st.integers(0, 2**31 - 1)
leases = st.fixed_dictionaries(
    {},
    optional={
        "holderIdentity": st.text(max_size=20),
        "leaseDurationSeconds": INT32.filter(bool),
        "leaseTransitions": INT32,
        "acquireTime": st.sampled_from(EDGES),
        "renewTime": st.sampled_from(EDGES),
        "strategy": st.text(max_size=5),
    },
)


@FEW
@given(spec=st.none() | leases, annotations=st.none() | st.dictionaries(st.just(api_types.BOOTSTRAPPED), st.text(max_size=20)))
def test_whatever_a_lease_contains_it_is_taken_within_a_minute(spec: Any, annotations: Any) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await api.create(LEASES, SPACE, {"metadata": {"name": "operator", "annotations": annotations}, "spec": spec})
        clock = Clock()
        lease = Lease(api, SPACE, "operator", "one", clock)
        if not await lease._try(lease._take):
            clock.now += LONGEST_SECONDS
            assert await lease._try(lease._take)
        taken = server.objects[LEASES.path(SPACE, "operator")]["spec"]
        assert taken["holderIdentity"] == "one"
        assert taken["leaseTransitions"] < 2**31
        assert lease.held

    run(work)
