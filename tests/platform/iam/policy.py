"""Policy documents and what they say to a request (IAM user guide, "Policy element reference", "Policy evaluation logic")."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.platform.iam.conditions import Context, Unknown, arn_like, hold, like, many

Document = Mapping[str, Any]
ELEMENTS = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
# Of each pair a statement may have one (IAM user guide, "JSON policy element reference").
PAIRS = (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal"))


class Decision(enum.Enum):
    ALLOWED = "an Allow matches and no Deny does"
    DENIED = "a Deny matches"
    NOT_ALLOWED = "nothing matches"


@dataclass(frozen=True)
class Principal:
    """Who asks: an ARN of `AWS`, a name of a `Service`, a provider's ARN of `Federated`."""

    kind: str
    name: str


@dataclass(frozen=True)
class Request:
    """`principal` is for policies of resources and trust, `resource` for all others."""

    action: str
    resource: str = "*"
    principal: Principal | None = None
    context: Context = field(default_factory=dict)


def decide(documents: Iterable[Document], request: Request) -> Decision:
    """Nothing is allowed by itself; an Allow does it, and a Deny anywhere undoes it."""
    effects = {one["Effect"] for document in documents for one in statements(document) if matches(one, request)}
    if "Deny" in effects:
        return Decision.DENIED
    return Decision.ALLOWED if effects else Decision.NOT_ALLOWED


def allowed(documents: Iterable[Document], request: Request) -> bool:
    return decide(documents, request) is Decision.ALLOWED


def statements(document: Document) -> list[Document]:
    if document.get("Version") != "2012-10-17":
        raise Unknown(f"version {document.get('Version')}")
    found: list[Document] = many(document["Statement"])
    for one in found:
        check(one)
    return found


def check(statement: Document) -> None:
    if unknown := statement.keys() - ELEMENTS:
        raise Unknown(f"elements {unknown}")
    if statement["Effect"] not in ("Allow", "Deny"):
        raise Unknown(f"effect {statement['Effect']}")
    if any(not_name in statement and name in statement for name, not_name in PAIRS):
        raise Unknown("an element and its Not form in one statement")
    if not {"Action", "NotAction"} & statement.keys():
        raise Unknown("a statement without actions")


def matches(statement: Document, request: Request) -> bool:
    # Conditions first, though they decide last: a policy with an unknown one is refused whatever is asked.
    return hold(statement.get("Condition", {}), request.context) and all(
        (one_of(statement, "Action", request, action_matches), resource(statement, request), principal(statement, request))
    )


def one_of(statement: Document, name: str, request: Request, test: Any) -> bool:
    """The element or its Not form, of a statement that has one of them."""
    if f"Not{name}" in statement:
        return not any(test(one, request) for one in many(statement[f"Not{name}"]))
    return any(test(one, request) for one in many(statement[name]))


def action_matches(pattern: str, request: Request) -> bool:
    """Without regard to case (IAM user guide, "Action")."""
    return like(pattern.lower(), request.action.lower())


def resource(statement: Document, request: Request) -> bool:
    """A trust policy names none: it is about the role that it belongs to."""
    return not {"Resource", "NotResource"} & statement.keys() or one_of(statement, "Resource", request, resource_matches)


def resource_matches(pattern: str, request: Request) -> bool:
    """In the last part of an ARN a wildcard reaches over slashes and colons; the parts before it are matched each for itself."""
    if "${" in pattern:
        raise Unknown(f"a policy variable: {pattern}")
    return pattern == "*" or arn_like(pattern, request.resource)


def principal(statement: Document, request: Request) -> bool:
    """A policy of an identity names none: it is about whom it belongs to."""
    if "NotPrincipal" in statement:
        raise Unknown("NotPrincipal")
    if "Principal" not in statement:
        return request.principal is None
    return request.principal is not None and any(
        is_principal(kind, name, request.principal) for kind, name in named(statement["Principal"])
    )


def named(principals: Any) -> list[tuple[str, str]]:
    if principals == "*":
        return [("AWS", "*")]
    return [(kind, name) for kind, names in principals.items() for name in many(names)]


def is_principal(kind: str, name: str, asking: Principal) -> bool:
    """An account, by its number or its root, stands for everyone in it; `*` for everyone (IAM user guide, "Principal")."""
    if kind not in ("AWS", "Federated", "Service"):
        raise Unknown(f"principal {kind}")
    if kind != asking.kind:
        return False
    if kind == "AWS" and name == "*":
        return True
    if kind == "AWS" and account_of(name) is not None:
        return asking.name.split(":")[4] == account_of(name)
    if "*" in name:
        raise Unknown(f"a wildcard in principal {name}")
    return name == asking.name


def account_of(name: str) -> str | None:
    """The account that a principal stands for, if it does."""
    if name.isdigit():
        return name
    return name.split(":")[4] if name.endswith(":root") else None
