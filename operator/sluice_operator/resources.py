"""The kinds of objects that the operator reads and writes, as the API server names them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from sluice_operator import names

Raw = dict[str, Any]


class Resource(Struct, frozen=True):
    """`group` is "" for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str | None = None, subresource: str | None = None) -> str:
        """Of all objects in `namespace`, of one, or of a part of one."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return "/".join(part for part in (f"{root}/namespaces/{namespace}/{self.plural}", name, subresource) if part)


GROUP, VERSION = names.API_VERSION.split("/")

API_KEYS = Resource(GROUP, VERSION, "apikeys", names.API_KEY)
KEY_SETS = Resource(GROUP, VERSION, "keysets", names.KEY_SET)
SECRETS = Resource("", "v1", "secrets", "Secret")
PODS = Resource("", "v1", "pods", "Pod")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

OF_KIND = {each.kind: each for each in (API_KEYS, KEY_SETS)}
# Without these nothing can be planned; of the others what can be is.
ESSENTIAL = (API_KEYS, KEY_SETS, SECRETS)
# What is watched; of Secrets only those with the label of a KeySet.
WATCHED = (API_KEYS, KEY_SETS, SECRETS, PODS, DEPLOYMENTS)
SELECTORS = {SECRETS: names.LABEL_KEYSET}
