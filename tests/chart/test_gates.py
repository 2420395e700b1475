"""Judges of other makers, over every set of values at four versions of Kubernetes: minutes, so `make test-cluster` runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart import checkov, kubernetes
from tests.chart.manifests import Object
from tests.chart.render import PLAIN, SCHEMA_SAYS, SETS, manifest, refusal, render
from tests.chart.test_schema import sample
from tools import binaries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MOST_SKIPS = 3


def different(objects: Iterator[Object]) -> list[Object]:
    """Each object once: most are the same in many sets."""
    return list({json.dumps(one, sort_keys=True): one for one in objects}.values())


@pytest.fixture(scope="module")
def every_object() -> list[Object]:
    return different(one for name in SETS for one in render(name))


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    for name in SETS:
        (folder / f"{name}.yaml").write_text(manifest(name), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def report(manifests: Path) -> dict[str, Any]:
    return checkov.judge(manifests)


@pytest.mark.parametrize("version", kubernetes.VERSIONS)
def test_kubernetes_validate_finds_no_mistake(version: str, every_object: list[Object]) -> None:
    assert [words for one in every_object for words in kubernetes.errors(one, version)] == []


@pytest.fixture(scope="module")
def kubeconform() -> Path:
    return binaries.path("kubeconform")


@pytest.mark.parametrize("version", kubernetes.VERSIONS)
def test_kubeconform_finds_no_mistake(
    version: str, kubeconform: Path, every_object: list[Object], manifests: Path, tmp_path: Path
) -> None:
    kubernetes.lay_out(tmp_path, version, every_object)
    where = f"{tmp_path}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
    command = [str(kubeconform), "-strict", "-summary", "-output", "json"]
    command += ["-schema-location", where, str(manifests)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert told["resources"] == []
    assert told["summary"] == {"valid": sum(len(render(name)) for name in SETS), "invalid": 0, "errors": 0, "skipped": 0}


def test_checkov_finds_nothing_to_fix(report: dict[str, Any]) -> None:
    failed = {(one["check_id"], one["check_name"], one["resource"]) for one in report["results"]["failed_checks"]}
    assert failed == set()
    assert report["summary"]["passed"] > 1000


def test_at_most_three_checks_of_checkov_are_skipped_each_with_a_reason(report: dict[str, Any]) -> None:
    skipped = {one["check_id"]: one["check_result"]["suppress_comment"] for one in report["results"]["skipped_checks"]}
    assert len(skipped) <= MOST_SKIPS
    assert [check for check, reason in skipped.items() if len(reason) < 20] == []


def test_helm_itself_refuses_two_hundred_wrong_values() -> None:
    assert [str(one) for one in sample(200) if SCHEMA_SAYS not in refusal(PLAIN, one.values)] == []
