"""What a kubectl command asks the API server for, and whether rules of RBAC allow it.

Sources: kubernetes.io, "Using RBAC Authorization"; what each command of kubectl calls, as `kubectl --v=8` shows it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

Right = tuple[str, str, str]  # verb, API group, plural of the resource
# What kubectl calls for a command on one object; without a name it lists.
VERBS = {
    "annotate": {"get", "patch"},
    "apply": {"get", "create", "patch"},
    "delete": {"get", "list", "watch", "delete"},
    "get": {"get"},
    "patch": {"get", "patch"},
    "wait": {"get", "list", "watch"},
}
KINDS = {"apikey": ("sluice.dev", "apikeys"), "keyset": ("sluice.dev", "keysets"), "secret": ("", "secrets")}


def asked(command: str, applied: str = "apikey") -> set[Right]:
    """The rights that a command needs; `applied` is the kind in a file that it applies."""
    _, verb, *rest = shlex.split(command)
    words = [applied] if verb == "apply" else [word for word in rest if not word.startswith("-")]
    kind, _, name = words[0].partition("/")
    kind = kind.removesuffix("s")
    named = bool(name) or len(words) > 1 or verb == "apply"
    return {(each, *KINDS[kind]) for each in (VERBS[verb] if named else {"list"})}


def granted(rules: Iterable[dict[str, Any]]) -> set[Right]:
    """Rules without wildcards or names, written out."""
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
