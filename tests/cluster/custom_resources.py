"""The real CustomResourceDefinitions of Gateway API, KEDA and Prometheus Operator, out of their Go modules (crds/go.mod)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.kube import Cluster
from tools import binaries

MODULES = Path(__file__).with_name("crds")
FILES = {
    "github.com/kedacore/keda/v2": (
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ),
    "sigs.k8s.io/gateway-api": ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    "github.com/prometheus-operator/prometheus-operator": (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
}


@contextlib.contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """They are there within the block; those that were there before stay as they were."""
    made = [file for file in files() if not there(cluster, file)]
    for file in made:
        cluster.kubectl("apply", "--server-side", "--filename", str(file))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"customresourcedefinition/{name_of(file)}")
    try:
        yield
    finally:
        for file in made:
            cluster.kubectl("delete", "customresourcedefinition", name_of(file))


def files() -> list[Path]:
    """Raises Missing."""
    folders = binaries.sources(MODULES)
    return [folders[module] / name for module, names in FILES.items() for name in names]


def there(cluster: Cluster, file: Path) -> bool:
    return bool(cluster.kubectl("get", "customresourcedefinition", name_of(file), "--ignore-not-found", "--output=name"))


def name_of(file: Path) -> str:
    """`<group>_<plural>.yaml` holds `<plural>.<group>`."""
    group, _, plural = file.stem.partition("_")
    return f"{plural}.{group}"
