"""Where states live: what bootstrap makes, and the backend files of envs/ against it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.conftest import require
from tests.platform import account, lives
from tests.platform.account import STATE_BUCKET, Account
from tests.platform.conftest import TERRAFORM, provider_needed
from tests.platform.runs import must, worked
from tests.platform.terraform import Terraform

SMALL = 'terraform {\n  backend "s3" {}\n}\n\nresource "terraform_data" "this" {}\n'
STATE = "dev/terraform.tfstate"


@pytest.fixture(scope="module")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account that terraform/bootstrap was applied to."""
    require("terraform", TERRAFORM)
    with account.opened(tmp_path_factory.mktemp("state")) as opened, provider_needed():
        list(lives.bootstrap(opened, lambda message: None))
        yield opened


def key_of(opened: Account) -> str:
    found = opened.aws.client("kms").describe_key(KeyId=f"alias/{STATE_BUCKET}")
    return str(found["KeyMetadata"]["Arn"])


def small(opened: Account, key: str) -> Terraform:
    """A root of one resource, whose state goes where that of dev does, with the key's line of its backend file as `key`."""
    root = opened.terraform.at("envs")
    (root.folder / "main.tf").write_text(SMALL, encoding="utf-8")
    place = root.folder / "dev.s3.tfbackend"
    place.write_text(re.sub("^kms_key_id.*$", key, place.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8")
    must(root.run("init", "-input=false", "-no-color", f"-backend-config={place.name}"))
    return root


def test_a_state_is_encrypted_by_the_key_that_bootstrap_made(bootstrapped: Account) -> None:
    worked(small(bootstrapped, f'kms_key_id = "{key_of(bootstrapped)}"').apply(None))
    kept = bootstrapped.aws.client("s3").head_object(Bucket=STATE_BUCKET, Key=STATE)
    assert (kept["ServerSideEncryption"], kept["SSEKMSKeyId"]) == ("aws:kms", key_of(bootstrapped))


def test_a_state_without_that_key_is_refused(bootstrapped: Account) -> None:
    """Without a key Terraform asks for AES256, which wins over the bucket's own default."""
    run = small(bootstrapped, "").apply(None)
    assert run.code == 1
    assert any("StatusCode: 403" in text for text in run.errors), run.errors
