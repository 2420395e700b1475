"""An environment's life, in the short form of CI: made by one apply, stable, changed. Its end is test_end.py."""

from __future__ import annotations

import re

from tests.platform import adoption
from tests.platform.conftest import Dev
from tests.platform.runs import worked
from tests.platform.terraform import FOLDER


def test_one_apply_makes_everything_from_nothing(dev: Dev) -> None:
    assert len(dev.first.completed) > 90
    assert dev.first.actions("delete") == set()
    assert dev.first.surprises == []


def test_the_lock_file_is_as_it_was_committed(dev: Dev) -> None:
    name = ".terraform.lock.hcl"
    assert (dev.folder / name).read_text() == (FOLDER / name).read_text()


def test_the_api_is_reached_from_where_dev_says(dev: Dev) -> None:
    """So the README's next command, argocd_bootstrap, reaches it."""
    network = dev.account.aws.client("eks").describe_cluster(name="sluice-dev")["cluster"]["resourcesVpcConfig"]
    (given,) = re.findall(r'^cluster_public_access_cidrs = \["(.*)"\]$', (FOLDER / "envs/dev.tfvars").read_text(), re.MULTILINE)
    assert (network["endpointPublicAccess"], network["publicAccessCidrs"]) == (True, [given])


def test_a_second_plan_is_empty(dev: Dev) -> None:
    plan = dev.account.terraform.plan("dev")
    assert (plan.code, plan.changes, plan.errors) == (0, [], [])


def test_everything_with_our_tags_is_in_the_state(dev: Dev) -> None:
    """So what has them and is not is left from an interrupted apply: docs/runbooks/interrupted.md."""
    assert adoption.strangers(dev.account.aws, dev.account.terraform.shown()) == []
    assert len(adoption.strangers(dev.account.aws, "{}")) > 20


def test_a_new_version_of_kubernetes_replaces_nothing_and_is_stable(dev: Dev) -> None:
    newer = {"kubernetes_version": "1.36"}
    terraform = dev.account.terraform
    step = worked(terraform.apply("dev", newer))
    assert {"aws_eks_cluster", "aws_eks_node_group", "aws_eks_addon"} <= step.actions("update")
    assert step.actions("replace") | step.actions("delete") == set()
    assert terraform.plan("dev", newer).code == 0
