"""compose.yaml without Docker: its form, its settings, and what its Prometheus collects. tests/image starts its commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import jsonschema_rs
import pytest
import yaml
from tests import compose
from tests.conftest import ROOT
from tests.integration import prometheus
from tests.integration.postgres import Database
from tests.integration.service import running
from tests.integration.waiting import until
from tools.dashboards.queries import POSTGRESQL, PROMETHEUS

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


@pytest.mark.parametrize("service", ["influxdb-migrate", "influxdb-service"])
def test_the_service_on_influxdb_has_the_login_that_its_server_is_set_up_with(service: str) -> None:
    document = compose.read()
    settings = Settings.from_env(compose.environment(document, service))
    server = compose.environment(document, "influxdb")
    found = {name: server[f"DOCKER_INFLUXDB_INIT_{name}"] for name in ("ADMIN_TOKEN", "ORG", "BUCKET")}
    assert list(found.values()) == [settings.influxdb_token, settings.influxdb_org, settings.influxdb_bucket]
    assert settings.influxdb_url == "http://influxdb:8086"


def test_the_addresses_of_its_first_lines_are_those_of_its_services() -> None:
    text, services = (ROOT / "compose.yaml").read_text(), compose.read()["services"]
    for variable, profile in (("QUEUE_URL", "queue"), ("REDIS_URL", "redis"), ("API_ENDPOINT", "pull")):
        url = re.search(rf"#   {variable}=(\S+) docker compose --profile {profile} up", text)
        assert url is not None
        host = httpx.URL(url[1].replace("$DATABASE_PASSWORD", "word")).host
        assert variable == "API_ENDPOINT" or services[host]["profiles"] == [profile]
    assert services["broker"]["environment"]["RABBITMQ_DEFAULT_PASS"] == services["migrate"]["environment"]["DB_PASSWORD"]


def test_its_first_lines_write_every_variable_that_it_asks_for_into_a_file_that_git_ignores() -> None:
    """Compose asks for them for `down` and `logs` too, in another terminal and on another day."""
    text = (ROOT / "compose.yaml").read_text()
    written = re.search(r"#   for name in ([A-Z_ ]+); do .* >\.env$", text, re.MULTILINE)
    assert written is not None
    assert set(written[1].split()) == set(re.findall(r"\$\{(\w+):\?", text))
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_file_that_is_mounted_is_there_and_may_be_read_where_selinux_labels_files() -> None:
    mounts = [volume for each in compose.read()["services"].values() for volume in each.get("volumes", ())]
    files = [volume.split(":")[0] for volume in mounts if volume.startswith(".")]
    assert len(files) == 5
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert {volume.split(":")[2] for volume in mounts if volume.startswith(".")} == {"ro,z"}


def test_its_grafana_has_both_data_sources_of_the_dashboards_and_no_password_is_in_git() -> None:
    provisioned = yaml.safe_load((ROOT / "compose/grafana/datasources.yaml").read_text())["datasources"]
    asked = {str(reference.type_val) for reference in (PROMETHEUS, POSTGRESQL)}
    assert {one["type"] for one in provisioned} == asked
    assert [one["secureJsonData"] for one in provisioned if "secureJsonData" in one] == [{"password": "$READER_PASSWORD"}]
    services = compose.read()["services"]
    assert {services[name]["environment"]["READER_PASSWORD"] for name in ("reader", "grafana")} == {"canary-of-the-reader"}
    assert "canary-of-the-owner" not in json.dumps(services["grafana"])
    assert provisioned[1]["jsonData"]["maxOpenConns"] == 5


def test_its_prometheus_collects_what_the_dashboards_choose_by(database: Database, tmp_path: Path) -> None:
    with running(database.url) as service:
        text = (ROOT / "compose/prometheus.yml").read_text().replace("service:8081", f"127.0.0.1:{service.admin_port}")
        configuration = yaml.safe_load(text)
        configuration["global"]["scrape_interval"] = "1s"
        with prometheus.running(tmp_path, configuration) as scraper:
            found = until(lambda: scraper.now('sluice_workers{namespace="compose", job="sluice"}'), 60, "a scrape")
    assert [points[-1][1] for _, points in found] == [2]
    assert {job["job_name"] for job in configuration["scrape_configs"]} == {"sluice", "sluice-worker", "sluice-puller"}
