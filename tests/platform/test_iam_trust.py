"""Who may become what: the trust policies that Terraform rendered, judged by true and forged proofs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.platform import account
from tests.platform.conftest import Dev
from tests.platform.emulator.process import ACCOUNT, REGION, Emulator
from tests.platform.iam import rendered
from tests.platform.iam.claims import CLUSTER_ARN, GITHUB, Asking, github, pod, provider, service_account
from tests.platform.iam.policy import Principal
from tests.platform.iam.rendered import Role
from tests.platform.runs import worked

PURPOSES = ("push", "sign")
OLD, NEW = "repo:acme/sluice", "repo:acme@11/sluice@22"
TRUE = github(f"{OLD}:environment:registry-push")


def assumed(principal: Principal) -> Asking:
    """Not by a token, but with the claims of one."""
    return replace(TRUE, principal=principal, action="sts:AssumeRole")


# Each asks for the role `push`, and is wrong in one way.
FORGED: dict[str, Asking] = {
    "another repository of the owner": github("repo:acme/other:environment:registry-push", "23"),
    "a fork": github("repo:mallory/sluice:environment:registry-push", "99"),
    "the name after it was given up and taken by somebody else": github(f"{OLD}:environment:registry-push", "99"),
    "the new form with another owner's id": github("repo:acme@12/sluice@22:environment:registry-push"),
    "the new form with another repository's id": github("repo:acme@11/sluice@23:environment:registry-push"),
    "the new form with no ids": github("repo:acme@/sluice@:environment:registry-push"),
    "a branch": github(f"{OLD}:ref:refs/heads/main"),
    "a tag named like the environment": github(f"{OLD}:ref:refs/tags/environment:registry-push"),
    "a pull request": github(f"{OLD}:pull_request"),
    "another environment of GitHub": github(f"{OLD}:environment:registry-test"),
    "another purpose": github(f"{OLD}:environment:registry-sign"),
    "another environment of ours": github(f"{OLD}:environment:prod"),
    "more behind the environment": github(f"{OLD}:environment:registry-push:ref:refs/heads/main"),
    "a name that only begins so": github(f"{OLD}:environment:registry-push2"),
    "a wildcard sent as it is": github("repo:acme/*:environment:registry-push"),
    "capital letters": github("repo:Acme/Sluice:environment:registry-push"),
    "another audience": TRUE.but(aud="https://github.com/acme"),
    "no audience": TRUE.but(aud=None),
    "no subject": TRUE.but(sub=None),
    "no repository id": TRUE.but(repository_id=None),
    "another issuer's token": replace(TRUE, principal=provider("gitlab.example.com")),
    "the claims of another issuer": replace(
        TRUE, context={key.replace(GITHUB, "gitlab.example.com"): value for key, value in TRUE.context.items()}
    ),
    "a role of the account": assumed(Principal("AWS", f"arn:aws:iam::{ACCOUNT}:role/developers")),
    "the account itself": assumed(Principal("AWS", f"arn:aws:iam::{ACCOUNT}:root")),
    "a service": assumed(Principal("Service", "ec2.amazonaws.com")),
}


@pytest.fixture(scope="module")
def roles(dev: Dev) -> dict[str, Role]:
    return rendered.roles(dev.account.aws)


@pytest.mark.parametrize("prefix", [OLD, NEW])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_workflow_gets_the_one_role_of_its_environment(roles: dict[str, Role], purpose: str, prefix: str) -> None:
    asking = github(f"{prefix}:environment:registry-{purpose}")
    assert {name for name, role in roles.items() if asking.may_assume(role.trust)} == {f"sluice-dev-github-{purpose}"}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_forged_proof_is_worth_nothing(roles: dict[str, Role], forged: Asking) -> None:
    assert not forged.may_assume(roles["sluice-dev-github-push"].trust)


PODS = {
    "service": ("sluice", "sluice"),
    "migrate": ("sluice", "sluice-migrate"),
    "image-updater": ("argocd", "argocd-image-updater"),
    "load-balancer-controller": ("kube-system", "aws-load-balancer-controller"),
    "cluster-autoscaler": ("kube-system", "cluster-autoscaler"),
    "external-dns": ("external-dns", "external-dns"),
    "vpc-cni": ("kube-system", "aws-node"),
    "aws-ebs-csi-driver": ("kube-system", "ebs-csi-controller-sa"),
}


@pytest.mark.parametrize(("name", "pair"), PODS.items(), ids=PODS.keys())
def test_a_pod_gets_the_one_role_of_its_service_account(roles: dict[str, Role], name: str, pair: tuple[str, str]) -> None:
    asking = pod(*pair)
    assert {found for found, role in roles.items() if asking.may_assume(role.trust)} == {f"sluice-dev-{name}"}
    # Pod Identity also tags the session, which is a right of its own.
    assert replace(asking, action="sts:TagSession").may_assume(roles[f"sluice-dev-{name}"].trust)


STRANGERS = [("sluice", "sluice-operator"), ("sluice", "default"), ("default", "sluice"), ("kube-system", "sluice")]


@pytest.mark.parametrize("pair", STRANGERS)
def test_a_service_account_without_a_role_gets_none(roles: dict[str, Role], pair: tuple[str, str]) -> None:
    assert not any(pod(*pair).may_assume(role.trust) for role in roles.values())


RIGHT_POD = pod("sluice", "sluice")
FORGED_PODS: dict[str, Asking] = {
    "another namespace": pod("other", "sluice"),
    "another ServiceAccount": pod("sluice", "sluice2"),
    "another cluster of the account": RIGHT_POD.but(eks_cluster_arn=f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/other"),
    "a cluster of that name elsewhere": RIGHT_POD.but(eks_cluster_arn=f"arn:aws:eks:us-east-1:{ACCOUNT}:cluster/sluice-dev"),
    "another account": RIGHT_POD.but(SourceAccount="999999999999"),
    "no cluster": RIGHT_POD.but(eks_cluster_arn=None),
    "no namespace": RIGHT_POD.but(kubernetes_namespace=None),
    "no ServiceAccount": RIGHT_POD.but(kubernetes_service_account=None),
    "another service": replace(RIGHT_POD, principal=Principal("Service", "eks.amazonaws.com")),
    "a role that sets the tags itself": replace(RIGHT_POD, principal=Principal("AWS", f"arn:aws:iam::{ACCOUNT}:role/developers")),
    "a web identity": replace(RIGHT_POD, action="sts:AssumeRoleWithWebIdentity"),
}


@pytest.mark.parametrize("forged", FORGED_PODS.values(), ids=FORGED_PODS.keys())
def test_a_forged_session_of_a_pod_is_worth_nothing(roles: dict[str, Role], forged: Asking) -> None:
    assert not forged.may_assume(roles["sluice-dev-service"].trust)


def test_services_get_their_own_roles_for_this_account_only(roles: dict[str, Role]) -> None:
    for service, role in (("eks.amazonaws.com", "cluster"), ("vpc-flow-logs.amazonaws.com", "flow-logs")):
        asking = Asking(Principal("Service", service), "sts:AssumeRole", {"aws:SourceAccount": ACCOUNT})
        assert {name for name, found in roles.items() if asking.may_assume(found.trust)} == {f"sluice-dev-{role}"}
        assert not asking.but(SourceAccount="999999999999").may_assume(roles[f"sluice-dev-{role}"].trust)


def test_no_role_is_for_everybody_in_the_account(roles: dict[str, Role]) -> None:
    asking = Asking(Principal("AWS", f"arn:aws:iam::{ACCOUNT}:role/developers"), "sts:AssumeRole", {"aws:SourceAccount": ACCOUNT})
    assert not any(asking.may_assume(role.trust) for role in roles.values())


NOTHING = {"Effect": "Deny", "Action": "sts:GetCallerIdentity", "Resource": "*"}
ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/ABCDEF"
RIGHT_TOKEN = service_account(ISSUER, "sluice", "sluice-migrate")
FORGED_TOKENS: dict[str, Asking] = {
    "another ServiceAccount": service_account(ISSUER, "sluice", "sluice"),
    "another namespace": service_account(ISSUER, "other", "sluice-migrate"),
    "another cluster": service_account(f"{ISSUER}0", "sluice", "sluice-migrate"),
    "another audience": RIGHT_TOKEN.but(aud="https://kubernetes.default.svc"),
    "no audience": RIGHT_TOKEN.but(aud=None),
    "no subject": RIGHT_TOKEN.but(sub=None),
    "a session of Pod Identity": pod("sluice", "sluice-migrate"),
}


@pytest.fixture(scope="module")
def irsa(dev: Dev, aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Role:
    """The role of a ServiceAccount as it is made for a cluster with IRSA, in an account of its own."""
    given = {
        "name": "irsa",
        "account": {"id": ACCOUNT, "partition": "aws", "region": REGION},
        "cluster": {
            "name": "sluice-dev",
            "arn": CLUSTER_ARN,
            "workload_identity": "irsa",
            "oidc_provider_arn": provider(ISSUER).name,
        },
        "namespace": "sluice",
        "service_account": "sluice-migrate",
        "policy": json.dumps({"Version": "2012-10-17", "Statement": NOTHING}),
        "permissions_boundary_arn": None,
    }
    module = account.module(aws, tmp_path_factory.mktemp("irsa"), "workload_role")
    worked(module.apply(None, given))
    return rendered.roles(aws)["irsa"]


def test_a_token_of_the_cluster_gets_the_role_of_its_service_account(irsa: Role) -> None:
    assert RIGHT_TOKEN.may_assume(irsa.trust)


@pytest.mark.parametrize("forged", FORGED_TOKENS.values(), ids=FORGED_TOKENS.keys())
def test_a_forged_token_of_a_cluster_is_worth_nothing(irsa: Role, forged: Asking) -> None:
    assert not forged.may_assume(irsa.trust)
