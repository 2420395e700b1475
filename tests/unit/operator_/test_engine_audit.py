"""What the audit reads of the cluster: disruption budgets, seldom, but at once when one is missed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operator_.apiserver import ApiServer, run
from tests.unit.operator_.deployments import LABELS, deployment

from sluice_operator import probes
from sluice_operator.api_types import BUDGETS, KeySet, parse
from sluice_operator.cache import DeploymentFacts, metadata
from sluice_operator.client import Api
from sluice_operator.observe import Audit
from sluice_operator.pods import Asker
from sluice_operator.probes import Finding

SPACE = "space"
PATH = BUDGETS.path(SPACE)


def named(name: str) -> dict[str, Any]:
    made = {"resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"name": name, "namespace": SPACE, "uid": name, **made}


class Look:
    """An audit whose clock stands still."""

    def __init__(self, server: ApiServer, api: Api) -> None:
        self.now = 0.0
        self._server = server
        self._audit = Audit(api, Asker(), lambda: self.now)

    async def findings(self) -> tuple[Finding, ...]:
        spec = {"environment": "test", "target": {"name": "web"}}
        keyset = parse(KeySet, {"metadata": named("main"), "spec": spec})
        raw: Any = deployment()
        facts = DeploymentFacts(metadata({"metadata": named("web")}), raw, 2, {})
        if self._audit.is_old(SPACE, keyset, facts):
            await self._audit.look(SPACE)
        found = self._audit.findings(SPACE, keyset, facts)
        assert found is not None
        return found

    async def reasons(self) -> list[str]:
        return [each.reason for each in await self.findings() if "Budget" in each.reason or "Disruption" in each.reason]

    def budget(self) -> None:
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}
        self._server.put(f"{PATH}/web", {"metadata": {"name": "web", "namespace": SPACE}, "spec": spec})

    @property
    def lists(self) -> int:
        return len([path for _, path in self._server.calls if path == PATH])


def test_a_budget_that_is_there_is_read_once_a_minute() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        look = Look(server, api)
        look.budget()
        for second in range(0, 120, 10):
            look.now = float(second)
            assert await look.reasons() == []
        assert look.lists == 2

    run(work)


def test_one_that_was_made_after_the_deployment_is_found_at_the_next_look() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        look = Look(server, api)
        assert await look.reasons() == ["NoDisruptionBudget"]
        look.budget()
        look.now = 2.0
        assert await look.reasons() == []

    run(work)


def test_one_that_is_missed_is_not_asked_for_at_every_look() -> None:
    async def work(server: ApiServer, api: Api) -> None:
        look = Look(server, api)
        for _ in range(5):
            assert await look.reasons() == ["NoDisruptionBudget"]
        assert look.lists == 1

    run(work)


def test_a_deployment_that_no_lint_can_judge_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "grace", lambda *_: 1 / 0)

    async def work(server: ApiServer, api: Api) -> None:
        look = Look(server, api)
        assert [each.reason for each in await look.findings()] == ["NotJudged"]

    run(work)
