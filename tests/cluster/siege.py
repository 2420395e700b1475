"""A release under load while things happen to it, and what the clients say of it afterwards."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.cluster import clients
from tests.cluster.clients import Books, Client, Report
from tests.cluster.ingress import Traefik
from tests.cluster.release import KEY, Release

Action = Callable[[], object]

# How long after an event its failures may still come: until the old pods are gone.
ECHO = 12.0


@dataclass(frozen=True)
class Event:
    """Something that happened to a release; seconds since the epoch."""

    name: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return round(self.ended - self.began, 1)

    def covers(self, moment: float) -> bool:
        return self.began <= moment <= self.ended + ECHO


@dataclass
class Aftermath:
    """What there is to say when the clients have ended, by the clients' names."""

    events: list[Event] = field(default_factory=list)
    reports: dict[str, Report] = field(default_factory=dict)
    books: dict[str, Books] = field(default_factory=dict)

    def event(self, name: str) -> Event:
        return next(event for event in self.events if event.name == name)

    def during(self, event: Event) -> list[str]:
        """Every failure that a client met meanwhile, fixed or not."""
        return [
            f"{name}: {what}" for name, report in self.reports.items() for moment, what in report.moments if event.covers(moment)
        ]

    @property
    def failures(self) -> dict[str, dict[str, int]]:
        """By client, of those that have any; late sends too."""
        return {name: report.failures for name, report in self.reports.items() if report.failures}

    @property
    def failed(self) -> dict[str, dict[str, int]]:
        """By client, of those that have any: requests that were sent. Whether sends come late is judged by the soak."""
        return {name: report.failed for name, report in self.reports.items() if report.failed}

    @property
    def fixed(self) -> dict[str, dict[str, int]]:
        return {name: report.fixed for name, report in self.reports.items() if report.fixed}

    def details(self) -> str:
        """For people who look for the cause."""
        return "\n".join(f"{name}: {sample}" for name, report in self.reports.items() for sample in report.samples)


@dataclass(frozen=True)
class Siege:
    """A release with clients at work. `happen` does something to it meanwhile."""

    release: Release
    crowd: Mapping[str, Client]
    aftermath: Aftermath

    def happen(self, name: str, action: Action) -> None:
        began = time.time()
        action()
        self.aftermath.events.append(Event(name, began, time.time()))

    def end(self) -> None:
        """Once the old pods are gone let the clients finish, and compare what they were told with what is stored."""
        self.release.settle()
        for name, client in self.crowd.items():
            report = client.stop()
            self.aftermath.reports[name] = report
            self.aftermath.books[name] = clients.books(report, self.release.database)


@contextlib.contextmanager
def siege(release: Release, image: str, crowd: Mapping[str, tuple[str, ...]]) -> Iterator[Siege]:
    """Clients by name, each with its options of load.py; `end` is called on the way out of a block that did not fail."""
    with contextlib.ExitStack() as stack:
        clients.prepare(release.space, KEY)
        started = {
            name: stack.enter_context(clients.client(release.space, f"load-{name}", image, *options))
            for name, options in crowd.items()
        }
        for client in started.values():
            client.wait()
        made = Siege(release, started, Aftermath())
        yield made
        made.end()


def direct(release: Release, *options: str) -> tuple[str, ...]:
    """Options of a client that comes through the Service."""
    return (f"--url={release.url}", *options)


def routed(traefik: Traefik, host: str, *options: str) -> tuple[str, ...]:
    """Options of a client that comes through the ingress controller, to the release whose Ingress has this host."""
    return (f"--url={traefik.url}", f"--host={host}", *options)
