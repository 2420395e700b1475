"""The operator in a release of its own, and the service in another beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import docs
from tests.chart.manifests import Object, of_kind, parse, pods
from tests.chart.network_policy import Network, peer
from tests.chart.render import CHART, NAMESPACE, refusal, render, template
from tests.conftest import ROOT

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


def test_an_operator_on_its_own_makes_no_key_set_of_a_service_that_is_not_there() -> None:
    objects = render("operator", OPERATOR)
    assert ("ConfigMap", "blue-sluice-bootstrap") not in names(objects)
    (container,) = pods(objects)["Deployment/blue-sluice-operator"]["spec"]["containers"]
    assert "BOOTSTRAP_CONFIGMAP" not in {one["name"] for one in container["env"]}
    # So the values of the service may name its key set in a file for both.
    assert render("operator", {**OPERATOR, "auth": SERVICE["auth"]})


def test_an_operator_on_its_own_must_be_enabled() -> None:
    assert "operator.only without operator.enabled" in refusal("default", {"operator": {"enabled": False, "only": True}})


# Upgraded apart

README = CHART / "README.md"
# Every field of the kinds of the release before, with its type, as `kinds` told them when it was made.
BEFORE: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "fixtures/kinds-0.1.json").read_text(encoding="utf-8"))


def apart() -> tuple[list[Object], list[Object]]:
    """The two releases of the chart's README, the operator's and the service's, in one namespace."""
    values = yaml.safe_load(docs.section(README, "service.yaml").removeprefix("```yaml").removesuffix("```"))
    image = {"image": {"digest": f"sha256:{'0' * 64}"}}
    operator = template({**OPERATOR, **image}, release="sluice-operator")
    return parse(operator), parse(template(values | image, release="sluice"))


def test_the_readme_s_two_releases_share_no_object_and_all_of_the_cluster_is_the_operator_s() -> None:
    operator, service = apart()
    assert names(operator) & names(service) == set()
    assert [one for one in service if "namespace" not in one["metadata"]] == []


def test_the_readme_s_operator_may_ask_the_service_of_the_other_release() -> None:
    operator, service = apart()
    network = Network(
        of_kind([*operator, *service], "NetworkPolicy"), {NAMESPACE: {"kubernetes.io/metadata.name": NAMESPACE}}, NAMESPACE
    )
    asking = peer(pods(operator)["Deployment/sluice-operator-operator"], NAMESPACE)
    asked = peer(pods(service)["Deployment/sluice"], NAMESPACE)
    assert [network.may(asking, asked, port) for port in (8080, 8081, 5432)] == [True, True, False]


def test_the_readme_s_key_set_is_of_the_service_and_published_where_its_pods_look() -> None:
    (folder,) = re.findall(r"^kubectl apply -n events -f (\S+)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    (keys,) = [yaml.safe_load(file.read_text()) for file in (ROOT / folder).glob("keyset.yaml")]
    (deployment,) = of_kind(apart()[1], "Deployment")
    assert keys["spec"]["target"]["name"] == deployment["metadata"]["name"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert f"{keys['metadata']['name']}-published" in {one["secret"]["secretName"] for one in volumes if "secret" in one}


def test_another_image_of_the_operator_s_release_is_an_upgrade_of_one_deployment() -> None:
    """Kinds, policies and rights do not depend on it, so a release that changes them says so in its chart."""
    newer = render("operator", {**OPERATOR, "image": {"digest": f"sha256:{'f' * 64}"}})
    changed = [one for one, before in zip(newer, render("operator", OPERATOR), strict=True) if one != before]
    assert names(changed) == {("Deployment", "blue-sluice-operator")}


def fields(schema: dict[str, Any], path: str = "", required: bool = False) -> Iterator[tuple[str, str]]:
    """Each field below a schema with its type, and whether it must be there."""
    if path:
        yield path, schema.get("type", "any") + (" required" if required else "")
    for name, inner in (schema.get("properties") or {}).items():
        yield from fields(inner, f"{path}.{name}".lstrip("."), name in schema.get("required", []))
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from fields(schema[key], path + mark)


def kinds() -> dict[str, dict[str, str]]:
    found = {}
    for one in of_kind(render("operator"), "CustomResourceDefinition"):
        for version in one["spec"]["versions"]:
            found[f"{one['metadata']['name']}/{version['name']}"] = dict(fields(version["schema"]["openAPIV3Schema"]))
    return found


def test_objects_of_the_release_before_are_valid_under_the_kinds_of_this_one() -> None:
    """No version, no field goes or changes its type, and none becomes required: an upgrade and a rollback lose nothing."""
    now = kinds()
    assert BEFORE.keys() <= now.keys()
    for version, before in BEFORE.items():
        assert {name: now[version].get(name) for name in before} == before
        added = {name: kind for name, kind in now[version].items() if name not in before}
        assert [name for name, kind in added.items() if kind.endswith(" required") and inside(name, before)] == []


def inside(name: str, before: dict[str, str]) -> bool:
    """Whether a new field stands in something that objects of before may have."""
    return name.rpartition(".")[0] in before


def test_each_kind_is_stored_in_one_version_that_is_served() -> None:
    for one in of_kind(render("operator"), "CustomResourceDefinition"):
        stored = [version for version in one["spec"]["versions"] if version["storage"]]
        assert [version["served"] for version in stored] == [True]
