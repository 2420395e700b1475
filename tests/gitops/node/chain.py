"""From a commit to git: what the workflows do, with real git, registry, signatures and images, and without GitHub and AWS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner, Result
from tests.cluster import builds
from tests.conftest import ROOT
from tools import binaries, images, isolated
from tools.cluster import run, sandbox
from tools.release import repository
from tools.release.__main__ import main

REGISTRY = "localhost:5000"
IMAGE = f"{REGISTRY}/sluice"
# Migrates, and then does nothing: a release that is never ready.
NEVER_READY = "import os, sys, time; sys.argv[1] == 'migrate' and os.execvp('sluice', ['sluice', 'migrate']); time.sleep(1e6)"


@dataclass(frozen=True)
class Built:
    """An image in the registry; `proof` has its signature and provenance."""

    commit: str
    build: int
    digest: str
    proof: Path


@dataclass
class Chain:
    """`folder` has a work tree, the bare repository that Argo CD reads, keys and proofs. `seconds`: how long each step took."""

    folder: Path
    environment: str = "staging"
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"file://{self.folder}/bare.git"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def begin(self) -> None:
        """The repository: what the image is made of, the chart, and argocd/."""
        repository.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.folder / "bare.git"))
        repository.git("clone", "--quiet", self.url, str(self.work))
        for path in [*builds.context(), ROOT / "charts", ROOT / "argocd"]:
            target = self.work / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)
        self.commit("Begin")
        for who in ("ours", "theirs"):
            self.run("cosign", "generate-key-pair", f"--output-key-prefix={who}")

    def commit(self, message: str) -> str:
        """What was changed in `work`, pushed; the commit."""
        repository.git("add", "--all", folder=self.work)
        repository.git("commit", "--quiet", "--allow-empty", f"--message={message}", folder=self.work)
        if repository.git("ls-remote", "origin", "main", folder=self.work):
            repository.git("pull", "--quiet", "--rebase", "origin", "main", folder=self.work)
        repository.git("push", "--quiet", "origin", "HEAD:main", folder=self.work)
        return repository.git("rev-parse", "HEAD", folder=self.work).strip()

    def head(self) -> str:
        return repository.git("--git-dir", str(self.folder / "bare.git"), "rev-parse", "main").strip()

    def log(self) -> list[str]:
        return repository.git("--git-dir", str(self.folder / "bare.git"), "log", "--format=%s", "main").splitlines()

    def build(self, commit: str) -> Built:
        """The image of `commit`, pushed and not signed."""
        with self.step("build"):
            tree = self.folder / f"tree-{commit}"
            tree.mkdir()
            archive = subprocess.run(["git", "archive", commit], cwd=self.work, check=True, capture_output=True).stdout
            subprocess.run(["tar", "--extract", f"--directory={tree}"], input=archive, check=True)
            image = images.build(name="localhost/sluice:gitops", context=tree)
        with self.step("push"):
            tag = f"{IMAGE}:sha-{commit}"
            self.run("crane", "push", str(image.archive), tag)
        return self.built(commit, tag)

    def broken(self, of: Built) -> Built:
        """A further commit, and an image of it that is never ready."""
        commit = self.commit("Break it")
        tag = f"{IMAGE}:sha-{commit}"
        # crane reads the option as a line of CSV.
        words = [f'--entrypoint="{word}"' for word in ("python3", "-c", NEVER_READY)]
        self.run("crane", "mutate", f"{IMAGE}@{of.digest}", f"--tag={tag}", *words)
        return self.built(commit, tag)

    def built(self, commit: str, tag: str) -> Built:
        count = int(repository.git("rev-list", "--count", commit, folder=self.work))
        return Built(commit, count, self.run("crane", "digest", tag).strip(), self.folder / f"proof-{commit}")

    def sign(self, built: Built, by: str = "ours") -> Built:
        """As the signing job does: both kept as files, and both attached to the image."""
        environ = {
            "IMAGE": IMAGE,
            "DIGEST": built.digest,
            "COMMIT": built.commit,
            "SOURCE": "https://git.test/sluice",
            "RUN": "https://git.test/sluice/actions/runs/1",
            "COSIGN": str(binaries.path("cosign")),
            "PYTHON": sys.executable,
            # A key of the tests', and no transparency log, which is out of reach.
            "SIGN_FLAGS": f"--key={self.folder}/{by}.key --tlog-upload=false --use-signing-config=false",
        }
        with self.step("SBOM"):
            sbom = self.bill_of_materials()
        with self.step("sign"):
            self.inside([str(ROOT / "tools/release/sign.sh"), str(built.proof), str(sbom)], environ)
        return built

    def bill_of_materials(self) -> Path:
        """CycloneDX, of the Python packages in the image; the workflow has one of everything in it, in two forms."""
        program = isolated.program("cyclonedx-py")
        sbom = self.folder / "sbom.cdx.json"
        words = ["requirements", "--output-reproducible", f"--output-file={sbom}", str(self.work / "requirements/image.txt")]
        subprocess.run([program, *words], check=True, capture_output=True)
        return sbom

    def trust(self, built: Built) -> tuple[str, ...]:
        cosign = str(binaries.path("cosign"))
        return (f"--proof={built.proof}", f"--key={self.folder}/ours.pub", "--no-log", f"--cosign={cosign}")

    def bump(self, built: Built) -> Result:
        about = (f"--digest={built.digest}", f"--commit={built.commit}", f"--build={built.build}")
        with self.step("verify and write"):
            return self.release("bump", self.environment, *about, *self.trust(built))

    def release(self, *words: str) -> Result:
        return CliRunner().invoke(main, [f"--repository={self.url}", *words])

    def run(self, program: str, *words: str) -> str:
        """One of our Go programs."""
        return self.inside([str(binaries.path(program)), *words])

    def inside(self, command: list[str], more: Mapping[str, str] | None = None) -> str:
        """In the sandbox's network, where the registry is."""
        environ = {**os.environ, "COSIGN_PASSWORD": "", "HOME": str(self.folder), **(more or {})}
        words = [*sandbox.entering(run.here(), "net"), *command]
        done = subprocess.run(words, cwd=self.folder, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
        return done.stdout

    def step(self, name: str) -> Step:
        return Step(self.seconds, name)


@dataclass
class Step:
    seconds: dict[str, float]
    name: str
    began: float = 0.0

    def __enter__(self) -> Step:
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds[self.name] = round(time.monotonic() - self.began, 1)
