"""Negative controls: each breaks one rule of the chart, which itself would refuse it, and must show failures.

A test that never fails proves nothing. Each edits the Deployment past the chart; `without` it the same clients meet no failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.cluster.ingress import Traefik
from tests.cluster.kube import Change, Document
from tests.cluster.release import Release
from tests.cluster.siege import Aftermath, direct, routed, siege

# The ingress controller keeps its connections to a pod: only what is on its way while the pod ends is lost.
STEADY = ("--rate=150", "--connections=40")
# A kept connection stays with its pod until that goes; only new ones find a pod that is not there yet, or not any more.
OPENING = ("--rate=150", "--connections=30", "--fresh")
# About the two seconds for which gunicorn keeps idle connections by default.
NEAR_TWO = ("--idle-between", "1.9", "2.1")
# Longer than the two seconds for which gunicorn 27 still answers on idle connections once it stops, shorter than the drain.
PAST_TWO = ("--idle-between", "2.3", "2.8", "--connections=40", "--blind")

Clients = Callable[[Release, Traefik], Mapping[str, tuple[str, ...]]]
Action = Callable[[Release], object]


def no_preparation(deployment: Document) -> None:
    """A pod that goes ends at once: no preStop, no drain."""
    container(deployment).pop("lifecycle")
    set_environment(deployment, DRAIN_SECONDS="0")


def short_keep_alive(deployment: Document) -> None:
    """The service closes idle connections before its clients do."""
    set_environment(deployment, KEEP_ALIVE="2")


def no_connection_close(deployment: Document) -> None:
    """SIGTERM stops gunicorn at once: clients learn from no answer that their connection is about to end."""
    set_environment(deployment, DRAIN_SECONDS="0")


def ready_too_early(deployment: Document) -> None:
    """A new pod is Ready before it listens: nobody asks it, and it takes a moment longer to start."""
    slow_start(deployment)
    for probe in ("startupProbe", "readinessProbe"):
        container(deployment).pop(probe)
    deployment["spec"]["minReadySeconds"] = 0


def slow_start(deployment: Document) -> None:
    """Sluice listens almost at once, and what comes before it serves waits in the queue of its socket. Not every service does."""
    program = "import os, time; time.sleep(4); os.execvp('sluice', ['sluice', 'serve'])"
    container(deployment).update(command=["python3", "-c", program], args=[])


def restart_often(release: Release) -> None:
    """A pod that ends takes the requests of one moment with it: a few pods more, and no run is without."""
    for _ in range(3):
        release.restart()


def nothing(_deployment: Document) -> None:
    """The chart as it is."""


@dataclass(frozen=True)
class Control:
    """`whole`: what may be changed without breaking a rule."""

    change: Change
    clients: Clients
    action: Action = Release.restart
    whole: Change = nothing

    @property
    def name(self) -> str:
        return self.change.__name__

    @property
    def summary(self) -> str:
        """What is broken, in a sentence."""
        return (self.change.__doc__ or "").strip().rstrip(".")


def wait(seconds: float) -> Action:
    """Nothing happens for so long: the clients alone are what it takes."""
    return lambda _release: time.sleep(seconds)


def opening(release: Release, traefik: Traefik) -> Mapping[str, tuple[str, ...]]:
    return {"service": direct(release, *OPENING), "ingress": routed(traefik, host_of(release), *STEADY)}


def near_two(release: Release, traefik: Traefik) -> Mapping[str, tuple[str, ...]]:
    """The ingress controller has its own connections to the pods: only if clients send together do all of them idle alike."""
    return {
        "service": direct(release, *NEAR_TWO, "--connections=40", "--blind"),
        "ingress": routed(traefik, host_of(release), *NEAR_TWO, "--connections=100", "--together"),
    }


def past_two(release: Release, _traefik: Traefik) -> Mapping[str, tuple[str, ...]]:
    return {"service": direct(release, *PAST_TWO)}


CONTROLS = (
    Control(no_preparation, opening, restart_often),
    Control(short_keep_alive, near_two, wait(20)),
    Control(no_connection_close, past_two),
    Control(ready_too_early, opening, whole=slow_start),
)


def without(control: Control) -> Control:
    """The same clients and the same event, and no rule is broken."""
    return Control(control.whole, control.clients, control.action)


def show(control: Control, release: Release, traefik: Traefik, image: str) -> Aftermath:
    """What the clients met. `release` is not installed yet, and of no use afterwards."""
    release.install_patched(image, control.change)
    with siege(release, image, control.clients(release, traefik)) as under:
        under.happen(control.name, lambda: control.action(release))
    return under.aftermath


def host_of(release: Release) -> str:
    """Of its Ingress: a name of its own, for several may be under way."""
    return f"{release.space.name}.test"


def container(deployment: Document) -> Document:
    first: Document = deployment["spec"]["template"]["spec"]["containers"][0]
    return first


def set_environment(deployment: Document, **values: str) -> None:
    environment = container(deployment)["env"]
    environment[:] = [each for each in environment if each["name"] not in values]
    environment += [{"name": name, "value": value} for name, value in values.items()]
