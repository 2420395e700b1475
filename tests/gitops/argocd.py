"""argocd/ as Argo CD renders it: charts by Helm, and what each of their Applications makes of the chart of Sluice."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tests.chart.manifests import Object, parse
from tests.chart.render import Refused, helm, merged
from tests.conftest import ROOT
from tests.gitops.bare import commit_of, digest_of
from tools.release import environment, repository
from tools.release.environment import Release

ARGOCD = ROOT / "argocd"
ENVIRONMENTS = ("dev", "staging", "prod")
READ = re.compile(r"\.metadata\.(annotations|labels)\.(\w+)")


def rendered(chart: Path, values: Mapping[str, Any], *, release: str = "it", namespace: str = "argocd") -> list[Object]:
    """Raises Refused."""
    done = helm("template", release, chart, "--namespace", namespace, "--values", "-", stdin=json.dumps(values))
    if done.returncode:
        raise Refused(done.stderr)
    return parse(done.stdout)


@cache
def application_set() -> Object:
    found: Object = yaml.safe_load((ARGOCD / "root" / "clusters.yaml").read_text())
    return found


def read_by_templates(part: str) -> set[str]:
    """The `annotations` or `labels` that the ApplicationSet reads."""
    return {name for kind, name in READ.findall(json.dumps(application_set())) if kind == part}


def cluster_values(secret: Object) -> dict[str, str]:
    """What the ApplicationSet gives the chart `cluster`, of a hand-over."""
    given = application_set()["spec"]["template"]["spec"]["source"]["helm"]["valuesObject"]
    facts = {
        "annotations": secret["metadata"]["annotations"],
        "labels": secret["metadata"]["labels"],
    }
    return {name: filled(text, facts, secret["stringData"]["name"]) for name, text in given.items()}


def filled(text: str, facts: Mapping[str, Mapping[str, str]], name: str) -> str:
    """The few templates that are used here. tests/gitops/node has Argo CD fill them in."""
    match = READ.search(text)
    return facts[match[1]][match[2]] if match else text.replace("{{ .name }}", name)


def applications(secret: Object) -> dict[str, Object]:
    """Of a cluster, by the last part of their names."""
    found = rendered(ARGOCD / "cluster", cluster_values(secret))
    return {each["metadata"]["name"].rpartition("-")[2]: each for each in found}


def manifests(application: Object) -> list[Object]:
    """What an Application with the chart of Sluice makes, once its environment has a digest."""
    source = application["spec"]["source"]
    values: dict[str, Any] = {}
    for file in source["helm"]["valueFiles"]:
        values = merged(values, yaml.safe_load(released((ROOT / file.lstrip("/")).read_text())))
    values = merged(values, source["helm"]["valuesObject"])
    space = application["spec"]["destination"]["namespace"]
    found = rendered(ROOT / source["path"], values, release=source["helm"]["releaseName"], namespace=space)
    # Argo CD leaves out what is for `helm test`.
    return [each for each in found if "helm.sh/hook" not in each["metadata"].get("annotations", {})]


def released(values: str) -> str:
    return environment.write(values, Release(digest_of(1), 1, commit_of(1)))


def values_of(name: str) -> str:
    return (ROOT / repository.values_of(name)).read_text()


def without(secret: Object, annotation: str) -> Object:
    changed = copy.deepcopy(secret)
    del changed["metadata"]["annotations"][annotation]
    return changed
