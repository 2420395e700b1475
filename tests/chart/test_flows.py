"""Who may speak to whom when the chart's NetworkPolicies are enforced: what Sluice needs is allowed, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.chart import alerts
from tests.chart.manifests import of_kind, pods
from tests.chart.network_policy import Network, Peer, peer
from tests.chart.render import NAMESPACE, PLAIN, render

API, ADMIN, METRICS, POSTGRES, HTTPS, DNS = 8080, 8081, 8082, 5432, 443, 53
NAMESPACES = {
    name: {"kubernetes.io/metadata.name": name}
    for name in (NAMESPACE, "ingress", "monitoring", "kube-system", "openshift-dns", "data", "shop")
}
# Over the plain set: the service logs in by IAM, the migration reads the owner's secret.
AWS = {
    "database": {
        "iamAuth": True,
        "region": "eu-central-1",
        "host": "db.example.org",
        "url": {"existingSecret": ""},
        "owner": {"secretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:owner"},
    }
}
NARROW = {
    "networkPolicy": {
        "api": {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]},
        "prometheus": {"from": []},
        "database": {"to": [{"ipBlock": {"cidr": "10.9.0.0/24"}}]},
    }
}

STRANGER = Peer("shop", {"app": "shop"})
CONTROLLER = Peer("ingress", {"app.kubernetes.io/name": "traefik"})
BALANCER = Peer(ip="10.0.3.7")
PROMETHEUS = Peer("monitoring", {"app.kubernetes.io/name": "prometheus"})
COREDNS = Peer("kube-system", {"k8s-app": "kube-dns"})
# Where Dataplane V2 of GKE sends what is for the ClusterIP of kube-dns.
NODE_LOCAL_DNS = Peer("kube-system", {"k8s-app": "node-local-dns"})
# Of CoreDNS's own chart, and of vCluster.
OTHER_DNS = [Peer("kube-system", {"k8s-app": name}) for name in ("coredns", "vcluster-kube-dns")]
# NodeLocal DNSCache, LocalDNS of AKS, and the node's server that speaks for Cloud DNS of GKE.
NODE_DNS = [Peer(ip=ip) for ip in ("169.254.20.10", "169.254.10.11", "169.254.169.254")]
KUBE_SYSTEM = Peer("kube-system", {"k8s-app": "metrics-server"})
RDS = Peer(ip="10.9.0.5")
OTHER_DATABASE = Peer(ip="10.8.0.5")
POSTGRES_POD = Peer("data", {"app": "postgres"})
INTERNET = Peer(ip="203.0.113.9")
KUBERNETES = Peer(ip="10.0.0.1")
METADATA = Peer(ip="169.254.169.254")
POD_IDENTITY = Peer(ip="169.254.170.23")
POD_IDENTITY_6 = Peer(ip="fd00:ec2::23")


def network(values: Mapping[str, Any] | None = None, base: str = PLAIN) -> tuple[Network, Peer, Peer, Peer]:
    """The policies of a render, and its pods: service, migration and test."""
    objects = render(base, values)
    found = {
        title.partition("/")[0]: peer(pod, NAMESPACE) for title, pod in pods(objects).items() if not title.endswith("-operator")
    }
    policies = Network(of_kind(objects, "NetworkPolicy"), NAMESPACES, NAMESPACE)
    return policies, found["Deployment"], found.get("Job", STRANGER), found["Pod"]


@pytest.mark.parametrize("source", [STRANGER, CONTROLLER, BALANCER, INTERNET], ids=["pod", "controller", "balancer", "internet"])
def test_anyone_may_reach_the_api_and_nobody_but_prometheus_the_admin_port(source: Peer) -> None:
    allowed, service, _, _ = network()
    assert allowed.may(source, service, API)
    assert not allowed.may(source, service, ADMIN)


def test_prometheus_may_reach_the_admin_port_and_only_from_its_namespace() -> None:
    allowed, service, _, _ = network()
    assert allowed.may(PROMETHEUS, service, ADMIN)
    assert not allowed.may(Peer("shop", PROMETHEUS.labels), service, ADMIN)


def test_no_other_port_of_the_service_is_open() -> None:
    allowed, service, _, _ = network()
    assert [port for port in (22, 80, 443, 5432, 8000, 8082, 9090) if allowed.may(CONTROLLER, service, port)] == []
    assert not allowed.may(CONTROLLER, service, API, "UDP")


def test_the_test_pod_may_reach_the_api_and_no_more() -> None:
    allowed, service, _, test = network(NARROW)
    assert allowed.may(test, service, API)
    assert not allowed.may(test, service, ADMIN)
    assert not allowed.may(test, RDS, POSTGRES)
    assert allowed.may(test, COREDNS, DNS, "UDP")


def test_a_pod_elsewhere_that_only_looks_like_the_test_is_a_stranger() -> None:
    allowed, service, _, test = network(NARROW)
    assert not allowed.may(Peer("shop", test.labels), service, API)


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_service_migration_and_test_may_resolve_names(protocol: str) -> None:
    allowed, service, migration, test = network()
    for pod in (service, migration, test):
        assert allowed.may(pod, COREDNS, DNS, protocol)
        assert allowed.may(pod, NODE_LOCAL_DNS, DNS, protocol)
        assert not allowed.may(pod, Peer("shop", NODE_LOCAL_DNS.labels), DNS, protocol)
        assert all(allowed.may(pod, one, DNS, protocol) for one in [*OTHER_DNS, *NODE_DNS])
        assert not allowed.may(pod, KUBE_SYSTEM, DNS, protocol)
        assert not allowed.may(pod, INTERNET, DNS, protocol)


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_names_are_resolved_on_openshift_whose_pods_listen_on_another_port(protocol: str) -> None:
    allowed, service, migration, test = network()
    dns = Peer("openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"})
    assert [allowed.may(pod, dns, 5353, protocol) for pod in (service, migration, test)] == [True] * 3
    assert not allowed.may(service, Peer("shop", dns.labels), 5353, protocol)


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
@pytest.mark.parametrize(
    ("dns", "port"), [(COREDNS, 8053), (NODE_LOCAL_DNS, 8053), (OTHER_DNS[1], 1053)], ids=["gardener", "its-cache", "vcluster"]
)
def test_names_are_resolved_on_gardener_and_vcluster_whose_pods_listen_on_other_ports(
    dns: Peer, port: int, protocol: str
) -> None:
    allowed, service, migration, test = network()
    assert [allowed.may(pod, dns, port, protocol) for pod in (service, migration, test)] == [True] * 3
    assert not allowed.may(service, Peer("shop", dns.labels), port, protocol)


def test_where_dns_is_no_pod_names_are_resolved_at_the_address_that_is_given() -> None:
    allowed, service, migration, test = network(base="eks-auto-mode")
    address = Peer(ip="172.20.0.10")
    for pod in (service, migration, test):
        assert [allowed.may(pod, address, DNS, protocol) for protocol in ("UDP", "TCP")] == [True, True]
        assert not allowed.may(pod, Peer(ip="172.20.0.11"), DNS, "UDP")
        assert not allowed.may(pod, COREDNS, DNS, "UDP")


def test_service_and_migration_may_reach_the_database() -> None:
    allowed, service, migration, _ = network()
    assert [allowed.may(pod, to, POSTGRES) for pod in (service, migration) for to in (RDS, POSTGRES_POD)] == [True] * 4


def test_without_aws_nothing_is_reached_by_https() -> None:
    allowed, service, migration, _ = network()
    assert [allowed.may(pod, to, HTTPS) for pod in (service, migration) for to in (INTERNET, STRANGER)] == [False] * 4


def test_with_iam_both_reach_aws_and_the_pod_identity_agent() -> None:
    allowed, service, migration, _ = network(AWS)
    for pod in (service, migration):
        assert allowed.may(pod, INTERNET, HTTPS)
        assert allowed.may(pod, POD_IDENTITY, 80)
        assert allowed.may(pod, POD_IDENTITY_6, 80)


def test_no_pod_reaches_the_metadata_of_the_node() -> None:
    """Port 80 of 169.254.169.254 gives the node's own credentials."""
    for values in ({}, AWS):
        allowed, service, migration, test = network(values)
        assert [allowed.may(pod, METADATA, 80) for pod in (service, migration, test)] == [False] * 3


def test_nobody_speaks_to_the_migration() -> None:
    allowed, service, migration, _ = network()
    assert [allowed.may(one, migration, API) for one in (STRANGER, CONTROLLER, PROMETHEUS, service, BALANCER)] == [False] * 5


def test_the_service_speaks_to_no_stranger() -> None:
    allowed, service, _, _ = network()
    assert [port for port in (80, 8080, 8081, 6379, 5672) if allowed.may(service, STRANGER, port)] == []
    assert not allowed.may(service, INTERNET, 80)


@pytest.mark.parametrize("base", ["operator", "queue", "mongodb", "influxdb"])
def test_everyone_is_written_as_no_peers_for_cilium_finds_nodes_and_the_kubernetes_api_by_no_address(base: str) -> None:
    """Nor what comes by its own Ingress and Gateway: CIDRs select none of its entities but the world (cilium#20550)."""
    values: dict[str, Any] = {"networkPolicy": {"dns": {"to": []}, "prometheus": {"from": []}, "aws": {"to": []}}}
    addressed = [
        (policy["metadata"]["name"], rule)
        for policy in of_kind(render(base, values), "NetworkPolicy")
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
        if any("ipBlock" in peer for peer in rule.get("from", rule.get("to", [])))
    ]
    assert addressed == []


def test_narrowed_values_narrow_what_is_allowed() -> None:
    allowed, service, migration, _ = network(NARROW)
    assert allowed.may(CONTROLLER, service, API)
    assert not allowed.may(STRANGER, service, API)
    assert not allowed.may(BALANCER, service, API)
    assert not allowed.may(PROMETHEUS, service, ADMIN)
    assert [allowed.may(pod, RDS, POSTGRES) for pod in (service, migration)] == [True, True]
    assert [allowed.may(pod, OTHER_DATABASE, POSTGRES) for pod in (service, migration)] == [False, False]


def test_another_port_of_the_database_is_followed() -> None:
    login = {"user": "events", "password": {"existingSecret": "db"}, "url": {"existingSecret": ""}}
    values = {"database": {"host": "db.example.org", "port": 6432, **login}}
    allowed, service, _, _ = network(values)
    assert allowed.may(service, RDS, 6432)
    assert not allowed.may(service, RDS, POSTGRES)


def test_an_extra_rule_adds_what_it_names() -> None:
    more = {"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 3128, "protocol": "TCP"}]}
    allowed, service, migration, _ = network({"networkPolicy": {"extraEgress": [more]}})
    assert [allowed.may(pod, INTERNET, 3128) for pod in (service, migration)] == [True, True]
    assert not allowed.may(service, BALANCER, 3128)


@pytest.mark.parametrize("base", ["operator", "pull", "queue", "everything"])
def test_a_rule_of_the_user_s_own_is_every_pod_s(base: str) -> None:
    ports = [{"port": 3128, "protocol": "TCP"}]
    ingress, egress = ({way: [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": ports} for way in ("from", "to"))
    objects = render(base, {"networkPolicy": {"extraIngress": [ingress], "extraEgress": [egress]}})
    allowed = Network(of_kind(objects, "NetworkPolicy"), NAMESPACES, NAMESPACE)
    found = {title: peer(pod, NAMESPACE) for title, pod in pods(objects).items()}
    assert [title for title, pod in found.items() if not allowed.may(pod, INTERNET, 3128)] == []
    assert [title for title, pod in found.items() if not allowed.may(INTERNET, pod, 3128)] == []
    assert [title for title, pod in found.items() if allowed.may(BALANCER, pod, 3128)] == []


def test_an_operator_of_another_release_may_ask_the_service_whose_key_set_it_publishes() -> None:
    """By namespace and component, whatever `nameOverride` or an alias calls it; where nothing reads a key set, nobody may."""
    labels = {"name": "keys", "instance": "green", "component": "operator", "part-of": "sluice"}
    other = {f"app.kubernetes.io/{label}": text for label, text in labels.items()}
    published = {"auth": {"keySet": {"secretName": "green-published"}}}
    for values, asked in (({}, [False, False]), (published, [True, True])):
        allowed, service, _, _ = network({**NARROW, **values})
        assert [allowed.may(Peer(NAMESPACE, other), service, port) for port in (API, ADMIN)] == asked
        assert [allowed.may(Peer("shop", other), service, port) for port in (API, ADMIN)] == [False, False]
    allowed, service, _ = operated(NARROW)
    assert [allowed.may(Peer(NAMESPACE, other), service, port) for port in (API, ADMIN)] == [False, False]


# the puller


PUBLIC, LOOPBACK, PRIVATE_6 = Peer(ip="198.51.100.7"), Peer(ip="127.0.0.1"), Peer(ip="fd00::1")


def pulling(values: Mapping[str, Any] | None = None) -> tuple[Network, Peer, Peer]:
    """As `network`, of a release with a puller: its policies, the service and the puller."""
    objects = render("pull", values)
    (service,) = [pod for title, pod in pods(objects).items() if title == f"Deployment/{alerts.NAME}"]
    (puller,) = [pod for title, pod in pods(objects).items() if title.endswith("-puller")]
    policies = Network(of_kind(objects, "NetworkPolicy"), NAMESPACES, NAMESPACE)
    return policies, peer(service, NAMESPACE), peer(puller, NAMESPACE)


def test_the_puller_reaches_servers_of_the_internet_on_the_ports_that_are_named() -> None:
    allowed, service, puller = pulling()
    assert [allowed.may(puller, PUBLIC, port) for port in (HTTPS, 80, 22, API)] == [True, False, False, False]
    assert not allowed.may(service, PUBLIC, HTTPS), "the service got the puller's way out"


@pytest.mark.parametrize("inside", [BALANCER, RDS, METADATA, POD_IDENTITY, LOOPBACK, PRIVATE_6, STRANGER, KUBERNETES])
def test_the_puller_reaches_no_server_inside_until_it_is_named(inside: Peer) -> None:
    assert [
        port
        for port in (80, HTTPS, API, ADMIN)
        if pulling({"networkPolicy": {"sources": {"ports": [80, 443]}}})[0].may(pulling()[2], inside, port)
    ] == []


def test_a_server_inside_is_reached_when_it_is_named() -> None:
    shop = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    allowed, _, puller = pulling({"networkPolicy": {"sources": {"to": [shop], "ports": [8080]}}})
    assert allowed.may(puller, STRANGER, API)
    assert not allowed.may(puller, PUBLIC, HTTPS)


def test_the_puller_reaches_names_and_its_database() -> None:
    allowed, _, puller = pulling()
    assert allowed.may(puller, COREDNS, DNS, "UDP")
    assert allowed.may(puller, POSTGRES_POD, POSTGRES)


def test_only_prometheus_may_ask_the_puller() -> None:
    allowed, service, puller = pulling()
    assert allowed.may(PROMETHEUS, puller, ADMIN)
    assert [allowed.may(one, puller, ADMIN) for one in (service, STRANGER, CONTROLLER, INTERNET)] == [False] * 4


# workers, broker and Redis

RABBITMQ = Peer(NAMESPACE, {"app.kubernetes.io/name": "rabbitmq"})
AMQP, AMQPS, REDIS = 5672, 5671, 6379


def queueing(values: Mapping[str, Any] | None = None) -> tuple[Network, Peer, Peer]:
    """As `network`, of a release with workers: its policies, the service and a worker."""
    objects = render("queue", values)
    found = {title: peer(pod, NAMESPACE) for title, pod in pods(objects).items()}
    policies = Network(of_kind(objects, "NetworkPolicy"), NAMESPACES, NAMESPACE)
    return policies, found[f"Deployment/{alerts.NAME}"], found[f"Deployment/{alerts.NAME}-worker"]


def test_service_and_workers_reach_the_broker_and_only_the_service_redis() -> None:
    allowed, service, worker = queueing()
    assert [allowed.may(pod, RABBITMQ, AMQP) for pod in (service, worker)] == [True, True]
    assert [allowed.may(pod, RABBITMQ, AMQPS) for pod in (service, worker)] == [False, False], "not among the ports"
    assert [allowed.may(pod, INTERNET, REDIS) for pod in (service, worker)] == [True, False]
    assert [allowed.may(pod, POSTGRES_POD, POSTGRES) for pod in (service, worker)] == [True, True]
    assert not allowed.may(worker, INTERNET, HTTPS)


def test_only_prometheus_may_ask_a_worker() -> None:
    allowed, service, worker = queueing()
    assert allowed.may(PROMETHEUS, worker, ADMIN)
    assert [allowed.may(one, worker, ADMIN) for one in (service, STRANGER, CONTROLLER, INTERNET)] == [False] * 4


def test_without_a_broker_nobody_reaches_one() -> None:
    allowed, service, migration, _ = network()
    assert [allowed.may(pod, RABBITMQ, port) for pod in (service, migration) for port in (AMQP, REDIS)] == [False] * 4


# other stores

SQS, DYNAMODB = "sqs", "dynamodb"
MONGO_POD, INFLUX_POD = Peer("data", {"app": "mongodb"}), Peer("data", {"app": "influxdb"})


def test_with_dynamodb_aws_is_reached_as_far_as_it_is_named_and_no_database() -> None:
    allowed, service, migration, test = network(base=DYNAMODB)
    inside = Peer(ip="3.120.8.8")
    assert [allowed.may(pod, inside, HTTPS) for pod in (service, migration, test)] == [True, True, False]
    for pod in (service, migration):
        assert allowed.may(pod, POD_IDENTITY, 80)
        assert not allowed.may(pod, INTERNET, HTTPS)
        assert not allowed.may(pod, RDS, POSTGRES)


def test_with_sqs_service_and_worker_reach_aws_and_no_broker_of_one_s_own() -> None:
    objects = render(SQS)
    found = {title: peer(pod, NAMESPACE) for title, pod in pods(objects).items()}
    allowed = Network(of_kind(objects, "NetworkPolicy"), NAMESPACES, NAMESPACE)
    for pod in (found[f"Deployment/{alerts.NAME}"], found[f"Deployment/{alerts.NAME}-worker"]):
        assert [allowed.may(pod, INTERNET, port) for port in (HTTPS, AMQP, AMQPS, POSTGRES)] == [True, False, False, False]


def test_sqs_before_a_database_leads_the_migration_nowhere_new() -> None:
    allowed, service, migration, _ = network({"broker": {"url": "sqs://eu-central-1/events-"}})
    assert [allowed.may(pod, INTERNET, HTTPS) for pod in (service, migration)] == [True, False]
    assert [allowed.may(pod, POSTGRES_POD, POSTGRES) for pod in (service, migration)] == [True, True]


@pytest.mark.parametrize(("name", "store", "port"), [("mongodb", MONGO_POD, 27017), ("influxdb", INFLUX_POD, 8086)])
def test_another_store_is_reached_on_its_own_ports_as_far_as_it_is_named(name: str, store: Peer, port: int) -> None:
    allowed, service, migration, test = network(base=name)
    assert not allowed.may(test, store, port)
    for pod in (service, migration):
        assert allowed.may(pod, store, port)
        assert not allowed.may(pod, STRANGER, port)
        assert not allowed.may(pod, store, POSTGRES)
        assert not allowed.may(pod, POD_IDENTITY, 80)


# the operator


def operated(values: Mapping[str, Any] | None = None) -> tuple[Network, Peer, Peer]:
    """As `network`, of a release with the operator: its policies, the service and the operator."""
    allowed, service, _, _ = network(values, "operator")
    (pod,) = [pod for title, pod in pods(render("operator", values)).items() if title.endswith("-operator")]
    return allowed, service, peer(pod, NAMESPACE)


def test_the_operator_may_ask_the_service_on_both_ports_and_nobody_may_ask_the_operator() -> None:
    allowed, service, operator = operated(NARROW)
    assert [allowed.may(operator, service, port) for port in (API, ADMIN, POSTGRES)] == [True, True, False]
    assert [allowed.may(one, operator, METRICS) for one in (service, STRANGER, CONTROLLER, INTERNET)] == [False] * 4


def test_prometheus_may_scrape_the_operator() -> None:
    allowed, _, operator = operated()
    assert allowed.may(PROMETHEUS, operator, METRICS)
    assert not allowed.may(Peer("shop", PROMETHEUS.labels), operator, METRICS)


def test_the_operator_may_reach_the_kubernetes_api_and_nothing_else_outside() -> None:
    allowed, _, operator = operated()
    # The Service's port; kubeadm, kind and most others; minikube; MicroK8s.
    assert [allowed.may(operator, KUBERNETES, port) for port in (HTTPS, 6443, 8443, 16443)] == [True] * 4
    assert [port for port in (22, 80, POSTGRES, API, 10250) if allowed.may(operator, KUBERNETES, port)] == []
    assert not allowed.may(operator, METADATA, 80)
    assert not allowed.may(operator, COREDNS, DNS, "UDP"), "it is told addresses, and asks no names"


def test_the_operator_may_ask_pods_only_where_it_watches() -> None:
    allowed, _, operator = operated()
    watching, _, shops = operated({"operator": {"watchNamespaces": ["shop"]}})
    assert [allowed.may(operator, STRANGER, port) for port in (API, ADMIN)] == [False, False]
    assert [watching.may(shops, STRANGER, port) for port in (API, ADMIN, POSTGRES)] == [True, True, False]


def test_narrowed_values_narrow_the_operator_too() -> None:
    only = {"to": [{"ipBlock": {"cidr": "10.0.0.0/28"}}], "ports": [443]}
    allowed, _, operator = operated({"networkPolicy": {"kubernetesApi": only, "targets": {"ports": [9000]}}})
    assert [allowed.may(operator, KUBERNETES, port) for port in (HTTPS, 6443)] == [True, False]
    assert not allowed.may(operator, INTERNET, HTTPS)
    neighbour = Peer(NAMESPACE, {"app": "shop"})
    assert [allowed.may(operator, neighbour, port) for port in (9000, API, ADMIN)] == [True, False, False]


def test_another_release_in_the_namespace_is_a_stranger() -> None:
    allowed, service, _, test = network(NARROW)
    other = Peer(NAMESPACE, {**test.labels, "app.kubernetes.io/instance": "green"})
    assert not allowed.may(other, service, API)
