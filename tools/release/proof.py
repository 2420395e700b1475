"""Is this image ours, and made of that commit? What the signing job wrote, verified by cosign without a registry.

A folder holds two Sigstore bundles: `signature.json` (`cosign sign --bundle`) and `provenance.json` (`cosign attest --bundle`,
type slsaprovenance1). Both must be by exactly the trusted key, or the trusted workflow and issuer; there are no patterns.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNATURE = ("signature.json", "https://sigstore.dev/cosign/sign/v1")
PROVENANCE = ("provenance.json", "slsaprovenance1")


class Unproven(Exception):
    """The image is not proven to be ours; the text says what is missing or wrong."""


@dataclass(frozen=True)
class Trust:
    """A public key (a file or a KMS URI), or a workflow's identity and who attests it. `log`: the transparency log counts."""

    key: str | None = None
    identity: str | None = None
    issuer: str | None = None
    log: bool = True

    def flags(self) -> list[str]:
        if self.key and not (self.identity or self.issuer):
            who = [f"--key={self.key}"]
        elif self.identity and self.issuer and not self.key:
            who = [f"--certificate-identity={self.identity}", f"--certificate-oidc-issuer={self.issuer}"]
        else:
            raise Unproven("say whom to trust: either --key, or --identity and --issuer")
        return who if self.log else [*who, "--insecure-ignore-tlog=true"]


def verify(digest: str, commit: str, folder: Path, trust: Trust, cosign: str = "cosign") -> None:
    """Raises Unproven."""
    for file, kind in (SIGNATURE, PROVENANCE):
        bundle = folder / file
        if not bundle.is_file():
            raise Unproven(f"{digest} has no {file} in {folder}: it was not signed")
        words = ["verify-blob-attestation", f"--bundle={bundle}", f"--type={kind}"]
        words += [f"--digest={digest.removeprefix('sha256:')}", "--digestAlg=sha256", *trust.flags()]
        try:
            done = subprocess.run([cosign, *words], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise Unproven(f"there is no {cosign} to verify with; install it, nothing was written") from None
        if done.returncode:
            raise Unproven(f"{file} does not prove {digest}: {done.stderr.strip()[-500:]}")
    found = source(folder / PROVENANCE[0])
    if found != commit:
        raise Unproven(f"provenance says that {digest} was made of commit {found}, not of {commit}")


def source(bundle: Path) -> str:
    """The commit that a verified provenance names."""
    try:
        envelope = json.loads(bundle.read_text())["dsseEnvelope"]
        statement: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
        dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        return next(str(each["digest"]["gitCommit"]) for each in dependencies if "gitCommit" in each.get("digest", {}))
    except (ValueError, LookupError, TypeError, StopIteration) as error:
        raise Unproven(f"{bundle.name} names no commit (SLSA v1 resolvedDependencies): {error!r}") from error


def provenance(repository: str, commit: str, builder: str, run: str) -> dict[str, Any]:
    """The SLSA v1 predicate that the signing job attests. `repository`: URL of the source; `builder`: the workflow that built."""
    return {
        "buildDefinition": {
            "buildType": "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"repository": repository, "path": builder}},
            "resolvedDependencies": [{"uri": f"git+{repository}", "digest": {"gitCommit": commit}}],
        },
        "runDetails": {"builder": {"id": f"{repository}/{builder}"}, "metadata": {"invocationId": run}},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(provenance(*sys.argv[1:])))
