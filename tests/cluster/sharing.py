"""One node for several processes of tests: whoever finds none makes it, and the last one ends it. A user's own stays."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

Keeper = Callable[[], int | None]


@contextlib.contextmanager
def shared(file: Path, keeper: Keeper, up: Callable[[], object], down: Callable[[], object]) -> Iterator[None]:
    """`file`, locked by all who use the node, tells which keeper the tests have started. `keeper`: the one that runs, if any.

    `up` may be called by two at once, and does nothing when the node is there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as users:
        # Waits for one that is just ending the node.
        fcntl.flock(users, fcntl.LOCK_SH)
        mine = keeper() is None
        up()
        if mine:
            file.write_text(str(keeper()))
        try:
            yield
        finally:
            if is_last(users.fileno()) and file.read_text() == str(keeper()):
                down()


def is_last(users: int) -> bool:
    """Of two that ask at once, one is: a lock that can not be had alone is given up."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
