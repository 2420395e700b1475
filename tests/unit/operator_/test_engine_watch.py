"""kopf as a watch engine: what it may do, and what it must not."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import json
import logging
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import certifi
import kopf
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.conftest import ROOT

from sluice_operator import client, telemetry, watch
from sluice_operator.api_types import SELECTORS, WATCHED
from sluice_operator.cache import Cache
from sluice_operator.settings import Settings
from sluice_operator.watch import Hearing

SETTINGS = Settings(watch_namespaces=("space",), pod_namespace="space", pod_name="one")
SOURCES = sorted((ROOT / "operator/sluice_operator").glob("*.py"))


def test_kopf_writes_nothing_and_looks_at_no_other_namespace() -> None:
    options = watch.options()
    assert (options.posting.enabled, options.posting.loggers) == (False, False)
    assert (options.scanning.disabled, options.peering.standalone) == (True, True)
    assert options.persistence.finalizer.startswith("sluice.dev/")
    secret: Any = {"metadata": {"name": "alpha"}, "data": {"key": "canary"}}
    patch: Any = kopf.Patch()
    handler: Any = "any"
    options.persistence.diffbase_storage.store(body=secret, patch=patch, essence=secret)
    options.persistence.progress_storage.store(key=handler, record={}, body=secret, patch=patch)
    assert (options.persistence.diffbase_storage.build(body=secret), dict(patch)) == ({}, {})


def test_there_are_handlers_of_events_only() -> None:
    registry = watch.registry(SETTINGS, WATCHED, Cache(), Hearing())
    assert len(registry._watching.get_all_handlers()) == len(WATCHED)
    stateful = (registry._changing, registry._spawning, registry._indexing, registry._webhooks)
    assert [len(each.get_all_handlers()) for each in stateful] == [0, 0, 0, 0]


def test_secrets_are_selected_by_the_server() -> None:
    assert list(watch.options().watching.label_selectors.values()) == list(SELECTORS.values()) == ["sluice.dev/keyset"]


def test_a_watch_that_is_refused_is_reported_within_ten_seconds() -> None:
    assert sum(watch.BACKOFFS) < 10


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_kopf_is_used_by_the_watch_and_the_login_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = any(isinstance(node, ast.Import) and any(each.name == "kopf" for each in node.names) for node in ast.walk(tree))
    assert used is (path.stem in ("connection", "watch"))


def test_each_piece_of_a_watch_is_heard_and_a_second_list_is_reported() -> None:
    async def work() -> None:
        now, told = 0.0, []
        hearing = Hearing(lambda: now)
        hearing.relisted = lambda: told.append(True)
        application = web.Application()
        application.router.add_get("/{path:.*}", pieces)
        path = "/api/v1/namespaces/space/pods"
        async with (
            TestServer(application) as server,
            aiohttp.ClientSession(response_class=hearing.response_class()) as session,
        ):
            url = server.make_url(path)
            await (await session.get(url)).read()
            await (await session.get(url, params={"limit": "1", "continue": "x"})).read()
            assert (hearing.age(path), told) == (None, [])
            async with session.get(url, params={"watch": "true"}) as answer:
                heard = []
                async for _ in answer.content.iter_chunked(1024):
                    heard.append(hearing.age(path))
                    now += 60
            assert len(heard) >= 1
            assert set(heard) == {0.0}
            await (await session.get(url)).read()
            assert told == [True]

    asyncio.run(work())


async def pieces(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(3):
        await answer.write(b"{}\n")
        await asyncio.sleep(0.01)
    return answer


def test_no_line_of_a_library_has_a_key_in_it(capsys: pytest.CaptureFixture[str], logging_put_back: None) -> None:
    telemetry.configure("debug")
    canary = "c2xrX3Rlc3RfMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"
    logging.getLogger("kopf.clients").warning("Ignoring an unsupported event: %r", {"data": {"key": canary}})
    logging.getLogger("kopf.objects").info("not told at all")
    logging.getLogger("kopf").debug("not told at all")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 1
    assert canary[:20] not in json.dumps(lines)
    assert "[redacted]" in lines[0]["event"]


def test_watches_log_in_as_all_calls_do_and_by_the_token_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(client, "SERVICE_CERT_FILENAME", certifi.where())
    settings = dataclasses.replace(SETTINGS, kubernetes_service_host="fd00::1", kubernetes_service_port=6443)
    for token in ("first", "second"):
        (tmp_path / "token").write_text(token)
        server, context, headers = asyncio.run(client.connection(settings))
        assert server == "https://[fd00::1]:6443"
        assert headers == {"User-Agent": "sluice-operator", "Authorization": f"bearer {token}"}
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT, "certificates of EKS have no Authority Key Identifier"
