"""Where pull sources keep their records: in the tables of PostgreSQL, or among the events in DynamoDB's."""

from __future__ import annotations

from sluice.events import Rules
from sluice.sources.states import SourceReader
from sluice.sources.store import Keeper, SourceStore
from sluice.stores import Store, database, require


def keeper(store: Store, rules: Rules, runs_days: int) -> Keeper:
    """For a puller; raises NotSupported (501) when the store has no place for them. Capability `sources`."""
    require(store, "sources")
    if (table := getattr(store, "table", None)) is not None:
        from sluice.sources.dynamodb import DynamodbSources  # noqa: PLC0415 - extra `dynamodb`

        return DynamodbSources(table, runs_days)
    return SourceStore(database(store), rules)


def reader(store: Store) -> SourceReader:
    """For the service; raises NotSupported as well."""
    require(store, "sources")
    if (table := getattr(store, "table", None)) is not None:
        from sluice.sources.dynamodb import DynamodbSources  # noqa: PLC0415

        return DynamodbSources(table, 1)
    from sluice.sources.reading import PostgresqlReader  # noqa: PLC0415 - a driver is loaded only when it is used

    return PostgresqlReader(database(store))
