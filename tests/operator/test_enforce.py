"""Enforce on Deployments that are not ours: by opt-in, once, and never against somebody else's field."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from tests.cluster.kube import Document, kind
from tests.integration.waiting import until
from tests.operator import stand
from tests.operator.conftest import Start
from tests.operator.stand import Stand

pytestmark = pytest.mark.timeout(180)
OPT_IN = {"sluice.dev/enforce": "true"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def shop(name: str, labels: dict[str, str], **container: object) -> Document:
    """Somebody else's Deployment. It has no Pods: what matters is what is written to it."""
    pod = {
        "containers": [{"name": "app", "image": "localhost/shop:1", **container}, {"name": "side", "image": "localhost/side:1"}]
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {**kind("apps/v1", "Deployment", name, spec=spec), "metadata": {"name": name, "labels": labels}}


@pytest.fixture
def name(stand_: Stand) -> Iterator[str]:
    """Of a Deployment and the KeySet that wants to enforce it."""
    name = f"shop-{secrets.token_hex(3)}"
    yield name
    stand_.space.kubectl("delete", "keyset,deployment", name, "--ignore-not-found", "--wait=false")


def keyset(name: str) -> Document:
    return stand.key_set(name, target={"name": name}, probes={"mode": "Enforce"})


def container(stand_: Stand, name: str) -> Document:
    found: Document = stand_.space.get("deployment", name)["spec"]["template"]["spec"]["containers"][0]
    return found


def generation(stand_: Stand, name: str) -> int:
    return int(stand_.space.get("deployment", name)["metadata"]["generation"])


@pytest.mark.usefixtures("operator")
def test_a_deployment_that_opted_in_is_wired_by_one_rollout(stand_: Stand, name: str) -> None:
    stand_.space.apply(shop(name, OPT_IN), keyset(name))
    until(lambda: all(probe in container(stand_, name) for probe in PROBES), 60, "it is wired")
    app = container(stand_, name)
    assert {"name": "KEYSET_FILE", "value": "/etc/sluice/keyset/keyset.json"} in app["env"]
    assert [(each["name"], each["mountPath"]) for each in app["volumeMounts"]] == [("sluice-keyset", "/etc/sluice/keyset")]
    assert len({app[probe]["httpGet"]["path"] for probe in PROBES}) == 2
    stand_.until_condition(name, "ProbesWired", "NotProven", 60, "keyset")  # it has no Pods that could be asked
    stand_.space.kubectl("label", "deployment", name, "changed=by-its-owner")
    stand_.patch("keyset", name, {"spec": {"maxKeys": 7}})
    until(lambda: stand_.reader.get("keyset", name)["status"]["observedGeneration"] == 2, 60, "it was looked at again")
    assert generation(stand_, name) == 2


@pytest.mark.usefixtures("operator")
def test_without_the_label_nothing_is_changed(stand_: Stand, name: str) -> None:
    stand_.space.apply(shop(name, {}), keyset(name))
    stand_.until_condition(name, "ProbesWired", "NotOptedIn", 60, "keyset")
    assert generation(stand_, name) == 1


def test_an_operator_that_may_not_enforce_says_so(stand_: Stand, start: Start, name: str) -> None:
    start().leads()
    stand_.space.apply(shop(name, OPT_IN), keyset(name))
    stand_.until_condition(name, "ProbesWired", "EnforceDisabled", 60, "keyset")
    assert generation(stand_, name) == 1


@pytest.mark.usefixtures("operator")
def test_a_field_of_somebody_else_is_reported_and_left_alone(stand_: Stand, name: str) -> None:
    theirs = {"httpGet": {"path": "/theirs", "port": 80}}
    document = json.dumps(shop(name, OPT_IN, livenessProbe=theirs))
    stand_.space.kubectl("apply", "--server-side", "--field-manager=argocd", "-f", "-", stdin=document)
    stand_.space.apply(keyset(name))
    stand_.until_condition(name, "ProbesWired", "FieldConflict", 60, "keyset")
    stand_.space.kubectl("annotate", "keyset", name, "looked=again")
    assert container(stand_, name)["livenessProbe"]["httpGet"]["path"] == "/theirs"
    assert generation(stand_, name) == 1
