"""Writes the reference of docs/operator.md: every field of the kinds from their CRDs, every reason from the operator's code.

`python -m tools.operator_reference` writes it again; a test refuses one that is out of date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sluice_operator import reasons

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/operator.md"
CRDS = ROOT / "charts/sluice/files/crds"
Schema = Mapping[str, Any]


def main() -> None:
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def renewed(page: str) -> str:
    """`page` with each generated part made again, between its two marks."""
    for name, lines in parts().items():
        begin, end = f"<!-- {name}: begin, made by python -m tools.operator_reference -->\n", f"<!-- {name}: end -->"
        head, _, rest = page.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise ValueError(f"docs/operator.md has no part {name}")
        page = f"{head}{begin}{lines}{end}{tail}"
    return page


def parts() -> dict[str, str]:
    found = {f"fields of {kind}": "\n".join(fields_table(kind)) + "\n" for kind in ("ApiKey", "KeySet")}
    return {**found, "reasons": rows(reasons.CONDITIONS), "events": rows(reasons.EVENTS)}


def rows(sentences: Mapping[str, str]) -> str:
    lines = [f"| `{reason}` | {sentence.replace('{}', '...')} |" for reason, sentence in sentences.items()]
    return "\n".join(["| reason | what it says |", "|---|---|", *lines]) + "\n"


def fields_table(kind: str) -> Iterator[str]:
    [crd] = [each for path in CRDS.iterdir() if (each := yaml.safe_load(path.read_text()))["spec"]["names"]["kind"] == kind]
    [version] = crd["spec"]["versions"]
    yield "| field | type | default | limits | what |"
    yield "|---|---|---|---|---|"
    yield from fields(version["schema"]["openAPIV3Schema"]["properties"]["spec"], "spec")


def fields(schema: Schema, path: str) -> Iterator[str]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        limits = "; ".join(["required"] * (name in required) + list(limits_of(field)))
        default = f"`{shown(field['default'])}`" if "default" in field and not isinstance(field["default"], dict) else ""
        cells = (f"`{where}`", type_of(field), default, limits, " ".join(field["description"].split()))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield from fields(field, where)


def type_of(field: Schema) -> str:
    if field["type"] == "array":
        return f"list of {type_of(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {type_of(field['additionalProperties'])}"
    return str({"date-time": "date"}.get(field.get("format", ""), field["type"]))


def limits_of(field: Schema) -> Iterator[str]:
    """What the API server refuses, the conflicts with other fields included."""
    inner = field.get("items", field)
    if "enum" in inner:
        yield "one of " + ", ".join(f"`{value}`" for value in inner["enum"])
    if "minimum" in field:
        yield f"{field['minimum']} to {field['maximum']}"
    if "minItems" in field:
        yield f"{field['minItems']} to {field['maxItems']} values"
    if "maxLength" in field and "pattern" not in field:
        yield f"at most {field['maxLength']} characters"
    yield from (rule["message"] for rule in field.get("x-kubernetes-validations", ()))


def shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
