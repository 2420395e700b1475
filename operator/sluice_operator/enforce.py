"""Enforce: gives a Deployment that opted in its probes and the key set's mount (wiring.py), by one server-side apply at most."""

from __future__ import annotations

import structlog

from sluice_operator import wiring
from sluice_operator.api import Api, Conflict, Forbidden, Refused
from sluice_operator.cache import Cache
from sluice_operator.memory import Memory
from sluice_operator.model import KeySet
from sluice_operator.queue import Key
from sluice_operator.reading import DeploymentFacts
from sluice_operator.resources import DEPLOYMENTS
from sluice_operator.world import Obstacle

log = structlog.get_logger()


class Enforcer:
    """`allowed`: whether this operator may patch Deployments at all."""

    def __init__(self, api: Api, cache: Cache, allowed: bool) -> None:
        self._api = api
        self._cache = cache
        self._allowed = allowed
        # The Deployments, by uid and generation, that somebody else had a field of.
        self._contested: set[tuple[str, int]] = set()

    async def wire(self, key: Key, keyset: KeySet, memory: Memory) -> float | None:
        """Notes in `memory.enforcement` why it could not be done. None: nothing is new. Raises ApiError."""
        deployment, before = self._cache.deployment(key.namespace, keyset.spec.target.name), memory.enforcement
        asked = keyset.spec.probes.mode == "Enforce" and deployment is not None
        memory.enforcement = await self._obstacle(key, keyset, deployment) if asked and deployment is not None else None
        return 0.0 if memory.enforcement != before else None

    async def _obstacle(self, key: Key, keyset: KeySet, deployment: DeploymentFacts) -> Obstacle | None:
        """Wires the Deployment; else why not."""
        patch = wiring.patch(keyset, deployment.raw)
        if patch is None:
            return Obstacle("EnforceNoContainer")
        if wiring.is_wired(patch, deployment.raw):
            return None
        if not self._allowed:
            return Obstacle("EnforceDisabled")
        if not wiring.opted_in(deployment.raw):
            return Obstacle("NotOptedIn")
        if others := wiring.other_handlers(keyset, deployment.raw):
            return Obstacle("ProbeHandlers", others)
        return await self._apply(key, deployment, patch)

    async def _apply(self, key: Key, deployment: DeploymentFacts, patch: wiring.Body) -> Obstacle | None:
        seen = (deployment.metadata.uid, deployment.metadata.generation)
        if seen in self._contested:
            return Obstacle("FieldConflict")
        try:
            raw = await self._api.apply(DEPLOYMENTS, key.namespace, deployment.metadata.name, patch)
        except Forbidden:
            return Obstacle("EnforceDisabled")
        except Refused:
            return Obstacle("EnforceRefused")
        except Conflict as error:
            self._contested.add(seen)
            log.warning("field conflict", namespace=key.namespace, deployment=deployment.metadata.name, told=error.told)
            return Obstacle("FieldConflict")
        self._cache.put(DEPLOYMENTS, raw, ours=True)
        return None
