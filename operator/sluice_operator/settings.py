"""The only reader of the operator's environment. Everything else is handed a `Settings`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

Parser = Callable[[str], Any]

LEVELS = ("debug", "info", "warning", "error")
# A DNS label (RFC 1123), as a namespace is called, and a DNS subdomain, as most objects are.
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL.pattern}(\.{LABEL.pattern})*")


class SettingsError(Exception):
    """The environment is wrong; `problems` are all that is."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def namespace(text: str) -> str:
    if not LABEL.fullmatch(text):
        raise ValueError("must be the name of a namespace: a-z, 0-9 and -, at most 63 characters")
    return text


def namespaces(text: str) -> tuple[str, ...]:
    """A comma-separated list, each one once."""
    found = tuple(dict.fromkeys(namespace(part.strip()) for part in text.split(",") if part.strip()))
    if not found:
        raise ValueError("must name at least one namespace")
    return found


def name(text: str) -> str:
    if not SUBDOMAIN.fullmatch(text):
        raise ValueError("must be the name of an object: a-z, 0-9, - and ., at most 253 characters")
    return text


def switch(text: str) -> bool:
    """true or false; anything else is refused, so that a typing error never means false."""
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise ValueError("must be a port from 0 (any free one) to 65535")
    return int(text)


def level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return text.lower()


def setting(variable: str, parse: Parser, doc: str, default: Any = MISSING) -> Any:
    """A field that is read from `variable`; without a default it has to be set."""
    return field(default=default, metadata={"name": variable, "parse": parse, "doc": doc})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting of the operator."""

    watch_namespaces: tuple[str, ...] = setting("WATCH_NAMESPACES", namespaces, "namespaces to work in, comma-separated")
    pod_namespace: str = setting("POD_NAMESPACE", namespace, "where the operator itself runs: its Lease is there")
    pod_name: str = setting("POD_NAME", name, "who holds the Lease")
    lease_name: str = setting("LEASE_NAME", name, "the Lease that one of several operators holds", "sluice-operator")
    bootstrap_configmap: str | None = setting(
        "BOOTSTRAP_CONFIGMAP", name, "ConfigMap in POD_NAMESPACE whose KeySet and ApiKeys are made once", None
    )
    enforce: bool = setting("ENFORCE", switch, "whether Deployments that opted in may be given probes", False)
    host: str = setting("HOST", str, "address of /livez, /readyz and /metrics", "0.0.0.0")  # noqa: S104 - kubelet and Prometheus ask
    log_level: str = setting("LOG_LEVEL", level, "debug, info, warning or error", "info")
    kubernetes_service_host: str | None = setting("KUBERNETES_SERVICE_HOST", str, "set by Kubernetes in every Pod", None)
    kubernetes_service_port: int = setting("KUBERNETES_SERVICE_PORT", port, "the same", 443)
    port: int = setting("PORT", port, "their port", 8082)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read and check all of `env` (this process's when absent); raises SettingsError with every problem at once."""
        problems: list[str] = []
        values = dict(read_all(os.environ if env is None else env, problems))  # noqa: TID251 - the one reader
        if problems:
            raise SettingsError(problems)
        return cls(**values)


def known() -> dict[str, Field[Any]]:
    """Every variable by name."""
    return {each.metadata["name"]: each for each in fields(Settings)}


def read_all(env: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, Any]]:
    for variable, spec in known().items():
        text = env.get(variable, "").strip()
        try:
            if text:
                yield spec.name, spec.metadata["parse"](text)
            elif spec.default is MISSING:
                problems.append(f"{variable} must be set: {spec.metadata['doc']}")
        except ValueError as error:
            problems.append(f"{variable} {error}")
