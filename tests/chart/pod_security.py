"""The Pod Security Standards' profile *restricted*, judged over rendered Pods, and what this house asks beyond it.

Source: kubernetes.io, "Pod Security Standards", baseline and restricted of Kubernetes 1.34 and later, Linux. What later versions
relax for Pods with `hostUsers: false` is not relaxed here: the chart runs on versions that do not know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Spec = dict[str, Any]
Rule = Callable[[Spec], Iterator[str]]

SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
APPARMOR_TYPES = {None, "RuntimeDefault", "Localhost"}
APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
VOLUME_TYPES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SECCOMP_TYPES = {"RuntimeDefault", "Localhost"}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
HANDLERS = ("postStart", "preStop")
LOWEST_UID = 10001
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def violations(pod: Spec) -> list[str]:
    """What a namespace that enforces *restricted* would refuse in a Pod or a Pod template, a sentence each."""
    return [*apparmor_annotations(pod), *(words for rule in RESTRICTED for words in rule(pod["spec"]))]


def weaknesses(pod: Spec) -> list[str]:
    """What this house asks of every Pod beyond *restricted*, as sentences about what is missing."""
    return [words for rule in HOUSE for words in rule(pod["spec"])]


def containers(spec: Spec) -> list[Spec]:
    return [c for kind in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(kind) or []]


def context(of: Spec) -> Spec:
    return of.get("securityContext") or {}


def contexts(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """The security contexts of the Pod and of each container, with the name to blame."""
    yield "pod", context(spec)
    yield from ((c["name"], context(c)) for c in containers(spec))


# baseline


def host_process(spec: Spec) -> Iterator[str]:
    for name, its in contexts(spec):
        if (its.get("windowsOptions") or {}).get("hostProcess"):
            yield f"{name}: hostProcess"


def host_namespaces(spec: Spec) -> Iterator[str]:
    yield from (f"pod: {field}" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))


def privileged(spec: Spec) -> Iterator[str]:
    yield from (f"{c['name']}: privileged" for c in containers(spec) if context(c).get("privileged"))


def host_ports(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                yield f"{container['name']}: hostPort {port['hostPort']}"


def host_handlers(spec: Spec) -> Iterator[str]:
    """A probe or lifecycle handler that names a host of its own."""
    for container in containers(spec):
        lifecycle = container.get("lifecycle") or {}
        handlers = [(name, container.get(name)) for name in PROBES] + [(name, lifecycle.get(name)) for name in HANDLERS]
        for name, handler in handlers:
            if any(((handler or {}).get(kind) or {}).get("host") for kind in ("httpGet", "tcpSocket")):
                yield f"{container['name']}: {name} names a host"


def apparmor(spec: Spec) -> Iterator[str]:
    for name, its in contexts(spec):
        if (its.get("appArmorProfile") or {}).get("type") not in APPARMOR_TYPES:
            yield f"{name}: appArmorProfile {its['appArmorProfile']['type']}"


def apparmor_annotations(pod: Spec) -> Iterator[str]:
    """The older way to say appArmorProfile."""
    for name, profile in ((pod.get("metadata") or {}).get("annotations") or {}).items():
        if name.startswith(APPARMOR_ANNOTATION) and profile != "runtime/default" and not profile.startswith("localhost/"):
            yield f"pod: annotation {name} is {profile}"


def selinux(spec: Spec) -> Iterator[str]:
    for name, its in contexts(spec):
        options = its.get("seLinuxOptions") or {}
        if options.get("type") not in SELINUX_TYPES or options.get("user") or options.get("role"):
            yield f"{name}: seLinuxOptions {options}"


def proc_mount(spec: Spec) -> Iterator[str]:
    for name, its in contexts(spec):
        if its.get("procMount") not in (None, "Default"):
            yield f"{name}: procMount {its['procMount']}"


def sysctls(spec: Spec) -> Iterator[str]:
    for sysctl in context(spec).get("sysctls") or []:
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"pod: sysctl {sysctl['name']}"


# restricted


def volume_types(spec: Spec) -> Iterator[str]:
    """Also what baseline says of hostPath. A volume without a type is an emptyDir, which is how the API server reads it."""
    for volume in spec.get("volumes") or []:
        for kind in volume.keys() - {"name"} - VOLUME_TYPES:
            yield f"volume {volume['name']}: {kind}"


def privilege_escalation(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        if context(container).get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']}: allowPrivilegeEscalation is not false"


def non_root(spec: Spec) -> Iterator[str]:
    """Each container says runAsNonRoot or has it from the Pod; a false one anywhere is refused."""
    pod = context(spec).get("runAsNonRoot")
    if pod is False:
        yield "pod: runAsNonRoot is false"
    for container in containers(spec):
        if context(container).get("runAsNonRoot", pod) is not True:
            yield f"{container['name']}: runAsNonRoot is not true"


def root_user(spec: Spec) -> Iterator[str]:
    yield from (f"{name}: runAsUser 0" for name, its in contexts(spec) if its.get("runAsUser") == 0)


def seccomp(spec: Spec) -> Iterator[str]:
    """RuntimeDefault or Localhost, said by each container or by the Pod; nothing else anywhere."""
    pod = seccomp_type(context(spec))
    if pod is not None and pod not in SECCOMP_TYPES:
        yield f"pod: seccompProfile {pod}"
    for container in containers(spec):
        found = seccomp_type(context(container)) or pod
        if found not in SECCOMP_TYPES:
            yield f"{container['name']}: seccompProfile {found}"


def seccomp_type(its: Spec) -> str | None:
    kind: str | None = (its.get("seccompProfile") or {}).get("type")
    return kind


def capabilities(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        its = context(container).get("capabilities") or {}
        if "ALL" not in (its.get("drop") or []):
            yield f"{container['name']}: capabilities do not drop ALL"
        yield from (f"{container['name']}: capability {one}" for one in its.get("add") or [] if one != "NET_BIND_SERVICE")


RESTRICTED: tuple[Rule, ...] = (
    host_process,
    host_namespaces,
    privileged,
    host_ports,
    host_handlers,
    apparmor,
    selinux,
    proc_mount,
    sysctls,
    volume_types,
    privilege_escalation,
    non_root,
    root_user,
    seccomp,
    capabilities,
)


# this house


def writable_root(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        if context(container).get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']}: readOnlyRootFilesystem is not true"


def low_user(spec: Spec) -> Iterator[str]:
    """User and group are numbers that no user of the node has by chance."""
    for field in ("runAsUser", "runAsGroup"):
        pod = context(spec).get(field)
        for container in containers(spec):
            if (context(container).get(field, pod) or 0) < LOWEST_UID:
                yield f"{container['name']}: {field} is below {LOWEST_UID}"


def service_links(spec: Spec) -> Iterator[str]:
    if spec.get("enableServiceLinks") is not False:
        yield "pod: enableServiceLinks is not false"


def mutable_images(spec: Spec) -> Iterator[str]:
    for container in containers(spec):
        if not DIGEST.search(container["image"]):
            yield f"{container['name']}: image {container['image']} has no digest"


def unbounded(spec: Spec) -> Iterator[str]:
    """Requests of both, and a limit of memory; a limit of CPU would throttle and is left to the operator of the cluster."""
    for container in containers(spec):
        resources = container.get("resources") or {}
        for bound, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if not (resources.get(bound) or {}).get(what):
                yield f"{container['name']}: resources.{bound}.{what} is not set"


HOUSE: tuple[Rule, ...] = (writable_root, low_user, service_links, mutable_images, unbounded)
