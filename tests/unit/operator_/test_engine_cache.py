"""What is kept of objects: the newest, small, and never a plaintext."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from sluice import keys
from sluice_operator import api_types
from sluice_operator.api_types import API_KEYS, DEPLOYMENTS, KEY_SETS, PODS, SECRETS, ApiKey, Raw
from sluice_operator.cache import Cache, Unreadable, api_key, keysets_of, plaintext, pod, secret
from sluice_operator.world import Pod, Published, Secret

SPACE = "space"
PLAIN = keys.mint("test", bytes)


def head(name: str, version: int = 1, **more: Any) -> Raw:
    return {
        "name": name,
        "namespace": SPACE,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-03-01T12:00:00Z",
        **more,
    }


def raw_secret(name: str, version: int = 1, value: str = PLAIN, kind: str = api_types.KEY_TYPE, **labels: str) -> Raw:
    data = {"key": base64.b64encode(value.encode()).decode()}
    return {"metadata": head(name, version, labels={api_types.LABEL_KEYSET: "main", **labels}), "type": kind, "data": data}


def raw_key(name: str = "alpha", version: int = 1, **spec: Any) -> Raw:
    whole = {"keySetRef": {"name": "main"}, "owner": "tests", "scopes": ["ingest"], **spec}
    return {"metadata": head(name, version), "spec": whole}


def raw_pod(version: int = 1, **status: Any) -> Raw:
    owner = {"kind": "ReplicaSet", "name": "web-1", "uid": "uid-rs", "controller": True}
    return {"metadata": head("web-1-a", version, ownerReferences=[owner]), "spec": {"nodeName": "n"}, "status": status}


def changes(cache: Cache) -> list[str]:
    """What a listener hears from now on."""
    heard: list[str] = []
    cache._listener = lambda _space, before, now: heard.append(f"{before is not None}{now is not None}")
    return heard


def test_of_a_secret_only_the_digest_is_kept() -> None:
    cache = Cache()
    cache.put(SECRETS, raw_secret("alpha"))
    kept = cache.secret(SPACE, "alpha")
    assert isinstance(kept, Secret)
    assert kept.digest == keys.digest(PLAIN)
    assert PLAIN not in repr(vars(cache))
    assert PLAIN.encode() not in msgspec.json.encode(kept)


def test_a_secret_without_a_key_has_no_digest() -> None:
    empty = raw_secret("alpha")
    for data in ({}, None, {"key": "no base64"}, {"other": "aGVsbG8="}, {"key": ""}):
        kept = secret({**empty, "data": data})
        assert isinstance(kept, Secret)
        assert kept.digest is None
        assert plaintext({**empty, "data": data}) is None


def test_what_is_no_text_is_no_key() -> None:
    binary = {**raw_secret("alpha"), "data": {"key": base64.b64encode(b"\xff\xfe").decode()}}
    assert plaintext(binary) is None
    assert isinstance(secret(binary), Secret)


def test_a_key_set_that_cannot_be_read_is_there_without_a_document() -> None:
    kept = secret(raw_secret("main-published", kind=api_types.KEYSET_TYPE))
    assert isinstance(kept, Published)
    assert kept.document is None


def test_an_older_version_never_replaces_a_newer_one() -> None:
    cache = Cache()
    heard = changes(cache)
    cache.put(SECRETS, raw_secret("alpha", 9))
    cache.put(SECRETS, raw_secret("alpha", 8, "another"))
    assert cache.secret(SPACE, "alpha") == secret(raw_secret("alpha", 9))
    assert heard == ["FalseTrue"]


def test_a_list_after_a_restore_replaces_a_newer_one() -> None:
    cache = Cache()
    cache.put(SECRETS, raw_secret("alpha", 9))
    cache.put(SECRETS, raw_secret("alpha", 8, "another"), older=True)
    assert cache.secret(SPACE, "alpha") == secret(raw_secret("alpha", 8, "another"))


def test_a_list_after_a_restore_brings_back_what_was_deleted() -> None:
    cache = Cache()
    cache.put(API_KEYS, raw_key())
    cache.remove(API_KEYS, SPACE, "alpha", "uid-alpha")
    cache.put(API_KEYS, raw_key(version=9), older=True)
    assert isinstance(cache.api_key(SPACE, "alpha"), ApiKey)
    cache.put(API_KEYS, raw_key(version=10, suspended=True))
    assert cache.api_key(SPACE, "alpha") == api_key(raw_key(version=10, suspended=True))


def test_a_new_resource_version_alone_is_no_news() -> None:
    cache = Cache()
    cache.put(API_KEYS, raw_key())
    heard = changes(cache)
    cache.put(API_KEYS, raw_key(version=2))
    assert heard == []
    cache.put(API_KEYS, raw_key(version=3, owner="others"))
    assert heard == ["TrueTrue"]


def test_the_answer_to_our_own_write_is_no_news() -> None:
    cache = Cache()
    cache.put(API_KEYS, raw_key())
    heard = changes(cache)
    cache.put(API_KEYS, {**raw_key(version=2), "status": {"keys": 1}}, ours=True)
    cache.put(SECRETS, raw_secret("alpha"), ours=True)
    assert heard == []
    kept = cache.api_key(SPACE, "alpha")
    assert kept is not None
    assert kept.status == {"keys": 1}


@pytest.mark.parametrize("before", [True, False])
def test_what_somebody_changed_just_before_our_own_write_is_news(before: bool) -> None:
    cache = Cache()
    if before:
        cache.put(API_KEYS, raw_key())
    heard = changes(cache)
    cache.put(API_KEYS, {**raw_key(version=3, revoked=True), "status": {"keys": 1}}, ours=True)
    cache.put(API_KEYS, raw_key(version=2, revoked=True))  # and its watch is too late to tell
    assert heard == [f"{before}True"]


def test_a_list_removes_what_is_gone_and_keeps_what_came_after_it() -> None:
    cache = Cache()
    for name, version in (("gone", 1), ("stays", 2), ("later", 20)):
        cache.put(SECRETS, raw_secret(name, version))
    cache.retain(SECRETS, SPACE, {"stays"}, 10)
    assert {each.name for each in cache.secrets(SPACE) if isinstance(each, Secret)} == {"stays", "later"}


def test_a_late_deletion_does_not_remove_the_one_that_came_after() -> None:
    cache = Cache()
    cache.put(SECRETS, raw_secret("alpha"))
    cache.remove(SECRETS, SPACE, "alpha", "uid-of-the-one-before")
    assert cache.secret(SPACE, "alpha") is not None
    cache.remove(SECRETS, SPACE, "alpha", "uid-alpha")
    assert cache.secret(SPACE, "alpha") is None


def test_an_answer_that_comes_after_the_deletion_brings_nothing_back() -> None:
    cache = Cache()
    cache.put(SECRETS, raw_secret("alpha"))
    cache.remove(SECRETS, SPACE, "alpha", "uid-alpha", raw_secret("alpha", 10))
    cache.put(SECRETS, raw_secret("alpha", 9), ours=True)
    cache.put(SECRETS, raw_secret("alpha", 9))
    assert cache.secret(SPACE, "alpha") is None
    again = raw_secret("alpha", 11)
    again["metadata"]["uid"] = "uid-of-the-next"
    cache.put(SECRETS, again)
    assert cache.secret(SPACE, "alpha") is not None


def test_a_secret_whose_label_comes_back_is_followed_again() -> None:
    """A watch by label tells that it was deleted when only its label was."""
    cache = Cache()
    cache.put(SECRETS, raw_secret("alpha"))
    cache.remove(SECRETS, SPACE, "alpha", "uid-alpha", raw_secret("alpha", 2))
    cache.put(SECRETS, raw_secret("alpha", 3), ours=True)
    heard = changes(cache)
    cache.put(SECRETS, raw_secret("alpha", 4, "another"))
    assert heard == ["TrueTrue"]
    cache.retain(SECRETS, SPACE, set(), 5)
    cache.put(SECRETS, raw_secret("alpha", 5), ours=True)
    assert cache.secret(SPACE, "alpha") is None


def test_an_apikey_that_breaks_the_rules_is_kept_as_such() -> None:
    cache = Cache()
    cache.put(API_KEYS, raw_key(scopes=["everything"]))
    [kept] = cache.api_keys(SPACE)
    assert isinstance(kept, Unreadable)
    assert (kept.keyset, kept.aside.revoked) == ("main", False)
    assert kept.aside.about.endswith("wrong value at `$.spec.scopes[0]`")
    assert keysets_of(cache, SPACE, kept, {}) == {"main"}


def test_each_object_is_about_its_key_sets() -> None:
    cache = Cache()
    for name, target in (("main", "web"), ("other", "else")):
        raw = {"metadata": head(name), "spec": {"environment": "test", "target": {"name": target}}}
        cache.put(KEY_SETS, raw)
    changed = [
        cache.put(API_KEYS, raw_key()),
        cache.put(SECRETS, raw_secret("alpha")),
        cache.put(DEPLOYMENTS, {"metadata": head("web"), "spec": {}}),
        cache.put(PODS, raw_pod()),
    ]
    about = [keysets_of(cache, SPACE, each, {}) for each in changed if each is not None]
    assert about == [{"main"}, {"main"}, {"main"}, {"main", "other"}]


@pytest.mark.parametrize("kind", ["Job", "StatefulSet", "DaemonSet", ""])
def test_a_pod_that_can_be_no_deployments_makes_no_key_set_due(kind: str) -> None:
    cache = Cache()
    cache.put(KEY_SETS, {"metadata": head("main"), "spec": {"environment": "test", "target": {"name": "web"}}})
    raw = raw_pod()
    raw["metadata"]["ownerReferences"] = [{"kind": kind, "name": "x", "uid": "uid-x", "controller": True}] if kind else []
    kept = cache.put(PODS, raw)
    assert kept is not None
    assert keysets_of(cache, SPACE, kept, {}) == set()


@pytest.mark.parametrize(("deployment", "due"), [("uid-web", {"main"}), ("uid-else", set()), (None, set())])
def test_a_pod_of_a_deployment_that_is_known_makes_its_key_sets_due(deployment: str | None, due: set[str]) -> None:
    cache = Cache()
    for name, target in (("main", "web"), ("other", "not-there")):
        cache.put(KEY_SETS, {"metadata": head(name), "spec": {"environment": "test", "target": {"name": target}}})
    cache.put(DEPLOYMENTS, {"metadata": head("web"), "spec": {}})
    kept = cache.put(PODS, raw_pod())
    assert kept is not None
    assert keysets_of(cache, SPACE, kept, {"uid-rs": deployment}) == due


def test_a_pod_is_read_for_what_the_gate_asks() -> None:
    ready = {"type": "Ready", "status": "True"}
    running = raw_pod(podIP="10.0.0.1", conditions=[ready], containerStatuses=[{"started": True, "state": {"running": {}}}])
    assert pod(running) == Pod(
        metadata=pod(running).metadata, owner="uid-rs", ip="10.0.0.1", started=True, up=True, was_ready=True, finished=False
    )


def test_a_pod_is_finished_when_nothing_of_it_runs_or_will() -> None:
    ended: list[Raw] = [{"state": {"terminated": {}}}]
    assert not pod(raw_pod(containerStatuses=ended)).finished  # it is started again
    going = raw_pod(containerStatuses=ended)
    going["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    assert pod(going).finished
    assert not pod({**going, "status": {"containerStatuses": [*ended, {"state": {"running": {}}}]}}).finished
    assert not pod({**going, "status": {}}).finished
    assert pod(raw_pod(phase="Failed")).finished


def test_an_object_that_cannot_be_read_keeps_no_other_out() -> None:
    cache = Cache()
    broken = raw_secret("broken")
    broken["metadata"]["creationTimestamp"] = None
    for raw in (broken, raw_secret("alpha")):
        cache.put(SECRETS, raw)
    assert {each.name for each in cache.secrets(SPACE) if isinstance(each, Secret)} == {"alpha"}
