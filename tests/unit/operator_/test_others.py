"""Tools of others find the client Secret as docs/operator.md says. tests/operator/test_others.py asks a real API server."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import yaml
from tests.operator.others import PUSH_SECRETS, example, selected_labels
from tests.unit.operator_.story import Story

from sluice_operator.api_types import Metadata


def client_secret(key: dict[str, Any]) -> tuple[Metadata, dict[str, bytes]]:
    """Of an ApiKey as the page shows it: metadata and data."""
    story = Story()
    name = key["metadata"]["name"]
    story.apply(name, **(key["spec"] | {"keySetRef": {"name": "main"}}))
    story.run()
    return story.secrets[name].metadata, story.secrets[name].data


def strict(schema: Any) -> Any:
    """An API server drops a field that a schema does not name; here it is refused."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else {}
    return closed | {name: strict(value) for name, value in schema.items()}


def test_a_reloader_finds_the_annotation_that_it_looks_for() -> None:
    metadata, _ = client_secret(example("reloader")["ApiKey"])
    assert metadata.annotations["reloader.stakater.com/match"] == "true"


def test_a_push_secret_selects_the_secret_with_what_it_copies() -> None:
    found = example("pushsecret")
    metadata, data = client_secret(found["ApiKey"])
    assert selected_labels(found["PushSecret"]).items() <= metadata.labels.items()
    assert {each["match"]["secretKey"] for each in found["PushSecret"]["spec"]["data"]} <= data.keys()


def test_the_push_secret_of_the_page_is_one_by_its_schema() -> None:
    [version] = yaml.safe_load(PUSH_SECRETS.read_text(encoding="utf-8"))["spec"]["versions"]
    judge = jsonschema_rs.validator_for(strict(version["schema"]["openAPIV3Schema"]))
    push = example("pushsecret")["PushSecret"]
    assert [error.message for error in judge.iter_errors(push)] == []
    assert not judge.is_valid(push | {"spec": push["spec"] | {"selectors": {}}})
