"""Processes that share a node: one makes it, the last one ends it, and what was up before stays."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.sharing import shared


@dataclass
class Node:
    file: Path
    keeper: int | None = None
    told: list[str] = field(default_factory=list)

    def up(self) -> None:
        if self.keeper is None:
            self.keeper = 7
            self.told.append("up")

    def down(self) -> None:
        self.keeper = None
        self.told.append("down")

    def used(self) -> contextlib.AbstractContextManager[None]:
        return shared(self.file, lambda: self.keeper, self.up, self.down)


def test_the_first_makes_the_node_and_the_last_ends_it(tmp_path: Path) -> None:
    node = Node(tmp_path / "folder" / "users")
    with contextlib.ExitStack() as first:
        first.enter_context(node.used())
        second = contextlib.ExitStack()
        second.enter_context(node.used())
    assert node.told == ["up"]
    second.close()
    assert node.told == ["up", "down"]


def test_a_node_that_was_up_before_stays(tmp_path: Path) -> None:
    node = Node(tmp_path / "users", keeper=3)
    with node.used(), node.used():
        pass
    assert node.told == []


def test_a_node_made_since_by_somebody_else_stays(tmp_path: Path) -> None:
    node = Node(tmp_path / "users")
    with node.used():
        node.keeper = 8
    assert node.told == ["up"]
    with node.used():
        pass
    assert node.told == ["up"]
