"""The kinds on a real API server: it takes and refuses what the samples say, and `kubectl get` answers the first questions."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.kube import Cluster, Document, Namespace, kind
from tests.operator import stand
from tests.operator.hand import Hand
from tests.operator_samples import check
from tools.cluster import run

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[Namespace]:
    with cluster.namespace("samples") as space:
        yield space


@pytest.fixture
def hand(space: Namespace) -> Iterator[Hand]:
    with contextlib.closing(Hand(run.here().kubeconfig, space.name)) as hand:
        yield hand


def test_the_api_server_takes_and_refuses_what_the_samples_say(hand: Hand) -> None:

    def apply(body: dict[str, Any]) -> str:
        return hand.apply(body["kind"].lower(), body)

    def remove(body: dict[str, Any]) -> None:
        hand.delete(body["kind"].lower(), body["metadata"]["name"])

    assert list(check.faults(apply, remove)) == []


@pytest.mark.parametrize("name", ["apikeys", "keysets"])
def test_the_api_server_finds_nothing_to_say_against_a_schema(cluster: Cluster, name: str) -> None:
    """NonStructuralSchema is what it says of one that it only half uses."""
    crd = json.loads(cluster.kubectl("get", "crd", f"{name}.sluice.dev", "--output=json"))
    found = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
    assert found == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("name", ["apikeys", "keysets"])
def test_a_second_apply_of_a_kind_changes_nothing(cluster: Cluster, name: str) -> None:
    def version() -> str:
        return cluster.kubectl(
            "get", "crd", f"{name}.sluice.dev", "--output=jsonpath={.metadata.generation}/{.metadata.resourceVersion}"
        )

    stand.install_crds(cluster)
    before = version()
    stand.install_crds(cluster)
    assert version() == before


KEY = kind(
    "sluice.dev/v1alpha1",
    "ApiKey",
    "web",
    spec={"keySetRef": {"name": "main"}, "owner": "shop", "scopes": ["ingest"], "expiresAt": "2031-01-01T00:00:00Z"},
)
STATUS: Document = {
    "version": 3,
    "secretName": "web",
    "expiresAt": "2031-01-01T00:00:00Z",
    "nextAction": "Rotate",
    "nextActionAt": "2030-06-01T00:00:00Z",
    "lastUsedAt": "2026-01-01T00:00:00Z",
    "conditions": [
        {
            "type": name,
            "status": "True",
            "reason": "Active",
            "message": "version 3 is accepted by the target and handed out",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for name in ("Ready", "Active")
    ],
}


@pytest.fixture
def key(space: Namespace) -> Iterator[str]:
    space.apply(KEY)
    space.kubectl("patch", "apikey", "web", "--subresource=status", "--type=merge", "-p", json.dumps({"status": STATUS}))
    yield "web"
    space.kubectl("delete", "apikey", "web")


def cells(space: Namespace, *words: str) -> dict[str, str]:
    """Of the one object in a table of kubectl, by heading."""
    heading, row = space.kubectl("get", *words).splitlines()
    starts = [found.start() for found in re.finditer(r"(?<!\S)\S", heading)]
    ends = [*starts[1:], None]
    return {heading[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}


@pytest.mark.parametrize("word", ["apikeys", "slk"])
def test_kubectl_get_says_whether_a_key_is_safe_until_when_and_what_comes_next(space: Namespace, key: str, word: str) -> None:
    found = cells(space, word)
    assert found.pop("AGE")
    assert found == {
        "NAME": key,
        "READY": "True",
        "STATE": "Active",
        "VERSION": "3",
        "EXPIRES": "2031-01-01T00:00:00Z",
        "NEXT": "Rotate",
    }
    assert re.fullmatch(r"\d+[dy]\d*d?", cells(space, word, "-o", "wide")["LAST-USED"])


def test_kubectl_get_wide_says_whose_it_is_and_where(space: Namespace, key: str) -> None:
    found = cells(space, "apikeys", "-o", "wide")
    assert (found["OWNER"], found["KEYSET"], found["SECRET"]) == ("shop", "main", key)
    assert found["MESSAGE"] == "version 3 is accepted by the target and handed out"


def test_keys_are_listed_by_their_key_set_and_by_the_category(space: Namespace, key: str) -> None:
    chosen = space.kubectl("get", "apikeys", "--field-selector=spec.keySetRef.name=main", "-o", "name")
    assert chosen.strip() == f"apikey.sluice.dev/{key}"
    assert space.kubectl("get", "apikeys", "--field-selector=spec.keySetRef.name=other", "-o", "name") == ""
    assert key in space.kubectl("get", "sluice")


def test_a_spec_and_a_status_are_written_apart(space: Namespace, key: str) -> None:
    space.kubectl("patch", "apikey", key, "--type=merge", "-p", '{"status": {"version": 9}}')
    space.kubectl("patch", "apikey", key, "--subresource=status", "--type=merge", "-p", '{"spec": {"owner": "nobody"}}')
    found = space.get("apikey", key)
    assert (found["status"]["version"], found["spec"]["owner"]) == (3, "shop")
