"""Which process of xdist runs which test files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling


class Parts(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process all files of a part; `part`: of a file's name, the part's."""

    def __init__(self, config: pytest.Config, log: object, part: Callable[[str], str]) -> None:
        super().__init__(config, log)
        self._part = part

    def _split_scope(self, nodeid: str) -> str:
        return self._part(Path(nodeid.split("::", 1)[0]).name)
