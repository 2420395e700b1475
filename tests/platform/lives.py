"""Lives of an environment in an account: made, changed, protected, interrupted, gone. Each is a row of steps that hold or raise.

The short form is test_cycle.py; `python -m tests.platform.soak` lives them all.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import psutil
from tests.platform import adoption, sweep
from tests.platform.account import STATE_BUCKET, Account
from tests.platform.emulator.process import ACCOUNT, REGION
from tests.platform.iam.policy import Decision, Document, Principal, Request, decide
from tests.platform.runs import Failed, Run, Told, collected, completed, worked
from tests.platform.terraform import NONE, Variables

# What holds data or takes an hour to make again: no change of a variable may replace or delete it.
PRECIOUS = {"aws_db_instance", "aws_ecr_repository", "aws_eks_cluster", "aws_kms_key", "aws_nat_gateway", "aws_subnet", "aws_vpc"}
NODES = {"instance_types": ["t4g.large"], "min_size": 2, "max_size": 6, "desired_size": 2, "disk_gib": 40}
# Changes on the second day, each on top of those before it.
DAYS: dict[str, dict[str, Any]] = {
    "Kubernetes 1.35 to 1.36": {"kubernetes_version": "1.36"},
    "a third zone": {"az_count": 3},
    "one NAT gateway to three": {"nat_mode": "per_az"},
    "node type, number and disks": {"node_groups": {"general": NODES}},
    "database class": {"database_instance_class": "db.t4g.medium"},
    "another major version of PostgreSQL": {"database_engine_version": "18"},
    "tags": {"tags": {"Team": "platform"}},
    "control plane logs": {"cluster_log_types": ["api", "audit"]},
}
RELEASED = {"destroy_protection": False, "database_deletion_protection": False}
PRIVATE = {"compute_mode": "auto", "node_groups": {}, "nat_mode": "none", "workload_identity": "irsa"}
# Terraform's words: the lock's id.
LOCK = re.compile(r"^\s*ID:\s+(\S+)", re.MULTILINE)
# Of what dev has.
HALF, WHOLE = 40, 100
# What depends on what exists is tried only when that is taken over.
ROUNDS = 4


class Step(msgspec.Struct):
    """What one apply or destroy did, in seconds and resources."""

    name: str
    seconds: float
    made: int = 0
    changed: int = 0
    replaced: int = 0
    deleted: int = 0

    @classmethod
    def of(cls, name: str, run: Run) -> Step:
        count = Counter(change.action for change in run.changes)
        return cls(name, run.seconds, count["create"], count["update"], count["replace"], count["delete"])

    @classmethod
    def done(cls, name: str, run: Run) -> Step:
        """Of a run that did not do all that it planned: what it did."""
        return cls(name, run.seconds, run.done["create"], run.done["update"], 0, run.done["delete"])


Life = Callable[[Account, Told], Iterator[Step]]


def must_hold(holds: bool, words: str) -> None:
    """An assertion with words, which the soak tells."""
    if not holds:
        raise Failed(words)


def stable(account: Account, environment: str, changes: Variables) -> None:
    """The plan after an apply is empty."""
    plan = account.terraform.plan(environment, changes)
    must_hold(plan.code == 0, f"the plan afterwards is not empty: {plan.changes}{plan.errors}")


def applied(account: Account, told: Told, environment: str, name: str, changes: Variables = NONE) -> Step:
    run = worked(account.terraform.apply(environment, changes, told))
    lost = PRECIOUS & (run.actions("delete") | run.actions("replace"))
    must_hold(not lost, f"{name} loses {lost}")
    stable(account, environment, changes)
    return Step.of(name, run)


def destroyed(account: Account, told: Told, environment: str, changes: Variables = NONE, **left: Any) -> Step:
    """And an account in which nothing is but keys on their way out, and `left`."""
    run = worked(account.terraform.destroy(environment, changes, told))
    found = sweep.left(account.aws)
    must_hold(set(found.pop("keys")) == {"PendingDeletion"}, "every key is on its way out")
    must_hold({kind: len(names) for kind, names in found.items()} == left, f"left behind: {found}")
    return Step.of("destroy", run)


def dev(account: Account, told: Told) -> Iterator[Step]:
    """From nothing, through every change of the second day, to nothing."""
    account.terraform.init("dev")
    yield applied(account, told, "dev", "first apply")
    changes: dict[str, Any] = {}
    for name, change in DAYS.items():
        changes |= change
        yield applied(account, told, "dev", name, changes)
    yield destroyed(account, told, "dev", changes)


def prod(account: Account, told: Told) -> Iterator[Step]:
    """Refuses to be destroyed until two variables are set, and leaves a snapshot with a name of its own."""
    account.terraform.init("prod")
    yield applied(account, told, "prod", "first apply")
    yield refused(account)
    yield applied(account, told, "prod", "release by two variables", RELEASED)
    yield destroyed(account, told, "prod", RELEASED, snapshots=1)
    (snapshot,) = sweep.left(account.aws)["snapshots"]
    must_hold(snapshot.startswith("sluice-prod-final-"), snapshot)


def refused(account: Account) -> Step:
    """Nothing is touched, and the next apply changes nothing."""
    before = account.terraform.state()
    run = account.terraform.destroy("prod")
    must_hold(run.code == 1 and any("is protected" in text for text in run.errors), f"destroy was not refused: {run.errors}")
    must_hold(account.terraform.state() == before, "something is gone")
    return Step("destroy, refused", run.seconds)


def private(account: Account, told: Told) -> Iterator[Step]:
    """Auto mode, no way to the internet, IRSA: everything that dev is not."""
    account.terraform.init("dev")
    yield applied(account, told, "dev", "first apply", PRIVATE)
    yield destroyed(account, told, "dev", PRIVATE)


def interrupted(account: Account, told: Told) -> Iterator[Step]:
    """A job that is stopped half-way (SIGTERM), goes on, and is killed (SIGKILL): docs/runbooks/interrupted.md."""
    account.terraform.init("dev")
    yield stopped(account, told)
    yield killed(account, told)
    yield locked(account)
    yield from taken_over(account, told)
    yield destroyed(account, told, "dev")


def stopped(account: Account, told: Told) -> Step:
    process = account.terraform.start_apply("dev")
    made = 0

    def stop(message: dict[str, Any]) -> None:
        nonlocal made
        told(message)
        made += completed(message)
        if made == HALF and completed(message):
            process.send_signal(signal.SIGTERM)

    run = collected(process, stop)
    must_hold(run.code != 0 and HALF <= len(run.completed) < WHOLE, "the apply was not interrupted half-way")
    return Step("apply, stopped half-way", run.seconds, made=len(run.completed))


def killed(account: Account, told: Told) -> Step:
    """When the database is there, and with it what needs it begins."""
    process = account.terraform.start_apply("dev")

    def kill(message: dict[str, Any]) -> None:
        told(message)
        if completed(message) and message["hook"]["resource"]["addr"].startswith("module.identity.module.workload"):
            killed_at_once(process)

    run = collected(process, kill)
    must_hold(run.code == -signal.SIGKILL, "the apply was not killed")
    return Step.done("the same apply, killed", run)


def killed_at_once(process: subprocess.Popen[str]) -> None:
    """With its provider, or that would go on for a while."""
    terraform = psutil.Process(process.pid)
    for one in (terraform, *terraform.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            one.kill()


def locked(account: Account) -> Step:
    """Nobody was there to take the lock away."""
    run = account.terraform.apply("dev")
    found = LOCK.search("".join(run.errors))
    must_hold(found is not None, f"there is no lock: {run.errors}")
    if found is not None:
        account.terraform.unlock(found[1])
    return Step("apply, refused by the lock", run.seconds)


def taken_over(account: Account, told: Told) -> Iterator[Step]:
    """What was being made in the moment of a signal may exist and be in no state: the next apply tells, and is given it."""
    exist: dict[str, str] = {}
    before = precious(account)
    for _ in range(ROUNDS):
        run = account.terraform.apply("dev", told=told)
        must_hold(before.items() <= precious(account).items(), f"something of {before} is another one now")
        must_hold(len(run.completed) < WHOLE - HALF // 2, "the apply began anew")
        yield Step.done(f"the same apply, given {len(exist)} that exist" if exist else "the same apply again", run)
        if not run.errors:
            break
        exist |= dict(found_existing(account, error) for error in run.errors)
        account.terraform.adopt(exist)
    stable(account, "dev", NONE)
    unknown = adoption.strangers(account.aws, account.terraform.shown())
    must_hold(not unknown, f"made twice, or not taken over: {unknown}")


def precious(account: Account) -> dict[str, str]:
    """Ids by address of what was finished."""
    return {one["address"]: one["values"]["id"] for one in account.terraform.finished() if one["type"] in PRECIOUS}


def found_existing(account: Account, error: str) -> tuple[str, str]:
    found = adoption.existing(account.aws, error)
    if found is None:
        raise Failed(error)
    return found


def two_writers(account: Account, told: Told) -> Iterator[Step]:
    """While one applies, another is refused by the lock; the first is not disturbed, and the lock is gone afterwards."""
    account.terraform.init("dev")
    first = account.terraform.start_apply("dev")
    intruders: list[Run] = []

    def intrude(message: dict[str, Any]) -> None:
        told(message)
        if not intruders and completed(message):
            intruders.append(account.terraform.apply("dev", {"tags": {"Team": "other"}}))

    run = worked(collected(first, intrude))
    (second,) = intruders
    must_hold(second.code == 1 and any("state lock" in text for text in second.errors), f"not refused: {second.errors}")
    yield Step.of("apply, while another tries to", run)
    stable(account, "dev", NONE)
    yield destroyed(account, told, "dev")


def bootstrap(account: Account, told: Told) -> Iterator[Step]:
    """The root that is applied once per account: twice is as good as once."""
    empty(account)
    root = account.terraform.at("bootstrap")
    given = {"region": REGION, "account_id": ACCOUNT}
    root.init()
    run = worked(root.apply(None, given, told))
    plan = root.plan(None, given)
    must_hold(plan.code == 0, f"the plan afterwards is not empty: {plan.changes}{plan.errors}")
    must_hold(root.output("state_bucket") == STATE_BUCKET, "the bucket that envs/*.s3.tfbackend name")
    guarded(json.loads(account.aws.client("s3").get_bucket_policy(Bucket=STATE_BUCKET)["Policy"]), root.output("state_key_arn"))
    yield Step.of("bootstrap", run)


def guarded(policy: Document, key: str) -> None:
    """States cannot be deleted, locks can, nothing goes without TLS, and nothing is written without the key."""
    admin, bucket = Principal("AWS", f"arn:aws:iam::{ACCOUNT}:role/admin"), f"arn:aws:s3:::{STATE_BUCKET}"
    for action, name, tls, denied in (
        ("s3:DeleteObject", "dev/terraform.tfstate", "true", True),
        ("s3:DeleteObjectVersion", "dev/terraform.tfstate", "true", True),
        ("s3:DeleteObject", "dev/terraform.tfstate.tflock", "true", False),
        ("s3:PutObject", "dev/terraform.tfstate", "true", False),
        ("s3:GetObject", "dev/terraform.tfstate", "false", True),
    ):
        context = {"aws:SecureTransport": tls, "s3:x-amz-server-side-encryption-aws-kms-key-id": key}
        asked = Request(action, f"{bucket}/{name}", admin, context)
        must_hold((decide([policy], asked) is Decision.DENIED) is denied, f"{action} {name} with TLS {tls}")


def empty(account: Account) -> None:
    """Takes away what stands for bootstrap in every other life."""
    account.aws.client("s3").delete_bucket(Bucket=STATE_BUCKET)
    iam = account.aws.client("iam")
    for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=provider["Arn"])


LIVES: dict[str, Life] = {
    "dev, through a year": dev,
    "prod, protected": prod,
    "private: auto mode, no NAT, IRSA": private,
    "interrupted": interrupted,
    "two writers": two_writers,
    "bootstrap": bootstrap,
}
