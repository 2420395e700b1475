"""`helm test` runs this behind an AWS load balancer: it fails when a pod of the service lacks the controller's readiness gate.

Arguments: namespace and label selector of the service's pods. The gate is added when a pod is made, and only in a namespace with
the label; without it Kubernetes counts a new pod as ready before the load balancer sends it anything.
"""

import json
import os
import ssl
import sys
import urllib.parse
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# What every condition of the AWS Load Balancer Controller begins with.
GATE = "target-health."


def pods(namespace: str, selector: str) -> list[dict]:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = f"https://{address}/api/v1/namespaces/{namespace}/pods?{urllib.parse.urlencode({'labelSelector': selector})}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"})
    with urllib.request.urlopen(request, timeout=30, context=trust(ACCOUNT / "ca.crt")) as answer:
        return json.load(answer)["items"]


def trust(authority: Path) -> ssl.SSLContext:
    """Certificates of EKS have no Authority Key Identifier, which Python asks for since 3.13."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def without_gate(found: list[dict]) -> list[str]:
    """Names of the pods that stay and have no gate."""
    stay = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    gates = {pod["metadata"]["name"]: [gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])] for pod in stay}
    return sorted(name for name, types in gates.items() if not any(gate.startswith(GATE) for gate in types))


if __name__ == "__main__":
    namespace, selector = sys.argv[1:]
    found = pods(namespace, selector)
    lacking = without_gate(found)
    if not found or lacking:
        print(f"FAILED: {len(lacking)} of {len(found)} pods have no readiness gate of the load balancer: {', '.join(lacking)}")
        print(f"  kubectl label namespace {namespace} elbv2.k8s.aws/pod-readiness-gate-inject=enabled")
        print("  then restart the Deployment: a gate is added when a pod is made")
        sys.exit(1)
    print(f"ok: {len(found)} pods have the readiness gate of the load balancer")
