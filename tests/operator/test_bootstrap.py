"""`helm install` alone: the operator runs, makes a first key once, and the service takes it."""

from __future__ import annotations

import base64
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chart.test_runbooks import commands, of_the_operator, pages
from tests.cluster.kube import Cluster, Namespace, Refused, kind
from tests.integration.waiting import until
from tests.operator import installed, stand
from tests.operator.caller import DENIED, Caller
from tests.operator.installed import BRIEF, EMBEDDED, OF_NO_NAME, SECOND, SECONDS, install, running
from tools import kubectl as programs

from sluice import keys

pytestmark = pytest.mark.timeout(900)
KEY = {"tests": {"keySecret": {"name": "sluice-admin"}}}


@pytest.fixture(scope="module")
def first(cluster: Cluster, image: str) -> Iterator[Namespace]:
    """The first release of the cluster, with no value for its keys but the defaults."""
    with cluster.namespace("first") as space:
        install(space, running(image), EMBEDDED, BRIEF, KEY, wait=True)
        yield space
        space.helm("uninstall", "sluice")


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[Namespace]:
    """Without a release: the operator of the second looks after it."""
    with cluster.namespace("shop") as space:
        yield space


@pytest.fixture(scope="module")
def second(first: Namespace, shop: Namespace, image: str) -> Iterator[Namespace]:
    """Another one, which shares the kinds and the policies with the first."""
    with first.cluster.namespace("second") as space:
        install(space, running(image), EMBEDDED, BRIEF, KEY, SECOND, {"operator": {"watchNamespaces": [shop.name]}}, wait=True)
        yield space
        space.helm("uninstall", "sluice")


def test_the_operator_runs_as_a_user_without_a_name(first: Namespace, image: str) -> None:
    alone = {"operator": {"only": True, "bootstrap": {"enabled": False}}}
    with first.cluster.namespace("nameless") as space:
        install(space, running(image), SECOND, OF_NO_NAME, alone, wait=True)
        space.helm("uninstall", "sluice")


def plaintext(space: Namespace) -> str:
    return base64.b64decode(space.get("secret", "sluice-admin")["data"]["key"]).decode()


def handed_out(space: Namespace) -> None:
    space.wait("apikey/sluice-admin", "condition=Ready")


def test_the_line_in_the_notes_reads_the_first_key(first: Namespace) -> None:
    handed_out(first)
    told = first.helm("get", "notes", "sluice")
    (line,) = re.findall(r"^ +kubectl (get secret sluice-admin .*)$", told, re.MULTILINE)
    assert first.kubectl(*shlex.split(line)) == plaintext(first)
    assert keys.checksum_ok(plaintext(first))
    assert plaintext(first).startswith("slk_prod_")


def test_helm_test_stores_an_event_with_the_first_key(first: Namespace) -> None:
    handed_out(first)
    first.helm("test", "sluice", f"--timeout={SECONDS}s", seconds=SECONDS + 30)


def test_the_key_set_is_published_acknowledged_and_its_probes_are_judged(first: Namespace) -> None:
    """The embedded database has one pod, which a rollout takes away: the chart accepts that by annotation."""
    handed_out(first)

    def found() -> dict[str, str]:
        conditions = first.get("keyset", "sluice").get("status", {}).get("conditions", [])
        return {each["type"]: each["reason"] for each in conditions}

    until(lambda: found().get("ProbesWired") == "ProvenButMuted", 60, "the probes are judged")
    assert (found()["Ready"], found()["Converged"]) == ("Published", "Converged")


def test_the_operator_stands_by_without_restarts(first: Namespace) -> None:
    (pod,) = first.pods("app.kubernetes.io/component=operator")
    assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]


def test_an_upgrade_makes_no_other_key(first: Namespace) -> None:
    handed_out(first)
    before = plaintext(first)
    words = ("--reuse-values", "--set=operator.logLevel=debug", "--wait", f"--timeout={SECONDS}s")
    first.helm("upgrade", "sluice", str(installed.CHART), *words, seconds=SECONDS + 30)
    handed_out(first)
    assert (plaintext(first), first.get("apikey", "sluice-admin")["status"]["version"]) == (before, 1)


def test_a_second_release_has_keys_of_its_own(first: Namespace, second: Namespace) -> None:
    for space in (first, second):
        handed_out(space)
    assert plaintext(first) != plaintext(second)
    second.helm("test", "sluice", f"--timeout={SECONDS}s", seconds=SECONDS + 30)


def test_the_policies_of_the_first_bound_the_operator_of_the_second(second: Namespace) -> None:
    with Caller(second) as caller:
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "foreign"}}
        status, words = caller.create("secrets", made)
    assert (status, "only write Secrets of the types" in words) == (DENIED, True)


def test_keys_of_a_namespace_that_a_value_names_are_looked_after(second: Namespace, shop: Namespace) -> None:
    stand.furnish(shop)
    spec = {"keySetRef": {"name": stand.KEYSET}, "owner": "shop", "scopes": ["ingest"]}
    shop.apply(kind(stand.API_VERSION, "ApiKey", "shop", spec=spec))
    shop.wait("apikey/shop", "condition=Ready")
    assert second.name != shop.name
    assert keys.checksum_ok(base64.b64decode(shop.get("secret", "shop")["data"]["key"]).decode())


@pytest.mark.parametrize("alert", of_the_operator())
def test_every_line_of_a_runbook_runs(first: Namespace, alert: str, tmp_path: Path) -> None:
    """On a key of its own, which some lines end."""
    key = f"page-{of_the_operator().index(alert)}"
    spec = {"keySetRef": {"name": "sluice"}, "owner": "runbooks", "scopes": ["read"]}
    first.apply(kind("sluice.dev/v1alpha1", "ApiKey", key, spec=spec))
    first.wait(f"apikey/{key}", "condition=Ready")
    # The page before may have restarted it.
    rolled_out(first)
    lines = [line for line in commands(pages()[alert]) if line.startswith("kubectl ")]
    assert lines
    named = {"NAMESPACE": first.name, "NAME": "sluice-operator", "KEYSET": "sluice", "KEY": key, "HOME": str(tmp_path)}
    named["POD"] = first.pods("app.kubernetes.io/component=service")[0]["metadata"]["name"]
    named["DOCUMENT"] = first.get("secret", "sluice-published")["data"]["keyset.json"]
    assert [told for line in lines if (told := shell(first, line, named))] == []


def shell(space: Namespace, line: str, named: dict[str, str]) -> str:
    """Run a line of a page with its variables; what it tells when it fails."""
    path = os.pathsep.join((str(programs.kubectl().parent), os.defpath))
    environment = {**named, "PATH": path, "KUBECONFIG": space.cluster.kubeconfig}
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=120, check=False)
    return f"{line}\n{done.stderr}" if done.returncode else ""


def test_a_first_key_that_was_deleted_does_not_come_back(first: Namespace) -> None:
    """Last, for it ends what the tests before use."""
    handed_out(first)
    first.kubectl("delete", "apikey", "sluice-admin")
    first.kubectl("rollout", "restart", "deployment/sluice-operator")
    rolled_out(first)
    until(lambda: gone(first), 60, "its Secrets are gone")
    assert "sluice-admin" not in [each["metadata"]["name"] for each in first.get("apikeys")]


def rolled_out(space: Namespace) -> None:
    """Until the operator is, and no Pod of it is on its way."""
    space.kubectl("rollout", "status", "deployment/sluice-operator", f"--timeout={SECONDS}s", seconds=SECONDS + 10)


def gone(space: Namespace) -> bool:
    try:
        space.kubectl("get", "secret", "sluice-admin")
    except Refused:
        return True
    return False
