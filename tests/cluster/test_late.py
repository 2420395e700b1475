"""Pods that come before what they need wait for it, say for what, and start when it is there: without a restart."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.cluster.database import PostgreSQL
from tests.cluster.kube import Document, Namespace, config_map, secret
from tests.cluster.release import KEY, QUICK, Release, name_of
from tests.integration.waiting import until

pytestmark = pytest.mark.timeout(600)

PATIENCE = 120
# The pods wait so long for a Secret, and are given the time for it.
PATIENT = {
    "timing": {"secretWaitSeconds": 150},
    "probes": {"startup": {"failureThreshold": 200}},
}


class Late:
    """A release whose pods were made first. Each step brings one more thing, and tells what the log says before that."""

    def __init__(self, release: Release) -> None:
        self.release = release

    def says(self, event: str, **more: str) -> bool:
        """Whether every pod of the service has a line like this."""
        return all(any(like(line, event, more) for line in self._lines(pod)) for pod in self.release.pods())

    def wait(self, event: str, **more: str) -> None:
        until(lambda: self.release.pods() and self.says(event, **more), PATIENCE, f"the log says {event} {more}")

    def hurry(self) -> None:
        """Have the kubelet look at the volumes now instead of in a minute: any change of a pod makes it do so."""
        self.release.space.kubectl(
            "annotate",
            "pods",
            "--overwrite",
            f"--selector={self.release.selector}",
            f"test/hurry={datetime.now(UTC).timestamp()}",
        )

    def _lines(self, pod: Document) -> list[Document]:
        text = self.release.space.logs(name_of(pod))
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def like(line: Document, event: str, more: dict[str, str]) -> bool:
    return line.get("event") == event and all(value in line.get(name, "") for name, value in more.items())


def restarts(release: Release) -> int:
    return sum(pod["status"]["containerStatuses"][0]["restartCount"] for pod in release.pods())


@pytest.fixture
def late(space: Namespace, postgresql: PostgreSQL) -> Late:
    return Late(Release(space, postgresql.database(space.name), QUICK, PATIENT))


def test_a_release_that_comes_first_waits_for_secret_name_clock_and_schema(
    late: Late, postgresql: PostgreSQL, image: str
) -> None:
    release, space = late.release, late.release.space
    release.begin(image, migration={"enabled": False})
    late.wait("waiting.for_secrets")
    url = release.database.url(host=f"late.{postgresql.space.name}.svc")
    tomorrow = postgresql.authority.valid_from(datetime.now(UTC) + timedelta(days=1))
    space.apply(
        secret("keys", API_KEYS=KEY, key=KEY),
        secret("database", DATABASE_URL=url),
        config_map("database-ca", {"ca.crt": tomorrow}),
    )
    late.hurry()
    late.wait("readiness", reason="database_unreachable")
    postgresql.name("late")
    late.wait("readiness", reason="tls_refused")
    release.prepare()
    late.hurry()
    late.wait("readiness", reason="schema_behind")
    pods = {name_of(pod) for pod in release.pods()}
    release.upgrade(image)
    assert {name_of(pod) for pod in release.pods()} == pods
    assert restarts(release) == 0
    assert late.says("readiness", reason="ready")
    assert "Succeeded" in release.test()
