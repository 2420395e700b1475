"""The other ways: Argo CD Image Updater, Fly.io, and Argo CD's own chart, whose hosts are not reached here; checked by schema."""

from __future__ import annotations

import copy
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from tests.conftest import ROOT
from tests.gitops.test_scripts import Recorder

UPDATER = ROOT / "argocd" / "image-updater"
SCHEMA = json.loads(Path(__file__).with_name("imageupdater.schema.json").read_text())
# What we set of Argo CD's chart, and nothing else: a key that its chart does not know would do nothing, silently.
ARGOCD = {
    "configs": {
        "params": {"applicationsetcontroller.policy"},
        "cm": {
            "timeout.reconciliation",
            "application.resourceTrackingMethod",
            "resource.customizations.health.argoproj.io_Application",
            "resource.customizations.health.sluice.dev_ApiKey",
            "resource.customizations.health.sluice.dev_KeySet",
        },
        "rbac": {"policy.default"},
    },
    "notifications": {
        "notifiers": {"service.webhook.alerts"},
        "templates": {"template.degraded"},
        "triggers": {"trigger.on-degraded"},
    },
}
# What we set of Fly.io's file, as its reference names it.
FLY = {
    "": {"app", "primary_region", "kill_signal", "kill_timeout", "build", "deploy", "env", "http_service", "vm"},
    "env": {"HOST", "WORKERS", "THREADS"},
    "http_service": {
        "internal_port",
        "force_https",
        "auto_stop_machines",
        "auto_start_machines",
        "min_machines_running",
        "concurrency",
        "checks",
    },
    "concurrency": {"type", "soft_limit", "hard_limit"},
    "checks": {"grace_period", "interval", "timeout", "method", "path"},
    "vm": {"size", "memory"},
}


def updater() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((UPDATER / "staging.yaml").read_text())
    return found


def test_the_image_updater_s_resource_fits_its_kind() -> None:
    jsonschema_rs.validator_for(SCHEMA).validate(updater())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("namespace",), "argocd"),
        (("imagesVerification",), {}),
        (("writeBackConfig", "method"), "argocd"),
        (("writeBackConfig", "gitConfig", "branch"), "HEAD"),
        (("writeBackConfig", "gitConfig", "writeBackTarget"), "helmvalues:/argocd/environments/prod/values.yaml"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_the_schema_refuses_what_1_x_or_we_refuse(path: tuple[str, ...], value: object) -> None:
    changed = copy.deepcopy(updater())
    place = changed["spec"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validator_for(SCHEMA).validate(changed)


def test_the_updater_s_login_prints_user_and_password(tmp_path: Path) -> None:
    values = yaml.safe_load((UPDATER / "values.yaml").read_text())
    script = tmp_path / "ecr-login.sh"
    script.write_text(values["authScripts"]["scripts"]["ecr-login.sh"])
    programs = Recorder(tmp_path, "aws")
    programs.reply("aws", "ecr", "QVdTOnBhc3N3b3Jk")
    said = subprocess.run(
        ["sh", script], env={"PATH": f"{programs.bin}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert said.stdout == "AWS:password"
    assert values["config"]["registries"][0]["credentials"].endswith("/ecr-login.sh")


def test_argo_cd_s_values_are_those_that_its_chart_knows() -> None:
    values = yaml.safe_load((ROOT / "argocd" / "values.yaml").read_text())
    assert {top: {part: set(found) for part, found in parts.items()} for top, parts in values.items()} == ARGOCD


def test_the_health_of_keys_comes_from_the_chart_s_own_lua() -> None:
    settings = yaml.safe_load((ROOT / "argocd" / "values.yaml").read_text())["configs"]["cm"]
    lua = (ROOT / "charts/sluice/files/argocd/health.lua").read_text()
    assert [settings[f"resource.customizations.health.sluice.dev_{kind}"] for kind in ("ApiKey", "KeySet")] == [lua, lua]


def test_fly_toml_fits_the_service_and_says_what_fly_knows() -> None:
    document = tomllib.loads((ROOT / "fly.toml").read_text())
    deploy, service = document["deploy"], document["http_service"]
    [check], [vm] = service["checks"], document["vm"]
    parts = {"": document, "env": document["env"], "http_service": service, "checks": check, "vm": vm}
    parts["concurrency"] = service["concurrency"]
    assert {name: set(part) for name, part in parts.items()} == FLY
    assert (document["build"], deploy) == ({"dockerfile": "Dockerfile"}, {"release_command": "migrate", "strategy": "bluegreen"})
    assert (service["internal_port"], service["force_https"], service["concurrency"]["type"]) == (8080, True, "requests")
    assert (check["path"], service["auto_stop_machines"], service["min_machines_running"]) == ("/readiness", "off", 1)
    assert document["kill_signal"] == "SIGTERM"
    # Longer than drain and graceful timeout together.
    assert int(document["kill_timeout"].removesuffix("s")) > 25
