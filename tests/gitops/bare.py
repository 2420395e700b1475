"""A bare repository with environments, and the release command line on it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from tests.conftest import ROOT
from tools.release import repository
from tools.release.__main__ import main

VALUES = '# Kept as it is.\nimage:\n  repository: registry.test/sluice\n  digest: ""\nreplicaCount: 3 # and this\n'
# As cosign: a bundle says whose it is, and the key has to be that.
COSIGN = """#!{python}
import json, sys
flags = dict(word.partition("=")[::2] for word in sys.argv[2:])
bundle = json.load(open(flags["--bundle"]))
who = flags.get("--key") or flags["--certificate-identity"] + flags["--certificate-oidc-issuer"]
right = sys.argv[1] == "verify-blob-attestation" and flags["--digestAlg"] == "sha256"
right = right and (bundle["digest"], bundle["type"], bundle["by"]) == (flags["--digest"], flags["--type"], who)
sys.exit(None if right else "none of the expected identities matched")
"""


def digest_of(build: int) -> str:
    return f"sha256:{build:064x}"


def commit_of(build: int) -> str:
    return f"{build:040x}"


class Bare:
    """`folder` has the bare repository, proofs by build, and a cosign."""

    def __init__(self, folder: Path, *environments: str) -> None:
        self.folder = folder
        self.url = str(folder / "bare.git")
        self.cosign = folder / "cosign"
        self.cosign.write_text(COSIGN.format(python=sys.executable))
        self.cosign.chmod(0o755)
        work = folder / "work"
        repository.git("init", "--quiet", "--bare", "--initial-branch=main", self.url)
        repository.git("clone", "--quiet", self.url, str(work))
        for name in environments:
            file = work / repository.values_of(name)
            file.parent.mkdir(parents=True)
            file.write_text(VALUES)
        repository.git("add", ".", folder=work)
        repository.git("commit", "--quiet", "--message=Begin", folder=work)
        repository.git("push", "--quiet", "origin", "HEAD:main", folder=work)

    def proof(self, build: int, by: str = "ours.pub", commit: str = "") -> Path:
        folder = self.folder / f"proof-{build}"
        folder.mkdir(exist_ok=True)
        predicate = {"buildDefinition": {"resolvedDependencies": [{"digest": {"gitCommit": commit or commit_of(build)}}]}}
        payload = base64.b64encode(json.dumps({"predicate": predicate}).encode()).decode()
        for file, kind in (("signature.json", "https://sigstore.dev/cosign/sign/v1"), ("provenance.json", "slsaprovenance1")):
            told = {"digest": f"{build:064x}", "type": kind, "by": by, "dsseEnvelope": {"payload": payload}}
            (folder / file).write_text(json.dumps(told))
        return folder

    def words(self, *words: str) -> list[str]:
        return [f"--repository={self.url}", *words]

    def bump(self, name: str, build: int, *more: str, proof: Path | None = None) -> list[str]:
        """The words of the command."""
        about = (f"--digest={digest_of(build)}", f"--commit={commit_of(build)}", f"--build={build}", *more)
        return self.words("bump", name, *about, *self.trust(proof or self.proof(build)))

    def bumped(self, *builds: int) -> None:
        """In staging, one after the other."""
        for build in builds:
            self.ok(*self.bump("staging", build))

    def trust(self, proof: Path) -> tuple[str, ...]:
        return (f"--proof={proof}", "--key=ours.pub", f"--cosign={self.cosign}")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, [*words])

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.exit_code == 0, done.output
        return done.output

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok(*self.words("status", name)))
        return found

    def git(self, *words: str) -> str:
        return repository.git("--git-dir", self.url, *words)

    def values(self, name: str, branch: str = "main") -> str:
        return self.git("show", f"{branch}:{repository.values_of(name)}")

    def head(self) -> str:
        return self.git("rev-parse", "main").strip()


def started(words: list[str], environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "tools.release", *words]
    return subprocess.Popen(command, cwd=ROOT, env=dict(environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
