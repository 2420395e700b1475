"""compose.yaml, as far as it can be tried without Docker: its settings work, its containers are as confined as Pods."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.image.conftest import Database
from tests.image.container import running
from tools import folders
from tools.images import Image

from sluice import settings

GIVEN = {"API_KEYS": "a-plain-key-of-the-tests-0123456789", "DATABASE_PASSWORD": "canary-of-the-owner"}
OURS = ("migrate", "service")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    text = (folders.ROOT / "compose.yaml").read_text()
    asked = dict(re.findall(r"\$\{(\w+):\?([^}]+)\}", text))
    assert set(asked) == set(GIVEN)
    for name, value in GIVEN.items():
        text = text.replace(f"${{{name}:?{asked[name]}}}", value)
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def test_its_settings_are_settings_of_the_service(services: dict[str, Any]) -> None:
    named = {name for service in OURS for name in services[service]["environment"]}
    assert named
    assert named - set(settings.known()) == set()


def test_the_settings_of_compose_migrate_and_serve(
    services: dict[str, Any], image: Image, root: Path, database: Database
) -> None:
    host = services["service"]["environment"]["DB_HOST"]
    names = database.files["/etc/hosts"]
    assert host in names.read_text()
    database.query("CREATE DATABASE sluice")
    for service, word in (("migrate", "the schema is up to date"), ("service", "Sluice is ready")):
        environ, command = services[service]["environment"], services[service].get("command", [])
        with running(
            image, root, *command, environ=environ, volumes={"/etc/hosts": names}, joins=database.container
        ) as container:
            container.says(word)


def test_our_containers_are_confined(services: dict[str, Any]) -> None:
    confined = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    assert [{name: services[service].get(name) for name in confined} for service in OURS] == [confined] * len(OURS)


def test_ports_are_those_of_the_image_and_on_this_machine_only(services: dict[str, Any], image: Image) -> None:
    published = [port.split(":") for port in services["service"]["ports"]]
    assert {address for address, _, _ in published} == {"127.0.0.1"}
    assert {f"{inside}/tcp" for _, _, inside in published} == set(image.config()["config"]["ExposedPorts"])


def test_it_waits_long_enough_for_an_orderly_end(services: dict[str, Any]) -> None:
    defaults = settings.Settings()
    patience = int(services["service"]["stop_grace_period"].removesuffix("s"))
    assert patience > defaults.drain_seconds + defaults.graceful_timeout
