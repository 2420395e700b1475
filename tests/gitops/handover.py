"""Secrets as Terraform hands them over: made by the real module, which has no provider."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Part, require

MODULE = ROOT / "terraform" / "modules" / "handover"
REPOSITORY = "https://github.com/acme/sluice.git"
CONTROLLERS = {
    "image_updater": ("argocd", "argocd-image-updater"),
    "load_balancer_controller": ("kube-system", "aws-load-balancer-controller"),
    "cluster_autoscaler": ("kube-system", "cluster-autoscaler"),
    "external_dns": ("external-dns", "external-dns"),
}
ACCOUNTS = {"service": "sluice", "migrate": "sluice-migrate", "operator": "sluice-operator"}


@cache
def text(environment: str, repository: str = REPOSITORY, *, beyond: bool = False) -> str:
    """The hand-over of a cluster in `environment`, as `terraform output -raw argocd_cluster_secret` prints it.

    `beyond`: with a queue and a table, as Terraform's variables `queue` and `dynamodb` make them.
    """
    require("terraform", Part("terraform", "install Terraform >= 1.11", in_ci=False))
    with tempfile.TemporaryDirectory(prefix="sluice-handover-") as folder:
        shutil.copytree(MODULE, folder, dirs_exist_ok=True)
        Path(folder, "terraform.tfvars.json").write_text(json.dumps(variables(environment, repository, beyond=beyond)))
        terraform(folder, "init", "-input=false", "-no-color")
        terraform(folder, "apply", "-auto-approve", "-input=false", "-no-color")
        return terraform(folder, "output", "-raw", "argocd_cluster_secret")


def terraform(folder: str, *words: str) -> str:
    environ = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "TF_IN_AUTOMATION": "1"}
    return subprocess.run(["terraform", *words], cwd=folder, env=environ, check=True, capture_output=True, text=True).stdout


def variables(environment: str, repository: str, *, beyond: bool = False) -> dict[str, Any]:
    accounts = {key: {"namespace": "sluice", "name": name} for key, name in ACCOUNTS.items()}
    accounts |= {key: {"namespace": space, "name": name} for key, (space, name) in CONTROLLERS.items()}
    if beyond:
        accounts["worker"] = {"namespace": "sluice", "name": "sluice-worker"}
    role = "arn:aws:iam::123456789012:role"
    return {
        "queue_url": "sqs://eu-central-1/sluice-dev-" if beyond else None,
        "dynamodb": {"table": "sluice-dev-events", "shards": 8} if beyond else None,
        "account": {"id": "123456789012", "partition": "aws", "region": "eu-central-1"},
        "environment": environment,
        "cluster": {
            "name": f"sluice-{environment}",
            "version": "1.35",
            "endpoint": "https://eks.test",
            "security_group_id": "sg-1",
            "compute_mode": "managed",
            "workload_identity": "pod_identity",
        },
        "network": {
            "vpc_id": "vpc-1",
            "cidr": "10.0.0.0/16",
            "public_subnet_ids": ["subnet-1"],
            "private_subnet_ids": ["subnet-2"],
            "data_subnet_cidrs": ["10.0.8.0/24"],
            "aws_cidr": None,
        },
        "registry": {
            "repository_url": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice",
            "cache_prefixes": {},
            "signing_public_key": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        },
        "database": {
            "host": "db.test",
            "port": 5432,
            "name": "sluice",
            "owner_secret_arn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x",
            "max_connections": 400,
        },
        "service_accounts": accounts,
        "role_arns": {key: f"{role}/{environment}-{key}" for key in ("service", "migrate", *CONTROLLERS)},
        "zone_ids": [],
        "gitops": {"repository": repository, "revision": "main", "path": "argocd"},
    }
