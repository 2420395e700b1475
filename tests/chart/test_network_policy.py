"""The judge of NetworkPolicies, by the examples and the sentences of the Kubernetes documentation."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chart.network_policy import Network, Peer

NAMESPACES = {"default": {"kubernetes.io/metadata.name": "default"}, "other": {"project": "myproject"}, "far": {}}
DB = Peer("default", {"role": "db"}, "10.0.0.5", {"sql": 6379})
FRONTEND = Peer("default", {"role": "frontend"}, "10.0.0.6")
BACKEND = Peer("default", {"role": "backend"}, "10.0.0.7")
OTHER = Peer("other", {"role": "frontend"}, "10.0.1.6")
FAR = Peer("far", {"role": "frontend"}, "10.0.2.6")
OUTSIDE = Peer(ip="172.17.0.9")
EXCEPTED = Peer(ip="172.17.1.9")
COLLECTOR = Peer(ip="10.0.0.99")


def policy(namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "it", "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


# The example of "The NetworkPolicy resource".
EXAMPLE = policy(
    podSelector={"matchLabels": {"role": "db"}},
    policyTypes=["Ingress", "Egress"],
    ingress=[
        {
            "from": [
                {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
                {"podSelector": {"matchLabels": {"role": "frontend"}}},
            ],
            "ports": [{"protocol": "TCP", "port": 6379}],
        }
    ],
    egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 5978}]}],
)


def may(*policies: dict[str, Any], source: Peer, destination: Peer, port: int = 6379, protocol: str = "TCP") -> bool:
    return Network(list(policies), NAMESPACES).may(source, destination, port, protocol)


@pytest.mark.parametrize(
    ("source", "destination", "port", "allowed"),
    [
        (FRONTEND, DB, 6379, True),
        (OTHER, DB, 6379, True),
        (OUTSIDE, DB, 6379, True),
        (FRONTEND, DB, 6380, False),
        (BACKEND, DB, 6379, False),
        (FAR, DB, 6379, False),
        (EXCEPTED, DB, 6379, False),
        (DB, COLLECTOR, 5978, True),
        (DB, COLLECTOR, 443, False),
        (DB, OUTSIDE, 5978, False),
        (BACKEND, OUTSIDE, 443, True),
    ],
)
def test_the_documentation_s_example(source: Peer, destination: Peer, port: int, allowed: bool) -> None:
    assert may(EXAMPLE, source=source, destination=destination, port=port) is allowed


def test_the_example_says_nothing_of_udp() -> None:
    assert not may(EXAMPLE, source=FRONTEND, destination=DB, protocol="UDP")


def test_without_a_policy_everything_is_allowed() -> None:
    assert may(source=OUTSIDE, destination=DB)


def test_a_default_deny_of_ingress_leaves_egress_open() -> None:
    deny = policy(policyTypes=["Ingress"])
    assert not may(deny, source=FRONTEND, destination=DB)
    assert may(deny, source=DB, destination=OUTSIDE)


def test_a_default_deny_of_egress_leaves_ingress_open() -> None:
    deny = policy(policyTypes=["Egress"])
    assert not may(deny, source=DB, destination=OUTSIDE)
    assert may(deny, source=OUTSIDE, destination=DB)


def test_both_ends_have_to_allow_a_connection() -> None:
    open_ingress = policy(podSelector={"matchLabels": {"role": "db"}}, ingress=[{}])
    assert not may(open_ingress, policy(policyTypes=["Egress"]), source=FRONTEND, destination=DB)


def test_policies_add_up_and_never_take_away() -> None:
    deny, allow = policy(policyTypes=["Ingress"]), policy(ingress=[{}])
    assert may(deny, allow, source=OUTSIDE, destination=DB)


def test_a_pod_always_reaches_itself() -> None:
    assert may(policy(policyTypes=["Ingress", "Egress"]), source=DB, destination=DB)


def test_a_policy_means_its_own_namespace_only() -> None:
    assert may(policy(namespace="other", policyTypes=["Ingress"]), source=OUTSIDE, destination=DB)
    assert not may(policy(namespace="other", policyTypes=["Ingress"]), source=DB, destination=OTHER)


def test_a_policy_without_a_namespace_is_the_release_s() -> None:
    unnamed = {"metadata": {"name": "it"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    assert not Network([unnamed], NAMESPACES, release="other").may(DB, OTHER, 80)
    assert Network([unnamed], NAMESPACES, release="other").may(OTHER, DB, 80)


def test_namespace_and_pod_in_one_peer_mean_both_and_in_two_either() -> None:
    namespace, pod = {"matchLabels": {"project": "myproject"}}, {"matchLabels": {"role": "frontend"}}
    both = policy(ingress=[{"from": [{"namespaceSelector": namespace, "podSelector": pod}]}])
    either = policy(ingress=[{"from": [{"namespaceSelector": namespace}, {"podSelector": pod}]}])
    stranger = Peer("other", {"role": "backend"})
    assert [may(both, source=one, destination=DB) for one in (OTHER, FRONTEND, stranger)] == [True, False, False]
    assert [may(either, source=one, destination=DB) for one in (OTHER, FRONTEND, stranger)] == [True, True, True]


def test_an_empty_namespace_selector_means_every_namespace_and_no_address_outside() -> None:
    everyone = policy(ingress=[{"from": [{"namespaceSelector": {}}]}])
    assert may(everyone, source=FAR, destination=DB)
    assert not may(everyone, source=OUTSIDE, destination=DB)


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ({"key": "role", "operator": "In", "values": ["frontend", "x"]}, True),
        ({"key": "role", "operator": "In", "values": ["x"]}, False),
        ({"key": "role", "operator": "NotIn", "values": ["x"]}, True),
        ({"key": "none", "operator": "NotIn", "values": ["x"]}, True),
        ({"key": "role", "operator": "Exists"}, True),
        ({"key": "none", "operator": "Exists"}, False),
        ({"key": "none", "operator": "DoesNotExist"}, True),
        ({"key": "role", "operator": "DoesNotExist"}, False),
    ],
)
def test_match_expressions(expression: dict[str, Any], allowed: bool) -> None:
    one = policy(ingress=[{"from": [{"podSelector": {"matchExpressions": [expression]}}]}])
    assert may(one, source=FRONTEND, destination=DB) is allowed


def test_an_unknown_operator_is_no_silent_yes() -> None:
    one = policy(ingress=[{"from": [{"podSelector": {"matchExpressions": [{"key": "role", "operator": "in"}]}}]}])
    with pytest.raises(ValueError, match="no such operator"):
        may(one, source=FRONTEND, destination=DB)


@pytest.mark.parametrize(("port", "allowed"), [(31999, False), (32000, True), (32500, True), (32768, True), (32769, False)])
def test_an_end_port_closes_a_range(port: int, allowed: bool) -> None:
    ranged = policy(policyTypes=["Egress"], egress=[{"ports": [{"protocol": "TCP", "port": 32000, "endPort": 32768}]}])
    assert may(ranged, source=DB, destination=OUTSIDE, port=port) is allowed


def test_a_named_port_is_the_destination_s() -> None:
    named = policy(ingress=[{"ports": [{"port": "sql"}]}])
    assert may(named, source=FRONTEND, destination=DB, port=6379)
    assert not may(named, source=FRONTEND, destination=DB, port=80)
    assert not may(named, source=DB, destination=FRONTEND, port=6379)


def test_a_port_without_a_number_means_all_of_its_protocol() -> None:
    dns = policy(policyTypes=["Egress"], egress=[{"ports": [{"protocol": "UDP"}]}])
    assert may(dns, source=DB, destination=OUTSIDE, port=53, protocol="UDP")
    assert not may(dns, source=DB, destination=OUTSIDE, port=53)


def test_egress_rules_alone_make_a_policy_of_both_types() -> None:
    implied = policy(egress=[{"ports": [{"port": 443}]}])
    assert not may(implied, source=DB, destination=OUTSIDE, port=80)
    assert not may(implied, source=OUTSIDE, destination=DB)
