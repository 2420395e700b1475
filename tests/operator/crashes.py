"""A rotation that loses one of its writes: before it is done, or its answer, by the operator's end or on the way."""

from __future__ import annotations

from collections.abc import Sequence

from tests.integration.waiting import until
from tests.operator.operators import Operator
from tests.operator.processes import Proxy
from tests.operator.stand import Stand

HOWS = ("before", "after", "drop")


def writes_of_a_rotation(stand: Stand, proxy: Proxy) -> int:
    """How many writes one has, of a key that nothing happens to."""
    golden = stand.key()
    stand.active(golden)
    stand.settled()
    proxy.tell("reset")
    stand.rotate(golden)
    rotated(stand, golden)
    stand.settled()
    return len(proxy.writes)


def lose(stand: Stand, operator: Operator, proxy: Proxy, name: str, number: int, how: str) -> bool:
    """Rotate `name`; its write `number` is lost, and what was begun is gone on with. False: it had fewer writes than that."""
    proxy.arm(number, how)
    stand.rotate(name)
    until(lambda: proxy.fired or over(stand, name), 60, f"write {number} is lost ({how}), or there is none")
    if not proxy.fired:
        return False
    if how != "drop":
        operator.kill()
        operator.start()
    rotated(stand, name)
    return True


def over(stand: Stand, name: str) -> bool:
    """Whether its rotation is over but for the overlap, and every Pod has what came of it."""
    if stand.condition(name, "Rotating") != ("True", "Overlap"):
        return False
    stand.settled()
    return True


def rotated(stand: Stand, name: str) -> None:
    """Until its rotation is over but for the overlap."""
    stand.active(name, 2, 60)
    until(lambda: stand.condition(name, "Rotating") == ("True", "Overlap"), 60, "it overlaps")


def rotate_all(stand: Stand, names: Sequence[str]) -> None:
    """At once, until every Pod has what came of it."""
    for name in names:
        stand.rotate(name)
    for name in names:
        rotated(stand, name)
    stand.settled()


def judge(stand: Stand, name: str) -> None:
    """One rotation for one request: two versions, never a third, and the client has the second."""
    found = stand.secrets()
    assert sorted(secret for secret in found if secret.startswith(name)) == [name, f"{name}-v1", f"{name}-v2"]
    assert stand.plaintext(name) == stand.plaintext(f"{name}-v2")
    assert [(entry["version"], entry["state"]) for entry in stand.of_key(name)] == [(1, "active"), (2, "active")]
    for secret in (f"{name}-v1", f"{name}-v2"):
        assert set(stand.answers(stand.plaintext(secret))) == {200}
