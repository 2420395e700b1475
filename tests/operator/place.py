"""A stand with what acts on it, for the parts of the soak."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.cluster import bed
from tests.integration.waiting import until
from tests.operator import stand
from tests.operator.hand import Hand
from tests.operator.operators import Operator
from tests.operator.stand import Stand
from tools.cluster import run

# Secrets of a key set without keys: what is published, and its seal.
WITHOUT_KEYS = 2


class Place:
    """`operators`: those that were started here, also those that ended."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.hand = Hand(run.here().kubeconfig, stand.space.name)
        self.operators: list[Operator] = []

    def operator(self, **more: Any) -> Operator:
        """One that leads."""
        made = Operator(self.stand.space, "soak", **more)
        self.operators.append(made)
        return made.start().leads()

    def clear(self) -> None:
        """Without operators and keys."""
        for operator in self.operators:
            operator.end()
        self.hand.delete_all("apikey")
        until(lambda: not self.stand.reader.all("apikey"), 120, "the keys are gone")
        until(lambda: len(self.stand.secrets()) <= WITHOUT_KEYS, 300, "their Secrets are gone")


@contextlib.contextmanager
def place() -> Iterator[Place]:
    with bed.any_cluster() as cluster, bed.a_database(cluster) as postgresql:
        stand.install_crds(cluster)
        with stand.standing(cluster, bed.load(cluster, bed.ONE), postgresql) as made:
            yield Place(made)
