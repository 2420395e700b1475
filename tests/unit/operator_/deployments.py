"""A Deployment with nothing to find fault with, to be spoiled piece by piece, and its PodDisruptionBudget."""

from __future__ import annotations

from typing import Any

LABELS = {"app": "web"}


def container(**fields: Any) -> dict[str, Any]:
    whole = {
        "name": "web",
        "image": "web@sha256:0",
        "ports": [{"name": "admin", "containerPort": 8081}],
        "env": [{"name": "DRAIN_SECONDS", "value": "5"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 25}}},
        "startupProbe": probe("/liveness", periodSeconds=2, failureThreshold=60),
        "readinessProbe": probe("/readiness", periodSeconds=2),
        "livenessProbe": probe("/liveness", periodSeconds=10, failureThreshold=6),
        "volumeMounts": [{"name": "sluice-keyset", "mountPath": "/etc/sluice/keyset", "readOnly": True}],
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


def probe(path: str = "/readiness", port: int | str = "admin", **fields: Any) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 1, "periodSeconds": 2, "failureThreshold": 3, **fields}


def deployment(*containers: dict[str, Any], pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    template = {
        "containers": list(containers or [container()]),
        "terminationGracePeriodSeconds": 60,
        "volumes": [{"name": "sluice-keyset", "secret": {"secretName": "main-published", "optional": True}}],
        **(pod or {}),
    }
    whole = {
        "replicas": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": LABELS}, "spec": template},
        **spec,
    }
    found = {name: value for name, value in whole.items() if value is not None}
    return {"metadata": {"name": "web", "labels": {}}, "spec": found}


def budget(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"spec": {"selector": {"matchLabels": LABELS if labels is None else labels}, **(spec or {"maxUnavailable": 1})}}
