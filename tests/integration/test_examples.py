"""Each operation of the OpenAPI document has an example, and the service answers as the example says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema_rs
import msgspec
import pytest
from tests.integration import upstream as up
from tests.integration.conftest import ready
from tests.integration.postgres import Database
from tests.integration.pulling import Pulls, source_at

from sluice import functions  # noqa: F401 - declares their routes
from sluice.http import app, openapi  # noqa: F401 - the same
from sluice.http.routes import OPERATIONS, Example, Operation
from sluice.stores.postgresql.store import PostgresqlStore

pytest_plugins = ["tests.integration.services"]

NAMED = {f"{operation.method} {operation.path}": operation for operation in OPERATIONS}
# What the service made in the place of a text of an example: an id, an ETag.
Known = dict[str, str]


@pytest.fixture(scope="module", autouse=True)
def source(shared_database: Database) -> Iterator[None]:
    """The source that the examples of pull sources are about, pulled with success."""
    store = PostgresqlStore(shared_database.login)
    with up.running() as upstream, contextlib.closing(store):
        upstream.answers = [up.records(1)]
        Pulls(ready(store), shared_database, source_at(upstream.url, name="placeholder_api"))()
        yield


def example_of(operation: Operation) -> Example:
    assert operation.example is not None, f"{operation.method} {operation.path}: declare an example (sluice.http.routes.Example)"
    return operation.example


@pytest.mark.parametrize("name", NAMED)
def test_an_example_fits_the_schemas_of_its_operation(name: str) -> None:
    operation, document = NAMED[name], openapi.document()
    example = example_of(operation)
    described = document["paths"][operation.path][operation.method.lower()]
    parameters = {(each["in"], each["name"]): each for each in described["parameters"]}
    for place, values in (("path", example.path), ("query", example.query), ("header", example.headers)):
        assert all((place, each) in parameters for each in values if each != "Content-Type"), "declare the parameter too"
    assert set(example.path) == {each for place, each in parameters if place == "path"}
    answer = described["responses"][str(openapi.status_of(operation))]
    bodies = [*described.get("requestBody", {}).get("content", {}).values(), *answer.get("content", {}).values()]
    for content in (each for each in bodies if "example" in each):
        # Not the request of a batch: its example shows an item that is refused.
        if name != "POST /api/v1/batch-ingest" or content is bodies[-1]:
            schema = {**content["schema"], "components": document["components"]}
            assert [str(fault) for fault in jsonschema_rs.validator_for(schema).iter_errors(content["example"])] == []


@pytest.mark.parametrize("name", NAMED)
def test_the_service_answers_an_example_as_it_says(client: httpx.Client, name: str) -> None:
    run(client, NAMED[name], {})


def run(client: httpx.Client, operation: Operation, known: Known) -> None:
    """Send the example after those that go before it; `known` grows by what the service made."""
    example = example_of(operation)
    for name in example.after:
        run(client, NAMED[name], known)
    path = operation.path
    for name, text in example.path.items():
        path = path.replace(f"{{{name}}}", quote(known.get(text, text), safe=""))
    headers = {name: known.get(text, text) for name, text in example.headers.items()}
    query = {name: known.get(text, text) for name, text in example.query.items()}
    body: dict[str, Any] = {}
    if example.body is not None:
        body = {"content": example.body} if isinstance(example.body, str) else {"json": sent(example.body, known)}
    status = openapi.status_of(operation)
    if operation.answers[status][0] == "text/event-stream":
        with client.stream(operation.method, path, params=query, headers=headers) as opened:
            assert (opened.status_code, opened.headers["content-type"]) == (status, "text/event-stream")
            assert next(opened.iter_text()) == example.answer
        return
    answer = client.request(operation.method, path, params=query, headers=headers, **body)
    assert answer.status_code == status, answer.text
    media = operation.answers[status][0]
    assert answer.headers.get("content-type", "").partition(";")[0] == (media or ""), "as declared"
    for name, text in example.answer_headers.items():
        learn(text, answer.headers[name], known)
    if media is None:
        assert answer.content == b""
    elif isinstance(example.answer, str):
        assert answer.text
    else:
        learn(msgspec.to_builtins(example.answer), answer.json(), known)


def sent(body: Any, known: Known) -> Any:
    def real(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: real(each) for name, each in value.items()}
        if isinstance(value, list):
            return [real(each) for each in value]
        return known.get(value, value) if isinstance(value, str) else value

    return real(msgspec.to_builtins(body))


def learn(shown: Any, real: Any, known: Known, place: str = "") -> None:
    """`real` has what `shown` shows, with values of the same kinds; texts that differ are the service's own."""
    if shown is None or real is None:
        return
    kind: Any = (int, float) if isinstance(shown, int | float) else type(shown)
    assert isinstance(real, kind), f"{place}: {shown!r} is shown, {real!r} came"
    if isinstance(shown, dict):
        assert shown.keys() <= real.keys(), place
        for name, value in shown.items():
            learn(value, real[name], known, f"{place}/{name}")
    elif isinstance(shown, list) and shown:
        assert real, f"{place} is empty"
        learn(shown[0], real[0], known, f"{place}/0")
    elif isinstance(shown, str) and shown != real:
        known[shown] = real
