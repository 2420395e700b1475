"""Pull sources as people write them: what each field means, and a line for each mistake, without a value in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests import docs
from tests.conftest import ROOT

from sluice import errors
from sluice.ingest.pipeline import utc_now
from sluice.settings import Settings
from sluice.sources import definitions, fetch
from sluice.sources.definitions import Pagination, Source
from sluice.sources.failures import REASONS
from sluice.sources.metrics import PullMetrics

GOOD = {"name": "orders", "url": "https://api.example.com/orders", "interval": "5m"}


def load(tmp_path: Path, text: str, **env: str) -> tuple[Source, ...]:
    (tmp_path / "sources").write_text(text)
    return definitions.load(Settings.from_env({"SOURCES_FILE": str(tmp_path / "sources"), **env}))


def problems(tmp_path: Path, document: Any, **env: str) -> tuple[str, ...]:
    with pytest.raises(errors.SettingsError) as caught:
        load(tmp_path, document if isinstance(document, str) else json.dumps(document), **env)
    return caught.value.problems


def test_the_seed_s_variables_are_one_source() -> None:
    env = {"API_ENDPOINT": "https://x.example/posts", "INGESTION_INTERVAL": "1h30m", "API_TIMEOUT": "1.5s", "RETRY_COUNT": "0"}
    (source,) = definitions.load(Settings.from_env(env))
    assert (source.name, source.url, source.default, source.allow_private) == (
        "placeholder_api",
        env["API_ENDPOINT"],
        True,
        False,
    )
    assert (source.interval, source.timeout, source.retries) == (5_400, 1.5, 0)


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300), ("30s", 30), ("1h", 3_600), ("1500ms", 1.5), ("1h0m1s", 3_601)])
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    assert Settings.from_env({"INGESTION_INTERVAL": text}).ingestion_interval == seconds


@pytest.mark.parametrize("text", ["5", "0s", "-5m", "5 m", "5d", "m", "10000h", "1e9s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(errors.SettingsError, match="INGESTION_INTERVAL must be a duration such as"):
        Settings.from_env({"INGESTION_INTERVAL": text})


def test_every_field_of_a_file_is_read(tmp_path: Path) -> None:
    text = """
sources:
  - name: orders
    url: https://api.example.com/v1/orders?state=all
    cron: "*/15 * * * *"
    timeout: 10s
    deadline: 5m
    retries: 5
    headers: {X-Team: shop, X-Number: 7}
    secret_headers: {Authorization: /etc/sluice/token}
    ca_file: /etc/sluice/ca.pem
    list: data.items
    id: order.id
    pagination: {type: cursor, path: meta.next, parameter: after, size: 100, size_parameter: per_page}
    emit: true
    allow_private: true
    default: true
    max_pages: 5
    max_records: 50
    max_body_bytes: 1048576
  - {name: other, url: "http://x.example/", interval: 1m, pagination: link}
"""
    first, second = load(tmp_path, text)
    assert (first.timeout, first.deadline, first.retries, first.cron) == (10, 300, 5, "*/15 * * * *")
    assert (first.headers, first.secret_headers) == (
        {"X-Team": "shop", "X-Number": "7"},
        {"Authorization": Path("/etc/sluice/token")},
    )
    assert (first.list, first.id, first.ca_file) == (("data", "items"), ("order", "id"), Path("/etc/sluice/ca.pem"))
    assert first.pagination == Pagination(
        type="cursor", path=("meta", "next"), parameter="after", size=100, size_parameter="per_page"
    )
    assert (first.emit, first.allow_private, first.default) == (True, True, True)
    assert (first.max_pages, first.max_records, first.max_body_bytes) == (5, 50, 1 << 20)
    assert (second.interval, second.pagination.type, second.default) == (60, "link", False)


@pytest.mark.parametrize(
    "text", ["0012", "0x1F", "0b1", "1_000", "12:34:56", "1.5", "1.50", "1e3", "+1", "2026-01-02", "2026-01-02 03:04:05", "="]
)
def test_what_looks_like_a_number_or_a_date_is_the_text_that_stands_there(tmp_path: Path, text: str) -> None:
    """YAML 1.1 makes 10 of 0012, and 45296 of 12:34:56."""
    fields = f"name: a, url: 'http://x.example/', interval: 1m, list: x.{text}, pagination: {{type: cursor, path: {text}}}"
    (source,) = load(tmp_path, f"sources:\n- {{{fields}, headers: {{X-Version: {text}}}, secret_headers: {{A: {text}}}}}")
    assert (source.headers, source.secret_headers) == ({"X-Version": text}, {"A": Path(text)})
    assert ".".join(source.pagination.path) == text


@pytest.mark.parametrize("text", ["0x10", "1_0", "0o7", "1:40", "1.5"])
def test_a_number_is_a_whole_one_in_tens(tmp_path: Path, text: str) -> None:
    fields = f"name: a, url: 'http://x.example/', interval: 1m, max_pages: {text}"
    (line,) = problems(tmp_path, f"sources:\n- {{{fields}}}")
    assert line.startswith("SOURCES_FILE: sources[0].max_pages must be a whole number")


def test_json_is_read_too_and_the_first_source_is_the_default(tmp_path: Path) -> None:
    found = load(tmp_path, json.dumps({"sources": [GOOD, {**GOOD, "name": "more"}]}))
    assert [(source.name, source.default) for source in found] == [("orders", True), ("more", False)]
    with_variable = load(tmp_path, json.dumps({"sources": [GOOD]}), API_ENDPOINT="https://x.example/")
    assert [(source.name, source.default) for source in with_variable] == [("placeholder_api", True), ("orders", False)]


SECRET = "canary-41"
MISTAKES = [
    ({"name": f"No {SECRET}"}, "sources[0].name must be 1 to 63 of a-z"),
    ({"url": f"ftp://{SECRET}/"}, "sources[0].url must be a URL such as"),
    ({"url": f"https://user:{SECRET}@x/"}, "sources[0].url must be a URL without user"),
    ({"interval": SECRET}, "sources[0].interval must be a duration"),
    ({"interval": True}, "sources[0].interval must be text or a number"),
    ({"cron": "* * * * *"}, "sources[0] must have one of interval and cron"),
    ({"interval": ..., "cron": f"* {SECRET}"}, "sources[0].cron must be a cron expression"),
    ({"interval": ..., "cron": "0 0 31 2 *"}, "sources[0].cron must be a cron expression"),
    ({"interval": ..., "cron": "0 */5 * * * *"}, "sources[0].cron must be a cron expression of five fields"),
    ({"interval": ...}, "sources[0] must have one of interval and cron"),
    ({"url": ...}, "sources[0].url is missing"),
    ({"retries": 21}, "sources[0].retries must be a whole number from 0 to 20"),
    ({"headers": {"Host": "x"}}, "sources[0].headers has a name that is no header's"),
    ({"headers": {f"a b {SECRET}": "x"}}, "sources[0].headers has a name that is no header's"),
    ({"headers": {"A": f"{SECRET}\r\nX: 1"}}, "sources[0].headers has A, which must be printable ASCII"),
    ({"headers": {"X-Flag": True}}, "sources[0].headers has X-Flag, which must be text or a number; write words"),
    ({"headers": {"X-None": None}}, "sources[0].headers has X-None, which must be text or a number; write words"),
    ({"secret_headers": {"X-Token": []}}, "sources[0].secret_headers has X-Token, which must be text or a number"),
    ({"secret_headers": [SECRET]}, "sources[0].secret_headers must be an object"),
    ({"headers": {"Accept": "a", "accept": "b"}}, "sources[0] has the header accept twice; case makes no other of it"),
    (
        {"headers": {"authorization": SECRET}, "secret_headers": {"Authorization": "/a"}},
        "sources[0] has the header authorization twice",
    ),
    ({"list": "a..b"}, "sources[0].list must be 1 to 16 names"),
    ({"id": ""}, "sources[0].id must be the path"),
    ({"emit": "yes"}, "sources[0].emit must be true or false"),
    ({"pagination": SECRET}, "sources[0].pagination type must be one of none, page, offset, cursor, link"),
    ({"pagination": {"type": "cursor"}}, "sources[0].pagination of type cursor needs a path"),
    ({"pagination": {"kind": 1}}, "sources[0].pagination has an unknown field"),
    ({"max_body_bytes": 1 << 30}, "sources[0].max_body_bytes must be a whole number"),
    ({SECRET: 1}, "sources[0] has an unknown field; known are name, url, interval"),
]


@pytest.mark.parametrize(("change", "line"), MISTAKES)
def test_a_mistake_is_a_line_with_its_place_and_without_its_value(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    given = {name: value for name, value in {**GOOD, **change}.items() if value is not ...}
    (found,) = problems(tmp_path, {"sources": [given]})
    assert found.startswith(f"SOURCES_FILE: {line}")
    assert SECRET not in found


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, {"sources": [{"name": "A", "url": "x", "interval": "x"}, 7, GOOD, GOOD]})
    assert len(found) == 5
    assert found[-1] == "SOURCES_FILE: orders is the name of two sources; give one another name (API_ENDPOINT's is TABLE_NAME)"


@pytest.mark.parametrize(
    "text", ["", "[]", "sources: []", "sources: {}", "a: 1", "sources: [1]\nmore: 1", "sources:\n - a\n  b: ["]
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


def test_a_field_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    source = "\n  - &base\n    name: orders\n    url: https://x.example/\n    interval: 5m\n"
    (line,) = problems(tmp_path, f"sources:{source}    url: https://y.example/\n")
    assert line == "SOURCES_FILE has a name twice in one object, see line 6"
    merged = load(tmp_path, f"sources:{source}  - &more\n    <<: *base\n    name: more\n  - {{<<: *more, name: most}}\n")
    assert [each.name for each in merged] == ["orders", "more", "most"]


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError, match="SOURCES_FILE cannot be read: FileNotFoundError"):
        definitions.load(Settings.from_env({"SOURCES_FILE": str(tmp_path / "none")}))


def test_only_one_source_is_the_default(tmp_path: Path) -> None:
    both = {"sources": [{**GOOD, "default": True}, {**GOOD, "name": "more", "default": True}]}
    assert "orders, more are all `default`" in problems(tmp_path, both)[0]


def test_the_next_run_is_an_interval_on_or_when_the_cron_says() -> None:
    at = datetime(2026, 11, 29, 6, 7, 8, tzinfo=UTC)
    assert Source(name="a", url="", interval=90).next_run(at) == datetime(2026, 11, 29, 6, 8, 38, tzinfo=UTC)
    assert Source(name="a", url="", cron="*/15 * * * *").next_run(at) == datetime(2026, 11, 29, 6, 15, tzinfo=UTC)


def test_another_definition_has_another_digest() -> None:
    first = Source(name="a", url="https://x/?a=1", interval=90)
    assert first.digest == Source(name="a", url="https://x/?a=1", interval=90).digest
    assert first.digest != Source(name="a", url="https://x/?a=2", interval=90).digest
    assert first.digest != Source(name="a", url="https://x/?a=1", interval=90, emit=True).digest
    assert "x/?a=1" not in repr(first)


PAGE = ROOT / "docs/sources.md"


def first_cells(name: str) -> list[str]:
    """What stands between backticks in the first column of a table of the page."""
    return [docs.quoted(row)[0] for row in docs.section(PAGE, name).splitlines()[2:]]


def test_the_page_on_sources_lists_every_field_every_reason_and_every_metric() -> None:
    assert set(first_cells("fields")) == set(definitions.FIELDS)
    assert first_cells("reasons") == list(REASONS)
    registry = CollectorRegistry()
    PullMetrics(registry, [], utc_now)
    families = [family for family in registry.collect() if family.name.startswith("sluice_pull")]
    offered = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert set(first_cells("metrics")) == offered


def test_the_file_of_the_page_on_sources_is_taken(tmp_path: Path) -> None:
    text = docs.section(PAGE, "file").removeprefix("```yaml\n").removesuffix("```")
    orders, prices = load(tmp_path, text)
    assert (orders.emit, orders.pagination.size, prices.cron) == (True, 100, "15 3 * * *")


@pytest.mark.parametrize("value", ["9" * 5_000, "Thu, 01 Jan 99999 00:00:00 GMT", "soon", "-1"])
def test_a_retry_after_that_is_no_time_is_none(value: str) -> None:
    assert fetch.retry_after({"Retry-After": value}) == 0
