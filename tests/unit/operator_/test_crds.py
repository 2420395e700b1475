"""The CRDs: structural, described field by field, the same rules as the operator's, a sample for every rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT
from tests.operator_samples.check import Case, cases, merge
from tests.unit.operator_.story import Story, running

from sluice_operator import api_types, schedule, status
from sluice_operator.api_types import ApiKey, InvalidObject, KeySet, parse

FOLDER = ROOT / "charts/sluice/files/crds"
KINDS = {"ApiKey": FOLDER / "apikeys.yaml", "KeySet": FOLDER / "keysets.yaml"}
Schema = dict[str, Any]


def crd(kind: str) -> Schema:
    loaded: Schema = yaml.safe_load(KINDS[kind].read_text(encoding="utf-8"))
    return loaded


def version(kind: str) -> Schema:
    [only] = crd(kind)["spec"]["versions"]
    found: Schema = only
    return found


def schema(kind: str) -> Schema:
    found: Schema = version(kind)["schema"]["openAPIV3Schema"]
    return found


def read(kind: str, raw: Schema) -> ApiKey | KeySet:
    return parse(ApiKey, raw) if kind == "ApiKey" else parse(KeySet, raw)


def nodes(found: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema in a schema, with its path."""
    yield path, found
    for name, inner in found.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in found:
            yield from nodes(found[name], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS)
def test_the_crd_is_namespaced_served_and_found_by_its_short_names(kind: str) -> None:
    spec = crd(kind)["spec"]
    assert (spec["group"], spec["scope"]) == (api_types.GROUP, "Namespaced")
    assert f"{spec['group']}/{version(kind)['name']}" == api_types.API_VERSION
    assert spec["names"]["categories"] == ["sluice"]
    assert spec["names"]["shortNames"]
    assert (version(kind)["served"], version(kind)["storage"], version(kind)["subresources"]) == (True, True, {"status": {}})


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_crd_is_a_template(kind: str) -> None:
    text = KINDS[kind].read_text(encoding="utf-8")
    assert "{{" not in text
    assert len(text.encode()) < 200_000


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_typed_described_and_bounded(kind: str) -> None:
    for path, found in nodes(schema(kind)):
        assert "type" in found, path
        assert "x-kubernetes-preserve-unknown-fields" not in found, path
        if not path.endswith("matchLabels[]"):
            assert found["description"].endswith("."), path
        if path.startswith(".spec"):
            bounded = "enum" in found or "maxLength" in found or found.get("format") == "date-time"
            assert found["type"] != "string" or bounded, path
            assert found["type"] != "array" or "maxItems" in found, path


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_has_no_phase_and_its_conditions_are_a_map(kind: str) -> None:
    fields = schema(kind)["properties"]["status"]["properties"]
    assert not {"phase", "state"} & set(fields)
    assert fields["conditions"]["x-kubernetes-list-map-keys"] == ["type"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_point_at_fields_that_there_are(kind: str) -> None:
    paths = {path for path, _ in nodes(schema(kind))} | {".metadata.creationTimestamp"}
    for column in version(kind)["additionalPrinterColumns"]:
        path = column["jsonPath"].split("[?")[0]
        assert path in paths, column["name"]
        assert column["description"].endswith(".")


def test_kubectl_get_reports_whether_a_key_is_safe_until_when_and_what_is_next() -> None:
    columns = [column["name"] for column in version("ApiKey")["additionalPrinterColumns"] if not column.get("priority")]
    assert columns == ["Ready", "State", "Version", "Expires", "Next", "Age"]


def test_dates_that_may_be_ahead_are_shown_as_text() -> None:
    """kubectl shows a date that is still to come as <invalid>."""
    kinds = {column["name"]: column["type"] for column in version("ApiKey")["additionalPrinterColumns"]}
    assert (kinds["Expires"], kinds["Next-At"], kinds["Last-Used"]) == ("string", "string", "date")


@pytest.mark.parametrize("kind", KINDS)
def test_every_rule_has_a_sample(kind: str) -> None:
    messages = [rule["message"] for _, found in nodes(schema(kind)) for rule in found.get("x-kubernetes-validations", [])]
    tried = [case.says for case in cases() if case.kind == kind]
    assert messages
    assert [message for message in messages if not any(message.startswith(says) for says in tried)] == []


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.kind}-{case.says}"[:60])
def test_what_a_crd_accepts_the_operator_reads(case: Case) -> None:
    for sample in case.accepted:
        made = merge(sample, {"metadata": {"creationTimestamp": "2026-03-01T12:00:00Z"}})
        assert read(case.kind, made).name == sample["metadata"]["name"]


@pytest.mark.parametrize("case", [case for case in cases() if case.says.startswith("spec.")], ids=lambda case: case.says)
def test_what_a_schema_refuses_the_operator_has_no_use_for(case: Case) -> None:
    """Bounds of numbers, paths and lengths are the CRD's alone."""
    made = merge(case.refused[-1], {"metadata": {"creationTimestamp": "2026-03-01T12:00:00Z"}})
    lenient = ("Port", "Path", "maxKeys", "allowedScopes", "secretName", "keySetRef", "target", "secretTemplate")
    if any(word in case.says for word in lenient):
        return
    with pytest.raises(InvalidObject):
        read(case.kind, made)


@pytest.mark.parametrize("kind", KINDS)
def test_the_crd_s_defaults_are_the_operator_s(kind: str) -> None:
    api_key = {"keySetRef": {"name": "x"}, "owner": "x", "scopes": ["read"]}
    base = api_key if kind == "ApiKey" else {"environment": "x", "target": {"name": "x"}}
    metadata = {"name": "x", "creationTimestamp": "2026-03-01T12:00:00Z"}
    bare = read(kind, {"metadata": metadata, "spec": base})
    filled = read(kind, {"metadata": metadata, "spec": defaulted(schema(kind)["properties"]["spec"], base)})
    assert bare == filled


def defaulted(found: Schema, value: Any) -> Any:
    """`value` as the API server stores it."""
    if found["type"] != "object" or not isinstance(value, dict):
        return value
    result = dict(value)
    for name, inner in found.get("properties", {}).items():
        if name not in result and "default" in inner:
            result[name] = inner["default"]
        if name in result:
            result[name] = defaulted(inner, result[name])
    return result


def test_every_status_that_is_written_is_one_of_the_crd_s() -> None:
    story = running(rotation={"period": "1000h"}, expiresAt="2027-01-01T00:00:00Z")
    story.use(1)
    story.rotate()
    story.run()
    for kind, written in (("ApiKey", story.keys["alpha"].status), ("KeySet", status_of(story))):
        fields = schema(kind)["properties"]["status"]["properties"]
        assert set(written) <= set(fields)
        described = {word.strip(" .") for word in fields["conditions"]["description"].split(",")}
        assert {each["type"] for each in written["conditions"]} == described


def status_of(story: Story) -> dict[str, Any]:
    assert story.keyset is not None
    return story.keyset.status


def test_the_actions_that_are_reported_are_those_of_the_description() -> None:
    text = schema("ApiKey")["properties"]["status"]["properties"]["nextAction"]["description"]
    assert all(word in text for word in ("Rotate", "Retire", "Drop", "Expire"))
    assert schedule.MARGIN.total_seconds() == 3600
    assert [reason for _, reason in status.NOTICES] == ["Within1Day", "Within7Days", "Within30Days"]
