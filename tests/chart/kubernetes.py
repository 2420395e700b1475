"""The objects' own schemas: those of Kubernetes come with kubernetes-validate, those of other makers' kinds lie in schemas/."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

import jsonschema_rs
import kubernetes_validate  # type: ignore[import-untyped]
from tests.chart.manifests import Object, title

OWN = Path(__file__).parent / "schemas"
SHIPPED = Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema"
VERSIONS = ("1.34", "1.35", "1.36", "1.37")
SHARED = "_definitions.json"


def file_of(one: Object) -> str:
    """The name that kubernetes-validate and kubeconform look for: deployment-apps-v1.json, ingress-networking-v1.json."""
    group, _, version = one["apiVersion"].rpartition("/")
    parts = [one["kind"].lower(), *([group.partition(".")[0]] if group else []), version]
    return "-".join(parts) + ".json"


def errors(one: Object, version: str) -> list[str]:
    """What kubernetes-validate --strict finds, and for the kinds that it does not know our own schemas."""
    return [f"{version} {title(one)}: {words}" for words in judged(json.dumps(one, sort_keys=True), version)]


@cache
def judged(text: str, version: str) -> list[str]:
    """Of an object as JSON; most objects are the same in many sets of values."""
    one = json.loads(text)
    own = OWN / file_of(one)
    if own.exists():
        return [error.message for error in jsonschema_rs.Draft202012Validator(own.read_text(encoding="utf-8")).iter_errors(one)]
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return [str(error.message)]
    return []


def lay_out(folder: Path, version: str, objects: Iterable[Object]) -> None:
    """The strict schemas that `objects` need at `version`, as kubeconform reads them: references to files beside each other."""
    shipped = SHIPPED / f"v{version}.0-local-strict"
    for name in {SHARED, *map(file_of, objects)}:
        text = (OWN / name if (OWN / name).exists() else shipped / name).read_text(encoding="utf-8")
        schema = json.loads(text.replace(f'"/api/{SHARED}', f'"{SHARED}'))
        schema.pop("$id", None)
        (folder / name).write_text(json.dumps(schema), encoding="utf-8")
