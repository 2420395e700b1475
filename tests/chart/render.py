"""The chart as Helm renders it: values in, objects or Helm's refusal out. Each set of values is rendered once per process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from tests.chart.manifests import Object, parse
from tests.conftest import ROOT
from tools import kubectl

CHART = ROOT / "charts" / "sluice"
RELEASE = "blue"
NAMESPACE = "events"
KUBERNETES = "1.36"
# The set that others are laid over.
PLAIN = "default"
# Helm's own words, by which a refusal of the schema differs from one of a template.
SCHEMA_SAYS = "values don't meet the specifications of the schema(s)"
SETS = {file.stem: file for file in sorted((CHART / "ci").glob("*.yaml"))}

Values = Mapping[str, Any]


class Refused(Exception):
    """Helm refused the values; the text is what it told."""


@cache
def program() -> Path:
    return kubectl.helm()


def helm(*arguments: str | Path, stdin: str = "", home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Helm with no repository, plugin or cluster of this machine; `home` keeps what a dependency needs."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PATH": os.defpath, "HOME": str(home or folder)}
        return subprocess.run([program(), *arguments], input=stdin, env=environment, capture_output=True, text=True, check=False)


def template(
    values: Values,
    *base: Path,
    chart: Path = CHART,
    arguments: tuple[str, ...] = (),
    release: str = RELEASE,
    version: str = KUBERNETES,
) -> str:
    """The manifests of a release with the files of `base` and then `values`; raises Refused."""
    files = [word for file in base for word in ("--values", str(file))]
    command = ("template", release, str(chart), "--namespace", NAMESPACE, "--kube-version", version)
    done = helm(*command, *files, "--values", "-", *arguments, stdin=json.dumps(values))
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def notes(base: str, values: Values | None = None) -> str:
    """What `helm install` prints at its end."""
    words = ("install", RELEASE, CHART, "--namespace", NAMESPACE, "--dry-run=client")
    done = helm(*words, "--values", SETS[base], "--values", "-", stdin=json.dumps(values or {}))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


@cache
def manifest(base: str, values: str = "{}", arguments: tuple[str, ...] = ()) -> str:
    """Like template(), of a set in ci/ by its name and values as JSON."""
    return template(json.loads(values), SETS[base], arguments=arguments)


@cache
def parsed(base: str, values: str, arguments: tuple[str, ...]) -> list[Object]:
    return parse(manifest(base, values, arguments))


def render(base: str, values: Values | None = None, *arguments: str) -> list[Object]:
    """The objects of a set in ci/ with `values` over it; treat them as read-only."""
    return parsed(base, json.dumps(values or {}, sort_keys=True), arguments)


def refusal(base: str, values: Values) -> str:
    """What Helm tells when it refuses `values` over a set in ci/; fails when it takes them."""
    try:
        manifest(base, json.dumps(values, sort_keys=True))
    except Refused as refused:
        return str(refused)
    raise AssertionError(f"the chart takes {values}")


@cache
def values_of(base: str | None = None) -> dict[str, Any]:
    """The chart's default values with a set in ci/ over them."""
    own = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return merged(own, yaml.safe_load(SETS[base].read_text(encoding="utf-8")) or {}) if base else own


def merged(under: Values, over: Values) -> dict[str, Any]:
    """As Helm does it: mappings are merged, anything else is replaced, and null removes."""
    both = {**under, **over}
    for key in under.keys() & over.keys():
        if isinstance(under[key], Mapping) and isinstance(over[key], Mapping):
            both[key] = merged(under[key], over[key])
    return {key: value for key, value in both.items() if value is not None or key not in over}


def copied(to: Path) -> Path:
    """A copy of the chart to change."""
    return Path(shutil.copytree(CHART, to / "sluice"))
