"""The objects of the chart's ConfigMap are made once."""

from __future__ import annotations

import asyncio

import pytest
import yaml
from tests.unit.operator_.apiserver import ApiServer, run

from sluice_operator.api_types import CONFIG_MAPS, KEY_SETS, LEASES, Raw
from sluice_operator.client import Api, ApiError, Forbidden
from sluice_operator.process import Bootstrap

SPACE, NAME = "space", "first"


def document(kind: str, name: str, **spec: object) -> str:
    metadata = {"name": name, "labels": {"from": "chart"}}
    return str(yaml.safe_dump({"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}))


DATA = {
    "keyset.yaml": document("KeySet", "main", environment="test"),
    "apikey.yaml": document("ApiKey", "admin", keySetRef={"name": "main"}),
}


async def prepared(api: Api, data: Raw) -> None:
    await api.create(CONFIG_MAPS, SPACE, {"metadata": {"name": NAME}, "data": data})
    await api.create(LEASES, SPACE, {"metadata": {"name": "lease"}, "spec": {"holderIdentity": "me"}})


def test_the_apikey_comes_first_and_its_keyset_last() -> None:
    async def work(server: ApiServer, api: Api) -> list[str]:
        await prepared(api, DATA)
        server.calls.clear()
        await Bootstrap(api, SPACE, NAME, "lease").make()
        return server.writes()

    base = "POST /apis/sluice.dev/v1alpha1/namespaces/space"
    lease = "PATCH /apis/coordination.k8s.io/v1/namespaces/space/leases/lease"
    assert run(work) == [f"{base}/apikeys", f"{base}/keysets", lease]


def test_objects_are_in_our_namespace_with_their_labels() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await prepared(api, DATA)
        await Bootstrap(api, SPACE, NAME, "lease").make()
        made = server.objects["/apis/sluice.dev/v1alpha1/namespaces/space/apikeys/admin"]
        assert (made["kind"], made["metadata"]["labels"]) == ("ApiKey", {"from": "chart"})

    run(work)


def test_an_apikey_that_was_deleted_never_comes_back() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await prepared(api, DATA)
        await Bootstrap(api, SPACE, NAME, "lease").make()
        del server.objects["/apis/sluice.dev/v1alpha1/namespaces/space/apikeys/admin"]
        server.calls.clear()
        await Bootstrap(api, SPACE, NAME, "lease").make()
        assert server.writes() == []

    run(work)


def test_after_a_clean_up_nothing_comes_back_and_after_another_installation_all_does() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await prepared(api, DATA)
        await Bootstrap(api, SPACE, NAME, "lease").make()
        for path in [path for path in server.objects if "sluice.dev" in path]:
            del server.objects[path]
        server.calls.clear()
        await Bootstrap(api, SPACE, NAME, "lease").make()
        assert server.writes() == []
        del server.objects[CONFIG_MAPS.path(SPACE, NAME)]
        await api.create(CONFIG_MAPS, SPACE, {"metadata": {"name": NAME}, "data": DATA})
        await Bootstrap(api, SPACE, NAME, "lease").make()
        assert len((await api.list(KEY_SETS, SPACE)).items) == 1

    run(work)


def test_an_apikey_that_is_refused_holds_its_keyset_back() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await prepared(api, DATA)
        server.refused_names = {"admin"}
        made = Bootstrap(api, SPACE, NAME, "lease")
        with pytest.raises(ApiError):
            await made.make()
        assert (await api.list(KEY_SETS, SPACE)).items == []
        assert not made.done

    run(work)


def test_what_was_cut_short_is_gone_on_with() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await prepared(api, DATA)
        server.faults["POST", "keysets"] = 403
        with pytest.raises(Forbidden):
            await Bootstrap(api, SPACE, NAME, "lease").make()
        server.faults.clear()
        await Bootstrap(api, SPACE, NAME, "lease").make()
        assert len((await api.list(KEY_SETS, SPACE)).items) == 1

    run(work)


def test_a_missing_configmap_is_no_reason_to_go_on_asking() -> None:
    run(lambda _server, api: asyncio.wait_for(Bootstrap(api, SPACE, NAME, "lease").keep_trying(), 5))


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("text", ["{", "just text", None])
def test_nothing_is_made_of_documents_that_are_none_and_no_process_ends(name: str, text: str | None) -> None:
    async def work(server: ApiServer, api: Api) -> None:
        await prepared(api, {**DATA, name: text} if text is not None else {"x.yaml": "a: b"})
        server.calls.clear()
        made = Bootstrap(api, SPACE, NAME, "lease")
        await asyncio.wait_for(made.keep_trying(), 5)
        assert (server.writes(), made.done) == ([], False)

    run(work)
