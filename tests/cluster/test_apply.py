"""What the real API server says of the chart's objects: each is taken, and a second apply finds nothing to change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import custom_resources
from tests.cluster.kube import Cluster, Document, Namespace, kind
from tests.cluster.release import CHART
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)

SETS = sorted((CHART / "ci").glob("*.yaml"), key=lambda path: path.name)
# Together they have every object that the chart can make.
APPLIED = ("default", "embedded", "everything", "http-route")
MANAGER = "gitops"
# Kinds whose defaults no GitOps tool knows: what the server adds to them would be a difference for ever.
SPELLED_OUT = ("HorizontalPodAutoscaler", "HTTPRoute", "PrometheusRule", "ServiceMonitor")


@pytest.fixture(scope="module", autouse=True)
def definitions(cluster: Cluster) -> Iterator[None]:
    with custom_resources.installed(cluster):
        yield


@pytest.fixture(scope="module")
def quiet(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace in which no pod may start, so that nothing but an apply changes an object."""
    with cluster.namespace("quiet") as space:
        space.apply(kind("v1", "ResourceQuota", "no-pods", spec={"hard": {"pods": "0"}}))
        until(lambda: space.get("resourcequota", "no-pods").get("status"), what="the quota is in force")
        yield space


def rendered(space: Namespace, values: Path, *more: str) -> str:
    return space.helm("template", "sluice", str(CHART), f"--values={values}", *more)


def test_there_are_value_sets_for_every_way_to_use_the_chart() -> None:
    assert len(SETS) >= 12


@pytest.mark.parametrize("values", SETS, ids=lambda path: path.stem)
def test_the_api_server_takes_every_value_set_without_a_warning(space: Namespace, values: Path) -> None:
    """With Pod Security's warnings, which for a Deployment or a Job are all that the profile says."""
    words = ("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "--filename=-")
    text = rendered(space, values)
    # A Pod (of `helm test`) is refused without its ServiceAccount, and a dry run makes none.
    space.apply(*(each for each in yaml.safe_load_all(text) if each and each["kind"] == "ServiceAccount"))
    taken = space.kubectl(*words, "--force-conflicts", stdin=text).splitlines()
    assert len(taken) >= 5
    assert all(line.endswith("serverside-applied (server dry run)") for line in taken)


@pytest.mark.parametrize("way", ["--server-side", "--server-side=false"])
@pytest.mark.parametrize("name", APPLIED)
def test_a_second_apply_changes_nothing(quiet: Namespace, name: str, way: str) -> None:
    # A kind that is deleted as soon as it was made may stay for minutes; tests/operator applies them twice.
    text = rendered(quiet, CHART / "ci" / f"{name}.yaml", "--no-hooks", "--set=crds.install=false")
    words = ("apply", way, f"--field-manager={MANAGER}", "--filename=-")
    try:
        quiet.kubectl(*words, stdin=text)
        before = settled(quiet, text)
        quiet.kubectl(*words, stdin=text)
        assert live(quiet, text) == before
    finally:
        quiet.kubectl("delete", "--filename=-", "--ignore-not-found", stdin=text)


def live(space: Namespace, text: str) -> list[Document]:
    """The objects as they are, without what controllers say of them; with the time at which the last apply changed one."""
    found: list[Document] = json.loads(space.kubectl("get", "--filename=-", "--output=json", stdin=text))["items"]
    scaled = {each["metadata"]["name"] for each in documents(text) if "replicas" not in each.get("spec", {})}
    for document in found:
        document.pop("status", None)
        metadata = document["metadata"]
        # A status has a part in them, and an autoscaler in the number of pods, which is then not in what was rendered.
        del metadata["resourceVersion"]
        metadata.pop("generation", None)
        if metadata["name"] in scaled:
            document.get("spec", {}).pop("replicas", None)
        metadata["managedFields"] = [each for each in metadata.get("managedFields", []) if each["manager"] == MANAGER]
    return found


def settled(space: Namespace, text: str) -> list[Document]:
    """`live`, once controllers have added what is theirs (the revision of a Deployment)."""
    until(lambda: all(map(observed, json.loads(space.kubectl("get", "--filename=-", "--output=json", stdin=text))["items"])))
    return live(space, text)


def observed(document: Document) -> bool:
    if document["kind"] != "Deployment":
        return True
    return bool(document.get("status", {}).get("conditions"))


@pytest.mark.parametrize("name", ["everything", "http-route"])
def test_nothing_is_left_to_the_server_s_defaults_where_tools_would_see_a_difference(quiet: Namespace, name: str) -> None:
    text = rendered(quiet, CHART / "ci" / f"{name}.yaml", "--no-hooks")
    wanted = {(each["kind"], each["metadata"]["name"]): each["spec"] for each in documents(text) if each["kind"] in SPELLED_OUT}
    answered = quiet.kubectl("apply", "--server-side", "--dry-run=server", "--filename=-", "--output=json", stdin=text)
    found = {(each["kind"], each["metadata"]["name"]): each.get("spec") for each in json.loads(answered)["items"]}
    assert wanted
    assert {key: found[key] for key in wanted} == wanted


def documents(text: str) -> list[Any]:
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture
def scaled(quiet: Namespace) -> Iterator[str]:
    """The render with an autoscaler, applied, after the autoscaler chose a number of its own."""
    text = rendered(quiet, CHART / "ci" / "autoscaling.yaml", "--no-hooks")
    quiet.kubectl("apply", "--server-side", f"--field-manager={MANAGER}", "--filename=-", stdin=text)
    # A quota of no pods keeps the real one from counting, so this does what it would.
    quiet.kubectl("scale", "deployment/sluice", "--replicas=5")
    yield text
    quiet.kubectl("delete", "--filename=-", stdin=text)


def test_an_apply_next_to_an_autoscaler_neither_conflicts_nor_takes_its_pods_away(quiet: Namespace, scaled: str) -> None:
    assert "replicas:" not in scaled
    quiet.kubectl("apply", "--server-side", f"--field-manager={MANAGER}", "--filename=-", stdin=scaled)
    assert quiet.get("deployment", "sluice")["spec"]["replicas"] == 5


def test_a_helm_upgrade_next_to_an_autoscaler_neither_conflicts_nor_takes_its_pods_away(quiet: Namespace) -> None:
    words = ("upgrade", "--install", "sluice", str(CHART), f"--values={CHART / 'ci' / 'autoscaling.yaml'}")
    try:
        quiet.helm(*words)
        quiet.kubectl("scale", "deployment/sluice", "--replicas=5")
        quiet.helm(*words, "--set=rollout.minReadySeconds=11")
        spec = quiet.get("deployment", "sluice")["spec"]
        assert (spec["replicas"], spec["minReadySeconds"]) == (5, 11)
    finally:
        quiet.helm("uninstall", "sluice")
