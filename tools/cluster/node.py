"""containerd, kubelet and kube-proxy: the node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import urllib3

from tools import binaries
from tools.cluster import api, kubeconfig
from tools.cluster.components import Components, call
from tools.cluster.run import CONTAINERD, DNS_SERVICE, NODE, NODE_ADDRESS, POD_NETWORK, PROXY_HEALTH_PORT, Run

# Debian's place and that of the upstream archive.
PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CTR = ("ctr", "--address", CONTAINERD, "--namespace", "k8s.io")


def plugins() -> Path | None:
    return next((folder for folder in PLUGINS if (folder / "ptp").exists()), None)


def start_containerd(run: Run, components: Components, pause: str) -> None:
    """`pause` names the image that holds a pod's namespaces; it has to be imported before the first pod."""
    conflist = run.config / "cni"
    conflist.mkdir()
    (conflist / "10-pods.conflist").write_text(json.dumps(pod_network(run)))
    config = run.config / "containerd.toml"
    config.write_text(
        CONTAINERD_CONFIG.format(
            root=run.state("containerd"), socket=CONTAINERD, pause=pause, plugins=plugins(), conflist=conflist
        )
    )
    components.start("containerd", "containerd", "--config", config)


# OOM scores can not be lowered and AppArmor profiles not loaded in every sandbox.
# A file of version 2 is read by containerd 1.6 to 2.x.
CONTAINERD_CONFIG = """\
version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]

[grpc]
address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{conflist}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def pod_network(run: Run) -> dict[str, object]:
    """Each pod at the end of a wire of its own. On a bridge, an answer from the next pod would pass by kube-proxy's rewriting."""
    ranges = [[{"subnet": POD_NETWORK}]]
    ipam = {"type": "host-local", "dataDir": str(run.state("addresses")), "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": ipam}]}


def containerd_is_ready() -> bool:
    return subprocess.run([*CTR, "--connect-timeout=1s", "version"], capture_output=True, check=False).returncode == 0


def import_image(archive: Path) -> None:
    call(*CTR, "images", "import", archive)


def start_kubelet(run: Run, components: Components) -> None:
    config = run.config / "kubelet.json"
    config.write_text(json.dumps(kubelet_config(run)))
    components.start(
        "kubelet",
        binaries.path("kubelet"),
        f"--config={config}",
        f"--kubeconfig={kubeconfig.write(run.config / 'kubelet', run.certificates, 'kubelet', api.URL)}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_ADDRESS}",
        "--node-labels=topology.kubernetes.io/zone=zone-a",
        f"--volume-plugin-dir={run.state('volume-plugins')}",
        "--v=1",
    )


def kubelet_config(run: Run) -> dict[str, object]:
    resolver = run.config / "resolv.conf"
    resolver.write_text(f"nameserver {DNS_SERVICE}\n")
    keys = run.certificates
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{keys / 'ca.crt'}"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{keys / 'kubelet-server.crt'}",
        "tlsPrivateKeyFile": f"{keys / 'kubelet-server.key'}",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{resolver}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{run.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # A full disk or little memory of this machine is no reason to evict the pods of a test, or their images.
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
    }


def start_proxy(run: Run, components: Components) -> None:
    config = run.config / "proxy.json"
    config.write_text(json.dumps(proxy_config(run)))
    components.start("kube-proxy", binaries.path("kube-proxy"), f"--config={config}", f"--hostname-override={NODE}", "--v=1")


def proxy_config(run: Run) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{kubeconfig.write(run.config / 'proxy', run.certificates, 'proxy', api.URL)}"},
        "clusterCIDR": POD_NETWORK,
        "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH_PORT}",
        "metricsBindAddress": "127.0.0.1:10249",
        # The table's size is the machine's, not ours.
        "conntrack": {"maxPerCore": 0},
    }


def proxy_is_synced() -> bool:
    """kube-proxy calls itself healthy after its first sync of the rules."""
    with urllib3.PoolManager() as pool:
        return api.fetched(pool, f"http://127.0.0.1:{PROXY_HEALTH_PORT}/healthz") is not None


def is_ready(run: Run) -> bool:
    return api.has_condition(run, f"/api/v1/nodes/{NODE}", "Ready")
