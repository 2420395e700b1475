"""Folders as people have them, and what a power cut, another user or a full disk leaves: the embedded server starts, or one line
says what is wrong and how to fix it."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import structlog
from click.testing import CliRunner
from structlog.testing import capture_logs
from tests.conftest import ROOT

from sluice import errors
from sluice.cli import main
from sluice.stores.postgresql import embedded, programs

pytestmark = pytest.mark.needs("embedded PostgreSQL")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and act as another user")

# Owns the server of `sys.argv[1]` for a moment.
ONCE = """
import sys
from pathlib import Path
import psycopg
from sluice import errors
from sluice.stores.postgresql import embedded
try:
    with embedded.owned(Path(sys.argv[1])) as server, psycopg.connect(**server.owner()) as connection:
        print("answered", connection.execute("SELECT 1").fetchone())
except errors.SettingsError as error:
    print(error)
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short folder that every user may enter, in memory: each start syncs its files."""
    with tempfile.TemporaryDirectory(prefix="sluice-test-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def copy(initialised: Path, place: Path) -> Path:
    return copied(initialised, place / "data")


def copied(initialised: Path, to: Path) -> Path:
    subprocess.run(["cp", "-a", "--", initialised, to], check=True)
    return to


def starts(data_dir: Path) -> bool:
    with embedded.owned(data_dir) as server, psycopg.connect(**server.owner()) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


NAMES = ["with space a&b;c quo'te\"s ümläut", "do$HOME`x` back\\slash co,mma a%20=b", "-D", "x" * 200, os.fsdecode(b"no\xfftext")]


@pytest.mark.parametrize("name", NAMES)
def test_a_data_dir_may_have_any_name(name: str, initialised: Path, place: Path) -> None:
    data_dir = copied(initialised, place / name)
    assert starts(data_dir)
    folder = embedded.socket_folder(data_dir / "postgresql")
    assert folder.parent == data_dir or not folder.exists()


def stranger(pgdata: Path) -> str:
    """A pid file whose number belongs to another program now."""
    return f"{os.getpid()}\n{pgdata}\n1\n5432\n{pgdata}\n\n1 1\nready\n"


PID_FILES: dict[str, Callable[[Path], str]] = {
    "empty": lambda _: "",
    "garbled": lambda _: "\0\0\0\0\x81PG\n",
    "a negative number": lambda _: "-1\n",
    "a huge number": lambda _: f"{10**30}\n",
    "cut": lambda pgdata: f"{os.getpid()}\n{pgdata}\n",
    "a stranger's": stranger,
}


@pytest.mark.parametrize("content", PID_FILES.values(), ids=PID_FILES)
def test_a_pid_file_that_a_power_cut_left_does_not_hinder_the_start(content: Callable[[Path], str], copy: Path) -> None:
    pgdata = copy / "postgresql"
    (pgdata / "postmaster.pid").write_text(content(pgdata))
    (pgdata / ".s.PGSQL.5432.lock").write_text(content(pgdata))
    assert embedded.found(copy) is None
    assert starts(copy)


def test_a_pid_file_that_names_another_postgresql_does_not_hinder_the_start(initialised: Path, copy: Path) -> None:
    with embedded.owned(initialised):
        shutil.copy(initialised / "postgresql" / "postmaster.pid", copy / "postgresql")
        assert embedded.found(copy) is None
        assert starts(copy)
        assert embedded.found(initialised) is not None


def test_a_first_start_that_was_broken_off_is_begun_again(place: Path) -> None:
    (place / "data" / "postgresql.new" / "base").mkdir(parents=True)
    (place / "data" / "postgresql").mkdir()
    assert starts(place / "data")


# What somebody has set for psql, or for a database of their own.
OF_PSQL = {
    "PGHOST": "db.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGUSER": "me",
    "PGDATABASE": "mine",
    "PGDATA": "/x",
    "PGSERVICE": "nowhere",
    "PGOPTIONS": "-c x=y",
    "PGSSLMODE": "verify-full",
    "PGSSLNEGOTIATION": "direct",
    "PGCHANNELBINDING": "require",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGTARGETSESSIONATTRS": "standby",
    "PGCLIENTENCODING": "SQL_ASCII",
    "LC_ALL": "de_DE",
}


def test_variables_of_postgresql_in_the_shell_change_nothing(copy: Path, signals_put_back: None) -> None:
    environment = {**OF_PSQL, "DATA_DIR": str(copy), "DATABASE_URL": ""}
    for command in (["migrate"], ["index", "list"], ["doctor"]):
        done = CliRunner().invoke(main, command, env=environment)
        assert done.exit_code == 0, done.output


# What cannot start: what is done to the folder, and what the line says


def a_file(data_dir: Path) -> None:
    shutil.rmtree(data_dir)
    data_dir.write_text("not a folder")


def a_dangling_link(data_dir: Path) -> None:
    shutil.rmtree(data_dir)
    data_dir.symlink_to("gone")


def a_link_to_itself(data_dir: Path) -> None:
    shutil.rmtree(data_dir)
    data_dir.symlink_to(data_dir)


def below_a_file(data_dir: Path) -> None:
    shutil.rmtree(data_dir)
    shutil.rmtree(data_dir.parent)
    data_dir.parent.write_text("not a folder")


def foreign_files(data_dir: Path) -> None:
    shutil.rmtree(data_dir / "postgresql")
    (data_dir / "postgresql").mkdir()
    (data_dir / "postgresql" / "thesis.txt").touch()


def another_version(data_dir: Path) -> None:
    (data_dir / "postgresql" / "PG_VERSION").write_text("12\n")


def a_part_is_gone(data_dir: Path) -> None:
    (data_dir / "postgresql" / "global" / "pg_control").unlink()


def a_folder_as_its_lock(data_dir: Path) -> None:
    (data_dir / "lock").unlink()
    (data_dir / "lock").mkdir()


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file": (a_file, "is a file or a link to nothing; remove it"),
    "a dangling link": (a_dangling_link, "is a file or a link to nothing; remove it"),
    "a link to itself": (
        a_link_to_itself,
        "(is a file or a link to nothing; remove it|Too many levels of symbolic links; set DATA_DIR)",
    ),
    "below a file": (below_a_file, "is a file or a link to nothing; remove it"),
    "foreign files": (foreign_files, "not the files of a database; move them away"),
    "another version": (another_version, "PG_VERSION says '12'; start it with the release that made it"),
    "a part is gone": (a_part_is_gone, "a part of the database is gone .*; restore it from a backup"),
    "a folder as its lock": (a_folder_as_its_lock, "Is a directory; set DATA_DIR"),
}


NO_SHARED_MEMORY = 'could not resize shared memory segment "/PostgreSQL.1" to 8 bytes: No space left on device'
NO_WAY_TO_SHM = 'could not open shared memory segment "/PostgreSQL.1": Read-only file system'
QUOTE_IN_PATH = 'program "postgres" is needed by initdb but was not found in the same directory as "/a"b/initdb"'


@pytest.mark.parametrize(
    ("said", "cause", "fix"),
    [
        (f"FATAL:  {NO_SHARED_MEMORY}\nPANIC:  cannot abort transaction 1\nAborted\n", NO_SHARED_MEMORY, "make /dev/shm larger"),
        (f"FATAL:  {NO_WAY_TO_SHM}\n", NO_WAY_TO_SHM, "let /dev/shm be written"),
        (f"initdb: error: {QUOTE_IN_PATH}\n", QUOTE_IN_PATH, "move the environment"),
        ("FATAL:  first\nFATAL:  second\n", "second", "set DATA_DIR to another folder"),
        ("", "it ended without a word, or was killed", "set DATA_DIR to another folder"),
    ],
)
def test_of_what_a_program_says_the_cause_is_taken_that_can_be_fixed(said: str, cause: str, fix: str) -> None:
    assert embedded.cause_in(said) == cause
    assert fix in str(embedded.unusable("DATA_DIR", Path("/x"), cause))


def said_by(command: str, data_dir: Path) -> str:
    """What a command that must fail writes, in one line."""
    environment = {"DATA_DIR": str(data_dir), "PORT": "0", "ADMIN_PORT": "0", "DATABASE_URL": "", "COLUMNS": "1000"}
    done = CliRunner().invoke(main, [command], env=environment)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 2)
    assert "Traceback" not in done.output
    # The doctor's table has a column for the fix.
    return re.sub(" *│ *", "; ", " ".join(done.output.split()))


@pytest.mark.parametrize(("fault", "line"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_start_is_said_in_one_line_by_serve_migrate_and_doctor(
    fault: Callable[[Path], None], line: str, copy: Path, signals_put_back: None
) -> None:
    data_dir = copy.rename(copy.with_name("inner"))
    (data_dir.parent / "outer").mkdir()
    data_dir = data_dir.rename(data_dir.parent / "outer" / "data")
    fault(data_dir)
    for command in ("serve", "migrate", "doctor"):
        assert re.search(f"DATA_DIR {re.escape(str(data_dir))}: .*{line}", said_by(command, data_dir)), command


@pytest.fixture
def mounted(place: Path) -> Iterator[Callable[[str], Path]]:
    """A small file system of its own, mounted with the given options; again to change them."""
    folder = place / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("this machine lets nobody mount")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", folder], capture_output=True)


@needs_root
def test_a_read_only_file_system_is_named(mounted: Callable[[str], Path], initialised: Path, signals_put_back: None) -> None:
    data_dir = copied(initialised, mounted("size=200m") / "data")
    mounted("remount,ro")
    for command in ("serve", "migrate", "doctor"):
        assert "Read-only file system; set DATA_DIR to a folder that can be written" in said_by(command, data_dir)


@needs_root
@pytest.mark.parametrize("first", [True, False], ids=["first start", "later start"])
def test_a_full_disk_is_named(first: bool, mounted: Callable[[str], Path], initialised: Path, signals_put_back: None) -> None:
    folder = mounted("size=8m" if first else "size=200m")
    data_dir = folder / "data" if first else copied(initialised, folder / "data")
    fill(folder / "filler", keep=first)
    for command in ("serve", "migrate"):
        assert "No space left on device; free some space" in said_by(command, data_dir)
    assert "free for DATA_DIR" in said_by("doctor", data_dir)
    (folder / "filler").unlink(missing_ok=True)
    assert first or starts(data_dir)


def fill(path: Path, keep: bool) -> None:
    """Until nothing fits any more; not at all with `keep`."""
    with path.open("wb", buffering=0) as file:
        try:
            while not keep:
                file.write(bytes(65_536))
        except OSError:
            return


# Other users of the machine


def once_as_nobody(data_dir: Path) -> str:
    # The machine's own Python: ours may stand in a folder that only root may enter.
    python, nobody = "/usr/bin/python3", pwd.getpwnam("nobody")
    version = subprocess.run([python, "--version"], capture_output=True, text=True).stdout if Path(python).exists() else ""
    if f"{sys.version_info.major}.{sys.version_info.minor}." not in version:
        pytest.skip(f"needs {python} of the version that runs the tests")
    done = subprocess.run(
        [python, "-B", "-c", ONCE, str(data_dir)],
        env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT / 'app'}:{Path(psycopg.__file__).parents[1]}"},
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert not done.stderr.count("Traceback"), done.stderr
    return done.stdout


@needs_root
def test_a_second_user_of_the_machine_has_a_server_too(initialised: Path, place: Path) -> None:
    os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    with embedded.owned(initialised):
        assert "answered (1,)" in once_as_nobody(place / "theirs")


@needs_root
def test_what_root_ran_once_its_owner_runs_again(place: Path) -> None:
    os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    assert "answered (1,)" in once_as_nobody(place / "theirs")
    assert starts(place / "theirs")
    assert "answered (1,)" in once_as_nobody(place / "theirs")


@needs_root
def test_what_root_installed_for_nobody_else_runs_as_another_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a umask of 077."""
    wheel = programs.folder().parents[1]
    there = place / programs.folder().relative_to(wheel.parent)
    subprocess.run(["cp", "-a", *wheel.parent.glob(f"{wheel.name}*"), place], check=True)
    subprocess.run(["chmod", "-R", "go=", *place.iterdir()], check=True)
    monkeypatch.setattr(programs, "folder", lambda: there)
    assert starts(place / "data")


@needs_root
def test_the_user_that_postgresql_runs_as_is_made_once_by_processes_that_start_together() -> None:
    name = f"sluice-{os.getpid()}"
    make = f"from sluice.stores.postgresql import programs; print(programs.instead_of_root({name!r}).pw_uid)"
    try:
        racing = [subprocess.Popen([sys.executable, "-c", make], stdout=subprocess.PIPE) for _ in range(4)]
        made = [each.communicate(timeout=60)[0] for each in racing]
        assert made == [b"%d\n" % pwd.getpwnam(name).pw_uid] * 4
    finally:
        subprocess.run(["userdel", name], check=True, capture_output=True)


@needs_root
def test_a_folder_of_another_user_is_named_with_its_owner(copy: Path) -> None:
    assert f"Permission denied: {copy}/lock belongs to root; run as the user who owns it" in once_as_nobody(copy)


@needs_root
def test_a_database_of_another_user_is_named_with_its_owner(place: Path) -> None:
    """As a release before left it that root ran once."""
    os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    assert "answered (1,)" in once_as_nobody(place / "theirs")
    os.chown(place / "theirs" / "postgresql", pwd.getpwnam("daemon").pw_uid, -1)
    assert "postgresql belongs to daemon; run as the user who owns it" in once_as_nobody(place / "theirs")
    assert starts(place / "theirs")
    assert "answered (1,)" in once_as_nobody(place / "theirs")


# A server that cannot come back


def test_a_server_that_cannot_come_back_is_reported_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "log", structlog.get_logger())
    with embedded.owned(copy) as server, capture_logs() as lines:
        (copy / "postgresql" / "global" / "pg_control").rename(copy / "away")
        psutil.Process(embedded.postmaster(copy / "postgresql")).kill()
        for _ in range(40):
            server.revive()
            psutil.Process().cpu_percent(0.1)
        assert 1 <= len([line for line in lines if line["event"] == "embedded.died"]) <= 3
        (copy / "away").rename(copy / "postgresql" / "global" / "pg_control")


def test_without_the_extra_one_line_says_what_to_install(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(errors.SettingsError, match=r"install sluice\[embedded\]"):
        starts(copy)
