"""The rights that the operator's accounts used, by the audit log of the API server, and those that a Role gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.cluster.kube import Document
from tests.operator.account import NAME

# caller.py tries with the operator's token what the operator never does.
TRIALS = "python-httpx/"


class Right(NamedTuple):
    """`resource`: with its subresource, as a Role names it."""

    group: str
    resource: str
    verb: str


def granted(rules: Iterable[Document]) -> set[Right]:
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(events: Iterable[Document]) -> set[Right]:
    """What operators asked for, allowed or not; what is no object (`/readyz`, discovery) needs no Role."""
    return {right(event["objectRef"], event["verb"]) for event in events if is_operator(event) and "objectRef" in event}


def right(about: Document, verb: str) -> Right:
    resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
    return Right(about.get("apiGroup", ""), resource, verb)


def is_operator(event: Document) -> bool:
    account: str = event["user"]["username"]
    by_test = event.get("userAgent", "").startswith(TRIALS)
    return account.startswith("system:serviceaccount:") and account.endswith(f":{NAME}") and not by_test


class Recorder:
    """What is written to the audit log from `begin` on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._start = 0

    def begin(self) -> None:
        self._start = self._log.stat().st_size if self._log.exists() else 0

    def events(self) -> Iterator[Document]:
        """Each call once. A line that is still being written is left out."""
        with self._log.open("rb") as log:
            log.seek(self._start)
            for line in log:
                if line.endswith(b"\n"):
                    yield json.loads(line)
