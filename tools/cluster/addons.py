"""What every cluster has before the first test: names, and volumes to claim."""

from __future__ import annotations

from pathlib import Path
from string import Template

from tools import kubectl
from tools.cluster import api, images
from tools.cluster.components import call
from tools.cluster.run import DNS_SERVICE, NODE, Run

HERE = Path(__file__).parent
VOLUMES = 32


def apply(run: Run) -> bool:
    """True when all is applied; raises Failed, as while the API server has not yet made kube-system."""
    call(kubectl.kubectl(), f"--kubeconfig={run.inside_kubeconfig}", "apply", "--server-side", "-f", "-", stdin=manifests(run))
    return True


def manifests(run: Run) -> str:
    fixed = Template((HERE / "addons.yaml").read_text()).substitute(DNS_SERVICE=DNS_SERVICE, COREDNS=images.coredns_name())
    return fixed + "".join(volume(run, f"volume-{number}") for number in range(1, VOLUMES + 1))


def volume(run: Run, name: str) -> str:
    folder = run.state("volumes") / name
    folder.mkdir(parents=True, exist_ok=True)
    return Template((HERE / "volume.yaml").read_text()).substitute(NAME=name, FOLDER=folder, NODE=NODE)


def names_are_served(run: Run) -> bool:
    return api.has_condition(run, "/apis/apps/v1/namespaces/kube-system/deployments/coredns", "Available")
