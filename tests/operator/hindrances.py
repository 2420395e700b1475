"""What keeps the operator from its work until somebody fixes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from tests.cluster.kube import Document, Namespace, kind
from tests.integration.waiting import until
from tests.operator import account

Hindrance = Callable[[Namespace], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def without_right(space: Namespace) -> Iterator[None]:
    """The operator may not make Secrets."""
    space.apply(account.role("create secrets"))
    try:
        yield
    finally:
        space.apply(account.role())


@contextlib.contextmanager
def full(space: Namespace) -> Iterator[None]:
    """There may be no Secret at all, so none is made: those of a key that was deleted may still be on their way out."""
    quota: Document = kind("v1", "ResourceQuota", "full", spec={"hard": {"count/secrets": "0"}})
    space.apply(quota)
    try:
        until(lambda: space.get("resourcequota", "full").get("status", {}).get("used"), 30, "the quota counts")
        yield
    finally:
        space.kubectl("delete", "resourcequota", "full")


HINDRANCES: Mapping[str, Hindrance] = {"right to make Secrets taken away": without_right, "quota of Secrets used up": full}
