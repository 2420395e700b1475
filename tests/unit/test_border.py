"""What the border between driver and service tells in the log."""

from __future__ import annotations

from sluice.stores.border import Repeats


def test_the_same_fault_is_told_once_in_its_pause() -> None:
    now = [100.0]
    repeats = Repeats(10, lambda: now[0])
    assert [repeats.news("UndefinedTable"), repeats.news("UndefinedTable"), repeats.news("DiskFull")] == [True, False, True]
    now[0] = 110.0
    assert repeats.news("UndefinedTable")
