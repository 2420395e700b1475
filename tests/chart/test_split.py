"""The operator in a release of its own, and the service in another beside it."""

from __future__ import annotations

import pytest
from tests.chart.manifests import Object
from tests.chart.render import refusal, render

OPERATOR = {"operator": {"only": True}}
SERVICE = {"operator": {"enabled": False}, "auth": {"keySet": {"secretName": "blue-sluice-published"}}}


def names(objects: list[Object]) -> set[tuple[str, str]]:
    return {(each["kind"], each["metadata"]["name"]) for each in objects}


@pytest.mark.parametrize("base", ["operator", "everything"])
def test_the_two_releases_share_no_object_and_miss_none(base: str) -> None:
    own = {"operator": {"bootstrap": {"enabled": False}}}
    operator = names(render(base, {"operator": {**OPERATOR["operator"], **own["operator"]}}))
    service = names(render(base, SERVICE))
    assert operator & service == set()
    assert names(render(base, own)) <= operator | service
    assert ("Deployment", "blue-sluice") in service - operator
    assert ("Deployment", "blue-sluice-operator") in operator - service


def test_only_the_operator_s_release_makes_objects_of_the_cluster() -> None:
    assert not [each for each in render("everything", SERVICE) if "namespace" not in each["metadata"]]


def test_an_operator_on_its_own_needs_no_database() -> None:
    found = names(render("operator", {**OPERATOR, "database": {"url": {"existingSecret": ""}}}))
    assert found >= {("CustomResourceDefinition", "apikeys.sluice.dev"), ("Deployment", "blue-sluice-operator")}


def test_an_operator_on_its_own_must_be_enabled() -> None:
    assert "operator.only without operator.enabled" in refusal("default", {"operator": {"enabled": False, "only": True}})
