"""Whatever is killed under load: what was answered `queued` is stored exactly once. The long form is `make soak SOAK=queue`."""

from __future__ import annotations

import pytest
from tests.integration import postgres
from tests.soak import queue
from tests.stores.rabbitmq import Broker

pytestmark = pytest.mark.timeout(600)


def test_what_was_answered_queued_is_stored_exactly_once_whatever_is_killed(
    broker: Broker, queue_url: str, private_server: postgres.LocalServer, private_database: postgres.Database
) -> None:
    fought = queue.fight(broker, private_server, private_database, len(queue.PARTS))
    assert [kill.part for kill in fought.kills] == list(queue.PARTS)
    assert (fought.books.missing, fought.books.doubled, fought.books.strangers, fought.dead) == ([], [], [], 0)
    assert fought.books.stored >= fought.queued > 4_000
