"""An account of AWS in the emulator with what bootstrap makes in a real one, and an environment of ours in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.platform import mirror
from tests.platform.emulator.process import ACCOUNT, REGION, Emulator
from tests.platform.runs import must
from tests.platform.terraform import NONE, Terraform, Variables

STATE_BUCKET = f"sluice-state-{ACCOUNT}"
GITHUB = {"owner": "acme", "owner_id": 11, "repository": "sluice", "repository_id": 22}
ISSUER = "https://token.actions.githubusercontent.com"
# Everything that makes a role, so that all policies are there to be judged.
WHOLE: Variables = {"github": GITHUB, "route53_zone_ids": ["Z0123456789ABCDEFGHIJ"]}
# moto has no pull-through cache (its answer is 500); `terraform test` has runs for it.
BUT: Variables = {"pull_through_cache": []}


class NoTerraform(Exception):
    """There is no Terraform, or no provider for it; the text says how to get one."""


@dataclass(frozen=True)
class Account:
    aws: Emulator
    terraform: Terraform


def program() -> Path:
    found = shutil.which("terraform")
    if found is None:
        raise NoTerraform("install Terraform 1.11 or later (developer.hashicorp.com/terraform/install) and put it on PATH")
    return Path(found)


def prepare(aws: Emulator) -> None:
    """What bootstrap makes once per account, without the key and the policy of its bucket (test_state.py has them)."""
    aws.client("s3").create_bucket(Bucket=STATE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.client("iam").create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"])


@contextmanager
def opened(work: Path, overrides: Variables = NONE) -> Iterator[Account]:
    """An empty account and a Terraform for it in `work`; raises NoTerraform."""
    with Emulator() as aws:
        prepare(aws)
        yield Account(aws, Terraform(program(), work, {**aws.environment, **configured(work)}, {**BUT, **overrides}))


def module(aws: Emulator, work: Path, name: str) -> Terraform:
    """One module as a root of its own, with a state in its folder."""
    made = Terraform(program(), work, {**aws.environment, **configured(work)}, root=f"modules/{name}")
    must(made.run("init", "-input=false", "-no-color"))
    return made


def configured(work: Path) -> dict[str, str]:
    """The provider's place for Terraform, as a file of its own: none of this machine's is read."""
    file = work / "terraform.rc"
    file.write_text(mirror.configuration(mirror.found()), encoding="utf-8")
    return {"TF_CLI_CONFIG_FILE": str(file)}


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-terraform-") as name:
        yield Path(name)
