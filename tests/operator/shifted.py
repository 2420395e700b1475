"""The operator with a wrong clock: `python -m tests.operator.shifted SECONDS`. SIGUSR1 puts it off by so much once more."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime, timedelta

import time_machine

from sluice_operator.__main__ import main as operate


def main(seconds: int) -> None:
    clock = time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True).start()
    signal.signal(signal.SIGUSR1, lambda *_: clock.shift(seconds))
    operate(args=[])


if __name__ == "__main__":
    main(int(sys.argv[1]))
