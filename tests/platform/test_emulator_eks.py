"""What the emulator adds to moto's EKS, each operation against the shape and the words of AWS's API reference."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.platform.emulator.process import ACCOUNT, REGION, Emulator
from tests.platform.shapes import absent

ROLE = f"arn:aws:iam::{ACCOUNT}:role/path/developers"
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
EVERYWHERE = {"type": "cluster"}
# What an update has besides when somebody cancelled it.
NOT_CANCELLED = {"update.cancellation"}
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def eks(aws: Emulator) -> Any:
    return aws.client("eks")


@pytest.fixture(scope="module")
def subnets(aws: Emulator) -> list[str]:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    return [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{part}.0/24")["Subnet"]["SubnetId"] for part in range(2)]


@pytest.fixture
def cluster(eks: Any, subnets: list[str]) -> Iterator[str]:
    """The name of a cluster of the test's own."""
    name = f"cluster{next(NUMBERS)}"
    eks.create_cluster(
        name=name,
        version="1.35",
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/cluster",
        resourcesVpcConfig={"subnetIds": subnets, "endpointPrivateAccess": True, "endpointPublicAccess": False},
        accessConfig={"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False},
        upgradePolicy={"supportType": "STANDARD"},
    )
    yield name
    for group in eks.list_nodegroups(clusterName=name)["nodegroups"]:
        eks.delete_nodegroup(clusterName=name, nodegroupName=group)
    eks.delete_cluster(name=name)


def described(eks: Any, cluster: str) -> dict[str, Any]:
    found: dict[str, Any] = eks.describe_cluster(name=cluster)["cluster"]
    return found


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_a_cluster_tells_what_it_was_made_with(eks: Any, cluster: str, subnets: list[str]) -> None:
    told = described(eks, cluster)
    assert told["accessConfig"] == {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
    assert told["upgradePolicy"] == {"supportType": "STANDARD"}
    assert told["kubernetesNetworkConfig"] == {"ipFamily": "ipv4", "serviceIpv4Cidr": "172.20.0.0/16"}
    network = told["resourcesVpcConfig"]
    assert (network["subnetIds"], network["endpointPublicAccess"], network["publicAccessCidrs"]) == (subnets, False, [])
    assert network["vpcId"].startswith("vpc-")


def test_a_cluster_that_says_nothing_gets_the_documented_defaults(eks: Any, subnets: list[str]) -> None:
    eks.create_cluster(name="plain", roleArn=ROLE, resourcesVpcConfig={"subnetIds": subnets})
    told = described(eks, "plain")
    eks.delete_cluster(name="plain")
    assert told["accessConfig"] == {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True}
    assert told["upgradePolicy"] == {"supportType": "EXTENDED"}
    assert told["resourcesVpcConfig"]["publicAccessCidrs"] == ["0.0.0.0/0"]


def test_a_cluster_s_security_group_comes_and_goes_with_it(aws: Emulator, eks: Any, subnets: list[str]) -> None:
    eks.create_cluster(name="brief", roleArn=ROLE, resourcesVpcConfig={"subnetIds": subnets})
    group = described(eks, "brief")["resourcesVpcConfig"]["clusterSecurityGroupId"]
    ec2 = aws.client("ec2")
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["GroupName"].startswith("eks-cluster-sg-brief-")
    eks.delete_cluster(name="brief")
    with pytest.raises(ClientError):
        ec2.describe_security_groups(GroupIds=[group])


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"resourcesVpcConfig": {"endpointPublicAccess": True, "publicAccessCidrs": ["192.0.2.0/24"]}}, "VpcConfigUpdate"),
        ({"logging": {"clusterLogging": [{"types": ["api"], "enabled": True}]}}, "LoggingUpdate"),
        ({"accessConfig": {"authenticationMode": "API"}}, "AccessConfigUpdate"),
        ({"upgradePolicy": {"supportType": "EXTENDED"}}, "UpgradePolicyUpdate"),
        ({"zonalShiftConfig": {"enabled": True}}, "ZonalShiftConfigUpdate"),
    ],
)
def test_a_change_of_a_cluster_is_answered_with_an_update(eks: Any, cluster: str, change: dict[str, Any], kind: str) -> None:
    answer = eks.update_cluster_config(name=cluster, **change)
    assert absent(eks, "UpdateClusterConfig", answer) == NOT_CANCELLED
    assert (answer["update"]["type"], answer["update"]["status"]) == (kind, "Successful")
    ((name, value),) = change.items()
    told = described(eks, cluster)[name]
    assert told == value or value.items() <= told.items()


def test_a_change_of_the_network_leaves_the_rest_of_it(eks: Any, cluster: str, subnets: list[str]) -> None:
    before = described(eks, cluster)["resourcesVpcConfig"]
    eks.update_cluster_config(name=cluster, resourcesVpcConfig={"endpointPrivateAccess": False})
    assert described(eks, cluster)["resourcesVpcConfig"] == {**before, "endpointPrivateAccess": False}


def test_a_new_version_is_an_update_that_can_be_asked_for(eks: Any, cluster: str) -> None:
    update = eks.update_cluster_version(name=cluster, version="1.36")["update"]
    assert (described(eks, cluster)["version"], update["type"]) == ("1.36", "VersionUpdate")
    answer = eks.describe_update(name=cluster, updateId=update["id"])
    assert absent(eks, "DescribeUpdate", answer) == NOT_CANCELLED
    assert answer["update"] == update


def test_an_update_that_never_was_is_not_found(eks: Any, cluster: str) -> None:
    with pytest.raises(ClientError) as caught:
        eks.describe_update(name=cluster, updateId="none")
    assert code_of(caught) == "ResourceNotFoundException"


def node_group(eks: Any, cluster: str, subnets: list[str], **more: Any) -> dict[str, Any]:
    role = f"arn:aws:iam::{ACCOUNT}:role/node"
    made: dict[str, Any] = eks.create_nodegroup(
        clusterName=cluster, nodegroupName="general", subnets=subnets, nodeRole=role, **more
    )["nodegroup"]
    return made


def test_a_node_group_follows_its_cluster_and_makes_nothing_up(eks: Any, cluster: str, subnets: list[str]) -> None:
    made = node_group(eks, cluster, subnets, nodeRepairConfig={"enabled": True})
    assert (made["version"], made["releaseVersion"][:5], made["updateConfig"]) == ("1.35", "1.35.", {"maxUnavailable": 1})
    assert made["nodeRepairConfig"] == {"enabled": True}
    assert not {"remoteAccess", "diskSize"} & made.keys()


def test_a_node_group_keeps_what_it_is_told(eks: Any, cluster: str, subnets: list[str]) -> None:
    given = {"version": "1.34", "diskSize": 30, "updateConfig": {"maxUnavailablePercentage": 33}}
    made = node_group(eks, cluster, subnets, **given)
    assert given.items() <= made.items()


def test_a_node_group_s_change_is_an_update_that_can_be_asked_for(eks: Any, cluster: str, subnets: list[str]) -> None:
    node_group(eks, cluster, subnets)
    answer = eks.update_nodegroup_config(
        clusterName=cluster, nodegroupName="general", scalingConfig={"minSize": 1, "maxSize": 3, "desiredSize": 2}
    )
    assert absent(eks, "UpdateNodegroupConfig", answer) == NOT_CANCELLED
    asked = eks.describe_update(name=cluster, nodegroupName="general", updateId=answer["update"]["id"])
    assert asked["update"]["type"] == "ConfigUpdate"
    told = eks.describe_nodegroup(clusterName=cluster, nodegroupName="general")["nodegroup"]
    assert told["scalingConfig"]["maxSize"] == 3


def test_a_node_group_without_a_version_goes_to_its_cluster_s(eks: Any, cluster: str, subnets: list[str]) -> None:
    node_group(eks, cluster, subnets)
    eks.update_cluster_version(name=cluster, version="1.36")
    answer = eks.update_nodegroup_version(clusterName=cluster, nodegroupName="general")
    assert absent(eks, "UpdateNodegroupVersion", answer) == NOT_CANCELLED
    told = eks.describe_nodegroup(clusterName=cluster, nodegroupName="general")["nodegroup"]
    assert (told["version"], told["releaseVersion"][:5]) == ("1.36", "1.36.")


def test_an_access_entry_has_the_documented_shape(eks: Any, cluster: str) -> None:
    answer = eks.create_access_entry(clusterName=cluster, principalArn=ROLE, tags={"a": "b"})
    assert absent(eks, "CreateAccessEntry", answer) == set()
    entry = answer["accessEntry"]
    assert (entry["username"], entry["type"], entry["tags"], entry["kubernetesGroups"]) == (ROLE, "STANDARD", {"a": "b"}, [])
    assert entry["accessEntryArn"].startswith(
        f"arn:aws:eks:{REGION}:{ACCOUNT}:access-entry/{cluster}/role/{ACCOUNT}/path/developers/"
    )
    assert eks.describe_access_entry(clusterName=cluster, principalArn=ROLE)["accessEntry"] == entry
    assert eks.list_access_entries(clusterName=cluster)["accessEntries"] == [ROLE]


def test_a_principal_has_one_access_entry(eks: Any, cluster: str) -> None:
    eks.create_access_entry(clusterName=cluster, principalArn=ROLE)
    with pytest.raises(ClientError) as caught:
        eks.create_access_entry(clusterName=cluster, principalArn=ROLE)
    assert code_of(caught) == "ResourceInUseException"


def test_an_access_entry_can_be_changed_and_deleted(eks: Any, cluster: str) -> None:
    eks.create_access_entry(clusterName=cluster, principalArn=ROLE)
    changed = eks.update_access_entry(clusterName=cluster, principalArn=ROLE, kubernetesGroups=["readers"])
    assert absent(eks, "UpdateAccessEntry", changed) == set()
    assert changed["accessEntry"]["kubernetesGroups"] == ["readers"]
    eks.delete_access_entry(clusterName=cluster, principalArn=ROLE)
    with pytest.raises(ClientError) as caught:
        eks.describe_access_entry(clusterName=cluster, principalArn=ROLE)
    assert code_of(caught) == "ResourceNotFoundException"


def test_an_access_policy_is_associated_once_with_its_last_scope(eks: Any, cluster: str) -> None:
    who = {"clusterName": cluster, "principalArn": ROLE}
    eks.create_access_entry(**who)
    answer = eks.associate_access_policy(**who, policyArn=VIEW, accessScope=EVERYWHERE)
    assert absent(eks, "AssociateAccessPolicy", answer) == {"associatedAccessPolicy.accessScope.namespaces"}
    narrow = {"type": "namespace", "namespaces": ["sluice"]}
    eks.associate_access_policy(**who, policyArn=VIEW, accessScope=narrow)
    listed = eks.list_associated_access_policies(**who)
    assert absent(eks, "ListAssociatedAccessPolicies", listed) == {"nextToken"}
    assert [(one["policyArn"], one["accessScope"]) for one in listed["associatedAccessPolicies"]] == [(VIEW, narrow)]


def test_an_access_policy_can_be_taken_away(eks: Any, cluster: str) -> None:
    who = {"clusterName": cluster, "principalArn": ROLE}
    eks.create_access_entry(**who)
    eks.associate_access_policy(**who, policyArn=VIEW, accessScope=EVERYWHERE)
    eks.disassociate_access_policy(**who, policyArn=VIEW)
    assert eks.list_associated_access_policies(**who)["associatedAccessPolicies"] == []


# Members that an add-on has only when it was given them, and those of add-ons that are bought.
OPTIONAL = {"configurationValues", "marketplaceInformation", "namespaceConfig", "owner", "podIdentityAssociations", "publisher"}


def test_an_addon_has_the_documented_shape(eks: Any, cluster: str) -> None:
    answer = eks.create_addon(clusterName=cluster, addonName="coredns", serviceAccountRoleArn=ROLE)
    assert {name.removeprefix("addon.") for name in absent(eks, "CreateAddon", answer)} <= OPTIONAL
    addon = answer["addon"]
    assert (addon["status"], addon["addonVersion"], addon["serviceAccountRoleArn"]) == ("ACTIVE", "v1.35.1-eksbuild.1", ROLE)
    assert addon["addonArn"].startswith(f"arn:aws:eks:{REGION}:{ACCOUNT}:addon/{cluster}/coredns/")
    assert eks.describe_addon(clusterName=cluster, addonName="coredns")["addon"] == addon
    assert eks.list_addons(clusterName=cluster)["addons"] == ["coredns"]


def test_an_addon_is_there_once(eks: Any, cluster: str) -> None:
    eks.create_addon(clusterName=cluster, addonName="coredns")
    with pytest.raises(ClientError) as caught:
        eks.create_addon(clusterName=cluster, addonName="coredns")
    assert code_of(caught) == "ResourceInUseException"


def test_an_addon_s_change_is_an_update_that_can_be_asked_for(eks: Any, cluster: str) -> None:
    eks.create_addon(clusterName=cluster, addonName="vpc-cni")
    answer = eks.update_addon(clusterName=cluster, addonName="vpc-cni", configurationValues="{}")
    assert absent(eks, "UpdateAddon", answer) == NOT_CANCELLED
    asked = eks.describe_update(name=cluster, addonName="vpc-cni", updateId=answer["update"]["id"])
    assert asked["update"]["type"] == "AddonUpdate"
    assert eks.describe_addon(clusterName=cluster, addonName="vpc-cni")["addon"]["configurationValues"] == "{}"


def test_a_deleted_addon_is_not_found(eks: Any, cluster: str) -> None:
    eks.create_addon(clusterName=cluster, addonName="vpc-cni")
    assert eks.delete_addon(clusterName=cluster, addonName="vpc-cni")["addon"]["status"] == "DELETING"
    with pytest.raises(ClientError) as caught:
        eks.describe_addon(clusterName=cluster, addonName="vpc-cni")
    assert code_of(caught) == "ResourceNotFoundException"


def test_versions_of_an_addon_name_one_default(eks: Any) -> None:
    answer = eks.describe_addon_versions(addonName="coredns", kubernetesVersion="1.36")
    ((addon, versions),) = [(one["addonName"], one["addonVersions"]) for one in answer["addons"]]
    defaults = [one["addonVersion"] for one in versions if one["compatibilities"][0]["defaultVersion"]]
    assert (addon, len(versions), defaults) == ("coredns", 2, ["v1.36.1-eksbuild.1"])
    bought = {"marketplaceInformation", "defaultNamespace"}
    per_version = {"addonVersions.computeTypes", "addonVersions.requiresConfiguration", "addonVersions.requiresIamPermissions"}
    assert absent(eks, "DescribeAddonVersions", answer) == {"nextToken"} | {f"addons.{name}" for name in bought | per_version}


def association(eks: Any, cluster: str) -> dict[str, Any]:
    answer: dict[str, Any] = eks.create_pod_identity_association(
        clusterName=cluster, namespace="sluice", serviceAccount="sluice", roleArn=ROLE
    )
    return answer


def test_an_association_has_the_documented_shape(eks: Any, cluster: str) -> None:
    answer = association(eks, cluster)
    # Of associations that add-ons make, and of roles in other accounts.
    special = {"ownerArn", "disableSessionTags", "targetRoleArn", "externalId", "policy"}
    assert absent(eks, "CreatePodIdentityAssociation", answer) <= {f"association.{name}" for name in special}
    made = answer["association"]
    assert made["associationArn"] == f"arn:aws:eks:{REGION}:{ACCOUNT}:podidentityassociation/{cluster}/{made['associationId']}"
    asked = eks.describe_pod_identity_association(clusterName=cluster, associationId=made["associationId"])
    assert asked["association"] == made


def test_a_list_of_associations_tells_no_roles(eks: Any, cluster: str) -> None:
    association(eks, cluster)
    answer = eks.list_pod_identity_associations(clusterName=cluster, namespace="sluice")
    assert absent(eks, "ListPodIdentityAssociations", answer) == {"nextToken", "associations.ownerArn"}
    assert eks.list_pod_identity_associations(clusterName=cluster, namespace="other")["associations"] == []


def test_a_service_account_has_one_association(eks: Any, cluster: str) -> None:
    association(eks, cluster)
    with pytest.raises(ClientError) as caught:
        association(eks, cluster)
    assert code_of(caught) == "ResourceInUseException"


def test_an_association_can_get_another_role_and_go(eks: Any, cluster: str) -> None:
    where = {"clusterName": cluster, "associationId": association(eks, cluster)["association"]["associationId"]}
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    assert eks.update_pod_identity_association(**where, roleArn=other)["association"]["roleArn"] == other
    assert eks.delete_pod_identity_association(**where)["association"]["roleArn"] == other
    with pytest.raises(ClientError) as caught:
        eks.describe_pod_identity_association(**where)
    assert code_of(caught) == "ResourceNotFoundException"


def test_everything_can_be_tagged(eks: Any, cluster: str, subnets: list[str]) -> None:
    arns = [
        described(eks, cluster)["arn"],
        node_group(eks, cluster, subnets)["nodegroupArn"],
        eks.create_access_entry(clusterName=cluster, principalArn=ROLE)["accessEntry"]["accessEntryArn"],
        eks.create_addon(clusterName=cluster, addonName="coredns")["addon"]["addonArn"],
        association(eks, cluster)["association"]["associationArn"],
    ]
    for arn in arns:
        eks.tag_resource(resourceArn=arn, tags={"one": "1", "two": "2"})
        eks.untag_resource(resourceArn=arn, tagKeys=["one"])
        assert eks.list_tags_for_resource(resourceArn=arn)["tags"] == {"two": "2"}


def test_tags_of_nothing_are_not_found(eks: Any) -> None:
    with pytest.raises(ClientError) as caught:
        eks.list_tags_for_resource(resourceArn=f"arn:aws:eks:{REGION}:{ACCOUNT}:addon/none/none/none")
    assert code_of(caught) == "NotFoundException"
