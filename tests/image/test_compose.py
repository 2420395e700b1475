"""compose.yaml, as far as it can be tried without Docker: its settings work, its containers are as confined as Pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import compose
from tests.image.conftest import Database
from tests.image.container import running
from tools.images import Image

from sluice import settings


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = compose.read()["services"]
    return found


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
    assert [{name: services[service].get(name) for name in confined} for service in compose.OURS] == [confined] * len(
        compose.OURS
    )


def test_ports_are_those_of_the_image_and_on_this_machine_only(services: dict[str, Any], image: Image) -> None:
    published = [port.split(":") for port in services["service"]["ports"]]
    assert {address for address, _, _ in published} == {"127.0.0.1"}
    assert {f"{inside}/tcp" for _, _, inside in published} == set(image.config()["config"]["ExposedPorts"])


def test_it_waits_long_enough_for_an_orderly_end(services: dict[str, Any]) -> None:
    defaults = settings.Settings()
    patience = int(services["service"]["stop_grace_period"].removesuffix("s"))
    assert patience > defaults.drain_seconds + defaults.graceful_timeout
