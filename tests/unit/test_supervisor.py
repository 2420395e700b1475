"""What the supervisor decides, without processes."""

from __future__ import annotations

import queue
import signal
import socket
import stat
import threading
from pathlib import Path

import pytest
from tests.integration.waiting import until

from sluice import errors, keys
from sluice.server import supervisor
from sluice.server.worker_state import Reason, SharedState, WorkerReport
from sluice.settings import Settings

AWAKE = WorkerReport(1, 0.0, loaded=True)
NO_SET_YET = WorkerReport(2, 0.0, loaded=False)
OTHER_SERVER = "postgresql://db/sluice"


@pytest.mark.parametrize(
    ("latched", "awake", "store", "reason"),
    [
        (False, [], None, "starting"),
        (False, [AWAKE], "database_unreachable", "database_unreachable"),
        (False, [AWAKE], "schema_behind", "schema_behind"),
        (False, [AWAKE, NO_SET_YET], None, "keyset_missing"),
        (False, [AWAKE], None, "ready"),
        (True, [AWAKE, NO_SET_YET], "database_unreachable", "ready"),
        (True, [], None, "workers_dead"),
    ],
)
def test_readiness_waits_for_store_and_keys_and_then_goes_with_the_workers_only(
    latched: bool, awake: list[WorkerReport], store: Reason | None, reason: Reason
) -> None:
    assert supervisor.readiness(latched, awake, store) == reason


def test_the_first_run_key_is_private_whole_and_kept(tmp_path: Path) -> None:
    path = supervisor.key_file(Settings(data_dir=tmp_path / "data"))
    assert path is not None
    first = path.read_text()
    assert (stat.S_IMODE(path.stat().st_mode), keys.fault(first.strip())) == (0o600, None)
    assert supervisor.key_file(Settings(data_dir=tmp_path / "data")) == path
    assert path.read_text() == first


def test_a_first_run_key_that_was_cut_off_stops_the_start_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / "first-run.key").touch()
    with pytest.raises(errors.SettingsError, match="holds no API key; remove it"):
        supervisor.key_file(Settings(data_dir=tmp_path))


@pytest.mark.parametrize("settings", [Settings(host="0.0.0.0"), Settings(database_url=OTHER_SERVER)])
def test_where_others_can_reach_it_no_key_source_stops_the_start(settings: Settings) -> None:
    with pytest.raises(errors.SettingsError, match="set API_KEYS or KEYSET_FILE"):
        supervisor.key_file(settings)


@pytest.mark.parametrize("settings", [Settings(api_keys=("a-plain-key-for-tests",)), Settings(keyset_file=Path("keyset.json"))])
def test_with_keys_of_its_own_no_first_run_key_is_made(settings: Settings) -> None:
    assert supervisor.key_file(settings) is None


def test_a_plain_key_that_cannot_be_one_stops_the_start() -> None:
    with pytest.raises(errors.SettingsError, match="API_KEYS: key 1"):
        supervisor.key_file(Settings(api_keys=("slk_prod_tooshort",)))


def test_a_port_that_is_taken_is_named_with_its_fix() -> None:
    with (
        supervisor.listen("127.0.0.1", 0, "PORT") as taken,
        pytest.raises(errors.SettingsError, match=r"ADMIN_PORT: cannot listen"),
    ):
        supervisor.listen("127.0.0.1", supervisor.port_of(taken), "ADMIN_PORT")


def test_the_system_asks_each_silent_client_whether_it_is_still_there() -> None:
    with supervisor.listen("127.0.0.1", 0, "PORT") as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert {option: accepted.getsockopt(*option) for option in supervisor.PEER_THERE} == supervisor.PEER_THERE
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:")])
def test_the_url_is_one_that_works_on_this_machine(host: str, url: str) -> None:
    with supervisor.listen(host, 0, "PORT") as listener:
        assert supervisor.url_of(host, listener) == f"{url}{supervisor.port_of(listener)}"


def test_a_run_dir_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with supervisor.run_dir(tmp_path / "runs") as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert (path / "metrics").is_dir()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_dir_that_cannot_be_made_is_named_with_its_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.SettingsError, match=r"SLUICE_RUN_DIR .*; it is a file"), supervisor.run_dir(tmp_path / "file"):
        pass


def test_the_run_dir_of_a_supervisor_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    left = SharedState(tmp_path / "sluice-left").path
    with supervisor.run_dir(tmp_path) as first:
        SharedState(first)
        with supervisor.run_dir(tmp_path) as second:
            assert {*tmp_path.iterdir()} == {first, second}
    assert not left.exists()


@pytest.mark.parametrize(("needed", "place"), [(0, "memory"), (1 << 62, "temporary")])
def test_without_a_folder_it_is_in_shared_memory_as_long_as_that_has_room(
    needed: int, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("memory", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(supervisor, "SHARED_MEMORY", tmp_path / "memory")
    monkeypatch.setattr(supervisor, "SHARED_MEMORY_FREE", needed)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    with supervisor.run_dir(None) as path:
        assert path.parent == tmp_path / place


def test_where_no_folder_can_be_written_the_line_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SHARED_MEMORY", Path("/nowhere"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(errors.SettingsError, match=r"SLUICE_RUN_DIR /tmp: No usable .*; set"), supervisor.run_dir(None):
        pass


def test_only_what_happens_in_time_counts() -> None:
    events: supervisor.Events = queue.SimpleQueue()
    assert not supervisor.happened(events, 0.01)
    events.put(signal.SIGTERM)
    assert supervisor.happened(events, 0.01)


def test_a_duty_in_the_background_that_fails_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "AGAIN", 0.0)
    calls: queue.SimpleQueue[int] = queue.SimpleQueue()

    def duty(stop: threading.Event) -> None:
        calls.put(1)
        if calls.qsize() < 3:
            raise ValueError("a fault of ours")
        stop.wait()

    duties = supervisor.Duties(check=lambda: None, background=(duty,))
    (tmp_path / "metrics").mkdir()
    monitor = supervisor.Monitor(Settings(), SharedState(tmp_path), duties, None, lambda: None)
    monitor.start()
    until(lambda: calls.qsize() == 3, 5, "it began a third time")
    monitor.close()
