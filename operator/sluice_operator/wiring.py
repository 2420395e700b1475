"""What `Enforce` gives a Deployment that verifies keys: three distinct probes, the key set's volume, its mount and KEYSET_FILE.

`patch` is the body of one server-side apply under the operator's own field manager, without force; it names only these fields.
`is_wired` tells whether the Deployment has them all already, so that there is one rollout at most and no write after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sluice_operator import lints, names
from sluice_operator.model import KeySet

Body = dict[str, Any]

# A Deployment takes part only with this label: it is its owner who opts in.
OPT_IN = (f"{names.GROUP}/enforce", "true")
FIELD_MANAGER = "sluice-operator"
MOUNT_PATH = "/etc/sluice/keyset"


def opted_in(deployment: Mapping[str, Any]) -> bool:
    label, value = OPT_IN
    return bool(deployment.get("metadata", {}).get("labels", {}).get(label) == value)


def patch(keyset: KeySet, deployment: Mapping[str, Any]) -> Body | None:
    """The apply of `keyset` on its target; None when the Deployment has no such container."""
    container = lints.verifier(lints.template(deployment), keyset.spec.probes.container)
    if container is None:
        return None
    pod = {"containers": [wired(keyset, container["name"])], "volumes": [volume(keyset)]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": keyset.spec.target.name},
        "spec": {"template": {"spec": pod}},
    }


def other_handlers(keyset: KeySet, deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """The probes with a handler beside which httpGet is refused, each as `readinessProbe.tcpSocket`."""
    container = lints.verifier(lints.template(deployment), keyset.spec.probes.container) or {}
    handlers = ((probe, handler) for probe in lints.PROBES for handler in ("exec", "grpc", "tcpSocket"))
    return tuple(f"{probe}.{handler}" for probe, handler in handlers if handler in container.get(probe, {}))


def wired(keyset: KeySet, container: str) -> dict[str, Any]:
    return {
        "name": container,
        "env": [{"name": lints.KEYSET_FILE, "value": f"{MOUNT_PATH}/{names.KEYSET_DATA}"}],
        "volumeMounts": [{"name": lints.VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}],
        **probes(keyset),
    }


def probes(keyset: KeySet) -> dict[str, Any]:
    """Start-up gets two minutes, readiness reacts in 6 s, liveness gives up after a minute: long after readiness."""
    spec, port = keyset.spec.probes, keyset.spec.target.admin_port
    return {
        "startupProbe": probe(spec.liveness_path, port, period=2, threshold=60),
        "readinessProbe": probe(spec.readiness_path, port, period=2, threshold=3),
        "livenessProbe": probe(spec.liveness_path, port, period=10, threshold=6),
    }


def probe(path: str, port: int, period: int, threshold: int) -> dict[str, Any]:
    """With every field that the API server would fill in, so that a second apply is the same."""
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 1,
        "failureThreshold": threshold,
        "successThreshold": 1,
    }


def volume(keyset: KeySet) -> dict[str, Any]:
    """Optional: a Pod starts without its key set, and is not ready until there is one."""
    return {"name": lints.VOLUME, "secret": {"secretName": names.published_secret(keyset.name), "optional": True}}


def is_wired(patch: Mapping[str, Any], deployment: Mapping[str, Any]) -> bool:
    """Whether `deployment` has every field of `patch`."""
    return has(deployment.get("spec"), patch["spec"])


def has(whole: Any, wanted: Any) -> bool:
    """Objects by their fields, lists of objects by any element that has all fields, all else by value."""
    if isinstance(wanted, Mapping):
        return isinstance(whole, Mapping) and all(name in whole and has(whole[name], value) for name, value in wanted.items())
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(whole, Sequence) and all(any(has(each, value) for each in whole) for value in wanted)
    return bool(whole == wanted)
