"""What the admin port says, as pure functions and without a socket."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest

from sluice import errors, keys
from sluice.keyring import Keyring
from sluice.server.admin import Admin, KeysetMetrics, keyset_state
from sluice.server.metrics_archive import Archive
from sluice.server.worker_state import Heartbeat, SharedState, WorkerReport
from sluice.settings import Settings

# Above every pid that Linux gives out.
NOBODY = 1 << 30


def report(pid: int = 1, beat: float = 0.0, revision: str | None = "r1", at: str | None = "2026-01-01T00:00:00Z") -> WorkerReport:
    return WorkerReport(pid, beat, revision is not None, revision, 3, at)


@pytest.mark.parametrize(
    ("revisions", "agreed", "loaded"),
    [(["r1", "r1"], "r1", 2), (["r1", "r2"], None, 2), (["r1", None], None, 1), ([None], None, 0), ([], None, 0)],
)
def test_a_revision_is_reported_only_when_every_worker_has_it(
    revisions: list[str | None], agreed: str | None, loaded: int
) -> None:
    state = keyset_state([report(pid, revision=revision) for pid, revision in enumerate(revisions)], {}, {})
    assert (state.revision, state.workers, state.loaded) == (agreed, len(revisions), loaded)


def test_the_key_set_reads_as_the_operator_expects_it() -> None:
    reports = [report(1), report(2, at="2026-01-01T00:00:05Z")]
    state = keyset_state(reports, {"a/2": "2026-01-02T00:00:00Z"}, {"a/1": "2026-01-03T00:00:00Z"})
    told = msgspec.json.decode(msgspec.json.encode(state))
    dates = {"lastUsed": {"a/2": "2026-01-02T00:00:00Z"}, "lastRefused": {"a/1": "2026-01-03T00:00:00Z"}}
    rest = {"loadedAt": "2026-01-01T00:00:05Z", **dates}
    assert told == {"revision": "r1", "workers": 2, "loaded": 2, "entries": 3, **rest}


def test_the_key_sets_metrics_have_revision_age_and_workers() -> None:
    registry = CollectorRegistry()
    registry.register(KeysetMetrics(keyset_state([report()], {}, {}), datetime(2026, 1, 1, 0, 1, tzinfo=UTC)))
    text = generate_latest(registry).decode()
    assert 'sluice_keyset_revision_info{revision="r1"} 1.0' in text
    assert "sluice_keyset_age_seconds 60.0" in text
    assert "sluice_workers 1.0" in text


class Client:
    """The application without a server; the clock stands at `now`."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.shared = SharedState(folder)
        settings = Settings(heartbeat_timeout=25.0)
        self.app = Admin(settings, self.shared, Archive(folder), clock=lambda: self.now)

    def get(self, path: str, method: str = "GET") -> tuple[str, Any]:
        statuses: list[str] = []
        body = b"".join(self.app({"REQUEST_METHOD": method, "PATH_INFO": path}, lambda status, _: statuses.append(status)))  # type: ignore[arg-type]
        return statuses[0], json.loads(body) if body else None


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def test_readiness_gives_the_reason(client: Client) -> None:
    assert client.get("/readiness") == ("503 Service Unavailable", {"ready": False, "message": "starting"})
    client.shared.set_reason("ready")
    assert client.get("/readiness") == ("200 OK", {"ready": True, "message": "ready"})


def test_liveness_fails_when_the_newest_heartbeat_is_too_old(client: Client) -> None:
    client.shared.report(report(os.getpid(), beat=100.0))
    client.now = 125.0
    assert client.get("/liveness") == ("200 OK", {"alive": True, "uptime": "25s", "version": "0.1.0"})
    client.now = 125.1
    assert client.get("/liveness")[0] == "503 Service Unavailable"


@pytest.mark.parametrize(
    ("beats", "after", "status"),
    [([], 25.0, 200), ([], 26.0, 503), ([50.0, 99.0], 120.0, 200), ([50.0, 94.0], 120.0, 503)],
)
def test_one_heart_that_beats_is_life_and_a_start_may_take_as_long(
    client: Client, beats: list[float], after: float, status: int
) -> None:
    for pid, beat in zip((os.getpid(), os.getppid()), beats, strict=False):
        client.shared.report(report(pid, beat=100.0 + beat))
    client.now = 100.0 + after
    assert client.get("/liveness")[0].startswith(str(status))


def test_health_has_seed_001s_fields(client: Client) -> None:
    status, told = client.get("/health")
    assert (status, set(told)) == ("503 Service Unavailable", {"status", "timestamp", "version", "services", "uptime"})


def test_head_has_the_status_and_no_body(client: Client) -> None:
    assert client.get("/liveness", "HEAD") == ("200 OK", None)


# Refusals of keys that the set has

ENDED, OTHER = keys.mint("test"), keys.mint("test")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ring(folder: Path, *entries: keys.KeyEntry) -> Keyring:
    """What a worker accepts at NOW."""
    (folder / "keyset.json").write_bytes(keys.publish(entries, NOW))
    ring = Keyring((), folder / "keyset.json", lambda: NOW)
    ring.poll()
    return ring


def ended() -> keys.KeyEntry:
    return keys.KeyEntry(
        digest=keys.digest(ENDED), key_id="shop", version=3, owner="tests", scopes=frozenset({"ingest"}), not_after=NOW
    )


def present(ring: Keyring, *presented: str) -> None:
    """Each is refused."""
    for key in presented:
        with pytest.raises(errors.Unauthorized):
            ring.verify(key)


def test_a_version_that_is_refused_is_reported_and_what_strangers_send_is_not(client: Client, tmp_path: Path) -> None:
    worker = ring(tmp_path, ended())
    present(worker, ENDED, OTHER, "nonsense")
    Heartbeat(client.shared, worker).beat()
    told = client.get("/keyset")[1]
    assert (told["lastRefused"], told["lastUsed"]) == ({"shop/3": "2026-01-01T00:00:00Z"}, {})


def test_a_new_set_remembers_the_refusals_of_what_stays_and_forgets_the_rest(tmp_path: Path) -> None:
    gone = keys.KeyEntry(digest=keys.digest(OTHER), key_id="gone", owner="tests", scopes=frozenset({"read"}), state="suspended")
    worker = ring(tmp_path, ended(), gone)
    present(worker, ENDED, OTHER)
    assert set(worker.use().last_refused) == {"shop/3", "gone/1"}
    (tmp_path / "keyset.json").write_bytes(keys.publish([ended()], NOW))
    worker.poll()
    assert set(worker.use().last_refused) == {"shop/3"}


def test_a_refusal_outlives_the_worker_that_refused(client: Client) -> None:
    gone = replace(report(NOBODY), last_refused={"shop/3": "2026-01-02T00:00:00Z"})
    client.shared.report(gone)
    client.shared.report(replace(report(os.getpid()), last_refused={"shop/3": "2026-01-01T00:00:00Z"}))
    for _ in range(2):
        assert client.get("/keyset")[1]["lastRefused"] == {"shop/3": "2026-01-02T00:00:00Z"}
