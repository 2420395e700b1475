"""Where the plaintext of a key is found: in the Secrets that may hold it, and nowhere else in the cluster."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
from tests.integration.waiting import until
from tests.operator.operators import Operator
from tests.operator.stand import KEYSET, Stand
from tools.cluster import run, sandbox
from tools.cluster.control_plane import ETCD

pytestmark = pytest.mark.timeout(300)
# Everything of etcd: from the zero byte to the zero byte means all keys (etcd's API, RangeRequest).
ALL = json.dumps({"key": "AA==", "range_end": "AA=="})
KINDS = "apikeys,keysets,pods,configmaps,deployments,replicasets,events,services,serviceaccounts,roles,rolebindings,leases"


def test_a_plaintext_is_only_in_the_secrets_that_may_hold_it(stand_: Stand, operator: Operator) -> None:
    """After a rotation, a repair, a key to be copied and a revocation."""
    name, copied = stand_.key(), stand_.key(delivery={"mode": "DropAfter", "dropAfter": "3s"})
    gone = stand_.key()
    for each in (name, copied, gone):
        stand_.active(each)
    plain = {secret: stand_.plaintext(secret) for secret in (f"{name}-v1", f"{copied}-v1", f"{gone}-v1")}
    stand_.rotate(name)
    stand_.active(name, 2)
    plain[f"{name}-v2"] = stand_.plaintext(name)
    stand_.space.kubectl("delete", "secret", name)
    stand_.change(gone, revoked=True)
    until(
        lambda: name in stand_.secrets() and f"{gone}-v1" not in stand_.secrets(), 30, "it is repaired, and the revoked one gone"
    )
    until(lambda: not stand_.secrets()[f"{copied}-v1"].get("data"), 30, "the copied one is dropped")
    stand_.until_condition(KEYSET, "Ready", "Published", what="keyset")

    prefix = f"/registry/secrets/{stand_.space.name}/"
    where = places(stored(), plain)
    assert where == {f"{name}-v1": {f"{prefix}{name}-v1"}, f"{name}-v2": {f"{prefix}{name}-v2", prefix + name}}
    assert places(told(stand_, operator), plain) == {}


def places(texts: dict[str, bytes], plain: dict[str, str]) -> dict[str, set[str]]:
    """By the version that a plaintext is of: where it is, as it is or as Secrets are written in JSON."""
    found: dict[str, set[str]] = {}
    for version, key in plain.items():
        forms = (key.encode(), base64.b64encode(key.encode()))
        holding = {place for place, text in texts.items() if any(form in text for form in forms)}
        if holding:
            found[version] = holding
    return found


def stored() -> dict[str, bytes]:
    """All that etcd has, by its key."""
    command = [*sandbox.entering(run.here(), "net"), "curl", "-sS", "-m", "60", f"{ETCD}/v3/kv/range", "-d", ALL]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    texts = {base64.b64decode(pair["key"]).decode(): base64.b64decode(pair.get("value", "")) for pair in answer["kvs"]}
    assert len(texts) > 100, "this is all of a cluster"
    return texts


def told(stand: Stand, operator: Operator) -> dict[str, bytes]:
    """Logs, metrics, events, and every object that is no Secret."""
    texts = {f"kubectl get {KINDS}": stand.space.kubectl("get", KINDS, "--output=yaml", "--show-managed-fields").encode()}
    texts["log of the operator"] = operator.log.read_bytes()
    texts["metrics of the operator"] = operator.ask("/metrics").encode()
    for pod in stand.target.pods():
        name = pod["metadata"]["name"]
        texts[f"log of {name}"] = stand.space.logs(name).encode()
    for component in sorted(run.here().logs.iterdir()):
        texts[component.name] = component.read_bytes()
    assert len(texts) > 10, "operator, Pods and each part of the cluster"
    return texts
