"""Commands of `aws` as the documents of terraform/ tell them, read by the API's own model (botocore)."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel, Shape

# Of the program and not of the API.
GLOBAL = {"query", "output", "region"}
CUSTOM = {("eks", "update-kubeconfig"), ("ecr", "get-login-password"), ("ssm", "start-session")}
FENCE = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]*)`")
INNER = re.compile(r"\$\(([^()]*)\)")
END = {"|", "||", "&&", ";", "do", "then"}


@dataclass(frozen=True)
class Command:
    """`options` by their names without dashes: what follows each, up to the next."""

    service: str
    operation: str
    options: dict[str, list[str]]

    @property
    def model(self) -> OperationModel:
        found = models(self.service)
        assert self.operation in found, f"aws {self.service} has no {self.operation}"
        return found[self.operation]

    @property
    def parameters(self) -> dict[str, Any]:
        """As the API takes them; an option that it does not have, or lacks, fails."""
        shape: Any = self.model.input_shape
        members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()}
        found = dict(self._given(members))
        assert set(shape.required_members) <= found.keys(), f"{self}: lacks {set(shape.required_members) - found.keys()}"
        return found

    def _given(self, members: dict[str, tuple[str, Shape]]) -> Iterator[tuple[str, Any]]:
        for option, values in self.options.items():
            if option in GLOBAL:
                continue
            plain = option if option in members else option.removeprefix("no-")
            assert plain in members, f"aws {self.service} {self.operation} has no --{option}"
            name, shape = members[plain]
            yield name, plain == option if shape.type_name == "boolean" else value_of(shape, values)


@cache
def models(service: str) -> dict[str, OperationModel]:
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name, "-"): model.operation_model(name) for name in model.operation_names}


def value_of(shape: Any, values: list[str]) -> Any:
    if shape.type_name == "list" and shape.member.type_name == "structure":
        return [structure(one) for one in values]
    if shape.type_name == "list":
        return values
    return int(values[0]) if shape.type_name == "integer" else values[0]


def structure(shorthand: str) -> dict[str, Any]:
    """Name=vpc-id,Values=a,b: what has no name of its own goes on with the list before it."""
    found: dict[str, Any] = {}
    for name, value in re.findall(r"(\w+)=(.*?)(?=,\w+=|$)", shorthand):
        found[name] = value.split(",") if name == "Values" else value
    return found


def told(path: Path) -> list[Command]:
    """Every command of a document, in its order; what stands in $(...) before what it stands in."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = [line for part in FENCE.findall(text) for line in part.splitlines()]
    found += [part for part in INLINE.findall(FENCE.sub("", text)) if re.match(r"(aws|terraform) ", part)]
    return [command for line in found for command in of_line(line)]


def of_line(line: str) -> Iterator[Command]:
    while inner := INNER.search(line):
        yield from of_line(inner[1])
        line = line.replace(inner[0], "INNER")
    words = shlex.split(line.replace(";", " ; "), comments=True)
    starts = [place for place, word in enumerate(words) if word == "aws" and words[place + 1 : place + 2] != ["\\"]]
    for start in starts:
        end = next((place for place in range(start, len(words)) if words[place] in END), len(words))
        yield parsed(words[start + 1 : end])


def parsed(words: list[str]) -> Command:
    service, *rest = words
    operation = list(itertools.takewhile(lambda word: not word.startswith("--"), rest))
    options: dict[str, list[str]] = {}
    values: list[str] = []
    for word in rest[len(operation) :]:
        if word.startswith("--"):
            values = options[word.removeprefix("--")] = []
        else:
            values.append(word)
    return Command(service, " ".join(operation), options)
