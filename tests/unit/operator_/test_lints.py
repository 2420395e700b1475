"""Each lint with a Deployment that passes and ones that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.operator_.deployments import LABELS, budget, container, deployment, probe

from sluice_operator import probes
from sluice_operator.probes import Finding

SECRET = "main-published"
Object = dict[str, Any]


def found(whole: Object, *budgets: Object, name: str | None = None) -> list[tuple[str, str]]:
    return [(each.reason, each.where) for each in probes.lint(whole, budgets or [budget()], SECRET, name)]


def reasons(whole: Object, *budgets: Object) -> list[str]:
    return [reason for reason, _ in found(whole, *budgets)]


def test_a_sound_deployment_has_no_findings() -> None:
    assert found(deployment()) == []


def test_a_container_that_is_not_there_is_found() -> None:
    assert found(deployment(), name="other") == [("ContainerNotFound", "other")]
    assert found({"spec": {}}) == [("ContainerNotFound", "containers")]
    assert found(deployment(), name="web") == []


def test_the_container_that_mounts_the_key_set_is_looked_at() -> None:
    sidecar = {"name": "proxy", "image": "proxy"}
    assert found(deployment(sidecar, container())) == []
    assert ("NotMounted", "volumeMounts") in found(deployment(sidecar, container(volumeMounts=None)))


@pytest.mark.parametrize("name", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_a_missing_probe_is_found(name: str) -> None:
    assert found(deployment(container(**{name: None}))) == [("ProbeMissing", name)]


def test_one_path_for_liveness_and_readiness_is_found() -> None:
    same = probe("/readiness", periodSeconds=10, failureThreshold=6)
    assert found(deployment(container(livenessProbe=same))) == [("SamePath", "livenessProbe")]
    bare = {"httpGet": {"port": 8081}, "periodSeconds": 60}
    assert reasons(deployment(container(livenessProbe=bare, readinessProbe=bare))) == ["SamePath"]


def test_a_tcp_liveness_probe_has_no_path_to_share() -> None:
    tcp = {"tcpSocket": {"port": 8081}, "periodSeconds": 10}
    assert found(deployment(container(livenessProbe=tcp))) == []


@pytest.mark.parametrize("kind", ["httpGet", "tcpSocket", "grpc"])
def test_a_port_without_that_name_is_found(kind: str) -> None:
    wrong = {kind: {"port": "metrics", "path": "/liveness"}, "periodSeconds": 10, "failureThreshold": 6}
    assert found(deployment(container(livenessProbe=wrong))) == [("PortUnresolved", "livenessProbe")]
    right = {kind: {"port": "admin", "path": "/liveness"}, "periodSeconds": 10, "failureThreshold": 6}
    assert found(deployment(container(livenessProbe=right))) == []


def test_a_port_of_a_container_without_ports_is_found() -> None:
    assert reasons(deployment(container(ports=None))) == ["PortUnresolved"] * 3


def test_a_port_number_needs_no_name() -> None:
    assert found(deployment(container(ports=None, **{name: probe(f"/{name}", 8081) for name in probes.PROBES}))) == []


def test_an_exec_probe_is_found() -> None:
    run = {"exec": {"command": ["true"]}, "periodSeconds": 10, "failureThreshold": 6}
    assert found(deployment(container(livenessProbe=run))) == [("ExecProbe", "livenessProbe")]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"timeoutSeconds": 2, "periodSeconds": 2}, True),
        ({"timeoutSeconds": 1, "periodSeconds": 2}, False),
        ({"timeoutSeconds": 10}, True),
        ({"timeoutSeconds": 9}, False),
        ({"periodSeconds": 1}, False),
        ({"periodSeconds": 1, "timeoutSeconds": 2}, True),
        ({"periodSeconds": 2}, False),
    ],
)
def test_a_timeout_that_is_not_below_its_period_is_found_unless_both_are_the_least(fields: Object, wrong: bool) -> None:
    readiness = {"httpGet": {"path": "/readiness", "port": 8081}, **fields}
    liveness = probe("/liveness", periodSeconds=60)
    expected = [("TimeoutNotBelowPeriod", "readinessProbe")] if wrong else []
    assert found(deployment(container(readinessProbe=readiness, livenessProbe=liveness))) == expected


@pytest.mark.parametrize(
    ("liveness", "wrong"),
    [
        ({"periodSeconds": 2, "failureThreshold": 3}, False),
        ({"periodSeconds": 2, "failureThreshold": 2}, True),
        ({"periodSeconds": 5, "failureThreshold": 1}, True),
        ({"failureThreshold": 1}, False),
        ({"periodSeconds": 2}, False),
    ],
)
def test_a_liveness_that_gives_up_before_readiness_is_found(liveness: Object, wrong: bool) -> None:
    live = {"httpGet": {"path": "/liveness", "port": 8081}, "timeoutSeconds": 1, **liveness}
    assert found(deployment(container(livenessProbe=live))) == ([("LivenessTighter", "livenessProbe")] if wrong else [])


def test_two_replicas_without_a_budget_are_found() -> None:
    stranger = budget({"app": "other"})
    selects_all = {"spec": {"maxUnavailable": 1}}
    assert found(deployment(), stranger) == [("NoDisruptionBudget", "PodDisruptionBudget")]
    assert found(deployment(), stranger, selects_all) == [("NoDisruptionBudget", "PodDisruptionBudget")]
    assert found(deployment(), stranger, budget()) == []
    assert found(deployment(), budget({**LABELS, "more": "1"})) == [("NoDisruptionBudget", "PodDisruptionBudget")]


def test_one_replica_needs_no_budget() -> None:
    assert probes.lint(deployment(replicas=1), [], SECRET) == []
    assert probes.lint(deployment(replicas=None), [], SECRET) == []


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"maxUnavailable": 2}, True),
        ({"maxUnavailable": 1}, False),
        ({"maxUnavailable": "51%"}, True),
        ({"maxUnavailable": "50%"}, False),
        ({"maxUnavailable": 0}, False),
        ({"minAvailable": 0}, True),
        ({"minAvailable": 1}, False),
        ({"minAvailable": "1%"}, False),
        ({"selector": {"matchLabels": LABELS}}, False),
    ],
)
def test_a_budget_that_lets_the_last_pod_go_is_found(spec: Object, wrong: bool) -> None:
    assert reasons(deployment(), budget(**spec)) == (["BudgetAllowsNone"] if wrong else [])


@pytest.mark.parametrize("whole", [{}, {"spec": {}}, {"spec": {"template": {}}}, {"spec": {"template": {"metadata": {}}}}])
def test_a_deployment_that_lacks_everything_is_judged_all_the_same(whole: Object) -> None:
    assert not probes.covers(budget(), whole)
    assert probes.unavailable(whole, 4) == 1
    assert [each.reason for each in probes.lint(whole, [], SECRET)] == ["ContainerNotFound"]


@pytest.mark.parametrize(
    ("pdb", "covers"),
    [({}, False), ({"spec": {}}, False), ({"spec": {"selector": {}}}, True), ({"spec": {"selector": {"matchLabels": {}}}}, True)],
)
def test_a_budget_without_a_selector_covers_nobody_an_empty_one_all_and_either_keeps_one(pdb: Object, covers: bool) -> None:
    assert probes.covers(pdb, deployment()) is covers
    assert probes.evictable(pdb, 3) == 2


@pytest.mark.parametrize(
    ("key", "operator", "values", "covers"),
    [
        ("app", "In", ["web", "other"], True),
        ("app", "In", ["other"], False),
        ("app", "NotIn", ["other"], True),
        ("app", "NotIn", ["web"], False),
        ("other", "NotIn", ["web"], True),
        ("app", "Exists", None, True),
        ("other", "Exists", None, False),
        ("other", "DoesNotExist", None, True),
        ("app", "DoesNotExist", None, False),
        ("app", "Like", ["web"], False),
    ],
)
def test_a_budget_that_selects_by_expressions_is_judged_by_them(key: str, operator: str, values: Any, covers: bool) -> None:
    expression = {"key": key, "operator": operator} | ({"values": values} if values else {})
    assert probes.covers({"spec": {"selector": {"matchExpressions": [expression]}}}, deployment()) is covers


def test_one_path_on_two_ports_is_no_finding() -> None:
    other = probe("/readiness", periodSeconds=10, failureThreshold=6)
    other["httpGet"]["port"] = 9999
    assert found(deployment(container(livenessProbe=other))) == []


def test_a_named_port_and_its_number_are_one_port() -> None:
    ports = [{"name": "admin", "containerPort": 8081}]
    named, plain = probe("/readiness", periodSeconds=10, failureThreshold=6), probe("/readiness")
    named["httpGet"]["port"], plain["httpGet"]["port"] = "admin", 8081
    assert found(deployment(container(livenessProbe=named, readinessProbe=plain, ports=ports))) == [("SamePath", "livenessProbe")]


def test_an_open_port_is_no_readiness() -> None:
    tcp = {"tcpSocket": {"port": 8081}}
    assert ("TcpReadiness", "readinessProbe") in found(deployment(container(readinessProbe=tcp)))


@pytest.mark.parametrize("value", ["\N{SUPERSCRIPT TWO}", "9" * 5000, "", "-1", "1e3"])
def test_a_drain_that_is_no_number_is_none(value: str) -> None:
    assert "GraceTooShort" not in reasons(deployment(container(env=[{"name": "DRAIN_SECONDS", "value": value}])))


def test_a_finding_is_muted_by_an_annotation_with_a_reason() -> None:
    notes = {f"{probes.MUTE}NoDisruptionBudget": " one node only ", f"{probes.MUTE}SamePath": "  ", f"{probes.MUTE}Nonsense": "x"}
    assert probes.muted({"metadata": {"annotations": notes}}) == {"NoDisruptionBudget": "one node only"}
    assert probes.muted({}) == {}


def test_one_budget_that_holds_is_enough() -> None:
    assert reasons(deployment(), budget(maxUnavailable=2), budget(maxUnavailable=1)) == []


@pytest.mark.parametrize(
    ("replicas", "strategy", "wrong"),
    [
        (2, {"type": "Recreate"}, True),
        (1, {"type": "Recreate"}, True),
        (2, {"rollingUpdate": {"maxUnavailable": 2}}, True),
        (2, {"rollingUpdate": {"maxUnavailable": 1}}, False),
        (2, {"rollingUpdate": {"maxUnavailable": "99%"}}, False),
        (2, {"rollingUpdate": {"maxUnavailable": "100%"}}, True),
        (1, {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}, True),
        (1, {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}, True),
        (1, {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "1%"}}, False),
        (2, {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}, False),
        (1, {"type": "RollingUpdate"}, False),
        (1, None, False),
        (1, {"type": "RollingUpdate", "rollingUpdate": None}, False),
        (0, {"type": "Recreate"}, False),
    ],
)
def test_a_rollout_that_may_leave_no_pod_is_found(replicas: int, strategy: Object | None, wrong: bool) -> None:
    assert reasons(deployment(replicas=replicas, strategy=strategy)) == (["RolloutDropsAll"] if wrong else [])


def test_four_replicas_lose_one_by_default() -> None:
    assert probes.unavailable(deployment(replicas=4, strategy=None), 4) == 1
    assert probes.unavailable(deployment(replicas=7, strategy=None), 7) == 1
    assert probes.unavailable(deployment(replicas=8, strategy=None), 8) == 2


@pytest.mark.parametrize(
    ("grace", "asleep", "drain", "wrong"),
    [
        (30, 25, "5", True),
        (31, 25, "5", False),
        (None, 25, "4", False),
        (None, 25, "5", True),
        (25, 25, "unknown", True),
        (26, 25, "", False),
        (1, 0, None, False),
    ],
)
def test_a_grace_too_short_for_the_shutdown_is_found(grace: int | None, asleep: int, drain: str | None, wrong: bool) -> None:
    env = [{"name": "OTHER", "value": "9"}, *([] if drain is None else [{"name": "DRAIN_SECONDS", "value": drain}])]
    held = container(env=env, lifecycle={"preStop": {"sleep": {"seconds": asleep}}} if asleep else None)
    whole = deployment(held, pod={"terminationGracePeriodSeconds": grace})
    if grace is None:
        del whole["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert reasons(whole) == (["GraceTooShort"] if wrong else [])


def test_a_drain_that_comes_from_elsewhere_is_not_counted() -> None:
    env = [{"name": "DRAIN_SECONDS", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]
    assert found(deployment(container(env=env))) == []


def test_a_key_set_that_is_not_mounted_is_found() -> None:
    assert found(deployment(container(volumeMounts=None))) == [("NotMounted", "volumeMounts")]
    other = [{"name": "sluice-keyset", "secret": {"secretName": "other"}}]
    assert found(deployment(pod={"volumes": other})) == [("NotMounted", "volumeMounts")]
    assert found(deployment(pod={"volumes": [{"name": "x", "emptyDir": {}}]})) == [("NotMounted", "volumeMounts")]


def test_a_projected_volume_is_a_mount_too() -> None:
    projected = [{"name": "sluice-keyset", "projected": {"sources": [{"configMap": {}}, {"secret": {"name": SECRET}}]}}]
    assert found(deployment(pod={"volumes": projected})) == []


@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_a_sub_path_mount_is_found(field: str) -> None:
    mount = {"name": "sluice-keyset", "mountPath": "/keyset.json", field: "keyset.json"}
    assert found(deployment(container(volumeMounts=[mount]))) == [("SubPathMount", "volumeMounts")]


def test_a_key_set_in_a_variable_is_found() -> None:
    single = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": "keyset.json"}}}]
    whole = [{"configMapRef": {"name": "x"}}, {"secretRef": {"name": SECRET}}]
    assert found(deployment(container(env=single))) == [("KeysetInEnvironment", "env")]
    assert found(deployment(container(envFrom=whole))) == [("KeysetInEnvironment", "env")]
    assert found(deployment(container(envFrom=[{"secretRef": {"name": "other"}}]))) == []


def test_a_finding_reports_where_and_what_to_do() -> None:
    assert Finding("ExecProbe", "livenessProbe").message == f"livenessProbe: {probes.REASONS['ExecProbe']}"


def test_every_lint_is_tried_out_here() -> None:
    """But for "NotJudged", which stands for a lint that fails (test_engine_audit.py)."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [reason for reason in probes.REASONS if f'"{reason}"' not in text] == []
