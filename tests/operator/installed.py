"""Releases of the chart with its operator, as `helm install` makes them."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster import release
from tests.cluster.kube import Document, Namespace
from tests.cluster.release import merged, of_image

CHART = release.CHART
SECONDS = 300
# As some clusters choose users: one that /etc/passwd does not name, with root's group.
OF_NO_NAME: Document = {"podSecurityContext": {"runAsUser": 1000660000, "runAsGroup": 0, "fsGroup": 1000660000}}
# Nothing that pulls an image: for what is asked of the API server only.
NO_IMAGE: Document = {"image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Never"}}
# The least that runs, and nothing beside it.
EMBEDDED: Document = {"database": {"embedded": True}, "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}}}
# A pod serves on for 25 s by default, and a namespace's controller looks again only after half of its termination grace.
BRIEF: Document = {"timing": release.QUICK["timing"], "probes": release.QUICK["probes"]}
# What every release but the first of a cluster is told.
SECOND: Document = {"crds": {"install": False}, "clusterPolicies": {"install": False}}


def install(space: Namespace, *values: Document, name: str = "sluice", wait: bool = False, **more: Any) -> None:
    """`helm install`. Kinds and policies that somebody else made become the release's, as if it had made them."""
    words = ["install", name, str(CHART), "--take-ownership", "--values=-", f"--namespace={space.name}"]
    words += ["--wait", f"--timeout={SECONDS}s"] if wait else []
    space.cluster.helm(*words, stdin=json.dumps(merged(*values, more)), seconds=SECONDS + 30)


def running(image: str) -> Document:
    """Values for an image that is on the nodes."""
    return merged(of_image(image), {"image": {"pullPolicy": "Never"}})


def kinds(space: Namespace) -> set[str]:
    """Names of the kinds that the cluster has of ours."""
    found = json.loads(space.cluster.kubectl("get", "crds", "--output=json"))["items"]
    return {each["metadata"]["name"] for each in found if each["spec"]["group"] == "sluice.dev"}
