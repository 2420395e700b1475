"""One operator for several namespaces: each has its keys, and one that goes takes nothing from the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.waiting import until
from tests.operator import stand
from tests.operator.conftest import Start
from tests.operator.operators import Operator
from tests.operator.stand import Stand

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def other(the_stand: Stand) -> Iterator[Stand]:
    with stand.beside(the_stand) as made:
        yield made


@pytest.fixture
def both(start: Start, stand_: Stand, other: Stand) -> Operator:
    """An operator of both namespaces, which leads."""
    return start(WATCH_NAMESPACES=f"{stand_.space.name},{other.space.name}").leads()


def test_keys_of_the_same_name_in_two_namespaces_have_nothing_in_common(stand_: Stand, other: Stand, both: Operator) -> None:
    for each in (stand_, other):
        each.key("same")
        each.active("same")
    assert stand_.plaintext("same") != other.plaintext("same")
    assert set(stand_.answers(other.plaintext("same"))) == {401}
    assert [entry["keyId"] for entry in other.published()] == ["same"]
    assert both.running


def test_a_namespace_that_goes_takes_nothing_from_the_others_and_may_come_back(
    stand_: Stand, other: Stand, both: Operator
) -> None:
    """The process ends where Kubernetes starts it again: with what can be read then."""
    other.key("lost")
    other.active("lost")
    cluster = other.space.cluster
    cluster.kubectl("delete", "namespace", other.space.name, "--timeout=60s")
    until(lambda: not both.running, 60, "it notices")
    both.start().leads()
    assert [line["namespace"] for line in both.lines() if line["event"] == "namespace left out"] == [other.space.name]
    stand_.active(stand_.key())
    cluster.kubectl("create", "namespace", other.space.name)
    stand.prepare(other.space, stand_.space)
    other.key("back")
    until(lambda: not both.running, 60, "it ends to take the namespace in")
    both.start().leads()
    other.active("back")
