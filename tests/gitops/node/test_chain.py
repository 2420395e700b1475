"""The whole chain on real engines, in the order of a platform's life: bootstrap, releases, a bad one, drift, the end.

The tests share one cluster and one repository and run in this order; each leaves everything healthy.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
import yaml
from tests.cluster import builds
from tests.cluster.kube import Document, Refused
from tests.gitops.node.argo import described
from tests.gitops.node.conftest import ALL, NAME, PARTS, Platform, handed_over
from tests.gitops.node.health import health
from tests.integration.waiting import until
from tools.release import repository

# The first one waits for an image that may have to be built from nothing.
pytestmark = pytest.mark.timeout(2400)
SERVICE = f"{NAME}-service"
QUIET = int(os.environ.get("SOAK_QUIET_SECONDS", "30"))


def created(document: Document) -> str:
    return str(document["metadata"]["creationTimestamp"])


def rolled_out(deployment: Document) -> str:
    """When its pods were available for the first time: availability itself may come and go on a busy machine."""
    (progress,) = (each for each in deployment["status"]["conditions"] if each["type"] == "Progressing")
    assert progress["reason"] == "NewReplicaSetAvailable"
    return str(progress["lastUpdateTime"])


def test_a_fresh_cluster_becomes_healthy_in_the_right_order(platform: Platform) -> None:
    """Namespace, kinds and policies, operator, migration, service: each when the one before was through."""
    cluster, space = platform.cluster, platform.space
    (job,) = space.get("jobs")
    operator, service = space.get("deployment", "sluice-operator"), space.get("deployment", "sluice")
    moments = [
        created(described(cluster, "namespace sluice")),
        created(described(cluster, "crd apikeys.sluice.dev")),
        created(described(cluster, "validatingadmissionpolicy sluice-operator-pods")),
        created(operator),
        rolled_out(operator),
        created(job),
        job["status"]["completionTime"],
        created(service),
        rolled_out(service),
    ]
    assert moments == sorted(moments)
    keys = created(space.get("apikey", "admin"))
    assert rolled_out(operator) <= keys


def test_the_namespace_enforces_the_restricted_profile(platform: Platform) -> None:
    labels = described(platform.cluster, "namespace sluice")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_key_in_git_is_a_working_key(platform: Platform) -> None:
    assert platform.answers(platform.key()) == {200}


def test_health_comes_from_lua_of_real_objects(platform: Platform) -> None:
    real = [platform.space.get("keyset", "sluice"), platform.space.get("apikey", "admin"), platform.argo.application(SERVICE)]
    assert {each["kind"]: health(each)[0] for each in real} == {
        "KeySet": "Healthy",
        "ApiKey": "Healthy",
        "Application": "Healthy",
    }


def test_a_commit_becomes_a_rollout_and_no_request_fails(platform: Platform) -> None:
    """Commit, image, registry, signature, verification, git, sync, migration, rollout, under open-loop load."""
    chain, argo = platform.chain, platform.argo
    for file, text in builds.EXPANDED.items():
        (chain.work / builds.MIGRATIONS / file).write_text(text)
    with platform.load() as load:
        second = chain.sign(chain.build(chain.commit("Add a column")))
        done = chain.bump(second)
        assert f"Release build {second.build} to staging" in done.output
        with chain.step("sync"):
            argo.until_revision(chain.head(), SERVICE)
        with chain.step("migration and rollout"):
            argo.until_healthy(*PARTS)
            platform.release.settle()
    load.is_clean()
    assert platform.release.deployment()["spec"]["template"]["spec"]["containers"][0]["image"].endswith(second.digest)
    assert (
        platform.database.query(
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'events' AND column_name = 'note'"
        )
        == "1\n"
    )
    print(json.dumps({"seconds": chain.seconds, "sent": load.report.sent}))


def test_an_image_that_nobody_or_somebody_else_signed_never_reaches_git(platform: Platform) -> None:
    chain = platform.chain
    built = chain.broken(platform.first)
    head = chain.head()
    unsigned = chain.bump(built)
    assert (unsigned.exit_code, "it was not signed" in unsigned.output) == (1, True)
    wrongly = chain.bump(chain.sign(built, by="theirs"))
    assert (wrongly.exit_code, "does not prove" in wrongly.output) == (1, True)
    assert chain.head() == head


def test_the_signatures_are_beside_the_image_too(platform: Platform) -> None:
    """For admission policies and the Image Updater, which ask the registry."""
    image = f"localhost:5000/sluice@{platform.first.digest}"
    options = ("--key=ours.pub", "--insecure-ignore-tlog=true")
    platform.chain.run("cosign", "verify", *options, image)
    for kind in ("slsaprovenance1", "cyclonedx"):
        platform.chain.run("cosign", "verify-attestation", *options, f"--type={kind}", image)


def test_a_bad_release_hurts_nobody_and_one_command_takes_it_back(platform: Platform) -> None:
    """The old pods serve on, Argo CD says Degraded and tells it, the rollback is healthy, and no updater undoes it."""
    chain, argo = platform.chain, platform.argo
    before = json.loads(chain.release("status", "staging").output)
    with platform.load() as load:
        bad = chain.sign(chain.broken(platform.first))
        assert chain.bump(bad).exit_code == 0
        argo.until_state(SERVICE, "Degraded")
        until(lambda: platform.alerts.exists() and SERVICE in platform.alerts.read_text(), 60, "somebody is told")
        done = chain.release("rollback", "staging", "--reason=never ready")
        assert f"Roll staging back to build {before['build']}" in done.output
        with chain.step("rollback to healthy"):
            argo.until_revision(chain.head(), SERVICE)
            argo.until_healthy(*PARTS)
    load.is_clean()
    head = chain.head()
    for _ in range(10):
        assert "stays as it is: pinned until" in chain.bump(bad).output
    assert chain.head() == head
    assert json.loads(chain.release("status", "staging").output)["digest"] == before["digest"]
    assert chain.release("unpin", "staging").exit_code == 0
    assert "which was rolled back" in chain.bump(bad).output


def written(platform: Platform) -> dict[str, Any]:
    """What changes whenever Argo CD writes to what it manages."""
    operations = {name: each["status"]["operationState"]["finishedAt"] for name, each in platform.argo.applications().items()}
    kinds = "deployments,services,configmaps,networkpolicies,serviceaccounts,roles,jobs,apikeys,keysets"
    generations = {
        f"{each['kind']} {each['metadata']['name']}": each["metadata"].get("generation") or each["metadata"]["uid"]
        for each in platform.space.get(kinds)
    }
    return {**operations, **generations}


def test_what_is_synced_stays_synced_and_nothing_is_written(platform: Platform) -> None:
    """Twice in a row, and no write of Argo CD in half a minute of six looks; in ten minutes when `make soak SOAK=gitops` asks."""
    platform.argo.until_revision(platform.chain.head(), *ALL)
    platform.argo.until_healthy(*ALL)
    before = written(platform)
    time.sleep(QUIET)
    assert written(platform) == before
    for name in ALL:
        platform.argo.space.kubectl("annotate", "application", name, "argocd.argoproj.io/refresh=hard", "--overwrite")
    platform.argo.until_healthy(*ALL)
    assert written(platform) == before


def edited_deployment(platform: Platform) -> Any:
    platform.space.kubectl("set", "env", "deployment/sluice", "LOG_LEVEL=debug")
    return lambda: "debug" not in json.dumps(platform.release.deployment()["spec"])


def deleted_service(platform: Platform) -> Any:
    uid = platform.space.get("service", "sluice")["metadata"]["uid"]
    platform.space.kubectl("delete", "service", "sluice")
    return lambda: any(
        each["metadata"]["name"] == "sluice" and each["metadata"]["uid"] != uid for each in platform.space.get("services")
    )


def edited_policy(platform: Platform) -> Any:
    platform.space.kubectl(
        "patch", "networkpolicy", "sluice-service", "--type=json", '-p=[{"op": "remove", "path": "/spec/ingress/0"}]'
    )
    before = len(platform.space.get("networkpolicy", "sluice-service")["spec"]["ingress"])
    return lambda: len(platform.space.get("networkpolicy", "sluice-service")["spec"]["ingress"]) > before


@pytest.mark.parametrize("drift", [edited_deployment, deleted_service, edited_policy])
def test_drift_is_healed_within_a_minute(platform: Platform, drift: Any) -> None:
    healed = drift(platform)
    until(healed, 60, "it is as git says")
    platform.argo.until_healthy(SERVICE)


def test_a_field_of_the_operator_is_never_fought_over(platform: Platform) -> None:
    """The annotation of Pods, the published key set, the status of keys: a rotation leaves nothing for Argo CD to do."""
    before = written(platform)
    old = platform.key()
    platform.space.kubectl("annotate", "apikey", "admin", "sluice.dev/rotate=now", "--overwrite")
    until(lambda: platform.key() != old, 120, "there is a new key")
    time.sleep(15)
    platform.argo.until_healthy(*ALL)
    assert written(platform) == before


def test_two_clusters_get_their_applications_and_a_missing_annotation_is_named(platform: Platform) -> None:
    argo = platform.argo
    other = handed_over("sluice-dev", platform.chain.url, {"database": {}}, server="https://127.0.0.1:1")
    argo.space.apply(other)
    wanted = {*ALL, "sluice-dev", "sluice-dev-operator"}
    until(lambda: wanted <= argo.applications().keys(), 60, "there are two clusters")
    assert argo.applications().keys() <= wanted | {"sluice-dev-keys", "sluice-dev-service"}
    argo.space.kubectl("annotate", "secret", "cluster-sluice-dev", "gitops_path-")
    until(lambda: "gitops_path" in problem(platform), 60, "the missing annotation is named")
    assert argo.state(SERVICE) == ("Synced", "Healthy")
    assert '""' not in json.dumps(argo.application("sluice-dev")["spec"]["source"])
    argo.space.kubectl("delete", "secret", "cluster-sluice-dev")
    until(lambda: "sluice-dev" not in argo.applications(), 60, "the cluster's Application is gone")
    for name in argo.applications().keys() - set(ALL):
        argo.space.kubectl("delete", "application", name)


def problem(platform: Platform) -> str:
    status = platform.argo.space.get("applicationset", "clusters")["status"]
    return " ".join(each["message"] for each in status["conditions"] if each["type"] == "ErrorOccurred")


def test_a_key_that_git_drops_is_revoked(platform: Platform) -> None:
    chain, argo = platform.chain, platform.argo
    folder = chain.work / "argocd/environments/staging/keys"
    text = yaml.safe_load((folder / "admin.yaml").read_text())
    (folder / "shop.yaml").write_text(yaml.safe_dump({**text, "metadata": {"name": "shop"}}))
    chain.commit("A key for the shop")
    until(lambda: "shop" in names(platform, "secrets"), 120, "its Secret is there")
    key = platform.key("shop")
    assert platform.answers(key) == {200}
    (folder / "shop.yaml").unlink()
    chain.commit("None for the shop")
    until(lambda: platform.answers(key) == {401}, 120, "it is refused everywhere")
    assert platform.answers(platform.key()) == {200}
    argo.until_healthy(f"{NAME}-keys")


def names(platform: Platform, kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in platform.space.get(kind)}


def test_pruning_asks_where_every_key_would_go(platform: Platform) -> None:
    chain, argo = platform.chain, platform.argo
    file = chain.work / "argocd/environments/staging/keys/keyset.yaml"
    text = file.read_text()
    file.unlink()
    chain.commit("Without a key set")
    argo.until_revision(chain.head(), f"{NAME}-keys")
    until(lambda: "waiting for pruning confirmation" in operation(platform).get("message", ""), 60, "Argo CD asks")
    assert "sluice" in names(platform, "keysets")
    assert platform.answers(platform.key()) == {200}
    file.write_text(text)
    chain.commit("With it again")
    argo.until_revision(chain.head(), f"{NAME}-keys")
    # As `argocd app terminate-op` does: the question is not withdrawn by itself.
    terminate = json.dumps({"status": {"operationState": {"phase": "Terminating"}}})
    argo.space.kubectl("patch", "application", f"{NAME}-keys", "--type=merge", f"-p={terminate}")
    until(lambda: operation(platform)["phase"] == "Failed", 60, "the question is over")
    argo.until_state(f"{NAME}-keys", "Synced", "Healthy")


def operation(platform: Platform) -> Document:
    found: Document = platform.argo.application(f"{NAME}-keys")["status"]["operationState"]
    return found


def test_without_root_everything_runs_on_and_no_secret_is_gone(platform: Platform) -> None:
    secrets = names(platform, "secrets")
    platform.argo.space.kubectl("delete", "application", "root", "--wait=true")
    platform.argo.space.kubectl("delete", "applicationset", "clusters", "--ignore-not-found")
    until(lambda: not platform.argo.applications().keys() & {"root", NAME}, 60, "the Applications are gone")
    for name in PARTS:
        platform.argo.space.kubectl("delete", "application", name, "--ignore-not-found", "--wait=true")
    assert platform.argo.applications() == {}
    time.sleep(10)
    assert secrets <= names(platform, "secrets")
    assert platform.answers(platform.key()) == {200}
    assert platform.database.count() > 0
    with pytest.raises(Refused):
        platform.argo.application("root")


def test_the_repository_s_history_has_each_step(platform: Platform) -> None:
    log = platform.chain.log()
    assert [line.split()[0] for line in log if line.startswith(("Release", "Roll", "Take"))] == [
        "Take",
        "Roll",
        "Release",
        "Release",
        "Release",
    ]
    assert repository.ENVIRONMENTS == "argocd/environments"
    print(json.dumps(platform.chain.seconds))
