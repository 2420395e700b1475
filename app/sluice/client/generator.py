"""Made-up events that look like a shop's, and real errors: each traceback comes from code below that really fails.

With the same random numbers and the same clock it makes the same events, ids included.
"""

from __future__ import annotations

import csv
import io
import json
import socket
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, TypeVar

from sluice.client.importer import NAMESPACE, Item, encode

T = TypeVar("T")
Event = dict[str, Any]

PRICES = {"tea": 4.5, "coffee": 6.0, "cocoa": 5.2}
# Categories by parent; `sale` is its own grandparent, which is what breaks category_path.
PARENTS = {"tea": "drinks", "drinks": "sale", "sale": "drinks"}
DEEPEST = 50
TIMEOUT = 0.001


@dataclass(frozen=True)
class Failure:
    """Code that always raises, and where it is said to have happened."""

    service: str
    endpoint: str
    run: Callable[[Random], object]


def price_of(article: str) -> float:
    return PRICES[article]


def total_of(cart: dict[str, int]) -> float:
    return sum(price_of(article) * pieces for article, pieces in cart.items())


def checkout(random: Random) -> float:
    """KeyError, three calls deep."""
    return total_of({"tea": random.randint(1, 3), random.choice(["mate", "rooibos"]): 1})


def mean_latency(samples: list[float]) -> float:
    return sum(samples) / len(samples)


def latency_report(_random: Random) -> float:
    """ZeroDivisionError: nothing was measured yet."""
    return mean_latency([])


def payment_webhook(random: Random) -> object:
    """json.JSONDecodeError: the body broke off."""
    body = json.dumps({"payment": random.randint(1000, 9999), "state": "settled"})
    return json.loads(body[: random.randint(2, len(body) - 1)])


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def reserve_stock(_random: Random) -> None:
    """ConnectionRefusedError: nobody listens there any more."""
    with socket.create_connection(("127.0.0.1", closed_port()), timeout=1):
        pass


class OrderRejected(Exception):
    """The order cannot be priced."""


def place_order(random: Random) -> float:
    """OrderRejected, caused by a KeyError."""
    article = random.choice(["maté", "chai"])
    try:
        return price_of(article)
    except KeyError as error:
        raise OrderRejected(f"no price for {article}") from error


def category_path(category: str, depth: int = 0) -> str:
    if depth > DEEPEST:
        raise RecursionError(f"categories nest deeper than {DEEPEST}")
    return category_path(PARENTS[category], depth + 1) + "/" + category


def breadcrumbs(_random: Random) -> str:
    """RecursionError: the category tree has a loop."""
    return category_path("tea")


def import_customers(random: Random) -> list[list[str]]:
    """UnicodeDecodeError: the file is Latin-1."""
    data = f"{random.randint(1, 999)};Zoë;Köln\n".encode("latin-1")
    return list(csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"), delimiter=";"))


def fetch_recommendations(_random: Random) -> bytes:
    """TimeoutError: the other side took the connection and sends nothing."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_connection(silent.getsockname(), timeout=1) as connection,
    ):
        connection.settimeout(TIMEOUT)
        return connection.recv(1)


FAILURES = (
    Failure("checkout", "/cart/checkout", checkout),
    Failure("reporting", "/reports/latency", latency_report),
    Failure("payments", "/webhooks/payment", payment_webhook),
    Failure("inventory", "/stock/reserve", reserve_stock),
    Failure("orders", "/orders", place_order),
    Failure("catalogue", "/breadcrumbs", breadcrumbs),
    Failure("customers", "/customers/import", import_customers),
    Failure("recommendations", "/recommendations", fetch_recommendations),
)


def report_of(failure: Failure, random: Random) -> dict[str, str]:
    """Seed 000's error report about one real failure."""
    try:
        failure.run(random)
    except Exception as error:
        return {
            "service": failure.service,
            "endpoint": failure.endpoint,
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
        }
    raise AssertionError(f"{failure.run.__name__} did not fail")


class Session:
    """One visitor: the same user, device and version all along, and a number for each step."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._steps = 0
        self.fixed = {
            "session_id": f"s-{random.getrandbits(48):012x}",
            "user_id": f"user-{random.randint(1, 5000)}",
            "app_version": random.choice(["3.1.0", "3.1.1", "3.2.0"]),
            "device_info": {
                "os": random.choice(["Android 15", "iOS 18.1", "Windows 11", "macOS 15"]),
                "language": random.choice(["de", "en", "fr", "nl"]),
                "network": random.choice(["wifi", "cellular"]),
            },
        }

    def step(self) -> Event:
        self._steps += 1
        name = self._random.choices(["page_view", "search", "add_to_cart", "purchase"], [60, 20, 15, 5])[0]
        article = self._random.choice(list(PRICES))
        properties: Event = {"page": f"/articles/{article}", "article": article}
        if name == "purchase":
            properties["amount"] = round(PRICES[article] * self._random.randint(1, 4), 2)
        return {
            "event_type": "behavioral",
            "event_name": name,
            "properties": properties,
            **self.fixed,
            "sequence_number": self._steps,
        }


class Shop:
    """Makes one event after the other. `clock` gives their timestamps (aware); `errors_share` from 0 to 1."""

    def __init__(self, random: Random, clock: Callable[[], datetime], errors_share: float = 0.1) -> None:
        self._random = random
        self._clock = clock
        self._errors_share = errors_share
        self._sessions = [Session(random) for _ in range(20)]
        self._kinds = {
            self.behavioral: 40,
            self.telemetry: 15,
            self.observability: 15,
            self.performance: 10,
            self.log: 15,
            self.record: 5,
        }

    def items(self, numbers: Iterable[int]) -> Iterator[Item]:
        """An event for each of `numbers`, made when it is asked for."""
        for number in numbers:
            event = self.event()
            # An id made of the content: the same seed at another time gives other events, and never a conflict.
            event["event_id"] = str(uuid.uuid5(NAMESPACE, f"generated:{number}:{encode(event).decode()}"))
            yield Item(number, encode(event))

    def reports(self, numbers: Iterable[int]) -> Iterator[dict[str, str]]:
        """A seed 000 error report for each of `numbers`."""
        return (self.report() for _ in numbers)

    def report(self) -> dict[str, str]:
        return report_of(self._random.choice(FAILURES), self._random)

    def event(self) -> Event:
        """An event without id."""
        failed = self._random.random() < self._errors_share
        make = self.error if failed else self._random.choices(list(self._kinds), list(self._kinds.values()))[0]
        return {"timestamp": self._clock().isoformat()} | make()

    def error(self) -> Event:
        report = self.report()
        return {
            "event_type": "error",
            "event_name": report["endpoint"],
            "source": report["service"],
            "priority": "high",
            "properties": report,
        }

    def behavioral(self) -> Event:
        place = self._random.randrange(len(self._sessions))
        # A visit ends now and then, so that sessions are neither endless nor one step long.
        if self._random.random() < 0.05:
            self._sessions[place] = Session(self._random)
        return self._sessions[place].step()

    def telemetry(self) -> Event:
        name, unit, highest = self._random.choice(
            [("cpu_usage", "percent", 100), ("memory", "MiB", 4096), ("queue_depth", "items", 500)]
        )
        value = round(highest * self._random.betavariate(2, 5), 2)
        tags = {"provider": self._random.choice(["aws", "gcp", "hetzner"]), "host": f"node-{self._random.randint(1, 12)}"}
        properties = {"metric_name": name, "value": value, "unit": unit, "tags": tags}
        return {"event_type": "telemetry", "event_name": name, "source": "node-agent", "properties": properties}

    def observability(self) -> Event:
        failure = self._random.choice(FAILURES)
        properties = {
            "trace_id": f"{self._random.getrandbits(128):032x}",
            "span_id": f"{self._random.getrandbits(64):016x}",
            "name": failure.endpoint,
            "duration_ms": self._milliseconds(20),
        }
        return {"event_type": "observability", "event_name": "span", "source": failure.service, "properties": properties}

    def performance(self) -> Event:
        properties = {"page": "/articles", "dom_ready_ms": self._milliseconds(300), "loaded_ms": self._milliseconds(900)}
        return {"event_type": "performance", "event_name": "page_load", "source": "web", "properties": properties}

    def log(self) -> Event:
        level = self._random.choices(["debug", "info", "warning"], [2, 7, 1])[0]
        line = f"order {self._random.randint(10_000, 99_999)} handed to the carrier in {self._milliseconds(80)} ms"
        return {"event_type": "log", "event_name": "log_line", "source": "orders", "properties": {"level": level, "line": line}}

    def record(self) -> Event:
        article = self._random.choice(list(PRICES))
        properties = {"article": article, "price": PRICES[article], "stock": self._random.randint(0, 500)}
        return {"event_type": "record", "event_name": "stock_level", "source": "inventory", "properties": properties}

    def _milliseconds(self, typical: float) -> float:
        """A duration as services have them: mostly near `typical`, now and then many times that."""
        return round(typical * self._random.lognormvariate(0, 0.6), 1)


def pace(things: Iterable[T], rate: float, clock: Callable[[], float], sleep: Callable[[float], object]) -> Iterator[T]:
    """`things`, `rate` of them a second; 0: as they come.

    Each is due by its number counted from the start, so what one sleep takes too long the next takes less: no drift.
    """
    start = clock()
    for number, thing in enumerate(things):
        wait = start + number / rate - clock() if rate else 0.0
        if wait > 0:
            sleep(wait)
        yield thing
