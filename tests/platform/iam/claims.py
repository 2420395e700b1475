"""Who asks for a role and what they prove: tokens of GitHub and of a cluster, sessions of EKS Pod Identity; true and forged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.platform.emulator.process import ACCOUNT, REGION
from tests.platform.iam.policy import Document, Principal, Request, allowed

GITHUB = "token.actions.githubusercontent.com"
CLUSTER_ARN = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/sluice-dev"


@dataclass(frozen=True)
class Asking:
    """One attempt. A token's claims become keys `<issuer>:<claim>` (IAM user guide, "Available keys for AWS OIDC federation")."""

    principal: Principal
    action: str
    context: Mapping[str, str]

    def may_assume(self, trust: Document) -> bool:
        return allowed([trust], Request(self.action, principal=self.principal, context=dict(self.context)))

    def but(self, **changed: str | None) -> Asking:
        """With other values by the last part of their key; None takes one away."""
        names = {key: next((name for name in changed if ends(key, name)), None) for key in self.context}
        kept = {key: changed[name] if name else self.context[key] for key, name in names.items()}
        return replace(self, context={key: value for key, value in kept.items() if value is not None})


def ends(key: str, name: str) -> bool:
    return key.replace("/", ":").rsplit(":", 1)[-1].replace("-", "_") == name


def provider(issuer: str) -> Principal:
    return Principal("Federated", f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}")


def github(subject: str, repository_id: str = "22") -> Asking:
    """A workflow's token as GitHub signs it (GitHub documentation, "OpenID Connect reference")."""
    context = {f"{GITHUB}:aud": "sts.amazonaws.com", f"{GITHUB}:sub": subject, f"{GITHUB}:repository_id": repository_id}
    return Asking(provider(GITHUB), "sts:AssumeRoleWithWebIdentity", context)


def pod(namespace: str, service_account: str, **more: str) -> Asking:
    """The session that EKS Pod Identity asks for, with its tags (EKS user guide, "Grant Pods access by tags")."""
    tags = {
        "eks-cluster-arn": CLUSTER_ARN,
        "eks-cluster-name": "sluice-dev",
        "kubernetes-namespace": namespace,
        "kubernetes-service-account": service_account,
        "kubernetes-pod-name": "a-pod",
        "kubernetes-pod-uid": "7f0c",
        **more,
    }
    context = {f"aws:RequestTag/{name}": value for name, value in tags.items()} | {"aws:SourceAccount": ACCOUNT}
    return Asking(Principal("Service", "pods.eks.amazonaws.com"), "sts:AssumeRole", context)


def service_account(issuer: str, namespace: str, name: str) -> Asking:
    """A ServiceAccount's token that the cluster signed (EKS user guide, "IAM roles for service accounts")."""
    context = {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": f"system:serviceaccount:{namespace}:{name}"}
    return Asking(provider(issuer), "sts:AssumeRoleWithWebIdentity", context)
