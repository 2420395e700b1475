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
FLY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["app", "primary_region", "build", "deploy", "env", "http_service", "vm"],
    "properties": {
        "app": {"type": "string"},
        "primary_region": {"type": "string", "pattern": "^[a-z]{3}$"},
        "kill_signal": {"const": "SIGTERM"},
        "kill_timeout": {"type": "string", "pattern": "^[0-9]+s$"},
        "build": {"type": "object", "additionalProperties": False, "properties": {"dockerfile": {"const": "Dockerfile"}}},
        "deploy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"release_command": {"const": "migrate"}, "strategy": {"enum": ["rolling", "bluegreen"]}},
        },
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "http_service": {
            "type": "object",
            "additionalProperties": False,
            "required": ["internal_port", "force_https", "checks"],
            "properties": {
                "internal_port": {"type": "integer"},
                "force_https": {"const": True},
                "auto_stop_machines": {"enum": ["off", "stop", "suspend"]},
                "auto_start_machines": {"type": "boolean"},
                "min_machines_running": {"type": "integer", "minimum": 1},
                "concurrency": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "type": {"const": "requests"},
                        "soft_limit": {"type": "integer"},
                        "hard_limit": {"type": "integer"},
                    },
                },
                "checks": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["path", "interval", "timeout"],
                        "properties": {
                            name: {"type": "string"} for name in ("grace_period", "interval", "timeout", "method", "path")
                        },
                    },
                },
            },
        },
        "vm": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"size": {"type": "string"}, "memory": {"type": "string", "pattern": "^[0-9]+(mb|gb)$"}},
            },
        },
    },
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


def test_the_health_of_keys_is_told_by_the_chart_s_own_lua() -> None:
    settings = yaml.safe_load((ROOT / "argocd" / "values.yaml").read_text())["configs"]["cm"]
    lua = (ROOT / "charts/sluice/files/argocd/health.lua").read_text()
    assert [settings[f"resource.customizations.health.sluice.dev_{kind}"] for kind in ("ApiKey", "KeySet")] == [lua, lua]


def test_fly_toml_fits_its_schema_and_the_service() -> None:
    document = tomllib.loads((ROOT / "fly.toml").read_text())
    jsonschema_rs.validator_for(FLY).validate(document)
    assert document["http_service"]["internal_port"] == 8080
    assert document["http_service"]["checks"][0]["path"] == "/readiness"
    # Longer than drain and graceful timeout together.
    assert int(document["kill_timeout"].removesuffix("s")) > 25
    assert not [name for name in document["env"] if "KEY" in name or "URL" in name]
