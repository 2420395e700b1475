"""The doctor: each finding that is not ok says how to fix it."""

from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from sluice import doctor, keys
from sluice.doctor import Finding
from sluice.server import supervisor
from sluice.settings import Settings
from sluice.stores.postgresql.inspection import ServerFacts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = ServerFacts(version=180_000, durable=True, missing=[], clock=NOW, role_may_ddl=False)


class Usage(NamedTuple):
    free: int


def settings(**changes: Any) -> Settings:
    return Settings(**({"port": 0, "admin_port": 0, "retention_days": 30} | changes))


def server(**changes: Any) -> list[Finding]:
    return list(doctor.server(msgspec.structs.replace(GOOD, **changes), lambda: NOW))


def troubles(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict != "ok"]


def test_a_good_place_has_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(doctor.MIN_DISK))
    findings = list(doctor.here(settings(data_dir=tmp_path)))
    assert troubles(findings) == []
    assert all(finding.what and not finding.fix for finding in findings)


def test_a_source_that_would_stop_the_start_is_found(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("sources: [{name: a, url: 'https://example.com/a', interval: 5m, emit: true}]")
    assert list(doctor.sources(settings())) == []
    assert list(doctor.sources(settings(sources_file=path))) == [Finding("ok", "pull sources: 1")]
    (finding,) = doctor.sources(settings(sources_file=path, storage_type="dynamodb"))
    assert (finding.verdict, "`emit`" in finding.what) == ("failed", True)
    (finding,) = doctor.sources(settings(sources_file=tmp_path / "none.yaml"))
    assert (finding.verdict, "SOURCES_FILE" in finding.what) == ("failed", True)


def test_a_good_server_has_no_trouble() -> None:
    assert troubles(server()) == []
    assert [finding.what for finding in server()] == ["PostgreSQL 18", "a commit survives a crash", "schema is up to date"]


SICK: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "not durable": ({"durable": False}, "failed", "a commit may be lost", "fsync, full_page_writes and synchronous_commit"),
    "behind": ({"missing": ["0001", "0002"]}, "failed", "behind by 0001, 0002", "sluice migrate"),
    "slow clock": ({"clock": NOW - timedelta(seconds=6)}, "warning", "differs by 6 s", "NTP"),
    "fast clock": ({"clock": NOW + timedelta(hours=1)}, "warning", "differs by 3600 s", "NTP"),
    "read only": ({"read_only": True}, "failed", "takes no writes", "default_transaction_read_only"),
    "hidden rows": ({"secured": ["events"]}, "warning", "may hide rows from this login: events", "BYPASSRLS"),
    "trigger": ({"triggers": ["keep on events"]}, "warning", "not Sluice's: keep on events", "retention.kept"),
    "owner": ({"role_may_ddl": True}, "warning", "may change the schema", "sluice_app"),
}


@pytest.mark.parametrize(("facts", "verdict", "what", "fix"), SICK.values(), ids=SICK)
def test_a_sick_server_is_reported_with_its_fix(facts: dict[str, Any], verdict: str, what: str, fix: str) -> None:
    (trouble,) = troubles(server(**facts))
    assert trouble.verdict == verdict
    assert what in trouble.what
    assert fix in trouble.fix


@pytest.mark.parametrize("facts", [{"clock": NOW - timedelta(seconds=5)}])
def test_what_is_just_good_enough_is_good(facts: dict[str, Any]) -> None:
    assert troubles(server(**facts)) == []


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    assert len(troubles(server(durable=False, missing=["x"], clock=NOW + timedelta(days=1), role_may_ddl=True))) == 4


def test_events_that_are_kept_for_ever_are_a_warning() -> None:
    (trouble,) = [f for f in doctor.here(settings(retention_days=None)) if "for ever" in f.what]
    assert (trouble.verdict, "RETENTION_DAYS" in trouble.fix) == ("warning", True)


# Disk


def test_a_full_disk_fails_when_the_store_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(doctor.MIN_DISK - 1))
    found = doctor.disk(settings())
    assert (found.verdict, "DATA_DIR" in found.fix) == ("failed", True)
    assert doctor.disk(settings(database_url="postgresql://db/x")).verdict == "ok"


def test_a_folder_that_is_not_there_yet_is_looked_at_where_it_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def disk_usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(1 << 40)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    doctor.disk(settings(data_dir=tmp_path / "a" / "b"))
    doctor.disk(settings(data_dir=Path("not-there")))
    assert asked == [tmp_path, Path.cwd()]
    assert not (tmp_path / "a").exists()


# Ports


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("name", ["port", "admin_port"])
def test_a_port_in_use_is_named_by_its_variable(taken: int, name: str) -> None:
    (trouble,) = troubles(list(doctor.ports(settings(**{name: taken}))))
    assert trouble.what == f"{name.upper()} {taken} is in use"
    assert f"set {name.upper()}" in trouble.fix


def test_a_system_without_ipv6_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_ipv6(family: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, f"no family {family}")

    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert doctor.bind_error("::", 8080) == errno.EAFNOSUPPORT


def test_a_port_that_is_free_again_is_free(taken: int) -> None:
    assert doctor.bind_error("127.0.0.1", taken)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    assert doctor.bind_error("127.0.0.1", free) is None


# Keys


def key_trouble(**changes: Any) -> list[Finding]:
    return troubles(list(doctor.key_sources(settings(**changes))))


def test_a_first_run_key_needs_loopback_and_the_embedded_store() -> None:
    assert key_trouble() == []
    for elsewhere in ({"host": "0.0.0.0"}, {"database_url": "postgresql://db/x"}, {"db_host": "db"}):
        (trouble,) = key_trouble(**elsewhere)
        assert (trouble.verdict, "API_KEYS" in trouble.fix, "KEYSET_FILE" in trouble.fix) == ("failed", True, True)


def test_plain_keys_are_counted_and_never_shown() -> None:
    (found,) = doctor.key_sources(settings(host="0.0.0.0", api_keys=("canary-1", "canary-2")))
    assert found == Finding("ok", "2 plain keys in API_KEYS")


def published(path: Path, data: bytes | None = None) -> Path:
    entry = keys.KeyEntry(digest=keys.digest("k"), key_id="web", owner="shop", scopes=frozenset({"ingest"}))
    path.write_bytes(keys.publish([entry], NOW) if data is None else data)
    return path


def test_a_good_key_set_is_reported_with_its_revision(tmp_path: Path) -> None:
    (found,) = doctor.key_sources(settings(keyset_file=published(tmp_path / "keyset.json")))
    assert found.verdict == "ok"
    assert found.what.startswith("key set with 1 entries, revision ")


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir], ids=["missing", "a folder"])
def test_a_key_set_that_cannot_be_read_is_reported_with_its_fix(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "keyset")
    (trouble,) = key_trouble(keyset_file=tmp_path / "keyset")
    assert (trouble.verdict, "mount the key set" in trouble.fix) == ("failed", True)


@pytest.mark.parametrize("data", [b"", b"canary", b'{"schema":2}', b"\xff"])
def test_a_spoilt_key_set_is_reported_with_its_fix_and_without_its_content(tmp_path: Path, data: bytes) -> None:
    (trouble,) = key_trouble(keyset_file=published(tmp_path / "keyset.json", data))
    assert (trouble.verdict, "sluice keys keyset" in trouble.fix) == ("failed", True)
    assert "canary" not in trouble.what


# What is missing is called missing, and no check stops the others


def test_a_first_run_key_that_is_not_there_yet_is_called_missing(tmp_path: Path) -> None:
    (found,) = doctor.key_sources(settings(data_dir=tmp_path))
    assert (found.verdict, "missing" in found.what) == ("ok", True)
    supervisor.key_file(settings(data_dir=tmp_path))
    assert list(doctor.key_sources(settings(data_dir=tmp_path))) == [Finding("ok", "a first-run key in DATA_DIR")]


def test_a_first_run_key_that_was_cut_off_fails_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / "first-run.key").write_bytes(b"slk_\xff")
    (trouble,) = key_trouble(data_dir=tmp_path)
    assert (trouble.verdict, "remove it" in trouble.fix) == ("failed", True)


def test_a_plain_key_that_serve_refuses_fails_by_its_position() -> None:
    (trouble,) = key_trouble(api_keys=("good-enough-for-a-test", "slk_canary"))
    assert (trouble.verdict, "key 2" in trouble.what, "canary" in f"{trouble}") == ("failed", True, False)


def test_a_check_that_fails_itself_is_a_finding_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "here", lambda _: 1 / 0)
    monkeypatch.setattr(doctor.here, "__name__", "here", raising=False)
    first, second = doctor.findings(settings(data_dir=tmp_path))
    assert (first.verdict, "ZeroDivisionError" in first.what) == ("failed", True)
    assert "embedded server" in second.what


def test_a_port_that_this_user_may_not_use_is_no_port_in_use() -> None:
    trouble = next(iter(doctor.ports(settings(host="192.0.2.1"))))
    assert (trouble.verdict, "in use" in trouble.what, "HOST" in trouble.fix) == ("failed", False, True)
