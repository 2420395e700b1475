"""compose.yaml without Docker: its form, its settings, and what its Prometheus collects. tests/image starts its commands."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import jsonschema_rs
import pytest
import yaml
from tests import compose
from tests.conftest import ROOT
from tests.integration.postgres import Database
from tests.integration.service import running
from tests.integration.waiting import until
from tools import apt
from tools.ports import free_port

from sluice.settings import Settings, known

# Of github.com/compose-spec/compose-go/v2 v2.16.2, Apache-2.0.
SPECIFICATION = json.loads((ROOT / "tests/image/compose-spec.json").read_text())
MORE = {
    "QUEUE_URL": "amqp://sluice:canary@broker",
    "REDIS_URL": "redis://redis",
    "API_ENDPOINT": "https://api.example.com/posts",
}


def test_it_is_a_compose_file() -> None:
    validator = jsonschema_rs.validator_for(SPECIFICATION)
    validator.validate(compose.read(**MORE))
    with pytest.raises(jsonschema_rs.ValidationError):
        validator.validate({"services": {"service": {"image": 1}}})


@pytest.mark.parametrize("given", [{}, MORE])
@pytest.mark.parametrize("service", compose.OURS)
def test_every_service_of_ours_gets_settings_that_it_takes(service: str, given: dict[str, str]) -> None:
    environment = compose.environment(compose.read(**given), service)
    assert set(environment) <= set(known())
    assert Settings.from_env(environment).db_host == "database"


def test_the_addresses_of_its_first_lines_are_those_of_its_services() -> None:
    text, services = (ROOT / "compose.yaml").read_text(), compose.read()["services"]
    for variable, profile in (("QUEUE_URL", "queue"), ("REDIS_URL", "redis"), ("API_ENDPOINT", "pull")):
        url = re.search(rf"#   {variable}=(\S+) docker compose --profile {profile} up", text)
        assert url is not None
        host = httpx.URL(url[1].replace("$DATABASE_PASSWORD", "word")).host
        assert variable == "API_ENDPOINT" or services[host]["profiles"] == [profile]
    assert services["broker"]["environment"]["RABBITMQ_DEFAULT_PASS"] == services["migrate"]["environment"]["DB_PASSWORD"]


def test_every_file_that_is_mounted_is_there() -> None:
    mounts = [volume for each in compose.read()["services"].values() for volume in each.get("volumes", ())]
    files = [volume.split(":")[0] for volume in mounts if volume.startswith(".")]
    assert len(files) == 4
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_its_prometheus_collects_what_the_dashboard_chooses_by(database: Database, tmp_path: Path) -> None:
    with running(database.url) as service, prometheus(tmp_path, f"127.0.0.1:{service.admin_port}") as url:
        query = {"query": 'sluice_workers{namespace="compose", job="sluice"}'}
        found = until(lambda: httpx.get(f"{url}/api/v1/query", params=query).json()["data"]["result"], 60, "a scrape")
    assert [each["value"][1] for each in found] == ["2"]


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """The URL of a Prometheus with the configuration of compose.yaml, whose service is at `target`."""
    config = yaml.safe_load((ROOT / "compose/prometheus.yml").read_text().replace("service:8081", target))
    config["global"]["scrape_interval"] = "1s"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    words = [
        str(apt.program("prometheus", "prometheus")),
        f"--web.listen-address={address}",
        f"--storage.tsdb.path={folder}/data",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*words, f"--config.file={folder}/prometheus.yml"], stdout=log, stderr=log)
    try:
        until(lambda: answers(f"http://{address}/-/ready"), 30, "Prometheus is ready")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False
