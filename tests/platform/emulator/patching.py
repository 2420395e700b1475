"""How moto is patched: a method is added to one of its classes, or put around the one that is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def added(owner: type) -> Callable[[Method], Method]:
    """Give `owner` the function as a method, in the place of one of its name."""

    def add(function: Method) -> Method:
        setattr(owner, function.__name__, function)
        return function

    return add


def around(owner: type, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put the function in the place of `owner.name`; it gets the old method first, then what the method gets."""

    def replace(function: Callable[..., Any]) -> Callable[..., Any]:
        old = getattr(owner, name)

        @wraps(old)
        def new(*args: Any, **more: Any) -> Any:
            return function(old, *args, **more)

        setattr(owner, name, new)
        return function

    return replace
