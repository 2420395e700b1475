"""Behind a load balancer that learns of pods late and lets them go late (balancer.py), pods leave only when others serve.

What stands for the webhook of the AWS Load Balancer Controller is a patch of the Deployment: it adds the readiness gate.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cluster.balancer import GATE, PORT
from tests.cluster.database import PostgreSQL
from tests.cluster.kube import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Cluster,
    Document,
    Namespace,
    Refused,
    config_map,
    kind,
    mount,
    service,
)
from tests.cluster.release import QUICK, Release, name_of
from tests.cluster.siege import Aftermath, siege
from tests.integration.waiting import until

# Minutes on a node with two cores: `make soak SOAK=sandbox`.
pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

FILE = Path(__file__).with_name("balancer.py")
NAME, LABELS = "balancer", {"app": "balancer"}
# Seconds. A target is healthy REGISTER + INTERVAL after its containers are ready; the chart asks for INTERVAL x COUNT.
REGISTER, INTERVAL, COUNT, DEREGISTER = 2, 5, 2, 3
PATIENCE = INTERVAL * COUNT + 1
ALB = "alb.ingress.kubernetes.io"
# One pod, of which the load balancer must never know none: AWS's own example of what goes wrong.
VALUES: Document = {
    "replicaCount": 1,
    "podDisruptionBudget": {"enabled": False},
    "rollout": {"minReadySeconds": PATIENCE},
    "ingress": {
        "enabled": True,
        "className": "alb",
        "annotations": {
            f"{ALB}/target-type": "ip",
            f"{ALB}/healthcheck-interval-seconds": str(INTERVAL),
            f"{ALB}/healthy-threshold-count": str(COUNT),
            f"{ALB}/load-balancer-attributes": "idle_timeout.timeout_seconds=60",
            f"{ALB}/target-group-attributes": f"deregistration_delay.timeout_seconds={DEREGISTER}",
        },
    },
}


@dataclass(frozen=True)
class Story:
    """What `helm test` said without and with gates, and what a restart cost the clients in each way to run it."""

    without_gates: str
    with_gates: str
    gated: Aftermath
    blind: Aftermath
    patient: Aftermath


@pytest.fixture(scope="module")
def story(cluster: Cluster, postgresql: PostgreSQL, image: str) -> Story:
    with cluster.namespace("balancer") as space:
        release = Release(space, postgresql.database(space.name), QUICK, VALUES)
        release.install(image)
        with pytest.raises(Refused) as refused:
            release.test()
        space.apply(*rights(space), config_map(NAME, {FILE.name: FILE.read_text()}), service(NAME, LABELS, web=PORT))
        with balancer(release, image):
            patch(release, {"minReadySeconds": 1, "template": {"spec": {"readinessGates": [{"conditionType": GATE}]}}})
            release.rolled_out()
            told = release.test()
            gated = restarted(release, image)
        with balancer(release, image, "--blind-gates"):
            blind = restarted(release, image)
            patch(release, {"minReadySeconds": PATIENCE})
            patient = restarted(release, image)
        return Story(str(refused.value), told, gated, blind, patient)


def test_with_readiness_gates_a_rollout_fails_no_request(story: Story) -> None:
    assert story.gated.failed == {}, story.gated.details()
    assert all(books.lost == [] for books in story.gated.books.values())


def test_without_them_a_pod_that_is_ready_for_longer_than_the_health_checks_take_is_enough(story: Story) -> None:
    assert story.patient.failed == {}, story.patient.details()


def test_without_either_the_load_balancer_is_left_with_nobody(story: Story) -> None:
    """Else the two above would prove nothing."""
    assert any("status 503" in failed for failed in story.blind.failed.values()), story.blind.details()


def test_helm_test_sees_whether_pods_have_the_gate(story: Story) -> None:
    assert "FAILED: 1 of 1 pods have no readiness gate of the load balancer" in story.without_gates
    assert "ok: 1 pods have the readiness gate" in story.with_gates


def restarted(release: Release, image: str) -> Aftermath:
    url = f"http://{NAME}.{release.space.name}.svc:{PORT}"
    release.settle()
    until(lambda: f"{name_of(release.pods()[0])} serves" in release.space.logs(NAME), 60, "the pod is a healthy target")
    with siege(release, image, {"clients": (f"--url={url}", "--rate=40", "--connections=10")}) as under:
        under.happen("restarted", release.restart)
    return under.aftermath


def patch(release: Release, spec: Document) -> None:
    release.space.kubectl("patch", f"deployment/{release.name}", "--patch", json.dumps({"spec": spec}))


@contextlib.contextmanager
def balancer(release: Release, image: str, *options: str) -> Iterator[None]:
    space = release.space
    space.apply(pod(image, release, options))
    try:
        space.wait(f"pod/{NAME}", "condition=Ready")
        yield
    finally:
        space.kubectl("delete", "pod", NAME, "--grace-period=0", "--force")


def pod(image: str, release: Release, options: tuple[str, ...]) -> Document:
    numbers = [f"--register={REGISTER}", f"--interval={INTERVAL}", f"--count={COUNT}", f"--deregister={DEREGISTER}"]
    words = ["python3", "/balancer/balancer.py", f"--namespace={release.space.name}", f"--selector={release.selector}"]
    container = {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [*words, *numbers, *options],
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [mount("program", "/balancer")],
    }
    spec = {
        "serviceAccountName": NAME,
        "securityContext": POD_SECURITY,
        "containers": [container],
        "volumes": [{"name": "program", "configMap": {"name": NAME}}],
    }
    return {**kind("v1", "Pod", NAME, spec=spec), "metadata": {"name": NAME, "labels": LABELS}}


def rights(space: Namespace) -> tuple[Document, ...]:
    """To see pods, and to say of them whether the load balancer sends to them."""
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": space.name}]
    return (
        kind("v1", "ServiceAccount", NAME),
        kind("rbac.authorization.k8s.io/v1", "Role", NAME, rules=rules),
        kind("rbac.authorization.k8s.io/v1", "RoleBinding", NAME, roleRef=role, subjects=subjects),
    )
