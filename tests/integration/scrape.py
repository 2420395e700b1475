"""What a scrape of /metrics tells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tests.integration.service import Service

# A name and its labels in order.
Series = tuple[str, tuple[tuple[str, str], ...]]


def scrape(service: Service) -> str:
    return httpx.get(f"{service.admin_url}/metrics", timeout=10, trust_env=False).raise_for_status().text


def samples(text: str) -> Iterator[Sample]:
    return (sample for family in text_string_to_metric_families(text) for sample in family.samples)


def values(text: str) -> dict[Series, float]:
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples(text)}


def counters(text: str) -> dict[Series, float]:
    """Every series that may only grow."""
    grows = ("_total", "_count", "_sum", "_bucket")
    return {series: value for series, value in values(text).items() if series[0].endswith(grows)}


def events(text: str) -> dict[str, dict[str, float]]:
    """`sluice_events_total` by format and status."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in samples(text):
        if sample.name == "sluice_events_total":
            found[sample.labels["format"]][sample.labels["status"]] = sample.value
    return found


def unaccounted(text: str) -> dict[str, float]:
    """By format: how many more events were received than there were ends of events."""
    return {format: 2 * by["received"] - sum(by.values()) for format, by in events(text).items()}


def law_broken(text: str) -> dict[str, dict[str, float]]:
    """The formats of which more or fewer events were received than there were ends of events."""
    return {format: by for format, by in events(text).items() if 2 * by["received"] != sum(by.values())}
