"""The operator ends at any moment: what it began is gone on with, and nothing is done twice."""

from __future__ import annotations

import re

import pytest
from tests.integration.waiting import until
from tests.operator import crashes
from tests.operator.conftest import Start
from tests.operator.processes import Proxy, clients
from tests.operator.stand import Stand


@pytest.mark.timeout(600)
def test_killed_at_any_write_of_a_rotation_it_ends_the_same(stand_: Stand, start: Start, proxy: Proxy) -> None:
    """Each write once: lost before it is done, or its answer lost, by the operator's end or on the way."""
    operator = start(server=proxy.server).leads()
    writes = crashes.writes_of_a_rotation(stand_, proxy)
    assert writes > 8
    names = [stand_.key() for _ in range(writes)]
    for name in names:
        stand_.active(name, seconds=60)
    for number, name in enumerate(names, start=1):
        # Two writes of a status may be one now and then, so the last of them may be missing.
        assert crashes.lose(stand_, operator, proxy, name, number, crashes.HOWS[number % 3]) or number > writes - 3
    proxy.tell("reset")
    stand_.settled()
    for name in names:
        crashes.judge(stand_, name)


@pytest.mark.timeout(300)
def test_two_operators_at_once_do_what_one_does(stand_: Stand, start: Start) -> None:
    """As when a Lease is thought to be held by both: each has one of its own here."""
    first, second = start("one", LEASE_NAME="one").leads(), start("two", LEASE_NAME="two").leads()
    names = [stand_.key() for _ in range(5)]
    for name in names:
        stand_.active(name, seconds=60)
    with clients(stand_.space.name, names[0], stand_.target.url) as under:
        crashes.rotate_all(stand_, names)
    assert set(under.answers) == {"200"}
    assert first.running
    assert second.running
    for name in names:
        crashes.judge(stand_, name)


@pytest.mark.timeout(300)
def test_without_any_operator_valid_keys_go_on_and_overlaps_and_dates_end(stand_: Stand, start: Start) -> None:
    operator = start().leads()
    name = stand_.key(rotation={"overlap": "8s", "maxOverlap": "8s", "retirePolicy": "Retire"})
    stand_.active(name)
    old = stand_.plaintext(name)
    stand_.rotate(name)
    stand_.active(name, 2)
    until(lambda: any(entry.get("notAfter") for entry in stand_.of_key(name)), what="the end of the old one is published")
    stand_.settled()
    operator.kill()
    until(lambda: set(stand_.answers(old)) == {401}, 30, "the overlap ends")
    assert set(stand_.answers(stand_.plaintext(name))) == {200}


@pytest.mark.timeout(120)
def test_a_new_process_has_nothing_to_do(stand_: Stand, start: Start, proxy: Proxy) -> None:
    operator = start(server=proxy.server).leads()
    name = stand_.key()
    stand_.active(name)
    stand_.settled()
    operator.stop()
    proxy.tell("reset")
    operator.start()
    operator.leads()
    until(lambda: re.search(r'reconcile_total{result="ok"} [1-9]', operator.ask("/metrics")), 20, "it looked")
    assert proxy.writes == []  # what Pods tell of last uses is no reason either: only the operator used the key
