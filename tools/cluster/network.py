"""The sandbox's network: loopback, one address for the node, and no way out of the machine."""

from __future__ import annotations

from pathlib import Path

from tools.cluster.components import call
from tools.cluster.run import NODE_ADDRESS


def make() -> None:
    """Inside a fresh network namespace.

    A veth pair that leads nowhere holds the node's address (not every kernel has dummy devices) and the default route:
    addresses of Services need a route before kube-proxy can rewrite them, and what is for nobody ends at the other end.
    """
    ip("link set lo up")
    ip("link add node0 type veth peer name nowhere0")
    ip(f"address add {NODE_ADDRESS}/24 dev node0")
    ip("link set node0 up")
    ip("link set nowhere0 up")
    ip("route add default dev node0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def ip(arguments: str) -> None:
    call("ip", *arguments.split())
