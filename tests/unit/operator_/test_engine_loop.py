"""The engine at work on a small API server and one Pod that verifies keys, all in this process."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace
from tests.unit.operator_.apiserver import ApiServer, run

from sluice import keys
from sluice_operator import api_types, client, reconcile
from sluice_operator.api_types import API_KEYS, BUDGETS, DEPLOYMENTS, KEY_SETS, PODS, REPLICA_SETS, SECRETS, Clock, Raw, Resource
from sluice_operator.cache import Cache
from sluice_operator.client import Api
from sluice_operator.execute import Doer, Enforcer
from sluice_operator.memory import PROVED_AT_ONCE
from sluice_operator.observe import Observer
from sluice_operator.plan import plan
from sluice_operator.pods import Asker
from sluice_operator.queue import Errands, Key, Queue
from sluice_operator.reconcile import PUBLISH_SECONDS, Engine
from sluice_operator.watch import Hearing, Sync
from sluice_operator.world import Plan, PutSecret, World

SPACE = "space"
KEY = Key(SPACE, "main")
RS = REPLICA_SETS.path(SPACE, "web-1")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two publishes, which most tests wait for."""
    monkeypatch.setattr(reconcile, "PUBLISH_SECONDS", 0.1)


class Service:
    """A Pod that has loaded `document`; late: it has not got the one that is published."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.late = False
        self.deaf = False
        self.slow = 0.0
        self.stays: str | None = None  # the revision that it has, whatever is published
        self.refused: dict[str, str] | None = None  # None: a service that does not tell yet
        self.asked, self.most_asked = 0, 0  # whoami, now and at most at a time

    def document(self) -> keys.KeySetDocument:
        data = self._server.objects[secret("main-published")]["data"]["keyset.json"]
        return keys.parse_document(base64.b64decode(data))

    def edition(self) -> str:
        """Of what is published."""
        document = self.document()
        return f"{document.revision}@{api_types.stamp(document.generated_at)}"

    async def keyset(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(self.slow)
        if self.deaf:
            return web.json_response({}, status=500)
        revision = self.stays or ("another" if self.late else self.document().revision)
        told = {"revision": revision, "workers": 2, "loaded": 2, "lastUsed": {"alpha/1": "2026-03-01T12:00:00Z"}}
        return web.json_response(told if self.refused is None else {**told, "lastRefused": self.refused})

    async def whoami(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.most_asked = max(self.asked, self.most_asked)
        try:
            await asyncio.sleep(self.slow)
        finally:
            self.asked -= 1
        digest = keys.digest(request.headers["X-API-Key"])
        found = next((entry for entry in self.document().entries if entry.digest == digest), None)
        if found is None:
            return web.json_response({}, status=401)
        return web.json_response({"data": {"key_id": found.key_id, "version": found.version, "owner": found.owner}})

    async def readiness(self, _request: web.Request) -> web.Response:
        return web.json_response({})


class Bench:
    """An engine without watches: `look` lists everything and makes the KeySet due."""

    def __init__(self, server: ApiServer, api: Api) -> None:
        self.server = server
        self.api = api
        self.queue = Queue()
        self.cache = Cache()
        self.asker = Asker()
        self.observer = Observer(api, self.cache, self.asker)
        self.sync = Sync(api, self.cache, self.queue, self.observer, Hearing(), [SPACE])
        self.leads = True
        self.errands = Errands(self.queue)
        doer = Doer(api, self.cache, self.asker, self.observer, self.errands, "one")
        enforcer = Enforcer(api, self.cache, allowed=False)
        self.engine = Engine(api, self.cache, self.queue, self.observer, doer, enforcer, self.errands, lambda _: self.leads)

    async def make(self, resource: Resource, name: str, **parts: Any) -> Raw:
        """`parts`: of the object; labels and owners go into its metadata."""
        metadata = {"name": name, **parts.pop("metadata", {})}
        return await self.api.create(resource, SPACE, {"metadata": metadata, **parts})

    async def look(self) -> None:
        assert await self.sync._all()
        self.sync.everything()

    async def settle(self) -> None:
        """Until all is handed out and told; what was called for it is forgotten."""
        await self.look()
        await self.until(lambda: self.condition(KEY_SETS, "main", "Ready") == ("True", "Published"))
        await self.until(lambda: self.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"))
        await self.rest()
        self.server.calls.clear()

    async def rest(self) -> None:
        """Until nothing is at work and nothing is due soon."""
        await self.until(lambda: not (self.queue._active or self.errands._running or self.is_due_soon()))

    def is_due_soon(self) -> bool:
        return min(self.queue._due.values(), default=float("inf")) < time.monotonic() + 2 * PUBLISH_SECONDS

    async def until(self, happened: Callable[[], Any], seconds: float = 20) -> None:
        give_up = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < give_up
            await asyncio.sleep(0.01)

    def secret(self, name: str) -> Raw | None:
        return self.server.objects.get(secret(name))

    def events(self) -> set[str]:
        """The reasons."""
        return {each["reason"] for path, each in self.server.objects.items() if "/events/" in path}

    def condition(self, resource: Resource, name: str, type_: str) -> tuple[str, str]:
        status = self.server.objects[resource.path(SPACE, name)].get("status", {})
        return next(((c["status"], c["reason"]) for c in status.get("conditions", []) if c["type"] == type_), ("", ""))


def secret(name: str) -> str:
    return f"/api/v1/namespaces/{SPACE}/secrets/{name}"


def with_bench(work: Callable[[Bench, Service], Awaitable[None]]) -> None:
    """`work` with a target of one Pod, a KeySet and ApiKey alpha, and an engine that runs."""

    async def whole(server: ApiServer, api: Api) -> None:
        bench, service = Bench(server, api), Service(server)
        application = web.Application()
        views = {"/keyset": service.keyset, "/api/v1/whoami": service.whoami, "/readiness": service.readiness}
        for path, view in views.items():
            application.router.add_get(path, view)
        async with TestServer(application) as pod:
            await furnish(bench, int(pod.port or 0))
            running = asyncio.gather(*(bench.engine.work() for _ in range(4)))
            try:
                await work(bench, service)
            finally:
                running.cancel()
                bench.errands.stop()
                await bench.asker.close()

    run(whole)


async def furnish(bench: Bench, port: int) -> None:
    target = {"name": "web", "adminPort": port, "servicePort": port}
    await bench.make(KEY_SETS, "main", spec={"environment": "test", "target": target})
    await bench.make(API_KEYS, "alpha", spec={"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]})
    web_ = await bench.make(DEPLOYMENTS, "web", spec={"replicas": 1})
    owner = {"kind": "Deployment", "name": "web", "uid": web_["metadata"]["uid"]}
    replicas = await bench.make(REPLICA_SETS, "web-1", metadata={"ownerReferences": [owner]})
    owner = {"kind": "ReplicaSet", "name": "web-1", "uid": replicas["metadata"]["uid"]}
    ready = {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    await bench.make(PODS, "web-1-a", metadata={"ownerReferences": [owner]}, spec={"nodeName": "n"}, status=ready)


def test_a_key_is_made_published_proved_and_handed_out() -> None:
    async def work(bench: Bench, service: Service) -> None:
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"))
        version, client = bench.secret("alpha-v1"), bench.secret("alpha")
        assert version is not None
        assert client is not None
        assert client["data"] == version["data"]
        assert (version["immutable"], version["type"], client["type"]) == (True, api_types.KEY_TYPE, api_types.KEY_TYPE)
        assert [entry.key_id for entry in service.document().entries] == ["alpha"]
        pod = bench.server.objects[PODS.path(SPACE, "web-1-a")]
        assert pod["metadata"]["annotations"] == {api_types.POD_REVISION: service.edition()}

    with_bench(work)


def test_many_new_keys_of_one_key_set_are_proved_some_at_a_time() -> None:
    async def work(bench: Bench, service: Service) -> None:
        service.slow = 0.05
        names = [f"many-{number}" for number in range(4 * PROVED_AT_ONCE)]
        for name in names:
            await bench.make(API_KEYS, name, spec={"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]})
        await bench.look()
        await bench.until(lambda: all(bench.condition(API_KEYS, name, "Ready") == ("True", "Active") for name in names), 60)
        assert 1 < service.most_asked <= PROVED_AT_ONCE

    with_bench(work)


def test_when_all_is_well_nothing_is_written() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        await bench.look()
        await bench.rest()
        assert bench.server.writes() == []

    with_bench(work)


def test_a_refused_version_that_a_pod_reports_becomes_a_condition_and_nothing_else() -> None:
    async def work(bench: Bench, service: Service) -> None:
        await bench.settle()
        assert bench.condition(API_KEYS, "alpha", "Refused") == ("False", "NotSent")
        now = api_types.stamp(bench.api.clock().here)
        service.refused = {"alpha/1": now, "alpha/9": now, "beta/1": now, "nonsense": now, "alpha/2": "nonsense"}
        bench.observer.memory(KEY).pods.clear()
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Refused") == ("True", "StillSent"))
        await bench.until(lambda: "StillSent" in bench.events())
        await bench.rest()
        status = f"{API_KEYS.path(SPACE, 'alpha')}/status"
        assert [each.split()[1] for each in bench.server.writes() if "/events" not in each] == [status]
        assert bench.observer.memory(KEY).last_refused.keys() == {"alpha/1"}, "of versions that are published"

    with_bench(work)


def test_a_key_whose_name_is_taken_goes_on_seconds_after_the_name_is_free() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        assert await bench.sync._all()
        await bench.make(SECRETS, "alpha", type="Opaque", data={"password": "dGhlaXJz"})
        bench.sync.everything()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("False", "SecretNotOwned"))
        await asyncio.sleep(1)
        del bench.server.objects[secret("alpha")]  # no watch tells: it has no label of ours
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"), 10)

    with_bench(work)


@pytest.mark.parametrize("kind", ["Opaque", api_types.KEYSET_TYPE, api_types.KEY_TYPE])
def test_a_key_whose_version_s_name_is_taken_says_so_and_goes_on_once_it_is_free(kind: str) -> None:
    """Also where it looks like a key: what has no label of ours is not handed out."""

    async def work(bench: Bench, service: Service) -> None:
        assert await bench.sync._all()
        await bench.make(SECRETS, "alpha-v1", type=kind, data={"key": "dGhlaXJz"})
        bench.sync.everything()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("False", "SecretNotOwned"))
        assert service.document().entries == ()
        del bench.server.objects[secret("alpha-v1")]  # no watch tells: it has no label of ours
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"), 10)
        assert bench.observer.memory(KEY).taken == set()

    with_bench(work)


def test_of_a_key_set_that_is_gone_nothing_is_remembered() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.look()
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Ready") == ("True", "Published"))
        assert KEY in bench.observer.memories
        await bench.rest()
        del bench.server.objects[KEY_SETS.path(SPACE, "main")]
        await bench.look()
        await bench.until(lambda: KEY not in bench.observer.memories)
        await bench.rest()
        assert KEY not in bench.observer.memories

    with_bench(work)


def test_a_pod_that_has_not_got_the_key_set_holds_the_key_back() -> None:
    async def work(bench: Bench, service: Service) -> None:
        service.late = True
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready")[1] == "Converging")
        await asyncio.sleep(0.5)
        assert bench.secret("alpha") is None
        service.late = False
        await bench.until(lambda: bench.secret("alpha"))

    with_bench(work)


def test_a_key_set_that_comes_again_is_delivered_again_whatever_a_pod_said_before() -> None:
    """It may have said so before it got the one in between, or be on its way to that one."""

    async def work(bench: Bench, service: Service) -> None:
        def poked() -> str:
            found: str = bench.server.objects[PODS.path(SPACE, "web-1-a")]["metadata"]["annotations"][api_types.POD_REVISION]
            return found

        await bench.settle()
        first = service.document().revision
        service.stays = first
        for suspended in (True, False):
            await asyncio.sleep(reconcile.PUBLISH_SECONDS)
            await bench.api.merge(API_KEYS, SPACE, "alpha", {"spec": {"suspended": suspended}})
            await bench.look()
            await bench.until(lambda suspended=suspended: (service.document().revision == first) is not suspended)  # type: ignore[misc]
            await bench.until(lambda: poked() == service.edition())

    with_bench(work)


@pytest.mark.parametrize("again", [False, True])
def test_of_a_list_one_page_of_whole_objects_is_held(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench, _service: Service) -> None:
        for number in range(19):
            await bench.make(PODS, f"job-{number}")
        await bench.sync._all()
        keyset, put, read_at = bench.cache.key_set(SPACE, "main"), bench.cache.put, []
        assert keyset is not None

        def counted(resource: Resource, raw: Raw, **how: bool) -> Any:
            read_at.append((resource.plural, len(bench.server.calls)))
            return put(resource, raw, **how)

        monkeypatch.setattr(client, "CHUNK", 5)
        monkeypatch.setattr(bench.cache, "put", counted)
        await (bench.observer.pods_again(KEY, keyset, ()) if again else bench.sync._all())
        assert sorted(Counter(each for each in read_at if each[0] == "pods").values()) == [5, 5, 5, 5], (
            "before the next is asked for"
        )

    with_bench(work)


def test_a_pod_that_does_not_answer_holds_the_key_back() -> None:
    async def work(bench: Bench, service: Service) -> None:
        service.deaf = True
        await bench.look()
        await bench.until(lambda: bench.secret("main-published"))
        await asyncio.sleep(0.5)
        assert bench.secret("alpha") is None

    with_bench(work)


async def silent_pod(bench: Bench, **metadata: Any) -> None:
    """Another Pod of the target, at an address where nobody answers."""
    first = bench.server.objects[PODS.path(SPACE, "web-1-a")]
    metadata = {"ownerReferences": first["metadata"]["ownerReferences"], **metadata}
    status = {**first["status"], "podIP": "127.0.0.2"}
    await bench.make(PODS, "web-1-b", metadata=metadata, spec={"nodeName": "n"}, status=status)


@pytest.mark.parametrize(("minutes", "held"), [(1, True), (5, False)])
def test_a_pod_of_a_dead_node_holds_the_key_back_until_its_time_to_end_is_over(minutes: int, held: bool) -> None:
    """Its kubelet is gone, so nobody takes it away: it is terminating for ever."""

    async def work(bench: Bench, _service: Service) -> None:
        ended = datetime.now(UTC) - timedelta(minutes=minutes)
        await silent_pod(bench, deletionTimestamp=api_types.stamp(ended))
        await bench.look()
        reached = partial(bench.condition, API_KEYS, "alpha", "Ready")
        await bench.until(lambda: reached() == (("False", "Converging") if held else ("True", "Active")))
        assert (bench.secret("alpha") is None) == held

    with_bench(work)


def test_a_pod_that_no_watch_reported_holds_the_key_back() -> None:
    async def work(bench: Bench, service: Service) -> None:
        service.late = True
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready")[1] == "Converging")
        await silent_pod(bench)
        service.late = False
        await bench.until(lambda: any(pod.metadata.name == "web-1-b" for pod in bench.cache.pods(SPACE)))
        await asyncio.sleep(0.5)
        assert bench.secret("alpha") is None

    with_bench(work)


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[World], World]) -> None:
    """Each time that a key is to be handed out, this happens while the plan is made."""

    def planned(seen: World, clock: Clock) -> Plan:
        found = plan(seen, clock)
        handed_out = any(isinstance(each, PutSecret) and each.event == "VersionActivated" for each in found.actions)
        return plan(happens(seen), clock) if handed_out else found

    monkeypatch.setattr(reconcile, "plan", planned)


def test_a_pod_that_is_reported_while_the_plan_is_made_holds_the_key_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench, _service: Service) -> None:
        first = bench.server.objects[PODS.path(SPACE, "web-1-a")]
        metadata = {**first["metadata"], "name": "web-1-b", "uid": "uid-b", "resourceVersion": "1"}
        late = {**first, "metadata": metadata, "status": {**first["status"], "podIP": "127.0.0.2"}}  # nobody answers there

        def reported(seen: World) -> World:
            bench.server.objects[PODS.path(SPACE, "web-1-b")] = late
            bench.cache.put(PODS, late)
            return seen

        meanwhile(monkeypatch, reported)
        await bench.look()
        await bench.until(lambda: any(pod.metadata.name == "web-1-b" for pod in bench.cache.pods(SPACE)))
        await asyncio.sleep(0.5)
        assert bench.secret("alpha") is None

    with_bench(work)


def test_a_revocation_does_not_wait_for_the_list_of_pods_before_a_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()

        def revoked(seen: World) -> World:
            bench.server.faults["GET", "/pods"] = 500
            found = (replace(each, spec=replace(each.spec, revoked=each.name == "alpha")) for each in seen.keys)
            return replace(seen, keys=tuple(found))

        meanwhile(monkeypatch, revoked)
        await bench.make(API_KEYS, "beta", spec={"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]})
        await bench.look()
        await bench.until(lambda: "revoked" in {entry.state for entry in published(bench, "main")}, 5)
        assert bench.secret("beta") is None

    with_bench(work)


def test_pods_of_a_replica_set_that_another_deployment_took_over_are_found() -> None:
    """As after `kubectl delete deployment --cascade=orphan`: the next one of that name adopts what is there."""

    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        deployment, replicas = (bench.server.objects[each] for each in (DEPLOYMENTS.path(SPACE, "web"), RS))
        for raw in (deployment["metadata"], replicas["metadata"]["ownerReferences"][0]):
            raw["uid"] = "uid-of-the-next"
        bench.cache.remove(DEPLOYMENTS, SPACE, "web")
        bench.cache.put(DEPLOYMENTS, deployment)
        keyset = bench.cache.key_set(SPACE, "main")
        assert keyset is not None
        assert [pod.name for pod in await bench.observer.pods(KEY, keyset)] == ["web-1-a"]

    with_bench(work)


def test_a_target_without_pods_needs_no_list_of_replica_sets() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        bench.cache.remove(PODS, SPACE, "web-1-a")
        bench.server.faults["GET", "/replicasets"] = 500
        keyset = bench.cache.key_set(SPACE, "main")
        assert keyset is not None
        assert await bench.observer.pods(KEY, keyset) == []

    with_bench(work)


def test_pods_of_a_replica_set_that_came_while_another_was_asked_for_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench, _service: Service) -> None:
        assert await bench.sync._all()
        keyset, asked = bench.cache.key_set(SPACE, "main"), bench.api.list
        assert keyset is not None
        raw = bench.server.objects[PODS.path(SPACE, "web-1-a")]

        async def slow(resource: Resource, *how: Any, **more: Any) -> Any:
            found = await asked(resource, *how, **more)
            if resource is REPLICA_SETS:
                for name, uid in (("web-2", "uid-2"), ("else-1", "uid-3")):
                    owners = [{"kind": "ReplicaSet", "name": name, "uid": uid}]
                    metadata = {**raw["metadata"], "name": f"{name}-a", "uid": name, "ownerReferences": owners}
                    bench.cache.put(PODS, {**raw, "metadata": metadata})
                replicas = bench.server.objects[RS]
                metadata = {**replicas["metadata"], "uid": "uid-2"}
                bench.server.objects[REPLICA_SETS.path(SPACE, "web-2")] = {**replicas, "metadata": metadata}
            return found

        monkeypatch.setattr(bench.api, "list", slow)
        assert [pod.name for pod in await bench.observer.pods(KEY, keyset)] == ["web-1-a", "web-2-a"]

    with_bench(work)


@pytest.mark.parametrize("seal", [True, False])
def test_an_answer_from_before_a_change_is_not_kept(seal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        name = "main-seal" if seal else "unseen"
        observer, asked = bench.observer, bench.api.get
        observer.seals.forget(SPACE, "main-seal")
        read = partial(observer.seals.get, KEY) if seal else partial(observer.unseen.get, SPACE, name)
        body = {"data": {api_types.SEAL_DATA: base64.b64encode(bytes(32)).decode()}, "type": api_types.KEYSET_TYPE}

        async def slow(resource: Resource, namespace: str, wanted: str) -> Raw:
            try:
                return await asked(resource, namespace, wanted)
            finally:
                if wanted == name:
                    monkeypatch.setattr(bench.api, "get", asked)
                    bench.server.objects.pop(secret(name), None)
                    await bench.make(SECRETS, name, **body)
                    forget = observer.seals.forget if seal else observer.unseen.forget
                    forget(SPACE, name)

        monkeypatch.setattr(bench.api, "get", slow)
        before = await read()
        assert await read() != before

    with_bench(work)


def test_a_refused_call_is_reported_and_what_else_there_is_goes_on() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        bench.server.faults["PATCH", "/pods/"] = 403
        await bench.look()
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("True", "Forbidden"))
        await bench.until(lambda: bench.secret("alpha"))

    with_bench(work)


def test_what_is_only_for_the_audit_holds_no_key_back() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        bench.server.faults["GET", "/poddisruptionbudgets"] = 403
        await bench.look()
        await bench.until(lambda: bench.secret("alpha"))
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "ProbesWired") == ("Unknown", "NotAudited"))
        assert bench.condition(KEY_SETS, "main", "Degraded") == ("True", "Forbidden")

    with_bench(work)


def test_what_was_refused_is_not_reported_as_done() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        bench.server.faults["POST", "/secrets"] = 403
        await bench.look()
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("True", "Forbidden"))
        assert not {"VersionStaged", "KeySetPublished"} & bench.events()
        bench.server.faults.clear()
        await bench.until(lambda: {"VersionStaged", "KeySetPublished", "VersionActivated"} <= bench.events())

    with_bench(work)


def test_what_cannot_be_looked_at_is_reported_too() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        bench.server.faults["GET", "/replicasets"] = 403
        await bench.look()
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("True", "Forbidden"))
        assert bench.secret("alpha") is None

    with_bench(work)


def test_an_api_server_that_comes_back_is_gone_on_with() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        bench.server.faults["POST", "/secrets"] = 503
        await bench.look()
        await asyncio.sleep(0.5)
        assert bench.secret("alpha-v1") is None
        bench.server.faults.clear()
        await bench.until(lambda: bench.secret("alpha"))

    with_bench(work)


def test_who_leads_no_more_writes_nothing() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        bench.leads = False
        bench.server.calls.clear()
        await bench.look()
        await bench.rest()
        assert bench.server.writes() == []

    with_bench(work)


def test_many_changes_are_published_together_and_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PUBLISH_SECONDS", PUBLISH_SECONDS)

    async def work(bench: Bench, service: Service) -> None:
        await bench.look()
        await bench.until(lambda: bench.secret("alpha"))
        await asyncio.sleep(PUBLISH_SECONDS)
        began = time.monotonic()
        bench.server.calls.clear()
        for number in range(12):
            spec = {"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]}
            await bench.make(API_KEYS, f"many-{number}", spec=spec)
            await bench.look()
            await asyncio.sleep(0.1)
        await bench.until(lambda: len(service.document().entries) == 13)
        published = bench.server.calls.count(("PATCH", secret("main-published")))
        assert 1 <= published <= 1 + (time.monotonic() - began) / PUBLISH_SECONDS

    with_bench(work)


def test_a_version_secret_that_another_process_made_is_taken_as_it_is() -> None:
    """As after a crash before the answer came: no second key is drawn for the same version."""

    async def work(bench: Bench, _service: Service) -> None:
        await bench.look()
        await bench.until(
            lambda: api_types.ACTIVATED_AT in ((bench.secret("alpha-v1") or {}).get("metadata", {}).get("annotations", {}))
        )
        made = bench.secret("alpha-v1")
        fresh = Bench(bench.server, bench.api)
        running = asyncio.create_task(fresh.engine.work())
        await fresh.look()
        await asyncio.sleep(0.5)
        running.cancel()
        await fresh.asker.close()
        assert bench.secret("alpha-v1") == made
        assert bench.secret("alpha-v2") is None

    with_bench(work)


def test_a_broken_apikey_is_reported_and_the_others_go_on() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.make(API_KEYS, "broken", spec={"keySetRef": {"name": "main"}, "owner": "", "scopes": []})
        await bench.look()
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("True", "KeysSetAside"))
        await bench.until(lambda: bench.secret("alpha"))

    with_bench(work)


def test_after_a_restart_nothing_is_written_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        listed = bench.api.list

        async def slow(resource: Resource, *how: Any, **more: Any) -> Any:
            await asyncio.sleep(0.3 if resource is BUDGETS else 0)
            return await listed(resource, *how, **more)

        monkeypatch.setattr(bench.api, "list", slow)
        bench.observer.memories.clear()
        bench.observer.audit.tried.clear()
        bench.observer.audit._budgets.clear()
        await bench.look()
        await bench.rest()
        assert bench.server.writes() == []

    with_bench(work)


def is_published(bench: Bench, name: str) -> bool:
    return name in {entry.key_id for entry in published(bench, "main")}


async def revoke(bench: Bench, name: str, keyset: str = "main") -> float:
    """Seconds until it is published."""
    began = time.monotonic()
    await bench.api.merge(API_KEYS, SPACE, name, {"spec": {"revoked": True}})
    await bench.look()
    await bench.until(lambda: "revoked" in {entry.state for entry in published(bench, keyset) if entry.key_id == name})
    return time.monotonic() - began


def published(bench: Bench, keyset: str) -> tuple[keys.KeyEntry, ...]:
    raw = bench.secret(f"{keyset}-published")
    return keys.parse_document(base64.b64decode(raw["data"]["keyset.json"])).entries if raw is not None else ()


@pytest.mark.parametrize(
    ("method", "part", "status"),
    [
        ("GET", "replicasets", 403),
        ("GET", "replicasets", 500),
        ("GET", "poddisruptionbudgets", 500),
        ("PATCH", "pods", 500),
        ("PATCH", "deployments", 500),
        ("PATCH", "/status", 500),
        ("PATCH", "/status", 422),
        ("POST", "events", 500),
        ("DELETE", "secrets", 500),
        ("GET", "secrets/alpha-v1", 500),
        ("GET", "secrets/alpha", 403),
        ("POST", "secrets", 403),
    ],
)
def test_whatever_call_fails_a_revocation_goes_out(method: str, part: str, status: int) -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        bench.observer.forget(SPACE)
        bench.observer.seals.forget(SPACE, "main-seal")
        spec = {"probes": {"mode": "Enforce"}}
        await bench.api.merge(KEY_SETS, SPACE, "main", {"spec": spec})
        bench.server.faults[method, part] = status
        await revoke(bench, "alpha")

    with_bench(work)


def test_a_key_set_that_somebody_made_immutable_keeps_no_revocation_back() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        await bench.api.merge(SECRETS, SPACE, "main-published", {"immutable": True, "metadata": {"labels": {"theirs": "x"}}})
        assert await revoke(bench, "alpha") < 3
        made = bench.secret("main-published")
        assert made is not None
        assert made["metadata"]["labels"] == {"theirs": "x", api_types.LABEL_KEYSET: "main"}
        assert bench.condition(KEY_SETS, "main", "Degraded")[0] == "False"

    with_bench(work)


def test_a_client_secret_that_somebody_made_immutable_keeps_no_rotation_back() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        await bench.api.merge(SECRETS, SPACE, "alpha", {"immutable": True})
        await bench.api.merge(API_KEYS, SPACE, "alpha", {"metadata": {"annotations": {api_types.ROTATE: "now"}}})
        await bench.look()
        await bench.until(
            lambda: ((bench.secret("alpha") or {}).get("data")) == (bench.secret("alpha-v2") or {"data": 0})["data"]
        )
        assert bench.condition(API_KEYS, "alpha", "Degraded")[0] == "False"

    with_bench(work)


def test_a_revocation_in_a_key_set_that_cannot_be_read_is_published_and_delivered() -> None:
    async def work(bench: Bench, service: Service) -> None:
        await bench.settle()
        await bench.api.merge(KEY_SETS, SPACE, "main", {"spec": {"allowedScopes": ["of a later release"]}})
        assert await revoke(bench, "alpha") < 3
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("True", "InvalidKeySet"))
        await bench.until(lambda: "InvalidKeySet" in bench.events())
        pod = PODS.path(SPACE, "web-1-a")
        delivered = {api_types.POD_REVISION: service.edition()}
        await bench.until(lambda: bench.server.objects[pod]["metadata"]["annotations"] == delivered)

    with_bench(work)


def test_a_call_that_fails_for_one_object_holds_no_other_up() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        for name in ("bad", "good"):
            spec = {"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]}
            await bench.make(API_KEYS, name, spec=spec)
        bench.server.refused_names = {"bad-v1", "bad"}
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "good", "Ready") == ("True", "Active"))
        assert bench.condition(API_KEYS, "bad", "Ready")[0] == "False"

    with_bench(work)


def test_a_secret_that_somebody_else_writes_too_is_repaired_ever_more_seldom() -> None:
    """Another controller may have it for its own, and answer each repair at once."""

    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        right, began, taken = (bench.secret("alpha") or {})["data"], time.monotonic(), []
        for _ in range(6):
            await bench.api.merge(SECRETS, SPACE, "alpha", {"data": {"key": "dGhlaXJz"}})
            await bench.look()
            await bench.until(lambda: (bench.secret("alpha") or {})["data"] == right)
            taken.append(time.monotonic() - began)
        assert taken[-1] >= 3

    with_bench(work)


@pytest.mark.parametrize("status", [403, 500])
def test_a_pod_that_may_not_be_annotated_keeps_no_key_back(status: int) -> None:
    """A webhook that is away refuses every write to a Pod; the kubelet delivers all the same, only later."""

    async def work(bench: Bench, _service: Service) -> None:
        bench.server.faults["PATCH", "/pods"] = status
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"))

    with_bench(work)


def test_a_key_set_with_a_forged_document_is_restored_and_reported() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        before = published(bench, "main")
        entry = keys.KeyEntry(digest=keys.digest("backdoor"), key_id="alpha", version=9, owner="x", scopes=frozenset({"admin"}))
        document = base64.b64encode(keys.publish([*before, entry], bench.api.clock().here)).decode()
        await bench.api.merge(SECRETS, SPACE, "main-published", {"data": {"keyset.json": document}})
        await bench.look()
        await bench.until(lambda: "KeySetRestored" in bench.events())
        await bench.until(lambda: published(bench, "main") == before)
        seal = bench.secret("main-seal")
        assert seal is not None
        assert (seal["type"], seal["immutable"]) == (api_types.KEYSET_TYPE, True)

    with_bench(work)


def test_a_revocation_that_is_not_published_yet_holds_for_the_next_apikey_of_that_name() -> None:
    """As where git still has the ApiKey that somebody revokes and deletes."""

    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        [old] = published(bench, "main")
        bench.observer.memory(KEY).published_at = time.monotonic() + 1
        await bench.api.merge(API_KEYS, SPACE, "alpha", {"spec": {"revoked": True}})
        await bench.look()
        await bench.until(lambda: not bench.queue._active and not bench.queue.is_due(KEY))
        assert published(bench, "main") == (old,)
        del bench.server.objects[API_KEYS.path(SPACE, "alpha")]
        await bench.make(API_KEYS, "alpha", spec={"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]})
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Active"))
        states = {(entry.version, entry.state) for entry in published(bench, "main")}
        assert states == {(1, "revoked"), (2, "active")}
        assert next(entry for entry in published(bench, "main") if entry.version == 1).digest == old.digest

    with_bench(work)


def test_a_revocation_is_not_ready_and_removes_nothing_before_it_is_published() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        secrets = {path for path in bench.server.objects if "/secrets/" in path}
        bench.observer.memory(KEY).published_at = time.monotonic() + 3600
        await bench.api.merge(API_KEYS, SPACE, "alpha", {"spec": {"revoked": True}})
        for _ in range(3):
            await bench.look()
            await bench.until(lambda: not bench.queue._active and not bench.queue.is_due(KEY))
        assert bench.condition(API_KEYS, "alpha", "Ready") == ("False", "Publishing")
        assert secrets == {path for path in bench.server.objects if "/secrets/" in path}
        bench.observer.memory(KEY).published_at = 0.0
        await bench.look()
        await bench.until(lambda: bench.condition(API_KEYS, "alpha", "Ready") == ("True", "Revoked"))
        assert [entry.state for entry in published(bench, "main")] == ["revoked"]

    with_bench(work)


def test_a_seal_of_somebody_else_keeps_no_revocation_back_and_is_reported() -> None:
    async def work(bench: Bench, service: Service) -> None:
        await bench.settle()
        ours = bench.server.objects.pop(secret("main-seal"))
        await bench.make(SECRETS, "main-seal", type="Opaque", data={"x": "eQ=="})
        bench.observer.seals.forget(SPACE, "main-seal")
        assert await revoke(bench, "alpha") < 3
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("True", "SecretNotOwned"))
        pod, delivered = PODS.path(SPACE, "web-1-a"), {api_types.POD_REVISION: service.edition()}
        await bench.until(lambda: bench.server.objects[pod]["metadata"]["annotations"] == delivered)
        await bench.rest()
        bench.server.calls.clear()
        await bench.look()
        await bench.rest()
        assert bench.server.writes() == []
        bench.server.objects[secret("main-seal")] = ours
        await bench.until(lambda: bench.condition(KEY_SETS, "main", "Degraded") == ("False", "AsExpected"))
        await bench.until(lambda: bench.secret("alpha-v1") is None)

    with_bench(work)


def owners(raw: Raw) -> list[str]:
    return [each["uid"] for each in raw["metadata"].get("ownerReferences") or []]


def test_a_seal_of_a_backup_belongs_to_the_key_set_that_there_is() -> None:
    async def work(bench: Bench, _service: Service) -> None:
        await bench.settle()
        for name in ("main-seal", "main-published"):
            await bench.api.merge(SECRETS, SPACE, name, {"metadata": {"ownerReferences": None}})
        await bench.look()
        keyset = bench.server.objects[KEY_SETS.path(SPACE, "main")]["metadata"]["uid"]
        wanted = {name: [keyset] for name in ("main-seal", "main-published")}
        await bench.until(lambda: {name: owners(bench.server.objects[secret(name)]) for name in wanted} == wanted)

    with_bench(work)


def test_what_kubectl_noted_of_a_plaintext_is_dropped_with_it() -> None:
    """`kubectl apply` keeps all that it was given, a key of a backup too, in an annotation."""

    async def work(bench: Bench, _service: Service) -> None:
        spec = {"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]}
        await bench.make(API_KEYS, "jo", spec={**spec, "delivery": {"mode": "DropAfter", "dropAfter": "1s"}})
        await bench.look()
        await bench.until(lambda: bench.secret("jo-v1"))
        notes = {"kubectl.kubernetes.io/last-applied-configuration": "the key", "theirs": "x"}
        await bench.api.merge(SECRETS, SPACE, "jo-v1", {"metadata": {"annotations": notes}})
        await bench.look()
        await bench.until(lambda: not (bench.secret("jo-v1") or {}).get("data"))
        kept = bench.server.objects[secret("jo-v1")]["metadata"]["annotations"]
        assert ("the key" in kept.values(), kept["theirs"]) == (False, "x")

    with_bench(work)


def test_a_revocation_does_not_wait_for_fifty_key_sets_whose_pods_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PUBLISH_SECONDS", PUBLISH_SECONDS)

    async def work(bench: Bench, service: Service) -> None:
        await bench.settle()
        service.slow = 2.0  # as a Pod that is gone: each question takes its whole time-out
        service.late = True
        target = bench.server.objects[KEY_SETS.path(SPACE, "main")]["spec"]["target"]
        for number in range(50):
            await bench.make(KEY_SETS, f"set-{number}", spec={"environment": "test", "target": target})
            spec = {"keySetRef": {"name": f"set-{number}"}, "owner": "tests", "scopes": ["ingest"]}
            await bench.make(API_KEYS, f"key-{number}", spec=spec)
        await bench.look()
        await bench.until(lambda: all(published(bench, f"set-{number}") for number in range(50)), 60)
        took = []
        for number in range(2):
            name = f"more-{number}"
            await bench.make(API_KEYS, name, spec={"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"]})
            await bench.look()
            await bench.until(partial(is_published, bench, name))
            took.append(await revoke(bench, name))
        assert max(took) < 20, "with four workers that waited it was 47 s"

    with_bench(work)
