"""Every branch of every template is rendered both ways: by the sets in ci/, by what test_inequalities.py refuses, by EXTRA."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.chart import coverage
from tests.chart.coverage import Render
from tests.chart.render import PLAIN, RELEASE, SETS, copied, template
from tests.chart.test_inequalities import CLASHES, EDGES

# Some 350 renders.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Values = dict[str, Any]

# Branches that no values can take, by the reason.
UNREACHABLE = {
    "`with` only shortens the names of values that the schema requires": [
        "_database.tpl: with $its.caConfigMap",
        "_guards.tpl: with .Values",
        "_pod.tpl: with (index . 0).Values.topologySpread",
        "_guards.tpl: with .Values.database",
        "_storage.tpl: with $its.dynamodb",
        "_storage.tpl: with $its.influxdb",
        "_storage.tpl: with .Values",
        "network/_flows.tpl: with $its.networkPolicy",
        "network/_flows.tpl: with get . $its.storage.type",
        "worker/_worker.tpl: with .Values.serviceAccount.worker",
        "worker/deployment.yaml: with .Values.broker",
        "_service.tpl: with .Values.config",
        '_service.tpl: with include "sluice.bodies" . | fromYaml',
        '_service.tpl: with include "sluice.timing" . | fromYaml',
        "_pod.tpl: with $root.Values",
        "_pod.tpl: with .podSecurityContext",
        "deployment.yaml: with get $.Values $name",
        "network/_flows.tpl: with .Values.networkPolicy.kubernetesApi",
        "network/_flows.tpl: with get (first $).Values.networkPolicy .",
        "worker/_worker.tpl: with .Values",
        "worker/_worker.tpl: with .Values.worker",
        'worker/_worker.tpl: with include "sluice.timing" . | fromYaml',
        "worker/scaledobject.yaml: with .Values.worker.keda",
        "_service.tpl: with index . 2",
        "hpa.yaml: with .Values.autoscaling",
        "hpa.yaml: with get $.Values.autoscaling $direction",
        "network/_flows.tpl: with .Values.networkPolicy",
        "network/_flows.tpl: with .Values.networkPolicy.sources",
        "network/_flows.tpl: with (index . 0).Values.networkPolicy",
        "operator/bootstrap.yaml: with .Values.operator.bootstrap",
        "pvc.yaml: with .Values.database.persistence",
    ],
    "`range` goes over what the templates themselves list": [
        '_database.tpl: range $field := list "url" "password"',
        "_guards.tpl: range $name, $its := .Values.probes",
        "_guards.tpl: range $component, $account := .serviceAccount",
        "_guards.tpl: range .numbers",
        "_guards.tpl: range $name, $served := .served",
        (
            '_storage.tpl: range $where, $given := dict "database.embedded" .database.embedded "database.url.existingSecret" '
            '.database.url.existingSecret "database.host" .database.host "database.caConfigMap.name" .database.caConfigMap.name'
        ),
        (
            '_guards.tpl: range $where, $its := dict "nodeSelector" . "operator.nodeSelector" .operator "migration.nodeSelector" '
            '.migration "pull.nodeSelector" .pull "worker.nodeSelector" .worker'
        ),
        '_pod.tpl: range $field := list "runAsUser" "runAsGroup" "fsGroup"',
        'deployment.yaml: range $name := list "broker" "redis"',
        "network/_flows.tpl: range slice . 1",
        "operator/clusterroles.yaml: range $role, $rule := $rules",
        "_pod.tpl: range $name, $text := .",
        '_pod.tpl: range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname"',
        'hpa.yaml: range $direction := list "scaleUp" "scaleDown"',
        'httproute.yaml: range include "sluice.paths" . | fromYamlArray',
        'ingress.yaml: range $host := .Values.ingress.hosts | default (list "")',
        'ingress.yaml: range $its.paths | default (include "sluice.paths" $root | fromYamlArray)',
        "network/_flows.tpl: range .",
        'network/_flows.tpl: range include "sluice.watched" . | fromYamlArray',
        "network/_flows.tpl: range slice . 2",
        "network/_flows.tpl: range $port := list 53 1053 5353 8053",
        'operator/_cel.tpl: range $number, $field := list "labels" "ownerReferences" "finalizers"',
        'operator/bindings.yaml: range $policy := list "secrets" "pods" "deployments"',
        'operator/crds.yaml: range $path, $_ := .Files.Glob "files/crds/*.yaml"',
        ('operator/deployment.yaml: range $name, $field := dict "POD_NAMESPACE" "metadata.namespace" "POD_NAME" "metadata.name"'),
        'operator/rights.yaml: range include "sluice.watched" . | fromYamlArray',
        (
            '_derived.tpl: range $name, $number := dict "cpu" "sluice.millicores" "memory" "sluice.mebibytes" '
            '"ephemeral-storage" "sluice.mebibytes"'
        ),
        "_derived.tpl: range $part := list $its.requests $its.limits",
        'monitoring/dashboard.yaml: range $name := list "server" "analytics" "errors"',
    ],
}
# Values for branches that are no use to show in ci/.
EXTRA: list[tuple[str, Values]] = [
    (PLAIN, {"image": {"digest": "", "allowTag": True}}),
    (PLAIN, {"image": {"tag": "1.2.3"}}),
    (
        PLAIN,
        {"tests": {"enabled": False}, "topologySpread": {"enabled": False}, "serviceAccount": {"service": {"create": False}}},
    ),
    (PLAIN, {"networkPolicy": {"dns": {"to": []}, "database": {"to": []}}}),
    (
        "everything",
        {"extraEnv": [{"name": "TZ", "value": "UTC"}], "networkPolicy": {"extraEgress": [{"ports": [{"port": 3128}]}]}},
    ),
    (PLAIN, {"pull": {"enabled": True, "sources": "sources: []"}, "extraEnv": [{"name": "TZ", "value": "UTC"}]}),
    ("rds-iam", {"pull": {"enabled": True, "sources": "sources: []"}}),
    (
        "embedded",
        {
            "database": {"persistence": {"retain": False, "storageClassName": "fast"}},
            "serviceAccount": {"service": {"create": False}},
        },
    ),
    (PLAIN, {"serviceAccount": {"migrate": {"create": False}}, "podDisruptionBudget": {"enabled": False}}),
    (PLAIN, {"monitoring": {"serviceMonitor": {"enabled": True}, "dashboard": {"enabled": True}}}),
    ("http-route", {"httpRoute": {"annotations": {"example.org/owner": "platform"}}}),
    ("rds-iam", {"database": {"owner": {"secretArn": "", "url": {"existingSecret": "owner"}}}}),
    (
        "everything",
        {"operator": {"only": True}, "monitoring": {"serviceMonitor": {"enabled": True}, "dashboard": {"enabled": True}}},
    ),
    (PLAIN, {"autoscaling": {"enabled": True}, "resources": {"limits": {"memory": "512Mi"}}}),
    (PLAIN, {"podSecurityContext": {"runAsUser": 0, "seLinuxOptions": {"level": "s0"}, "seccompProfile": "sluice.json"}}),
    (
        "queue",
        {"worker": {"keda": {"enabled": False}}, "redis": {"existingSecret": ""}, "extraEnv": [{"name": "TZ", "value": "UTC"}]},
    ),
    (PLAIN, {"broker": {"existingSecret": "broker"}}),
    ("queue", {"monitoring": {"dashboard": {"enabled": True}}}),
    ("pull", {"monitoring": {"dashboard": {"enabled": True}}}),
    ("sqs", {"worker": {"enabled": False}, "serviceAccount": {"worker": {"create": False, "name": ""}}}),
    ("sqs", {"serviceAccount": {"worker": {"create": False, "name": "own"}}}),
    (PLAIN, {"ingress": {"enabled": True, "className": "alb"}}),
    ("rds-iam", {"broker": {"existingSecret": "broker"}, "worker": {"enabled": True}}),
    ("service-nlb", {"service": {"type": "ClusterIP", "externalTrafficPolicy": ""}}),
    ("service-nlb", {"service": {"type": "ClusterIP", "loadBalancerClass": "", "loadBalancerSourceRanges": []}}),
    ("service-nlb", {"rollout": {"minReadySeconds": 30}, "service": {"loadBalancerClass": ""}}),
    (PLAIN, {"extraVolumes": [{"name": "keyset", "emptyDir": {}}]}),
    # Where the notes send an event.
    (PLAIN, {"ingress": {"enabled": True}}),
    (
        PLAIN,
        {"ingress": {"enabled": True, "hosts": [{"host": "logs.example.org", "paths": [{"path": "/log", "pathType": "Exact"}]}]}},
    ),
    ("http-route", {"httpRoute": {"parentRefs": [{"name": "public", "port": 8443}]}}),
    (
        PLAIN,
        {
            "service": {"type": "NodePort"},
            "extraObjects": [{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "own"}}],
        },
    ),
    # In no set of ci/: those are applied into one namespace.
    ("everything", {"operator": {"watchNamespaces": ["other"]}}),
]


def renders() -> list[Render]:
    shown: list[tuple[str, Values]] = [(name, {}) for name in SETS]
    refused = [(edge.base, edge.values(edge.bad)) for edge in EDGES] + [(clash.base, clash.values) for clash in CLASHES]
    return [*(partial(rendered, *one) for one in [*shown, *refused, *EXTRA]), partial(rendered, PLAIN, {}, release="9events")]


def rendered(base: str, values: Values, chart: Path, release: str = RELEASE) -> str:
    return template(values, SETS[base], chart=chart, release=release)


def test_every_branch_is_rendered_both_ways(tmp_path: Path) -> None:
    left = {arm.name: arm.line for arm in coverage.untaken(copied(tmp_path), renders())}
    known = {f"{name}: not taken" for names in UNREACHABLE.values() for name in names}
    assert {f"{name} (line {line})" for name, line in left.items() if name not in known} == set()
    assert known - left.keys() == set(), "taken after all"
