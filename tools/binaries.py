"""Programs built from the Go modules beside this file, each once per version.

`tools/NAME/go.mod` pins a module and its dependencies; its `tool` directives name the programs, of which one may be a main.go of
ours beside it. `build` is for tools/install.py; `path("etcd")` gives the program's path. The cache folder is named by a digest of
go.mod, go.sum, our Go files, flags and Go's own version.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools import Missing, folders, not_installed, once

FOLDER = Path(__file__).resolve().parent
# What `go build` writes -> what everybody calls it.
RENAMED = {"server": "etcd", "cmd": "argocd"}
KUBERNETES = "k8s.io/kubernetes"
# InfluxData's, in a module that needs their Flux: Go asks it how to link that, and it has cargo build it first.
PKG_CONFIG = "pkg-config"
PAUSE = 0.2
FIX = "`make tools` installs one, or put Go 1.26 or later on PATH"

Report = Callable[[str, float], None]
"""Called with a program's name and the seconds since the build began, when it is done."""


class NoGo(Missing):
    """There is no Go compiler that can build a module; the text says how to get one."""


class BuildFailed(Exception):
    """`go build` failed; the text holds the end of its output."""


@dataclass(frozen=True)
class Module:
    folder: Path

    def text(self) -> str:
        return (self.folder / "go.mod").read_text()

    def packages(self) -> dict[str, str]:
        """Program -> package, from the tool directives."""
        text = self.text()
        found = re.findall(r"^tool ([^(\s]+)$", text, re.MULTILINE)
        for block in re.findall(r"^tool \((.*?)^\)", text, re.MULTILINE | re.DOTALL):
            found += block.split()
        return {RENAMED.get(written(package), written(package)): package for package in sorted(found)}

    def version(self, path: str) -> str:
        """The required version of the module `path`, as `v1.35.4`."""
        match = re.search(rf"^(?:require)?\s*{re.escape(path)} (v\S+)", self.text(), re.MULTILINE)
        if match is None:
            raise LookupError(f"{self.folder}/go.mod does not require {path}")
        return match[1]

    def flags(self) -> list[str]:
        return ["-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s", "-w", *self.stamps()])]

    def stamps(self) -> list[str]:
        """Kubernetes clients judge a server by its version, and without these it says v0.0.0."""
        if f"{KUBERNETES} " not in self.text():
            return []
        version = self.version(KUBERNETES)
        major, minor, _ = version.removeprefix("v").split(".")
        values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        return [f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items()]

    def key(self, go_version: str) -> str:
        digest = hashlib.sha256()
        ours = [file.read_text() for file in sorted(self.folder.glob("*.go"))]
        for part in (self.text(), (self.folder / "go.sum").read_text(), *ours, *self.flags(), go_version):
            digest.update(hashlib.sha256(part.encode()).digest())
        return digest.hexdigest()[:16]

    def cached(self) -> Path:
        return folders.programs() / f"{self.folder.name}-{self.key(go_version(self.folder))}"


def written(package: str) -> str:
    """The file that `go build` makes of a package: its path's last part, a major version aside."""
    return re.sub(r"/v\d+$", "", package).rsplit("/", 1)[-1]


def modules() -> dict[str, Module]:
    return {file.parent.name: Module(file.parent) for file in sorted(FOLDER.glob("*/go.mod"))}


def path(name: str) -> Path:
    """The program `name`; raises Missing when it is not built."""
    for module in modules().values():
        if name in module.packages():
            if not module.cached().exists():
                raise not_installed(module.folder.name)
            return module.cached() / name
    raise LookupError(f"no tools/*/go.mod has a tool directive for {name}")


def build(module: Module, report: Report = lambda name, seconds: None) -> Path:
    """The folder with the module's programs; raises NoGo or BuildFailed."""
    return once.folder(module.cached(), lambda partial, lock: compile_into(partial, module, report, lock))


def compile_into(folder: Path, module: Module, report: Report, lock: int) -> None:
    packages = module.packages()
    environment = {**os.environ, **folders.environment(), "CGO_ENABLED": "0", "GOFLAGS": ""}
    if wrapper := packages.pop(PKG_CONFIG, None):
        run_build(folder, module, [wrapper], environment, report, lock)
        environment |= {**rust(module.folder), "CGO_ENABLED": "1", "PKG_CONFIG": str(folder / PKG_CONFIG)}
    run_build(folder, module, list(packages.values()), environment, report, lock)
    for name in RENAMED:
        if (folder / name).exists():
            (folder / name).rename(folder / RENAMED[name])


def run_build(folder: Path, module: Module, packages: list[str], environment: dict[str, str], report: Report, lock: int) -> None:
    command = [go(), "build", *module.flags(), "-o", f"{folder}/", *packages]
    log = folder / "build.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=module.folder, env=environment, stdout=output, stderr=subprocess.STDOUT, pass_fds=[lock]
        )
    try:
        code = watch(process, folder, [written(package) for package in packages], report)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        raise BuildFailed(f"{' '.join(command)}\n{log.read_text()[-2000:]}")
    log.unlink()


def rust(folder: Path) -> dict[str, str]:
    """Variables for a build that calls cargo and go: the toolchain that is here, not the older one that Flux asks for."""
    variables = {"PATH": f"{Path(go()).parent}{os.pathsep}{os.environ['PATH']}"}
    if rustup := shutil.which("rustup"):
        active = subprocess.run([rustup, "show", "active-toolchain"], cwd=folder, capture_output=True, text=True, check=False)
        variables["RUSTUP_TOOLCHAIN"] = active.stdout.partition(" ")[0].strip() or "stable"
    return variables


def no_rust() -> str | None:
    """Why no module can be built that needs Flux."""
    missing = [name for name in ("cargo", "cc", PKG_CONFIG) if shutil.which(name) is None]
    return f"no {', '.join(missing)} here" if missing else None


def watch(process: subprocess.Popen[bytes], folder: Path, files: list[str], report: Report) -> int:
    """The exit code; reports each program when its file appears."""
    began = time.monotonic()
    while True:
        code = process.poll()
        for name in [name for name in files if (folder / name).exists()]:
            files.remove(name)
            report(RENAMED.get(name, name), time.monotonic() - began)
        if code is not None:
            return code
        time.sleep(PAUSE)


def go() -> str:
    """The Go command: on PATH, where its archive is unpacked by custom, or what make installed beside our Python."""
    beside = Path(sys.prefix) / "bin/go"
    found = shutil.which("go") or shutil.which("/usr/local/go/bin/go") or shutil.which(beside)
    if found is None:
        raise NoGo(f"there is no Go compiler; {FIX}")
    return found


def sources(folder: Path, *modules: str, offline: bool = True) -> dict[str, Path]:
    """Module -> the folder of its files, for `modules` (default: all) of folder/go.mod; raises Missing or BuildFailed."""
    environment = {**os.environ, **folders.environment(), **({"GOPROXY": "off"} if offline else {})}
    done = subprocess.run(
        [go(), "mod", "download", "-json", *modules], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode and offline:
        raise not_installed(f"{folder.name}-files" if modules else folder.name)
    if done.returncode:
        raise BuildFailed(f"go mod download failed in {folder.name}:\n{(done.stderr or done.stdout)[-2000:]}")
    documents = re.sub(r"}\s*{", "},{", done.stdout)  # They come one after the other.
    return {module["Path"]: Path(module["Dir"]) for module in json.loads(f"[{documents}]")}


@cache
def go_version(folder: Path) -> str:
    """The version that builds the module in `folder`: its go directive may choose a newer toolchain than the installed one."""
    asked(folder, "list", "-m")  # unlike `go env`, fails when go.mod wants a later Go than can be had
    return asked(folder, "env", "GOVERSION")


def asked(folder: Path, *question: str) -> str:
    done = subprocess.run(
        [go(), *question], cwd=folder, env={**os.environ, **folders.environment()}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NoGo(f"this Go compiler cannot build tools/{folder.name} ({done.stderr.strip()}); {FIX}")
    return done.stdout.strip()
