"""etcd, API server, controller manager and scheduler, all on the node's own network."""

from __future__ import annotations

import json

from tools import binaries
from tools.cluster import api, kubeconfig
from tools.cluster.components import Components
from tools.cluster.run import API_PORT, NODE_ADDRESS, SERVICE_NETWORK, Run

ETCD = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"


def start_api(run: Run, components: Components) -> None:
    """etcd and the API server; ready when `is_ready` says so."""
    start_etcd(run, components)
    start_apiserver(run, components)


def start_etcd(run: Run, components: Components) -> None:
    components.start(
        "etcd",
        binaries.path("etcd"),
        f"--data-dir={run.state('etcd')}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=default={ETCD_PEER}",
        # A cluster that is thrown away has nothing to lose in a power cut.
        "--unsafe-no-fsync",
    )


def start_apiserver(run: Run, components: Components) -> None:
    keys = run.certificates
    components.start(
        "kube-apiserver",
        binaries.path("kube-apiserver"),
        f"--etcd-servers={ETCD}",
        f"--secure-port={API_PORT}",
        f"--advertise-address={NODE_ADDRESS}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={keys / 'ca.crt'}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'service-accounts.key'}",
        f"--kubelet-certificate-authority={keys / 'ca.crt'}",
        f"--kubelet-client-certificate={keys / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={keys / 'apiserver-kubelet-client.key'}",
        # Without it exec and logs look the node's name up.
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={audit_policy(run)}",
        f"--audit-log-path={run.audit_log}",
        "--v=1",
    )


def start_controllers(run: Run, components: Components) -> None:
    start_controller(
        run,
        components,
        "controller-manager",
        f"--service-account-private-key-file={run.certificates / 'service-accounts.key'}",
        f"--root-ca-file={run.certificates / 'ca.crt'}",
        "--use-service-account-credentials",
    )
    start_controller(run, components, "scheduler")


def start_controller(run: Run, components: Components, name: str, *flags: str) -> None:
    config = kubeconfig.write(run.config / name, run.certificates, name, api.URL)
    program = f"kube-{name}"
    components.start(program, binaries.path(program), f"--kubeconfig={config}", "--leader-elect=false", "--v=1", *flags)


def audit_policy(run: Run) -> str:
    """Who did what, without bodies, for the service accounts of what is tested: the rights asked for against the rights used."""
    none: dict[str, object] = {"level": "None"}
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            none | {"userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            none,
        ],
    }
    file = run.config / "audit.json"
    file.write_text(json.dumps(policy))
    return str(file)


def is_ready(run: Run) -> bool:
    """/readyz says ok: etcd, informers and the hooks after start are done."""
    return api.get(run, "/readyz") == b"ok"
