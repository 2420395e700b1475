"""/docs shows the OpenAPI document by files of our own, under a strict policy."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest
from tests.integration.service import Service

from sluice import logs
from sluice.http import docs
from sluice.http.app import Service as Application
from sluice.http.app import create_app
from sluice.settings import Settings

pytest_plugins = ["tests.integration.services"]


def test_the_page_takes_nothing_from_elsewhere_and_no_script_within(service: Service) -> None:
    with service.client(None) as client:
        page = client.get("/docs")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
        assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
        assert "unsafe" not in page.headers["content-security-policy"]
        used = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert used == ["data:,", "docs/swagger-ui.css", "openapi.json", "docs/swagger-ui-bundle.js", "docs/start.js"]
        answers = [client.get(f"/{path}") for path in used[1:]]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert re.findall(r"<script(?![^>]*src)|https?:|\bon\w+=", page.text) == []
    kinds = [answer.headers["content-type"].partition(";")[0] for answer in answers]
    assert kinds == ["text/css", "application/json", "text/javascript", "text/javascript"]
    assert "SwaggerUIBundle" in answers[2].text


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Application:
    monkeypatch.setattr(logs, "configure", lambda _level: None)
    return create_app(Settings(threads=8), store=cast(Any, object()))


@pytest.mark.parametrize("path", ["/docs", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"])
def test_without_the_extra_the_answer_says_what_to_install(app: Application, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(docs, "PACKAGE", "no_such_package")
    answer: Any = app.test_client().get(path)
    assert (answer.status_code, answer.json["error"]) == (501, "not_installed")
    assert "pip install 'sluice[docs]'" in answer.json["detail"]
    assert app.test_client().get("/openapi.json").status_code == 200


def test_readers_without_a_key_share_a_quarter_of_the_threads(app: Application) -> None:
    given = [app.parts.streams.take("/docs") for _ in range(2)]
    answers = [app.test_client().get(f"/docs/{name}") for name in ("swagger-ui-bundle.js", "swagger-ui.css")]
    assert [answer.status_code for answer in answers] == [503, 200]
    for give_back in given:
        give_back()
    for method in ("GET", "HEAD", "GET", "HEAD"):
        with app.test_client().open("/docs/swagger-ui-bundle.js", method=method) as answer:
            assert answer.status_code == 200
