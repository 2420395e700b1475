"""The embedded server: owned by one process, watched, taken over, and gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.conftest import ROOT
from tests.integration.waiting import until

from sluice import errors
from sluice.stores.postgresql import embedded

pytestmark = pytest.mark.needs("embedded PostgreSQL")

# Owns the server of `sys.argv[1]` until it is killed.
OWNER = """
import sys, time
from pathlib import Path
from sluice.stores.postgresql import embedded
with embedded.owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def other_owner(data_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that owns it."""
    command = [sys.executable, "-c", OWNER, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT / "app")}) as owner:
        assert owner.stdout is not None
        assert b"owned\n" in owner.stdout
        yield owner
        owner.kill()


def answers(server: embedded.Server) -> bool:
    try:
        with psycopg.connect(**server.owner()) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def pid_of(data_dir: Path) -> int:
    pid = embedded.postmaster(data_dir / "postgresql")
    assert pid is not None
    return pid


def test_it_runs_while_it_is_owned_and_no_longer(initialised: Path) -> None:
    assert embedded.found(initialised) is None
    with embedded.owned(initialised) as server:
        assert answers(server)
        assert embedded.found(initialised) is not None
    assert embedded.found(initialised) is None
    assert not answers(server)


def test_a_second_owner_is_refused_with_the_way_to_go_on(initialised: Path) -> None:
    with embedded.owned(initialised):
        with pytest.raises(errors.SettingsError, match="set DATA_DIR to another folder"), embedded.owned(initialised):
            pass
        assert embedded.found(initialised) is not None


def test_an_owner_with_patience_goes_on_when_the_one_before_ends(initialised: Path) -> None:
    with other_owner(initialised) as owner:
        threading.Timer(1, owner.kill).start()
        with embedded.owned(initialised, patience=60) as server:
            assert owner.poll() is not None
            assert answers(server)


def test_an_owner_whose_patience_is_over_is_refused(initialised: Path) -> None:
    with (
        embedded.owned(initialised),
        pytest.raises(errors.SettingsError, match="in use by another process"),
        embedded.owned(initialised, patience=0.1),
    ):
        pass


def test_others_use_it_without_ending_it(initialised: Path) -> None:
    with embedded.owned(initialised) as server:
        with embedded.running(initialised) as same:
            assert same.url == server.url
        assert answers(server)


def test_a_command_starts_it_for_itself_and_stops_it(initialised: Path) -> None:
    with embedded.running(initialised) as server:
        assert answers(server)
    assert embedded.found(initialised) is None


def test_a_postmaster_that_is_killed_is_started_again(initialised: Path) -> None:
    with embedded.owned(initialised) as server:
        os.kill(pid_of(initialised), signal.SIGKILL)
        until(lambda: embedded.postmaster(initialised / "postgresql") is None)
        # Its other processes may hold on to the shared memory for a moment.
        until(lambda: revived(server), 20)
    assert embedded.found(initialised) is None


def revived(server: embedded.Owned) -> bool:
    server.revive()
    return answers(server)


def test_a_server_whose_owner_was_killed_is_taken_over_and_stopped(initialised: Path) -> None:
    with other_owner(initialised) as owner:
        owner.kill()
    left = pid_of(initialised)
    with embedded.owned(initialised) as server:
        assert pid_of(initialised) == left
        assert answers(server)
    assert embedded.found(initialised) is None


def test_its_data_are_for_its_own_user_only(initialised: Path) -> None:
    assert (initialised / "postgresql").stat().st_mode & 0o077 == 0
