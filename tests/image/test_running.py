"""The image at work, with a read-only root, as a user without rights, and no tool around it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.image.conftest import Database
from tests.image.container import Container, running
from tests.integration.waiting import until
from tools.folders import ROOT
from tools.images import Image, rootfs

KEY = "a-plain-key-of-the-tests-0123456789"
DRAIN = 1
SERVE = {"API_KEYS": KEY, "DRAIN_SECONDS": str(DRAIN), "WORKERS": "2"}
READY = "Sluice is ready"
# Generous, for a figure is no promise on a busy machine; the figure itself is printed.
SECONDS_TO_READY = 3 * 5
SECONDS_TO_END = DRAIN + 5
POST = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[3].encode() or None, json.loads(sys.argv[2]))
print(urllib.request.urlopen(request).read().decode())
"""
STATUS = """
import os
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), os.getgid(), int(lines["CapEff"], 16), int(lines["CapBnd"], 16), int(lines["NoNewPrivs"]))
"""
OPERATE = """
import runpy, sys
sys.path.insert(0, "/tmp")
runpy.run_module("tests.image.operating", run_name="__main__")
"""
WRITABLE = """
import os
print(*(folder for folder, _, _ in os.walk("/") if not folder.startswith("/proc") and os.access(folder, os.W_OK)))
"""


IMPORT_ALL = """
import importlib, pkgutil
for package in map(importlib.import_module, ("sluice", "sluice_operator")):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        # Those two read the environment of a worker; `serve` has loaded them.
        if not module.name.endswith(("__main__", "wsgi", "gunicorn_conf")):
            importlib.import_module(module.name)
"""


def call(container: Container, path: str, body: object = None) -> dict[str, object]:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    text = "" if body is None else json.dumps(body)
    done = container.run("python", "-c", POST, f"http://127.0.0.1:8080{path}", json.dumps(headers), text)
    data: dict[str, object] = json.loads(done.stdout)["data"]
    return data


def beside(database: Database, image: Image, root: Path, *arguments: str, **more: str) -> AbstractContextManager[Container]:
    """A container in the network of the database; `more` settings."""
    environ = {**SERVE, **database.settings, **more}
    return running(image, root, *arguments, environ=environ, volumes=database.files, joins=database.container)


@pytest.fixture
def trial(image: Image, root: Path, data_dir: Path) -> Iterator[Container]:
    """With the embedded PostgreSQL, and what the tests run inside."""
    volumes = {"/var/lib/sluice": data_dir, "/tmp/tests": ROOT / "tests"}
    with running(image, root, environ=SERVE, volumes=volumes) as container:
        container.says(READY)
        yield container


@pytest.mark.parametrize(
    ("arguments", "words"),
    [("--help", "Commands:"), ("--version", "sluice, version"), ("migrate --help", "Bring the schema up to date")],
)
def test_the_arguments_of_the_container_are_those_of_sluice(image: Image, root: Path, arguments: str, words: str) -> None:
    with running(image, root, *arguments.split()) as container:
        assert container.end() == 0, container.output
        assert words in container.output


def test_a_start_without_settings_reports_what_is_missing(image: Image, root: Path) -> None:
    with running(image, root) as container:
        assert container.end() == 2
        assert "set API_KEYS or KEYSET_FILE" in container.output


def test_the_trial_stores_an_event_and_has_it_after_a_restart(image: Image, root: Path, data_dir: Path) -> None:
    event = {"event_id": "kept", "event_type": "log", "event_name": "hello"}
    for status in ("created", "duplicate"):
        with running(image, root, environ=SERVE, volumes={"/var/lib/sluice": data_dir}) as container:
            print(f"\nembedded database {status}: ready after {container.says(READY):.1f} s")
            assert call(container, "/api/v1/ingest", event)["status"] == status
            container.kill(signal.SIGTERM)
            assert container.end() == 0


def test_it_runs_as_a_number_without_any_right_on_a_root_that_it_cannot_write(trial: Container) -> None:
    assert trial.run("python", "-c", STATUS).stdout.split() == ["10001", "10001", "0", "0", "1"]
    writable = trial.run("python", "-c", WRITABLE).stdout.split()
    outside = [path for path in writable if not path.startswith(("/tmp", "/dev/shm", "/var/lib/sluice"))]
    assert (outside, "/tmp" in writable) == ([], True)


def test_the_first_process_is_sluice_and_sigterm_ends_it_with_code_0(trial: Container) -> None:
    command = trial.run("python", "-c", "print(open('/proc/1/cmdline').read().split(chr(0)))").stdout
    assert re.search(r"/opt/sluice/bin/sluice', 'serve'", command)
    trial.kill(signal.SIGTERM)
    assert trial.end(SECONDS_TO_END) == 0


def test_the_health_check_follows_readiness(image: Image, trial: Container) -> None:
    check = image.config()["config"]["Healthcheck"]["Test"][1:]
    assert trial.run(*check).returncode == 0
    trial.kill(signal.SIGTERM)
    until(lambda: trial.run(*check, check=False).returncode != 0, DRAIN, "the health check fails")


def test_gunicorn_reads_http_by_its_parser_in_c(trial: Container) -> None:
    assert trial.run("python", "-c", "import gunicorn_h1c").returncode == 0


def test_the_services_of_aws_that_it_calls_are_described_in_it(trial: Container) -> None:
    made = trial.run("python", "-c", f"import boto3; [boto3.client(name, region_name='eu-central-1') for name in {rootfs.AWS}]")
    assert made.returncode == 0, made
    called = re.findall(r'client\("([a-z-]+)"', "".join(path.read_text() for path in (ROOT / "app").rglob("*.py")))
    assert set(called) <= set(rootfs.AWS)
    assert len(set(called)) >= 4


def test_the_operator_makes_a_key_with_what_is_left_of_the_kubernetes_client(trial: Container) -> None:
    assert trial.run("python", "-c", OPERATE).stdout.split() == ["main-published", "main-seal", "orders-v1"]


def test_it_migrates_and_serves_a_server_whose_name_it_verifies(image: Image, root: Path, database: Database) -> None:
    with beside(database, image, root, "migrate") as migration:
        assert migration.end() == 0, migration.output
        assert "the schema is up to date" in migration.output
    with beside(database, image, root) as container:
        seconds = container.says(READY)
        print(f"\nstart to ready: {seconds:.2f} s")
        assert call(container, "/api/v1/ingest", {"event_type": "log", "event_name": "hello"})["status"] == "created"
        container.kill(signal.SIGTERM)
        assert container.end(SECONDS_TO_END) == 0
    assert seconds < SECONDS_TO_READY


def test_a_database_under_another_name_is_refused(image: Image, root: Path, database: Database) -> None:
    with beside(database, image, root, "migrate", DB_HOST=database.other_name) as migration:
        migration.says("tls_refused")


def test_the_database_of_the_tests_takes_settings_as_arguments(database: Database) -> None:
    assert database.query("SHOW max_connections") == "40"


def test_every_module_finds_its_libraries_in_the_image(trial: Container) -> None:
    assert trial.run("python", "-c", IMPORT_ALL, check=False).stderr == ""
