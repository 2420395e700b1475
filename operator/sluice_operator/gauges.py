"""Metrics of each key and KeySet, read off the cache at every scrape. The one who leads tells them: two would tell them twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sluice_operator import conditions, names
from sluice_operator.cache import Cache
from sluice_operator.hearing import Hearing
from sluice_operator.metrics import PREFIX
from sluice_operator.model import ApiKey, KeySet
from sluice_operator.reading import moment
from sluice_operator.world import Published

# The status that each condition has while all is well; others are nobody's alarm.
GOOD = {
    "Ready": "True",
    "Converged": "True",
    "TargetFound": "True",
    "ProbesWired": "True",
    "Degraded": "False",
    "Expiring": "False",
    "PreviousInUse": "False",
    "Refused": "False",
}


class Gauges(Collector):
    """`leads`: whether this process does. `paths`: namespace, resource and path of everything that is watched."""

    def __init__(
        self,
        cache: Cache,
        hearing: Hearing,
        namespaces: Iterable[str],
        paths: Iterable[tuple[str, str, str]],
        leads: Callable[[], bool],
    ) -> None:
        self._cache = cache
        self._hearing = hearing
        self._namespaces = tuple(namespaces)
        self._paths = tuple(paths)
        self._leads = leads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._ages()
        if not self._leads():
            return
        found = [(space, each) for space in self._namespaces for each in self._objects(space)]
        yield dates("key_expiry_timestamp_seconds", "When a key expires", found, expiry)
        yield dates("key_next_rotation_timestamp_seconds", "When a key rotates by itself", found, next_rotation)
        yield self._versions()
        yield lagging(found)
        yield bad(found)

    def _objects(self, namespace: str) -> list[ApiKey | KeySet]:
        keys = (each for each in self._cache.api_keys(namespace) if isinstance(each, ApiKey))
        return [*keys, *self._cache.key_sets(namespace)]

    def _ages(self) -> GaugeMetricFamily:
        text = "Seconds since a watch was heard of, by an event or a bookmark"
        family = GaugeMetricFamily(f"{PREFIX}_watch_last_event_age_seconds", text, labels=["namespace", "resource"])
        for namespace, resource, path in self._paths:
            age = self._hearing.age(path)
            if age is not None:
                family.add_metric([namespace, resource], age)
        return family

    def _versions(self) -> GaugeMetricFamily:
        text = "Versions of keys that the published key set accepts"
        family = GaugeMetricFamily(f"{PREFIX}_key_versions_live", text, labels=["namespace", "keyset"])
        for namespace in self._namespaces:
            for keyset in self._cache.key_sets(namespace):
                found = self._cache.secret(namespace, names.published_secret(keyset.name))
                document = found.document if isinstance(found, Published) else None
                entries = document.entries if document is not None else ()
                family.add_metric([namespace, keyset.name], sum(entry.state == "active" for entry in entries))
        return family


Found = list[tuple[str, ApiKey | KeySet]]


def dates(name: str, text: str, found: Found, date: Callable[[ApiKey], Any]) -> GaugeMetricFamily:
    """Of each key that has such a date, as Unix time."""
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=["namespace", "name"])
    for namespace, each in found:
        at = moment(date(each)) if isinstance(each, ApiKey) else None
        if at is not None:
            family.add_metric([namespace, each.metadata.name], at.timestamp())
    return family


def expiry(key: ApiKey) -> Any:
    return key.status.get("expiresAt")


def next_rotation(key: ApiKey) -> Any:
    return key.status.get("nextActionAt") if key.status.get("nextAction") == "Rotate" else None


def lagging(found: Found) -> GaugeMetricFamily:
    text = "Pods that have not acknowledged the published key set"
    family = GaugeMetricFamily(f"{PREFIX}_keyset_lagging_pods", text, labels=["namespace", "keyset"])
    for namespace, each in found:
        if isinstance(each, KeySet):
            late = int(each.status.get("pods") or 0) - int(each.status.get("podsAcknowledged") or 0)
            family.add_metric([namespace, each.name], late)
    return family


def bad(found: Found) -> GaugeMetricFamily:
    """A sample for each condition that is not as it should be, and none for the others: a thousand keys have six each."""
    text = "1: a condition that is not as it should be"
    family = GaugeMetricFamily(f"{PREFIX}_condition", text, labels=["kind", "namespace", "name", "type", "reason"])
    for namespace, each in found:
        kind = names.API_KEY if isinstance(each, ApiKey) else names.KEY_SET
        for condition in conditions.by_type(each.status.get("conditions")).values():
            good = GOOD.get(condition["type"])
            if good is not None and condition.get("status") != good:
                labels = [kind, namespace, each.metadata.name, condition["type"], str(condition.get("reason"))]
                family.add_metric(labels, 1)
    return family
