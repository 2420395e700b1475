"""Make the collections and indexes, each where it is not there yet; safe to run at any time and by several at once."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from typing import Any

from pymongo import errors as driver
from pymongo import monitoring
from pymongo.collection import Collection

from sluice import errors
from sluice.settings import Settings
from sluice.stores.mongodb.connection import DUPLICATE, Connection
from sluice.stores.mongodb.documents import Document

VERSION = 1
# Which document describes the others.
META = "sluice"
INDEXES = {
    # The order of pages.
    "by_at": [("at", 1)],
    "by_type": [("event_type", 1), ("at", 1)],
    # What retention removes.
    "by_timestamp": [("timestamp", 1)],
}
# An index on a collection full of events takes its time; an interrupted run may be started again.
PATIENCE = 3_600.0
NAMESPACE_EXISTS = 48


def migrate(settings: Settings, listeners: Sequence[monitoring.CommandListener] = ()) -> list[str]:
    """Bring the database up to date; what was done. Raises StoreUnavailable, and SettingsError when it is not one of ours."""
    with contextlib.closing(Connection(settings, PATIENCE, listeners)) as connection:
        connection.run(lambda: refuse_others(connection))
        return [
            *connection.run(lambda: collection(connection)),
            *connection.run(lambda: indexes(connection)),
            *connection.run(lambda: description(connection)),
        ]


def refuse_others(connection: Connection) -> None:
    """Raise SettingsError when another program keeps its data there."""
    name, events = connection.database.name, connection.events.name
    problem = None
    for each in connection.database.list_collections(filter={"name": events}):
        if {"collation", "capped", "timeseries", "viewOn"} & set(each["options"]):
            problem = f"the collection {events} of the database {name} has a collation, is capped, or is none"
    if problem is None and connection.meta.find_one(META) is None and connection.events.find_one() is not None:
        problem = f"the collection {events} of the database {name} holds what Sluice did not put there"
    if problem is not None:
        raise errors.SettingsError([f"{problem}; name another database in MONGODB_URI"])


def collection(connection: Connection) -> list[str]:
    try:
        connection.database.create_collection(connection.events.name, check_exists=False)
    except driver.OperationFailure as error:
        if error.code == NAMESPACE_EXISTS:
            return []
        raise
    return [f"collection {connection.events.name}"]


def indexes(connection: Connection) -> list[str]:
    names = missing(connection.events)
    for name in names:
        connection.events.create_index(INDEXES[name], name=name)
    return [f"index {name}" for name in names]


def missing(events: Collection[Document]) -> list[str]:
    """The names of the indexes that are not there; one with the same fields and another name is as good."""
    there: list[Any] = [index["key"] for index in events.index_information().values()]
    return [name for name, keys in INDEXES.items() if keys not in there]


def description(connection: Connection) -> list[str]:
    """Last: who reads it finds the rest done. The secret is drawn once, for cursors are signed with it."""
    new = {"$setOnInsert": {"secret": secrets.token_bytes(32)}, "$max": {"version": VERSION}}
    try:
        done = connection.meta.update_one({"_id": META}, new, upsert=True)
    except driver.OperationFailure as error:
        if error.code == DUPLICATE:  # Another run was faster.
            return []
        raise
    return [f"schema {VERSION}"] if done.upserted_id is not None or done.modified_count else []
