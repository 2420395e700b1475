"""values.schema.json is closed, tells what every value is for, and refuses what is wrong: over 200 wrong values are made of it.

The bulk is judged by the library jsonschema-rs under the schema's own draft, in a second instead of minutes. Helm is the judge
that counts: a sample spread over all kinds of mistakes goes through it here, and a larger one in test_gates.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
import yaml
from tests.chart import mutation
from tests.chart.mutation import Mutant, nodes, resolved
from tests.chart.render import CHART, PLAIN, SCHEMA_SAYS, SETS, merged, refusal, values_of
from tests.chart.values_table import schema

# Mappings of no shape that the chart knows: an umbrella chart's own, and types of Kubernetes that the chart passes on whole.
OPEN = re.compile(r"global|(\w+\.)?affinity|extraObjects\.0(\.metadata)?|extraVolumes\.0\.\w+")
# Mappings whose keys are the user's to name; names and values have rules.
NAMED_BY_USERS = ("labels", "annotations", "nodeselector")
# What may be left out, and then is not set.
OPTIONAL = ("resources.requests.", "resources.limits.", "podSecurityContext.seLinuxOptions.")


def judge() -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(schema())


def described() -> list[tuple[str, dict[str, Any]]]:
    return [(".".join(map(str, path)), node) for path, node in nodes(schema(), schema())]


def mutants() -> list[Mutant]:
    return list(mutation.mutants(schema(), values_of(PLAIN)))


def sample(size: int = 40) -> list[Mutant]:
    """Some of every kind of mistake, and evenly from the whole schema."""
    every = sorted(mutants(), key=lambda mutant: (mutant.kind, str(mutant)))
    return every[:: max(1, len(every) // size)]


def test_the_schema_is_of_the_draft_that_helm_reads() -> None:
    assert schema()["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert jsonschema_rs.meta.is_valid(schema())


def test_every_mapping_is_closed_but_those_with_names_of_the_users_own() -> None:
    mappings = {path: node for path, node in described() if "object" in mutation.allowed_types(node)}
    free = {path: node for path, node in mappings.items() if node.get("additionalProperties") is not False}
    shapeless = {path for path, node in free.items() if not isinstance(node.get("additionalProperties"), dict)}
    assert {path for path in shapeless if not OPEN.fullmatch(path)} == set()
    assert [path for path in free.keys() - shapeless if not path.lower().endswith(NAMED_BY_USERS)] == []


def test_every_value_is_described_and_has_a_type() -> None:
    assert [path for path, node in described() if path and len(node.get("description", "")) < 10] == []
    assert [path for path, node in described() if not (mutation.allowed_types(node) or "enum" in node)] == []


def test_the_mutations_know_every_keyword_of_the_schema() -> None:
    assert mutation.unread(schema()) == set()


def test_the_default_values_are_those_the_schema_knows() -> None:
    assert undeclared(values_of(), schema()) == []
    assert undefaulted(values_of(), schema()) == []


def undeclared(values: dict[str, Any], node: dict[str, Any], path: str = "") -> list[str]:
    """Keys of the default values that the schema does not name."""
    known = resolved(node, schema()).get("properties")
    if known is None:
        return []
    below = [(key, value) for key, value in values.items() if isinstance(value, dict) and key in known]
    return [path + key for key in values if key not in known] + [
        more for key, value in below for more in undeclared(value, known[key], f"{path}{key}.")
    ]


def undefaulted(values: Any, node: dict[str, Any], path: str = "") -> list[str]:
    """Keys of the schema without a default value."""
    known = resolved(node, schema()).get("properties") or {}
    absent = [f"{path}{key}" for key in known if key not in (values or {})]
    missing = [one for one in absent if not any(part in one for part in OPTIONAL)]
    inner = [(key, child) for key, child in known.items() if isinstance((values or {}).get(key), dict)]
    return missing + [more for key, child in inner for more in undefaulted(values[key], child, f"{path}{key}.")]


def test_the_default_values_are_valid() -> None:
    assert [error.message for error in judge().iter_errors(values_of())] == []


@pytest.mark.parametrize("name", SETS)
def test_a_set_of_values_is_valid(name: str) -> None:
    assert [error.message for error in judge().iter_errors(values_of(name))] == []


@pytest.mark.parametrize("more", [{"global": {"any": ["thing"]}}, {"enabled": True}])
def test_what_an_umbrella_chart_adds_is_taken(more: dict[str, Any]) -> None:
    judge().validate(merged(values_of(PLAIN), more))


def test_at_least_two_hundred_wrong_values_are_all_refused() -> None:
    made, taken = mutants(), judge().is_valid
    assert len(made) >= 200
    assert [str(one) for one in made if taken(merged(values_of(PLAIN), one.values))] == []


@pytest.mark.parametrize(
    ("repository", "taken"),
    [
        ("sluice", True),
        ("registry.example.org:5000/team/sluice", True),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice-dev/sluice", True),
        ("registry.example.org/sluice:1.2", False),
        ("https://registry.example.org/sluice", False),
        ("registry.example.org/sluice/", False),
    ],
)
def test_a_repository_is_the_name_of_one_without_scheme_and_tag(repository: str, taken: bool) -> None:
    assert judge().is_valid(merged(values_of(PLAIN), {"image": {"repository": repository}})) is taken


@pytest.mark.parametrize("mutant", sample() if SETS else [], ids=str)
def test_helm_itself_refuses_a_wrong_value(mutant: Mutant) -> None:
    assert SCHEMA_SAYS in refusal(PLAIN, mutant.values)


def test_the_schema_is_written_as_it_is_read() -> None:
    """Formatted by the standard library, so that a diff shows what changed."""
    text = (CHART / "values.schema.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_a_comment_of_a_set_says_what_it_shows() -> None:
    firsts = {name: file.read_text(encoding="utf-8").splitlines()[0] for name, file in SETS.items()}
    assert {name for name, line in firsts.items() if not (line.startswith("# ") and len(line) > 20)} == set()
    assert all(isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict) for file in SETS.values())
