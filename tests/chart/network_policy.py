"""Who may speak to whom under the NetworkPolicies of a namespace: the semantics of networking.k8s.io/v1, and nothing else.

Source: kubernetes.io, "Network Policies" and the API reference of NetworkPolicySpec. An ipBlock is held against the address of
either kind of peer. Left out, as the standard leaves it out: the node, which always reaches the Pods that run on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Rule = dict[str, Any]
Policy = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a Pod in a namespace, or, where `namespace` is None, an address outside of the cluster."""

    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ip: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)  # names of container ports


def peer(pod: dict[str, Any], namespace: str) -> Peer:
    """A Pod or Pod template as it stands in a namespace."""
    ports = {port["name"]: port["containerPort"] for one in pod["spec"]["containers"] for port in one.get("ports") or []}
    return Peer(namespace, pod["metadata"]["labels"], ports=ports)


@dataclass(frozen=True)
class Network:
    policies: list[Policy]
    namespaces: Mapping[str, Mapping[str, str]]  # name -> labels
    release: str = "default"  # the namespace of a policy that names none

    def may(self, source: Peer, destination: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether `source` may open a connection to `port` of `destination`: both ends have to allow it."""
        if source is destination:
            return True
        leaves = self.allows("Egress", source, destination, destination, port, protocol)
        return leaves and self.allows("Ingress", destination, source, destination, port, protocol)

    def allows(self, direction: str, subject: Peer, other: Peer, destination: Peer, port: int, protocol: str) -> bool:
        """Whether the policies of `subject` let `other` through. A Pod that no policy selects lets everyone through."""
        selecting = [policy for policy in self.policies if direction in types(policy) and self.selects(policy, subject)]
        rules = [rule for policy in selecting for rule in allowing(policy, direction, self.namespace_of(policy))]
        return not selecting or any(
            self.peer_matches(rule, other) and port_matches(rule["ports"], destination, port, protocol) for rule in rules
        )

    def namespace_of(self, policy: Policy) -> str:
        name: str = policy["metadata"].get("namespace", self.release)
        return name

    def selects(self, policy: Policy, peer: Peer) -> bool:
        inside = peer.namespace is not None and peer.namespace == self.namespace_of(policy)
        return inside and matches(policy["spec"].get("podSelector"), peer.labels)

    def peer_matches(self, rule: Rule, peer: Peer) -> bool:
        """No peers means everyone."""
        return not rule["peers"] or any(self.one_matches(one, rule["namespace"], peer) for one in rule["peers"])

    def one_matches(self, one: Rule, home: str, peer: Peer) -> bool:
        if "ipBlock" in one:
            return peer.ip is not None and in_block(one["ipBlock"], peer.ip)
        if peer.namespace is None or not matches(one.get("podSelector"), peer.labels):
            return False
        if one.get("namespaceSelector") is None:
            return peer.namespace == home
        return matches(one["namespaceSelector"], self.namespaces[peer.namespace])


def types(policy: Policy) -> list[str]:
    """`policyTypes`, by default Ingress, and Egress when there are rules for it."""
    spec = policy["spec"]
    default = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return list(spec.get("policyTypes") or default)


def allowing(policy: Policy, direction: str, namespace: str) -> Iterator[Rule]:
    """Each rule of one direction with its peers, its ports and the namespace that a bare podSelector means."""
    peers = "from" if direction == "Ingress" else "to"
    for rule in policy["spec"].get(direction.lower()) or []:
        yield {"peers": rule.get(peers) or [], "ports": rule.get("ports") or [], "namespace": namespace}


def matches(selector: Rule | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector; an empty or absent one matches everything."""
    selector = selector or {}
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(expression_matches(one, labels) for one in selector.get("matchExpressions") or [])


def expression_matches(one: Rule, labels: Mapping[str, str]) -> bool:
    value = labels.get(one["key"])
    match one["operator"]:
        case "In":
            return value in one["values"]
        case "NotIn":
            return value not in one["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(f"no such operator: {one['operator']}")


def in_block(block: Rule, ip: str) -> bool:
    address = ip_address(ip)
    return address in ip_network(block["cidr"]) and not any(address in ip_network(one) for one in block.get("except") or [])


def port_matches(ports: list[Rule], destination: Peer, port: int, protocol: str) -> bool:
    """No ports means all; a name is a container port of the destination; `endPort` closes a range."""
    return not ports or any(one.get("protocol", "TCP") == protocol and number_matches(one, destination, port) for one in ports)


def number_matches(one: Rule, destination: Peer, port: int) -> bool:
    first: int | str | None = one.get("port")
    if first is None:
        return True
    if isinstance(first, str):
        return destination.ports.get(first) == port
    last: int = one.get("endPort", first)
    return first <= port <= last
