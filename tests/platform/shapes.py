"""Answers against the shape that AWS documents: the model of its API in botocore, of which the API reference is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.model import ListShape, Shape, StructureShape


def absent(client: Any, operation: str, answer: dict[str, Any]) -> set[str]:
    """The documented members of an operation's answer that `answer` lacks, by path; what is in empty lists is not looked for."""
    shape = client.meta.service_model.operation_model(operation).output_shape
    return set(missing(shape, answer))


def missing(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            below = f"{path}.{name}".lstrip(".")
            if name not in value:
                yield below
            else:
                yield from missing(member, value[name], below)
    elif isinstance(shape, ListShape):
        for one in value:
            yield from missing(shape.member, one, path)
