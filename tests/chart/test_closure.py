"""The judge of what a Pod refers to, by charts that broke elsewhere under Helm or under Argo CD."""

from __future__ import annotations

from typing import Any

from tests.chart import closure
from tests.chart.manifests import Object

HELM = {"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-weight": "-5"}


def thing(kind: str, name: str, spec: Any = None, **annotations: str) -> Object:
    return {"kind": kind, "metadata": {"name": name, "annotations": annotations}, "spec": spec or {}}


def job(annotations: dict[str, str], **pod: Any) -> Object:
    container = {"name": "migrate", "envFrom": [{"configMapRef": {"name": "config"}}]}
    return thing("Job", "migrate", {"template": {"spec": {"containers": [container], **pod}}}, **annotations)


def config(**annotations: str) -> Object:
    return thing("ConfigMap", "config", **annotations)


def argo(wave: int, hook: str = "") -> dict[str, str]:
    return {"argocd.argoproj.io/sync-wave": str(wave)} | ({"argocd.argoproj.io/hook": hook} if hook else {})


def late(*objects: Object) -> list[str]:
    """Which way of applying fails, in few words."""
    return [words.partition(":")[0] for words in closure.late(objects)]


def test_a_hook_job_before_its_configmap_is_late_under_both() -> None:
    """dsx-ai-factory/infra-controller#589: the Job runs in pre-install and in PreSync, its ConfigMap comes afterwards."""
    assert late(job(HELM), config()) == ["helm install", "helm upgrade", "argo sync"]


def test_waves_are_of_argo_and_not_of_helm() -> None:
    """dsx-ai-factory/infra-controller#773: waves and a Sync hook for Argo CD beside the hook that Helm still runs first."""
    assert late(job({**HELM, **argo(-5, "Sync")}), config(**argo(-10))) == ["helm install", "helm upgrade"]


def test_a_service_account_of_the_sync_phase_is_late_for_presync() -> None:
    """formbricks/hub#26 and #27: first the ServiceAccount was not found, then the ConfigMap."""
    presync = job(argo(0, "PreSync"), serviceAccountName="hub")
    found = closure.late([presync, config(), thing("ServiceAccount", "hub")])
    assert sorted(found) == [
        "argo sync: Job/migrate needs ConfigMap/config earlier",
        "argo sync: Job/migrate needs ServiceAccount/hub earlier",
    ]


def test_a_plain_job_in_a_later_wave_is_right_under_both() -> None:
    assert late(job(argo(-1)), config(**argo(-2))) == []


def test_in_one_wave_the_kind_decides() -> None:
    assert late(job({}), config()) == []
    assert late(job({}), thing("ServiceAccount", "late"), config()) == []


def test_a_later_wave_than_the_job_is_late_under_argo_only() -> None:
    assert late(job({}), config(**argo(1))) == ["argo sync"]


def test_hooks_of_one_weight_go_by_name_under_helm() -> None:
    """Helm 4 sorts the hooks of an event by weight and then by name: `config` is there before `migrate`, `zone` is not."""
    before, behind = config(**HELM), thing("ServiceAccount", "zone", **HELM)
    assert late(job(HELM), before) == []
    assert late(job(HELM, serviceAccountName="zone"), before, behind) == ["helm install", "helm upgrade"]


def test_a_hook_of_a_lower_weight_is_in_time() -> None:
    assert late(job(HELM), config(**{**HELM, "helm.sh/hook-weight": "-6"})) == []


def test_a_hook_that_is_deleted_when_it_succeeded_serves_its_own_stage_only() -> None:
    brief = config(**{**HELM, "helm.sh/hook-weight": "-6", "helm.sh/hook-delete-policy": "hook-succeeded"})
    assert late(job(HELM), brief) == []
    assert late(job({}), brief) == ["helm install", "helm upgrade", "argo sync"]


def test_a_hook_of_the_install_is_still_there_at_the_upgrade() -> None:
    assert late(job({"helm.sh/hook": "pre-upgrade"}), config(**{"helm.sh/hook": "pre-install"})) == []


def test_a_test_hook_comes_last_and_argo_never_runs_it() -> None:
    assert late(job({"helm.sh/hook": "test"}), config()) == []
    assert late(job({}), config(**{"helm.sh/hook": "test"})) == ["helm install", "helm upgrade", "argo sync"]


def test_what_the_values_declare_external_is_not_missed() -> None:
    assert closure.late([job(HELM)], external={"config"}) == []
    assert len(closure.late([job({})])) == 3


def test_every_way_to_refer_is_seen() -> None:
    pod = {
        "serviceAccountName": "account",
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [
            {"secret": {"secretName": "secret"}},
            {"configMap": {"name": "map"}},
            {"persistentVolumeClaim": {"claimName": "claim"}},
            {"projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "projected-map"}}]}},
            {"secret": {"secretName": "may-come-later", "optional": True}},
        ],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "from-map"}}]}],
        "containers": [
            {
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "key-map", "key": "k"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "may-come-later", "key": "k", "optional": True}}},
                    {"name": "D", "value": "plain"},
                ]
            }
        ],
    }
    found = {f"{need.kind} {need.name}" for need in closure.needs(thing("Deployment", "it", {"template": {"spec": pod}}))}
    assert found == {
        "ServiceAccount account",
        "Secret pull",
        "Secret secret",
        "ConfigMap map",
        "PersistentVolumeClaim claim",
        "Secret projected",
        "ConfigMap projected-map",
        "Secret from",
        "ConfigMap from-map",
        "Secret key",
        "ConfigMap key-map",
    }
