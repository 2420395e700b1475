"""The only reader of the operator's environment. Everything else is handed a `Settings`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any

from sluice import env
from sluice.env import LOG_LEVELS, one_of, read_all, setting, switch, whole
from sluice.errors import SettingsError

# A DNS label (RFC 1123), as a namespace is called, and a DNS subdomain, as most objects are.
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){LABEL.pattern}(\.{LABEL.pattern})*")


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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting of the operator."""

    watch_namespaces: tuple[str, ...] = setting("WATCH_NAMESPACES", namespaces, MISSING, "namespaces to work in, comma-separated")
    pod_namespace: str = setting("POD_NAMESPACE", namespace, MISSING, "where the operator itself runs: its Lease is there")
    pod_name: str = setting("POD_NAME", name, MISSING, "who holds the Lease")
    lease_name: str = setting("LEASE_NAME", name, "sluice-operator", "the Lease that one of several operators holds")
    bootstrap_configmap: str | None = setting(
        "BOOTSTRAP_CONFIGMAP", name, None, "ConfigMap in POD_NAMESPACE whose KeySet and ApiKeys are made once"
    )
    enforce: bool = setting("ENFORCE", switch, False, "whether Deployments that opted in may be given probes")
    host: str = setting("HOST", str, "0.0.0.0", "address of /livez, /readyz and /metrics")  # noqa: S104 - kubelet and Prometheus ask
    log_level: str = setting("LOG_LEVEL", one_of(*LOG_LEVELS), "info", "debug, info, warning or error")
    kubernetes_service_host: str | None = setting("KUBERNETES_SERVICE_HOST", str, None, "set by Kubernetes in every Pod")
    kubernetes_service_port: int = setting("KUBERNETES_SERVICE_PORT", whole(0, 65535), 443, "the same")
    port: int = setting("PORT", whole(0, 65535), 8082, "their port; 0 picks a free one")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read and check all of `env` (this process's when absent); raises SettingsError with every problem at once."""
        problems: list[str] = []
        values = dict(read_all(cls, os.environ if env is None else env, problems))  # noqa: TID251 - the one reader
        if problems:
            raise SettingsError(problems)
        return cls(**values)


def known() -> dict[str, Field[Any]]:
    """Every variable by name."""
    return env.known(Settings)
