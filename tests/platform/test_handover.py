"""What Terraform hands over fits those who take it: the chart's closed schema, its ServiceAccounts, and Argo CD's templates."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
import yaml
from tests.chart.manifests import Object, of_kind, parse
from tests.chart.render import Refused, merged, template
from tests.platform.conftest import Dev
from tests.platform.terraform import FOLDER

# What Terraform cannot know: which image, and where API keys come from.
REST = {"image": {"digest": "sha256:" + "0" * 64}, "auth": {"existingSecret": "sluice-keys"}, "operator": {"enabled": False}}
ARGO = "argocd.argoproj.io/secret-type"


@pytest.fixture(scope="module")
def helm_values(dev: Dev) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(dev.account.terraform.output("helm_values"))
    return values


@pytest.fixture(scope="module")
def secret(dev: Dev) -> Object:
    (found,) = parse(dev.account.terraform.output("argocd_cluster_secret"))
    return found


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "handover.schema.json").read_text(encoding="utf-8"))
    return found


def test_the_chart_takes_the_values_as_they_are(helm_values: dict[str, Any]) -> None:
    settings = parse(template(merged(helm_values, REST)))
    (deployment,) = of_kind(settings, "Deployment")
    (container, *_) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    database = helm_values["database"]
    assert (environment["DB_HOST"], environment["DATABASE_IAM_AUTH"]) == (database["host"], "true")
    assert container["image"].startswith(f"{helm_values['image']['repository']}@sha256:")


def test_the_chart_refuses_a_value_that_it_does_not_know(helm_values: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="databasePort"):
        template(merged(helm_values, {**REST, "databasePort": 5432}))


def test_the_pool_guard_counts_with_the_database_s_own_number(dev: Dev, helm_values: dict[str, Any]) -> None:
    parameters = dev.account.aws.client("rds").describe_db_parameters(DBParameterGroupName="sluice-dev-postgres17", Source="user")
    number = {one["ParameterName"]: one["ParameterValue"] for one in parameters["Parameters"]}["max_connections"]
    assert str(helm_values["database"]["maxConnections"]) == number
    with pytest.raises(Refused, match="maxConnections"):
        template(merged(helm_values, {**REST, "replicaCount": 50}))


def accounts(text: str) -> set[tuple[str, str]]:
    """The ServiceAccounts that pods run as, with their namespaces."""
    made = of_kind(parse(text), "ServiceAccount")
    return {(one["metadata"].get("namespace", "sluice"), one["metadata"]["name"]) for one in made}


def test_roles_are_bound_to_the_chart_s_own_service_accounts(dev: Dev, helm_values: dict[str, Any], secret: Object) -> None:
    eks = dev.account.aws.client("eks")
    bound = {
        (one["namespace"], one["serviceAccount"])
        for one in eks.list_pod_identity_associations(clusterName="sluice-dev", namespace="sluice")["associations"]
    }
    rendered = accounts(
        template(merged(helm_values, {**REST, "operator": {"enabled": True}}), arguments=("--namespace", "sluice"))
    )
    told = secret["metadata"]["annotations"]
    assert bound <= rendered
    assert rendered - bound == {("sluice", told["operator_service_account"])}, "the operator has no role"


def test_the_cluster_s_secret_has_every_key_of_the_schema_and_no_other(secret: Object, schema: dict[str, Any]) -> None:
    jsonschema_rs.validator_for(schema).validate(secret)
    metadata = schema["properties"]["metadata"]["properties"]
    for part in ("annotations", "labels"):
        assert secret["metadata"][part].keys() == metadata[part]["properties"].keys() == set(metadata[part]["required"])
    assert metadata["annotations"]["additionalProperties"] is metadata["labels"]["additionalProperties"] is False


def test_argo_cd_finds_the_cluster_and_reads_strings_only(secret: Object) -> None:
    assert secret["metadata"]["labels"][ARGO] == "cluster"
    values = [*secret["metadata"]["annotations"].values(), *secret["metadata"]["labels"].values()]
    assert all(isinstance(value, str) for value in values)


def test_the_secret_reports_what_was_made(dev: Dev, secret: Object) -> None:
    told = secret["metadata"]["annotations"]
    network = dev.account.aws.client("eks").describe_cluster(name="sluice-dev")["cluster"]["resourcesVpcConfig"]
    assert (told["vpc_id"], told["cluster_security_group_id"]) == (network["vpcId"], network["clusterSecurityGroupId"])
    assert set(told["private_subnet_ids"].split(",")) == set(network["subnetIds"])
    roles = {one["Arn"] for one in dev.account.aws.client("iam").list_roles(MaxItems=1000)["Roles"]}
    assert {value for key, value in told.items() if key.endswith("_role_arn") and value} <= roles


def test_a_controller_is_enabled_where_it_has_a_role(secret: Object) -> None:
    labels, told = secret["metadata"]["labels"], secret["metadata"]["annotations"]
    enabled = {key.removeprefix("enable_"): value for key, value in labels.items() if key.startswith("enable_")}
    assert enabled == {name: str(bool(told[f"{name}_role_arn"])).lower() for name in enabled}
    assert set(enabled.values()) == {"true"}


def test_no_secret_leaves_terraform(dev: Dev) -> None:
    """Not in an output and not in the state: RDS keeps the password itself."""
    aws = dev.account.aws
    (database,) = aws.client("rds").describe_db_instances()["DBInstances"]
    text = aws.client("secretsmanager").get_secret_value(SecretId=database["MasterUserSecret"]["SecretArn"])["SecretString"]
    password = json.loads(text)["password"]
    state = dev.account.terraform.run("state", "pull").stdout
    assert '"aws_db_instance"' in state
    assert password not in state
