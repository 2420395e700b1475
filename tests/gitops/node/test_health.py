"""Health checks in Lua, run by Argo CD itself on objects in each state. test_chain.py runs them on real ones."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cluster.kube import Document, kind
from tests.gitops.node.health import health


def keyed(what: str, *conditions: tuple[str, str, str], observed: int = 2) -> Document:
    names = ("type", "status", "reason", "message", "observedGeneration")
    listed = [dict(zip(names, (*condition, "about it", observed), strict=True)) for condition in conditions]
    document = kind("sluice.dev/v1alpha1", what, "it", status={"conditions": listed})
    return {**document, "metadata": {"name": "it", "namespace": "sluice", "generation": 2}}


@pytest.mark.parametrize("what", ["ApiKey", "KeySet"])
@pytest.mark.parametrize(
    ("conditions", "observed", "wanted"),
    [
        ((), 2, "Progressing"),
        ((("Ready", "True", "Active"), ("Degraded", "False", "AsExpected")), 2, "Healthy"),
        ((("Ready", "True", "Suspended"),), 2, "Suspended"),
        ((("Ready", "False", "Converging"),), 2, "Progressing"),
        ((("Ready", "True", "Active"),), 1, "Progressing"),
        ((("Ready", "True", "Active"), ("Degraded", "True", "KeySetFull")), 2, "Degraded"),
        ((("Ready", "False", "NotPublished"), ("Degraded", "True", "NotAcknowledged")), 2, "Degraded"),
    ],
    ids=["new", "active", "suspended", "on its way", "changed", "degraded", "waits too long"],
)
def test_health_follows_the_conditions(what: str, conditions: Any, observed: int, wanted: str) -> None:
    assert health(keyed(what, *conditions, observed=observed))[0] == wanted


def test_an_object_that_the_operator_has_not_seen_is_progressing() -> None:
    assert (
        health({**kind("sluice.dev/v1alpha1", "ApiKey", "it"), "metadata": {"name": "it", "namespace": "sluice"}})[0]
        == "Progressing"
    )


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({}, "Progressing"),
        ({"health": {"status": "Healthy"}, "sync": {"status": "Synced"}}, "Healthy"),
        ({"health": {"status": "Healthy"}, "sync": {"status": "OutOfSync"}}, "Progressing"),
        ({"health": {"status": "Healthy"}}, "Progressing"),
        ({"health": {"status": "Degraded"}, "sync": {"status": "Synced"}}, "Degraded"),
        ({"health": {"status": "Missing"}, "sync": {"status": "OutOfSync"}}, "Missing"),
    ],
    ids=["new", "healthy", "not synced", "not compared", "degraded", "missing"],
)
def test_an_application_is_healthy_when_it_is_synced_too(status: Document, wanted: str) -> None:
    document = kind("argoproj.io/v1alpha1", "Application", "it", status=status)
    assert health({**document, "metadata": {"name": "it", "namespace": "argocd"}})[0] == wanted
