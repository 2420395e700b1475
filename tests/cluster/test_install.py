"""The life of a release: installed, tested, upgraded in vain, beside another one, and gone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster import clients
from tests.cluster.ingress import Traefik
from tests.cluster.kube import Cluster, Namespace, Refused, ready
from tests.cluster.release import HOST, KEY, QUICK, Release, merged, name_of
from tests.cluster.siege import direct, routed
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)

# Kubernetes makes these in every namespace; events are the history of what is gone.
OF_EVERY_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
HISTORY = ("event/", "event.events.k8s.io/")


def test_helm_test_stores_an_event_and_reads_it_back(release: Release) -> None:
    said = release.test()
    assert "Phase:          Succeeded" in said
    assert "ok       the event is read back" in said


@pytest.mark.parametrize("way", ["service", "ingress"])
def test_events_go_in_and_are_stored(release: Release, traefik: Traefik, image: str, way: str) -> None:
    options = direct(release) if way == "service" else routed(traefik, HOST)
    clients.prepare(release.space, KEY)
    with clients.client(release.space, f"load-few-{way}", image, *options, "--rate=20", "--seconds=2") as client:
        report = client.report()
    books = clients.books(report, release.database)
    assert (report.failures, report.acknowledged) == ({}, 40)
    assert (books.lost, books.doubled, books.stored) == ([], [], 40)


ADMIN = ("/metrics", "/keyset", "/readiness", "/liveness", "/health")


@pytest.mark.parametrize(("path", "status"), [("/api/v1/whoami", 401), *((path, 404) for path in ADMIN)])
def test_the_ingress_carries_the_api_only(release: Release, traefik: Traefik, path: str, status: int) -> None:
    assert status_of(release, traefik.url + path, HOST) == status


ASK = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Host": sys.argv[2]})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def status_of(release: Release, url: str, host: str) -> int:
    """The answer to a GET without a key, asked from within a pod."""
    pod = name_of(release.pods()[0])
    return int(release.space.kubectl("exec", pod, "--", "python3", "-c", ASK, url, host))


def test_an_upgrade_that_does_not_get_ready_is_rolled_back_and_costs_nothing(release: Release, image: str) -> None:
    before = {name_of(pod) for pod in release.pods()}
    with pytest.raises(Refused, match="roll"):
        release.upgrade("localhost/sluice:absent", "--timeout=10s")
    release.rolled_out()
    assert {name_of(pod) for pod in release.pods()} == before
    assert release.deployment()["spec"]["template"]["spec"]["containers"][0]["image"] == image


@pytest.fixture(scope="module")
def second(space: Namespace, release: Release) -> Release:
    """Another release, in a namespace of its own, while the first one serves, for a user that the image does not know."""
    user = {"podSecurityContext": {"runAsUser": 1000660000, "runAsGroup": 0, "fsGroup": 1000660000}}
    made = Release(space, release.database.server.database(space.name), QUICK, user)
    made.prepare()
    return made


def objects(space: Namespace) -> set[str]:
    """All that is in a namespace but what Kubernetes puts into every one."""
    kinds = space.kubectl("api-resources", "--namespaced", "--verbs=list,delete", "--output=name").split()
    listed = space.kubectl("get", ",".join(kinds), "--output=name", "--ignore-not-found").split()
    return {name for name in listed if not name.startswith(HISTORY)} - OF_EVERY_NAMESPACE


def cluster_wide(cluster: Cluster) -> set[str]:
    """Everything outside of namespaces that Helm manages."""
    kinds = cluster.kubectl("api-resources", "--namespaced=false", "--verbs=list,delete", "--output=name").split()
    found = cluster.kubectl(
        "get", ",".join(kinds), "--selector=app.kubernetes.io/managed-by=Helm", "--output=name", "--ignore-not-found"
    )
    return set(found.split())


def test_a_second_release_comes_beside_the_first_and_goes_without_a_trace(
    cluster: Cluster, release: Release, second: Release, image: str
) -> None:
    before, before_everywhere = objects(second.space), cluster_wide(cluster)
    second.upgrade(image)
    stored = release.database.count()
    assert "Succeeded" in second.test()
    assert "Succeeded" in release.test()
    assert (second.database.count(), release.database.count()) == (1, stored + 1)
    second.uninstall()
    until(lambda: objects(second.space) == before, 60, "the pods are gone, and nothing else is left")
    assert cluster_wide(cluster) == before_everywhere
    assert all(map(ready, release.pods()))


EMBEDDED = {
    "database": {
        "embedded": True,
        "persistence": {"size": "1Gi"},
        "url": {"existingSecret": ""},
        "owner": {"url": {"existingSecret": ""}},
        "caConfigMap": {"name": ""},
    }
}


@pytest.fixture(scope="module")
def trial(cluster: Cluster, release: Release, image: str) -> Iterator[Release]:
    """With a database in its one pod, and one event."""
    with cluster.namespace("embedded") as space:
        trial = Release(space, release.database, QUICK)
        trial.values = merged(trial.values, EMBEDDED)
        trial.install(image)
        assert "the event is read back" in trial.test()
        yield trial


def test_the_successor_of_a_deleted_pod_waits_for_the_database_of_a_trial(trial: Release) -> None:
    """It begins while the one before still drains."""
    before = name_of(trial.pods()[0])
    trial.space.kubectl("delete", "pod", before, "--wait=false")
    until(lambda: [pod for pod in trial.pods() if name_of(pod) != before and ready(pod)], 90, "the next one is ready")
    (after,) = trial.pods()
    assert [each["restartCount"] for each in after["status"]["containerStatuses"]] == [0]
    assert "embedded.in_use" in trial.space.logs(name_of(after))
    assert events_of(trial) == 1


def test_a_trial_with_an_embedded_database_keeps_its_volume_and_its_events(trial: Release, image: str) -> None:
    """Through uninstall and install."""
    claims = trial.space.kubectl("get", "persistentvolumeclaims", "--output=name").split()
    trial.uninstall()
    assert trial.space.kubectl("get", "persistentvolumeclaims", "--output=name").split() == claims != []
    trial.upgrade(image)
    assert events_of(trial) == 1


COUNT = """
import json, sys, urllib.request
url = "http://127.0.0.1:8080/api/v1/logs/filter"
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + sys.argv[1]})
print(json.load(urllib.request.urlopen(request, timeout=10))["data"]["total_count"])
"""


def events_of(release: Release) -> int:
    """As the service itself counts them."""
    return int(release.space.kubectl("exec", name_of(release.pods()[0]), "--", "python3", "-c", COUNT, KEY))
