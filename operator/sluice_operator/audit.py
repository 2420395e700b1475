"""Whether the target's probes are right (lints.py) and tell the truth: the operator asks each Pod's readiness itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sluice_operator import lints, names
from sluice_operator.api import PASSED_OVER, Api
from sluice_operator.asking import Asker
from sluice_operator.lints import Finding
from sluice_operator.memory import Memory
from sluice_operator.model import KeySet
from sluice_operator.reading import DeploymentFacts, PodFacts
from sluice_operator.resources import BUDGETS, Raw

# PodDisruptionBudgets are not watched: a right that is missing for the audit must hold no key back.
BUDGET_SECONDS = 60.0
# One that is missed may have been made a moment ago, with its Deployment.
MISSED_SECONDS = 2.0
MISSED = ("NoDisruptionBudget", "BudgetAllowsNone")


class Audit:
    def __init__(self, api: Api, asker: Asker, monotonic: Callable[[], float]) -> None:
        self._api = api
        self._asker = asker
        self._monotonic = monotonic
        self._budgets: dict[str, tuple[float, list[Raw]]] = {}

    async def findings(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts | None) -> tuple[Finding, ...] | None:
        """None: there is nothing to look at, or it may not be looked at, which is told elsewhere. Raises ApiError."""
        if deployment is None:
            return None
        try:
            found = await self._lint(namespace, keyset, deployment, BUDGET_SECONDS)
            if any(each.reason in MISSED for each in found):
                found = await self._lint(namespace, keyset, deployment, MISSED_SECONDS)
        except PASSED_OVER:
            return None
        muted = lints.muted(deployment.raw)
        return tuple(each for each in found if each.reason not in muted)

    async def prove(self, namespace: str, keyset: KeySet, pods: Sequence[PodFacts], memory: Memory) -> None:
        """Ask the readiness of each Pod that Kubernetes calls Ready and that was not seen to be."""
        asked = [pod for pod in pods if pod.ready and pod.ip and not pod.finished and pod.metadata.uid not in memory.seen_ready]
        port, path = keyset.spec.target.admin_port, keyset.spec.probes.readiness_path
        answers = await asyncio.gather(*(self._asker.ready(pod.ip or "", port, path) for pod in asked))
        memory.seen_ready |= {pod.metadata.uid for pod, ready in zip(asked, answers, strict=True) if ready}

    async def _lint(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts, seconds: float) -> tuple[Finding, ...]:
        """With disruption budgets as they were so many seconds ago at the longest."""
        budgets = await self._all_budgets(namespace, seconds)
        return tuple(lints.lint(deployment.raw, budgets, names.published_secret(keyset.name), keyset.spec.probes.container))

    async def _all_budgets(self, namespace: str, seconds: float) -> list[Raw]:
        at, budgets = self._budgets.get(namespace, (float("-inf"), []))
        if self._monotonic() - at >= seconds:
            budgets = (await self._api.list(BUDGETS, namespace)).items
            self._budgets[namespace] = (self._monotonic(), budgets)
        return budgets
