"""A puller in this process, on a test's database: its clock, its pauses and its resolver are the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tenacity
from prometheus_client import CollectorRegistry
from tests.integration.postgres import Database

from sluice.events import Rules
from sluice.ingest.pipeline import utc_now
from sluice.sources.definitions import Source
from sluice.sources.metrics import PullMetrics
from sluice.sources.puller import Puller
from sluice.sources.run import Parts
from sluice.sources.store import Ending, SourceStore
from sluice.stores.postgresql.store import PostgresqlStore

# Above what any statement here takes, and short enough to wait for.
TIMEOUT = 1.0


def source_at(url: str, **more: Any) -> Source:
    """A source that may be pulled from this machine."""
    usual: dict[str, Any] = {"name": "items", "interval": 300.0, "timeout": TIMEOUT, "allow_private": True, "default": True}
    return Source(url=url, **usual | more)


class Pulls:
    """Pulls one source each time a test asks for it. `paused`: the seconds of each pause, none of which is waited for."""

    def __init__(self, store: PostgresqlStore, database: Database, source: Source, **parts: Any) -> None:
        self.database = database
        self.source = source
        self.paused: list[float] = []
        self.registry = CollectorRegistry()
        rules = Rules()
        given: dict[str, Any] = {"pause": self.paused.append, "backoff": tenacity.wait_none()} | parts
        metrics = PullMetrics(self.registry, [source], utc_now)
        self.parts = Parts(store=SourceStore(store.database, rules), metrics=metrics, rules=rules, **given)
        self.puller = Puller([source], self.parts, 30)
        self.puller.register()

    def __call__(self) -> Ending:
        """One run, whenever it is due."""
        ending = self.puller.pull(self.source, forced=True)
        assert ending is not None, "another puller has the source"
        return ending

    def reason(self) -> str | None:
        return self().reason

    def rows(self) -> list[tuple[str, int]]:
        """Ids and versions as they are stored; a record stored twice stands here twice."""
        rows = self.database.execute(
            "SELECT id, version FROM sluice.source_records WHERE source = %s ORDER BY place", [self.source.name]
        )
        return [(id, version) for id, version in rows]

    def ids(self) -> list[str]:
        return [id for id, _ in self.rows()]

    def status(self) -> dict[str, Any]:
        """The newest run as it is stored."""
        ((row,),) = self.database.execute("SELECT to_jsonb(r) FROM sluice.source_runs AS r ORDER BY id DESC LIMIT 1")
        return dict(row)

    def state(self) -> dict[str, Any]:
        """The source as it is stored."""
        ((row,),) = self.database.execute("SELECT to_jsonb(s) FROM sluice.sources AS s WHERE name = %s", [self.source.name])
        return dict(row)

    def count(self, metric: str, **labels: str) -> float:
        return self.registry.get_sample_value(metric, {"source": self.source.name, **labels}) or 0.0


MakePulls = Callable[..., Pulls]
