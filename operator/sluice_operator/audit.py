"""Whether the target's probes are right (lints.py) and tell the truth: the operator asks each Pod's readiness itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

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

log = structlog.get_logger()


class Audit:
    def __init__(self, api: Api, asker: Asker, monotonic: Callable[[], float]) -> None:
        self._api = api
        self._asker = asker
        self._monotonic = monotonic
        self._budgets: dict[str, tuple[float, list[Raw]]] = {}
        # Where it was tried to read them.
        self.tried: set[str] = set()

    def findings(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts | None) -> tuple[Finding, ...] | None:
        """None: there is nothing to look at, or the disruption budgets are not known, which is told elsewhere."""
        if deployment is None or namespace not in self._budgets:
            return None
        muted = lints.muted(deployment.raw)
        return tuple(each for each in self._lint(namespace, keyset, deployment) if each.reason not in muted)

    def is_old(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts) -> bool:
        """Whether the disruption budgets should be read again."""
        at, _ = self._budgets.get(namespace, (float("-inf"), []))
        missed = namespace in self._budgets and any(each.reason in MISSED for each in self._lint(namespace, keyset, deployment))
        return self._monotonic() - at >= (MISSED_SECONDS if missed else BUDGET_SECONDS)

    async def look(self, namespace: str) -> float | None:
        """Read the disruption budgets. None: they are as they were. Raises ApiError."""
        _, before = self._budgets.get(namespace, (0.0, None))
        new = namespace not in self.tried
        self.tried.add(namespace)
        try:
            budgets = (await self._api.list(BUDGETS, namespace)).items
        except PASSED_OVER:
            return None if self._budgets.pop(namespace, None) is None and not new else 0.0
        self._budgets[namespace] = (self._monotonic(), budgets)
        return 0.0 if budgets != before else None

    def unproved(self, pods: Sequence[PodFacts], memory: Memory) -> list[PodFacts]:
        """Those that Kubernetes calls Ready and that were not seen to be."""
        return [pod for pod in pods if pod.ready and pod.ip and not pod.finished and pod.metadata.uid not in memory.seen_ready]

    async def prove(self, keyset: KeySet, pods: Sequence[PodFacts], memory: Memory) -> float | None:
        """Ask the readiness of each of these. None: nothing is new."""
        asked = self.unproved(pods, memory)
        port, path = keyset.spec.target.admin_port, keyset.spec.probes.readiness_path
        answers = await asyncio.gather(*(self._asker.ready(pod.ip or "", port, path) for pod in asked))
        new = {pod.metadata.uid for pod in asked} - memory.tried
        memory.tried |= new
        memory.seen_ready |= {pod.metadata.uid for pod, ready in zip(asked, answers, strict=True) if ready}
        return 0.0 if new or any(answers) else None

    def _lint(self, namespace: str, keyset: KeySet, deployment: DeploymentFacts) -> list[Finding]:
        _, budgets = self._budgets[namespace]
        try:
            return lints.lint(deployment.raw, budgets, names.published_secret(keyset.name), keyset.spec.probes.container)
        except Exception:  # a Deployment may contain what nobody thought of
            log.exception("deployment not judged", namespace=namespace, deployment=deployment.metadata.name)
            return [Finding("NotJudged", "deployment")]
