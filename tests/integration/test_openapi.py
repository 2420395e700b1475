"""The OpenAPI document is true: each route is in it, and what the service answers is what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from tests.integration.checks import data_of
from tests.integration.postgres import Database
from tests.integration.service import KEY, Service, running

from sluice import functions  # noqa: F401 - declares their routes
from sluice.http.app import create_app
from sluice.settings import Settings
from sluice.stores.postgresql.store import PostgresqlStore

pytest_plugins = ["tests.integration.services"]

KEYED_REFUSALS = {"400", "401", "403", "429", "503"}


@pytest.fixture(scope="module")
def document(shared_service: Service) -> dict[str, Any]:
    with shared_service.client(None) as client:
        answer = client.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return dict(answer.json())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    # Against the OpenAPI Initiative's own schema, which comes with the library.
    schemathesis.openapi.from_dict(document).validate()


def test_each_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert names == set(document["components"]["schemas"])


def test_each_operation_has_its_own_id(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_each_route_is_in_the_document_and_each_path_of_it_is_a_route(document: dict[str, Any], store: PostgresqlStore) -> None:
    app = create_app(Settings(api_keys=(KEY,)), store=store)
    routes = {
        (method.lower(), re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if not rule.rule.startswith("/console")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(method, path) for method, path, _ in operations(document)} == routes


def test_an_operation_that_needs_a_key_says_so_and_reports_the_refusals(document: dict[str, Any], service: Service) -> None:
    with service.client(None) as client:
        for method, path, operation in operations(document):
            # An id must have its form: any other path is 404 for everybody.
            for each in operation["parameters"]:
                path = path.replace(f"{{{each['name']}}}", str(each.get("example")))
            status = client.request(method, path).status_code
            assert (status == 401) == bool(operation["security"]), path
            assert (set(operation["responses"]) >= KEYED_REFUSALS) == bool(operation["security"]), path


def test_refusals_are_problems(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400" and path not in ("/health", "/readiness"):
                assert list(answer["content"]) == ["application/problem+json"]


def test_limits_of_an_event_stand_in_its_schema(document: dict[str, Any], client: httpx.Client) -> None:
    event = document["components"]["schemas"]["Event"]
    assert event["required"] == ["event_type", "event_name"]
    assert (event["additionalProperties"], event["properties"]["event_name"]["maxLength"]) == (False, 255)
    parameters = {p["name"]: p for p in document["paths"]["/api/v1/logs/filter"]["get"]["parameters"]}
    assert parameters["page_size"]["schema"]["maximum"] == data_of(client.get("/api/v1/limits"))["max_page_size"]


@pytest.mark.timeout(480)
def test_schemathesis_finds_no_undocumented_answer_and_no_failure(database: Database, tmp_path: Path) -> None:
    # Two checks do not fit: an empty batch has the form of one and is refused, and one with bad items is a 200 that says so.
    checks = ("--exclude-checks", "positive_data_acceptance,negative_data_rejection")
    # One worker: two that parse source at once end in a SystemError of Python 3.11.
    effort = ("--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--generation-deterministic", "--workers", "1")
    with running(database.url) as service:
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "schemathesis.cli",
                "run",
                f"{service.url}/openapi.json",
                "-H",
                f"X-API-Key: {KEY}",
                # It has no end to wait for: test_tail.py.
                "--exclude-path",
                "/api/v1/logs/tail",
                *checks,
                *effort,
            ],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            timeout=460,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert service.lines("request.failed") == []
    # It got through to the store, and not only to the first check.
    assert database.count() > 10
