"""An account of AWS in an emulator on this machine, and our Terraform applied to it once for all tests.

Two processes share the tests: one has all that look at that account, in order, for what is destroyed at the end is what the
others look at, so those of test_end.py come last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import Part, require
from tests.parts import Parts
from tests.platform import account
from tests.platform.account import Account
from tests.platform.emulator.process import Emulator
from tests.platform.runs import Failed, Run, worked

TERRAFORM = Part("terraform", "install Terraform 1.11 or later (developer.hashicorp.com/terraform/install)", in_ci=False)
PROVIDER = "no mirror of the provider hashicorp/aws here, and no registry; to get it: name a mirror's folder in TERRAFORM_MIRROR"
# Terraform's own words.
UNAVAILABLE = ("Failed to query available provider packages", "Failed to install provider")
HERE = Path(__file__).parent
LAST = "test_end.py"
# The first test to ask for the environment waits for it.
SLOW = 900


# Their tests look at the account that the first of them applies to.
APPLIED = {file.name for file in HERE.glob("test_*.py") if re.search("dev: Dev|empty: Account", file.read_text(encoding="utf-8"))}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Parts:
    return Parts(config, log, lambda file: "applied" if file in APPLIED else file)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path == HERE / LAST)
    for item in items:
        if HERE in item.path.parents and "empty" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(SLOW))


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    """An account of its own for the tests of the emulator."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account with nothing but what bootstrap makes, and Terraform initialized for dev."""
    require("terraform", TERRAFORM)
    with account.opened(tmp_path_factory.mktemp("platform"), account.WHOLE) as opened:
        initialize(opened)
        yield opened


@contextmanager
def provider_needed() -> Iterator[None]:
    """Skips where the provider cannot be had; any other failure is one."""
    try:
        yield
    except Failed as failed:
        if any(words in str(failed) for words in UNAVAILABLE):
            pytest.skip(PROVIDER)
        raise


def initialize(opened: Account, environment: str = "dev") -> None:
    with provider_needed():
        opened.terraform.init(environment)


@dataclass(frozen=True)
class Dev:
    """dev as its first apply left it."""

    account: Account
    first: Run

    @property
    def folder(self) -> Path:
        return self.account.terraform.folder


@pytest.fixture(scope="session")
def dev(empty: Account) -> Dev:
    return Dev(empty, worked(empty.terraform.apply("dev")))
