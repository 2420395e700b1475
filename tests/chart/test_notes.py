"""What `helm install` prints leads to where an event is taken."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.chart.render import NAMESPACE, PLAIN, RELEASE, notes

TLS = {"tls": [{"secretName": "events-tls"}]}
ALB = {"annotations": {"alb.ingress.kubernetes.io/listen-ports": '[{"HTTPS":443}]'}}
NODE_PORT = f"kubectl get service {RELEASE}-sluice --namespace {NAMESPACE} -o jsonpath='{{.spec.ports[0].nodePort}}'"


def sent(**values: Any) -> str:
    """Where the notes send an event."""
    told = notes(PLAIN, values)
    url = re.search(r"^ +URL=(.*)$", told, re.MULTILINE)
    curl = re.search(r'curl -fsS "\$URL(\S*)"', told)
    assert url is not None
    assert curl is not None
    return url[1] + curl[1]


def host(name: str, *paths: str, kind: str = "Prefix") -> dict[str, Any]:
    return {"host": name, "paths": [{"path": path, "pathType": kind} for path in paths]}


@pytest.mark.parametrize(
    ("hosts", "more", "told"),
    [
        (["events.example.org"], {}, "http://events.example.org/api/v1/ingest"),
        (["events.example.org"], TLS, "https://events.example.org/api/v1/ingest"),
        (["events.example.org"], ALB, "https://events.example.org/api/v1/ingest"),
        ([host("tools.example.org", "/sluice")], TLS, "https://tools.example.org/sluice/api/v1/ingest"),
        ([host("events.example.org", "/api/v1", "/log")], TLS, "https://events.example.org/api/v1/ingest"),
        ([host("events.example.org", "/api/v1/ingest", kind="Exact")], TLS, "https://events.example.org/api/v1/ingest"),
        ([host("logs.example.org", "/log", kind="Exact")], TLS, "https://logs.example.org/log"),
        ([host("logs.example.org", "/log"), "events.example.org"], TLS, "https://events.example.org/api/v1/ingest"),
        (["*.example.org"], TLS, "https://ANY.example.org/api/v1/ingest"),
        ([], {}, "http://ADDRESS/api/v1/ingest"),
        ([], TLS, "https://ADDRESS/api/v1/ingest"),
    ],
)
def test_the_notes_send_an_event_to_a_host_and_path_of_the_ingress(hosts: list[Any], more: dict[str, Any], told: str) -> None:
    assert sent(ingress={"enabled": True, "hosts": hosts, **more}) == told


@pytest.mark.parametrize(
    ("certified", "scheme"), [("events.example.org", "https"), ("*.example.org", "https"), ("other.example.org", "http")]
)
def test_the_notes_speak_tls_to_a_host_that_has_a_certificate(certified: str, scheme: str) -> None:
    values = {"enabled": True, "hosts": ["events.example.org"], "tls": [{"secretName": "tls", "hosts": [certified]}]}
    told = notes(PLAIN, {"ingress": values})
    assert f"URL={scheme}://events.example.org\n" in told
    assert ("keys travel in plain text" in told) == (scheme == "http")


@pytest.mark.parametrize(
    ("parent", "names", "told"),
    [
        ({}, ["events.example.org"], "https://events.example.org/api/v1/ingest"),
        ({"port": 80}, ["*.example.org"], "http://ANY.example.org/api/v1/ingest"),
        ({"port": 8443}, [], "https://HOST-OF-THE-GATEWAY:8443/api/v1/ingest"),
    ],
)
def test_the_notes_send_an_event_to_a_host_and_port_of_the_route(parent: dict[str, Any], names: list[str], told: str) -> None:
    assert sent(httpRoute={"enabled": True, "parentRefs": [{"name": "public", **parent}], "hostnames": names}) == told


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ({"type": "LoadBalancer", "port": 8080}, "http://EXTERNAL-IP:8080/api/v1/ingest"),
        ({"type": "NodePort", "port": 8080}, f"http://ADDRESS-OF-A-NODE:$({NODE_PORT})/api/v1/ingest"),
        ({"port": 8080}, "http://127.0.0.1:8080/api/v1/ingest"),
    ],
)
def test_the_notes_send_an_event_to_the_port_that_the_service_has_outside(service: dict[str, Any], told: str) -> None:
    assert sent(service=service) == told
