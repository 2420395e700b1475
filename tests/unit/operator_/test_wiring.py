"""What Enforce gives a Deployment: three probes, volume, mount and KEYSET_FILE, once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.unit.operator_.cluster import START
from tests.unit.operator_.deployments import budget, container, deployment

from sluice_operator import probes
from sluice_operator.api_types import KeySet, parse


def keyset(**probes: Any) -> KeySet:
    spec = {"environment": "prod", "target": {"name": "web"}, "probes": {"mode": "Enforce", **probes}}
    return parse(KeySet, {"metadata": {"name": "main", "creationTimestamp": START}, "spec": spec})


def bare() -> dict[str, Any]:
    """A Deployment of somebody who has thought of nothing."""
    names = ("startupProbe", "readinessProbe", "livenessProbe", "volumeMounts", "env")
    return deployment(container(**dict.fromkeys(names)), pod={"volumes": [{"name": "data", "emptyDir": {}}]})


def wired(keyset: KeySet, whole: dict[str, Any]) -> dict[str, Any]:
    patch = probes.patch(keyset, whole)
    assert patch is not None
    return patch


def merged(whole: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """What a server-side apply makes of it: lists by name, and its own defaults."""
    result = copy.deepcopy(whole)
    pod, given = result["spec"]["template"]["spec"], copy.deepcopy(patch["spec"]["template"]["spec"])
    pod["volumes"] = [*pod.get("volumes", []), *given["volumes"]]
    [change] = given["containers"]
    for each in pod["containers"]:
        if each["name"] == change["name"]:
            each.update({name: value for name, value in change.items() if name.endswith("Probe")})
            for field in ("env", "volumeMounts"):
                each[field] = [*each.get(field, []), *change[field]]
    return result


def test_the_patch_names_nothing_but_what_it_wires() -> None:
    patch = wired(keyset(), bare())
    assert (patch["apiVersion"], patch["kind"], patch["metadata"]) == ("apps/v1", "Deployment", {"name": "web"})
    assert list(patch) == ["apiVersion", "kind", "metadata", "spec"]
    [held] = patch["spec"]["template"]["spec"]["containers"]
    assert set(held) == {"name", "env", "volumeMounts", "startupProbe", "readinessProbe", "livenessProbe"}
    assert held["env"] == [{"name": "KEYSET_FILE", "value": "/etc/sluice/keyset/keyset.json"}]
    assert held["volumeMounts"] == [{"name": "sluice-keyset", "mountPath": "/etc/sluice/keyset", "readOnly": True}]
    assert patch["spec"]["template"]["spec"]["volumes"] == [
        {"name": "sluice-keyset", "secret": {"secretName": "main-published", "optional": True}}
    ]


def test_what_is_wired_passes_the_lints_of_its_probes_and_mount() -> None:
    done = merged(bare(), wired(keyset(), bare()))
    assert probes.lint(done, [budget()], "main-published") == []


def test_the_three_probes_are_distinct_and_patient_in_this_order() -> None:
    [held] = wired(keyset(), bare())["spec"]["template"]["spec"]["containers"]
    startup, readiness, liveness = (held[name] for name in probes.PROBES)
    assert readiness["httpGet"] == {"path": "/readiness", "port": 8081, "scheme": "HTTP"}
    assert startup["httpGet"] == liveness["httpGet"] == {"path": "/liveness", "port": 8081, "scheme": "HTTP"}
    assert (probes.budget(startup), probes.budget(readiness), probes.budget(liveness)) == (120, 6, 60)
    assert [probe["periodSeconds"] for probe in (startup, readiness, liveness)] == [2, 2, 10]
    assert {probe["timeoutSeconds"] for probe in (startup, readiness, liveness)} == {1}
    assert {probe["successThreshold"] for probe in (startup, readiness, liveness)} == {1}


def test_paths_and_container_can_be_named() -> None:
    whole = deployment({"name": "proxy"}, container())
    [held] = wired(keyset(container="web", readinessPath="/ready", livenessPath="/live"), whole)["spec"]["template"]["spec"][
        "containers"
    ]
    assert (held["name"], held["readinessProbe"]["httpGet"]["path"], held["livenessProbe"]["httpGet"]["path"]) == (
        "web",
        "/ready",
        "/live",
    )


def test_without_its_container_there_is_no_patch() -> None:
    assert probes.patch(keyset(container="other"), bare()) is None


def test_what_is_wired_needs_no_second_write() -> None:
    patch = wired(keyset(), bare())
    assert not probes.is_wired(patch, bare())
    assert probes.is_wired(patch, merged(bare(), patch))


@pytest.mark.parametrize("field", ["startupProbe", "readinessProbe", "livenessProbe", "env", "volumeMounts"])
def test_what_is_missing_is_seen(field: str) -> None:
    patch = wired(keyset(), bare())
    done = merged(bare(), patch)
    del done["spec"]["template"]["spec"]["containers"][0][field]
    assert not probes.is_wired(patch, done)


def test_what_is_different_is_seen() -> None:
    patch = wired(keyset(), bare())
    done = merged(bare(), patch)
    done["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"] = 5
    assert not probes.is_wired(patch, done)


def test_fields_that_the_api_server_or_others_add_do_not_matter() -> None:
    patch = wired(keyset(), bare())
    done = merged(bare(), patch)
    done["spec"]["template"]["spec"]["volumes"][-1]["secret"]["defaultMode"] = 420
    done["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy"})
    assert probes.is_wired(patch, done)


@pytest.mark.parametrize(
    ("whole", "wanted", "there"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ("a", {"a": 1}, False),
        ([1, 2], [2], True),
        ([1], [2], False),
        (1, [1], False),
        ("text", "text", True),
        ("text", "te", False),
    ],
)
def test_having_all_is_having_each(whole: Any, wanted: Any, there: bool) -> None:
    assert probes.has(whole, wanted) is there


@pytest.mark.parametrize(
    ("labels", "allowed"),
    [({"sluice.dev/enforce": "true"}, True), ({"sluice.dev/enforce": "false"}, False), ({}, False)],
)
def test_only_an_opted_in_deployment_is_wired(labels: dict[str, str], allowed: bool) -> None:
    assert probes.opted_in({"metadata": {"labels": labels}}) is allowed
    assert probes.opted_in({}) is False


@pytest.mark.parametrize(
    ("container", "handlers"),
    [
        ({"name": "main"}, ()),
        ({"name": "main", "readinessProbe": {"httpGet": {"path": "/"}}}, ()),
        (
            {"name": "main", "livenessProbe": {"exec": {}}, "readinessProbe": {"tcpSocket": {}}, "startupProbe": {"grpc": {}}},
            ("startupProbe.grpc", "readinessProbe.tcpSocket", "livenessProbe.exec"),
        ),
    ],
)
def test_handlers_beside_which_an_http_get_is_refused_are_named(container: dict[str, Any], handlers: tuple[str, ...]) -> None:
    deployment = {"spec": {"template": {"spec": {"containers": [container]}}}}
    assert probes.other_handlers(keyset(), deployment) == handlers
    assert probes.other_handlers(keyset(), {}) == ()
