"""The judge of Pod Security, by a Pod that keeps every rule and a sample that breaks each."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.chart import pod_security

DIGEST = "@sha256:" + "0" * 64
GOOD: dict[str, Any] = {
    "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/one": "runtime/default"}},
    "spec": {
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.tcp_keepalive_time", "value": "60"}],
        },
        "volumes": [{"name": "scratch", "emptyDir": {}}],
        "initContainers": [],
        "containers": [
            {
                "name": "one",
                "image": f"registry.example/one{DIGEST}",
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                "resources": {"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"memory": "1Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                },
            }
        ],
    },
}
POD = ("spec",)
CONTEXT = ("spec", "securityContext")
ONE = ("spec", "containers", 0)
ONES = (*ONE, "securityContext")
# Where, what stands there instead (None: nothing), and a part of what the judge says.
REFUSED: list[tuple[tuple[str | int, ...], Any, str]] = [
    ((*CONTEXT, "windowsOptions"), {"hostProcess": True}, "pod: hostProcess"),
    ((*ONES, "windowsOptions"), {"hostProcess": True}, "one: hostProcess"),
    ((*POD, "hostNetwork"), True, "pod: hostNetwork"),
    ((*POD, "hostPID"), True, "pod: hostPID"),
    ((*POD, "hostIPC"), True, "pod: hostIPC"),
    ((*ONES, "privileged"), True, "one: privileged"),
    ((*ONES, "capabilities"), {"drop": ["ALL"], "add": ["CHOWN"]}, "one: capability CHOWN"),
    ((*ONES, "capabilities"), {"drop": ["NET_RAW"]}, "one: capabilities do not drop ALL"),
    ((*ONES, "capabilities"), None, "one: capabilities do not drop ALL"),
    ((*POD, "volumes"), [{"name": "v", "hostPath": {"path": "/"}}], "volume v: hostPath"),
    ((*POD, "volumes"), [{"name": "v", "nfs": {}}], "volume v: nfs"),
    ((*ONE, "ports"), [{"containerPort": 80, "hostPort": 80}], "one: hostPort 80"),
    ((*ONE, "livenessProbe"), {"httpGet": {"host": "example.org", "port": 80}}, "one: livenessProbe names a host"),
    ((*ONE, "startupProbe"), {"tcpSocket": {"host": "example.org", "port": 80}}, "one: startupProbe names a host"),
    ((*ONE, "lifecycle"), {"preStop": {"httpGet": {"host": "example.org", "port": 80}}}, "one: preStop names a host"),
    ((*CONTEXT, "appArmorProfile"), {"type": "Unconfined"}, "pod: appArmorProfile Unconfined"),
    (
        ("metadata", "annotations"),
        {"container.apparmor.security.beta.kubernetes.io/one": "unconfined"},
        "pod: annotation container.apparmor",
    ),
    ((*ONES, "seLinuxOptions"), {"type": "spc_t"}, "one: seLinuxOptions"),
    ((*CONTEXT, "seLinuxOptions"), {"user": "system_u"}, "pod: seLinuxOptions"),
    ((*ONES, "procMount"), "Unmasked", "one: procMount Unmasked"),
    ((*CONTEXT, "sysctls"), [{"name": "kernel.msgmax", "value": "1"}], "pod: sysctl kernel.msgmax"),
    ((*ONES, "allowPrivilegeEscalation"), None, "one: allowPrivilegeEscalation is not false"),
    ((*ONES, "allowPrivilegeEscalation"), True, "one: allowPrivilegeEscalation is not false"),
    ((*CONTEXT, "runAsNonRoot"), None, "one: runAsNonRoot is not true"),
    ((*CONTEXT, "runAsNonRoot"), False, "pod: runAsNonRoot is false"),
    ((*ONES, "runAsNonRoot"), False, "one: runAsNonRoot is not true"),
    ((*CONTEXT, "runAsUser"), 0, "pod: runAsUser 0"),
    ((*ONES, "runAsUser"), 0, "one: runAsUser 0"),
    ((*CONTEXT, "seccompProfile"), None, "one: seccompProfile None"),
    ((*CONTEXT, "seccompProfile"), {"type": "Unconfined"}, "pod: seccompProfile Unconfined"),
    ((*ONES, "seccompProfile"), {"type": "Unconfined"}, "one: seccompProfile Unconfined"),
    ((*POD, "initContainers"), [{"name": "first", "image": "first"}], "first: allowPrivilegeEscalation is not false"),
    ((*POD, "ephemeralContainers"), [{"name": "debug", "image": "debug"}], "debug: allowPrivilegeEscalation is not false"),
]
WEAK: list[tuple[tuple[str | int, ...], Any, str]] = [
    ((*ONES, "readOnlyRootFilesystem"), None, "one: readOnlyRootFilesystem is not true"),
    ((*CONTEXT, "runAsUser"), 1000, "one: runAsUser is below 10001"),
    ((*CONTEXT, "runAsUser"), None, "one: runAsUser is below 10001"),
    ((*CONTEXT, "runAsGroup"), None, "one: runAsGroup is below 10001"),
    ((*POD, "enableServiceLinks"), None, "pod: enableServiceLinks is not false"),
    ((*ONE, "image"), "registry.example/one:1.2.3", "one: image registry.example/one:1.2.3 has no digest"),
    ((*ONE, "resources"), {"limits": {"memory": "1Mi"}}, "one: resources.requests.cpu is not set"),
    ((*ONE, "resources"), {"requests": {"cpu": "1", "memory": "1Mi"}}, "one: resources.limits.memory is not set"),
]


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """GOOD with `value` at `path`."""
    pod = copy.deepcopy(GOOD)
    *way, last = path
    place: Any = pod
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return pod


def test_a_pod_that_keeps_every_rule_passes() -> None:
    assert pod_security.violations(GOOD) == []
    assert pod_security.weaknesses(GOOD) == []


@pytest.mark.parametrize(("path", "value", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_a_pod_that_breaks_a_rule_is_refused(path: tuple[str | int, ...], value: Any, words: str) -> None:
    assert any(found.startswith(words) for found in pod_security.violations(changed(path, value)))


@pytest.mark.parametrize(("path", "value", "words"), WEAK, ids=[words for *_, words in WEAK])
def test_a_pod_weaker_than_this_house_asks_is_reported(path: tuple[str | int, ...], value: Any, words: str) -> None:
    assert words in pod_security.weaknesses(changed(path, value))


@pytest.mark.parametrize("rule", [*pod_security.RESTRICTED, *pod_security.HOUSE], ids=lambda rule: rule.__name__)
def test_every_rule_has_a_sample_that_it_refuses(rule: pod_security.Rule) -> None:
    assert any(list(rule(changed(path, value)["spec"])) for path, value, _ in [*REFUSED, *WEAK])
