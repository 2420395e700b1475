"""What each role may do: its own work, and not the work next to it. Policies as Terraform rendered them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from tests.platform.conftest import Dev
from tests.platform.emulator.process import ACCOUNT, REGION
from tests.platform.iam import rendered
from tests.platform.iam.conditions import many
from tests.platform.iam.policy import Document, Principal, Request, allowed, statements
from tests.platform.iam.rendered import Role

# What has no resource to name is read-only, but for this (Service Authorization Reference).
READS = re.compile(r"[a-z0-9-]+:(Describe|Get|List|Validate)[A-Za-z]+")
MINE, OTHER = {"aws:ResourceTag/elbv2.k8s.aws/cluster": "sluice-dev"}, {"aws:ResourceTag/elbv2.k8s.aws/cluster": "other"}
CREATES = {"aws:RequestTag/elbv2.k8s.aws/cluster": "sluice-dev"}
OWNED = {"aws:ResourceTag/k8s.io/cluster-autoscaler/sluice-dev": "owned"}
THROUGH_SECRETS = {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}
THROUGH_RDS = {"kms:ViaService": f"rds.{REGION}.amazonaws.com"}


@dataclass(frozen=True)
class Right:
    """An action on a thing: a name of `things`, or an ARN without its first parts."""

    action: str
    on: str = "*"
    context: Mapping[str, str] | None = None


PULLS = ("BatchGetImage", "DescribeImages", "GetDownloadUrlForLayer", "ListImages")
PULL = [Right(f"ecr:{name}", "repository") for name in PULLS]
UPLOAD = [Right(f"ecr:{name}", "repository") for name in ("InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload")]
PUT, LOG_IN = Right("ecr:PutImage", "repository"), Right("ecr:GetAuthorizationToken")
CHART = [Right(f"ecr:{name}", "chart's repository") for name in ("InitiateLayerUpload", "PutImage", "BatchGetImage")]
SIGN, VERIFY, PUBLIC = (Right(f"kms:{name}", "signing key") for name in ("Sign", "Verify", "GetPublicKey"))
CONNECT, OWNER = Right("rds-db:connect", "login"), Right("rds-db:connect", "owner's login")
SECRET = Right("secretsmanager:GetSecretValue", "secret")
NEW_SECRET = Right("secretsmanager:PutSecretValue", "secret")
DECRYPT = Right("kms:Decrypt", "database key", THROUGH_SECRETS)
DELETE = [Right("ecr:BatchDeleteImage", "repository"), Right("ecr:DeleteRepository", "repository")]
EKS = [Right("eks:DescribeCluster", "cluster"), Right("eks:CreateAccessEntry", "cluster")]

MAY: dict[str, list[Right]] = {
    "service": [CONNECT],
    "migrate": [SECRET, DECRYPT],
    "image-updater": [LOG_IN, *PULL],
    "github-push": [LOG_IN, *UPLOAD, PUT],
    "github-sign": [LOG_IN, *UPLOAD, PUT, SIGN, PUBLIC, *CHART],
    "external-dns": [Right("route53:ChangeResourceRecordSets", "zone"), Right("route53:ListHostedZones")],
    "cluster-autoscaler": [
        Right("autoscaling:SetDesiredCapacity", "group", OWNED),
        Right("autoscaling:DescribeAutoScalingGroups"),
        Right("eks:DescribeNodegroup", "node group"),
    ],
    "load-balancer-controller": [
        Right("elasticloadbalancing:DeleteLoadBalancer", "load balancer", MINE),
        Right("elasticloadbalancing:DescribeLoadBalancers"),
        Right("ec2:CreateSecurityGroup", "vpc"),
        *(Right("elasticloadbalancing:CreateLoadBalancer", f"new {kind}", CREATES) for kind in ("ALB", "NLB")),
    ],
    "flow-logs": [Right("logs:PutLogEvents", "flow logs")],
    "cluster": [Right("kms:Encrypt", "cluster key"), Right("kms:Decrypt", "cluster key")],
}
MAY_NOT: dict[str, list[Right]] = {
    "service": [
        OWNER, Right("rds-db:connect", "another database's login"), SECRET, DECRYPT, LOG_IN,
        Right("rds:DescribeDBInstances"), *EKS,
    ],
    "migrate": [
        CONNECT, OWNER, NEW_SECRET, Right("secretsmanager:GetSecretValue", "another secret"), Right("secretsmanager:ListSecrets"),
        Right("kms:Decrypt", "database key", THROUGH_RDS), Right("kms:Decrypt", "database key"),
        Right("kms:Encrypt", "database key", THROUGH_SECRETS), Right("kms:Decrypt", "cluster key", THROUGH_SECRETS), *EKS,
    ],
    "image-updater": [PUT, *UPLOAD, *DELETE, SIGN, SECRET, Right("ecr:BatchGetImage", "another repository")],
    "github-push": [SIGN, VERIFY, *DELETE, *EKS, SECRET, CONNECT, Right("ecr:PutImage", "another repository")],
    "github-sign": [*DELETE, *EKS, SECRET, Right("kms:Sign", "cluster key"), Right("kms:ScheduleKeyDeletion", "signing key")],
    "external-dns": [Right("route53:ChangeResourceRecordSets", "another zone"), Right("route53:DeleteHostedZone", "zone")],
    "cluster-autoscaler": [
        Right("autoscaling:SetDesiredCapacity", "group"), Right("autoscaling:DeleteAutoScalingGroup", "group", OWNED),
        Right("eks:DescribeNodegroup", "another cluster's node group"), Right("ec2:TerminateInstances"), SECRET,
    ],
    "load-balancer-controller": [
        Right("elasticloadbalancing:DeleteLoadBalancer", "load balancer", OTHER),
        Right("elasticloadbalancing:DeleteLoadBalancer", "load balancer"), *EKS, SECRET,
        Right("ec2:DeleteSecurityGroup", "database's security group"), Right("ec2:CreateSecurityGroup", "another vpc"),
    ],
    "flow-logs": [Right("logs:PutLogEvents", "control plane's logs"), Right("logs:DeleteLogGroup", "flow logs")],
    "cluster": [Right("kms:Decrypt", "database key"), Right("kms:ScheduleKeyDeletion", "cluster key"), SECRET],
}  # fmt: skip

KEYS = ("cluster", "database", "signing")
# AWS's own policies, and nobody has more of them.
MANAGED = {
    "aws-ebs-csi-driver": {"AmazonEBSCSIDriverPolicy"},
    "cluster": {"AmazonEKSClusterPolicy"},
    "node": {"AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy"},
    "vpc-cni": {"AmazonEKS_CNI_Policy"},
}


def pairs(rights: dict[str, list[Right]]) -> pytest.MarkDecorator:
    found = [(role, right) for role, wanted in rights.items() for right in wanted]
    return pytest.mark.parametrize(("role", "right"), found, ids=[f"{role} {right.action} {right.on}" for role, right in found])


@pytest.fixture(scope="module")
def roles(dev: Dev) -> dict[str, Role]:
    return {name.removeprefix("sluice-dev-"): role for name, role in rendered.roles(dev.account.aws).items()}


@pytest.fixture(scope="module")
def things(dev: Dev) -> dict[str, str]:
    """ARNs of what was made, and of what lies beside it."""
    aws = dev.account.aws
    aliases = {one["AliasName"]: one.get("TargetKeyId", "") for one in aws.client("kms").list_aliases()["Aliases"]}
    (database,) = aws.client("rds").describe_db_instances()["DBInstances"]
    cluster = aws.client("eks").describe_cluster(name="sluice-dev")["cluster"]
    user = f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser"
    return {
        "*": "*",
        **{f"{name} key": arn("kms", f"key/{aliases[f'alias/sluice-dev-{name}']}") for name in KEYS},
        "repository": arn("ecr", "repository/sluice-dev/sluice"),
        "chart's repository": arn("ecr", "repository/sluice-dev/charts/sluice"),
        "another repository": arn("ecr", "repository/sluice-dev/k8s/pause"),
        "login": f"{user}:{database['DbiResourceId']}/sluice_app",
        "owner's login": f"{user}:{database['DbiResourceId']}/sluice_owner",
        "another database's login": f"{user}:db-ANOTHER/sluice_app",
        "secret": database["MasterUserSecret"]["SecretArn"],
        "another secret": arn("secretsmanager", "secret:other-abcdef"),
        "cluster": cluster["arn"],
        "zone": "arn:aws:route53:::hostedzone/Z0123456789ABCDEFGHIJ",
        "another zone": "arn:aws:route53:::hostedzone/ZANOTHER",
        "group": arn("autoscaling", "autoScalingGroup:7f0c:autoScalingGroupName/eks-general"),
        "node group": arn("eks", "nodegroup/sluice-dev/general-1/7f0c"),
        "another cluster's node group": arn("eks", "nodegroup/other/general-1/7f0c"),
        "new ALB": arn("elasticloadbalancing", "loadbalancer/app/k8s-sluice/1a2b"),
        "new NLB": arn("elasticloadbalancing", "loadbalancer/net/k8s-sluice/1a2b"),
        "load balancer": arn("elasticloadbalancing", "loadbalancer/app/k8s-sluice/7f0c"),
        "vpc": arn("ec2", f"vpc/{cluster['resourcesVpcConfig']['vpcId']}"),
        "another vpc": arn("ec2", "vpc/vpc-other"),
        "database's security group": arn("ec2", f"security-group/{database['VpcSecurityGroups'][0]['VpcSecurityGroupId']}"),
        "flow logs": arn("logs", "log-group:/aws/vpc/sluice-dev/flow:log-stream:eni-1"),
        "control plane's logs": arn("logs", "log-group:/aws/eks/sluice-dev/cluster:log-stream:api"),
    }


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


def may(role: Role, right: Right, things: dict[str, str]) -> bool:
    return allowed(role.own.values(), Request(right.action, things[right.on], context=dict(right.context or {})))


@pairs(MAY)
def test_a_role_may_do_its_work(roles: dict[str, Role], things: dict[str, str], role: str, right: Right) -> None:
    assert may(roles[role], right, things)


@pairs(MAY_NOT)
def test_a_role_may_not_do_the_work_next_to_it(roles: dict[str, Role], things: dict[str, str], role: str, right: Right) -> None:
    assert not may(roles[role], right, things)


def test_every_role_with_a_policy_is_judged(roles: dict[str, Role]) -> None:
    assert MAY.keys() == MAY_NOT.keys() == {name for name, role in roles.items() if role.own}


def test_aws_s_own_policies_are_only_where_eks_asks_for_them(roles: dict[str, Role]) -> None:
    attached = {name: {arn.rsplit("/", 1)[-1] for arn in role.managed} for name, role in roles.items() if role.managed}
    assert attached == MANAGED


def own_statements(roles: dict[str, Role]) -> Iterator[tuple[str, Document]]:
    for name, role in roles.items():
        for document in role.own.values():
            for statement in statements(document):
                yield name, statement


def test_no_statement_takes_every_action_or_excepts_some(roles: dict[str, Role]) -> None:
    for name, statement in own_statements(roles):
        assert "NotAction" not in statement, name
        assert not [action for action in many(statement["Action"]) if "*" in action], name


def test_only_what_reads_has_no_resource_to_name(roles: dict[str, Role]) -> None:
    for name, statement in own_statements(roles):
        if "*" in many(statement["Resource"]):
            assert [action for action in many(statement["Action"]) if not READS.fullmatch(action)] == [], name


@pytest.fixture(scope="module")
def keys(dev: Dev) -> dict[str, Document]:
    return {name.removeprefix("sluice-dev-"): policy for name, policy in rendered.keys(dev.account.aws).items()}


LOGS = Principal("Service", f"logs.{REGION}.amazonaws.com")


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("/aws/eks/sluice-dev/cluster", True),
        ("/aws/rds/instance/sluice-dev/postgresql", True),
        ("/aws/vpc/sluice-dev/flow", True),
        ("/aws/eks/sluice-prod/cluster", False),
        ("/another", False),
    ],
)
def test_cloudwatch_uses_the_logs_key_for_our_groups_only(keys: dict[str, Document], group: str, expected: bool) -> None:
    context = {"kms:EncryptionContext:aws:logs:arn": arn("logs", f"log-group:{group}")}
    assert allowed([keys["logs"]], Request("kms:GenerateDataKey", principal=LOGS, context=context)) is expected
    assert not allowed([keys["database"]], Request("kms:GenerateDataKey", principal=LOGS, context=context))


@pytest.mark.parametrize(
    ("account", "service", "expected"),
    [(ACCOUNT, "ec2", True), (ACCOUNT, "rds", False), ("999999999999", "ec2", False)],
)
def test_disks_are_encrypted_through_ec2_in_this_account_only(
    keys: dict[str, Document], account: str, service: str, expected: bool
) -> None:
    """By the statement that is about disks; the one before it leaves the key's use to the account's own policies."""
    (disks,) = (one for one in statements(keys["cluster"]) if one["Sid"] == "DisksThroughEc2")
    context = {"kms:CallerAccount": account, "kms:ViaService": f"{service}.{REGION}.amazonaws.com"}
    asking = Request("kms:CreateGrant", principal=Principal("AWS", f"arn:aws:iam::{account}:role/any"), context=context)
    assert allowed([{"Version": "2012-10-17", "Statement": disks}], asking) is expected
