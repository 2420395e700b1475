"""Sluice logs in with what this Terraform made: the owner's secret for the migration, IAM tokens for the service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import yaml
from tests.chart.manifests import of_kind, parse
from tests.chart.render import merged, template
from tests.conftest import PARTS, require
from tests.integration import postgres
from tests.integration.postgres import LocalServer
from tests.integration.waiting import until
from tests.platform.conftest import Dev
from tests.platform.emulator.process import ACCOUNT, REGION
from tests.platform.test_handover import REST

from sluice.settings import Settings
from sluice.stores.postgresql import login

HBA = b"local all all trust\nhost all postgres all trust\nhost all all all scram-sha-256\n"


# Of RDS's image, or of its size.
RDS_ONLY = ("rds.", "pgaudit.", "shared_preload_libraries", "max_connections")


def parameters(dev: Dev) -> dict[str, str]:
    """What Terraform set of PostgreSQL's own parameters."""
    found = dev.account.aws.client("rds").describe_db_parameters(DBParameterGroupName="sluice-dev-postgres17", Source="user")
    given = {one["ParameterName"]: one["ParameterValue"] for one in found["Parameters"]}
    return {name: value for name, value in given.items() if not name.startswith(RDS_ONLY)}


@pytest.fixture(scope="module")
def server(dev: Dev) -> Iterator[LocalServer]:
    """A PostgreSQL that logs as Terraform says and asks for passwords, with the role that RDS brings along and without ours."""
    require("embedded PostgreSQL", PARTS["embedded PostgreSQL"])
    folder = postgres.temporary_folder()
    local = LocalServer(postgres.make_pristine(folder))
    try:
        local.start(hba_file=str(local.write("hba", HBA)), **parameters(dev))
        local.execute(f"DROP DATABASE {postgres.TEMPLATE}")
        local.execute(f"DROP ROLE {postgres.APP}")
        local.execute("CREATE ROLE rds_iam NOLOGIN")
        yield local
    finally:
        local.remove()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def secret_arn(dev: Dev) -> str:
    return str(dev.account.terraform.output("database")["owner_secret_arn"])


def secret(dev: Dev, arn: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(dev.account.aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])
    return found


def obey(server: LocalServer, owner: dict[str, str]) -> None:
    """What RDS does when it makes or rotates the password: the owner may make roles and hand out rds_iam, and is no superuser."""
    name = owner["username"]
    if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]):
        server.execute(f"CREATE ROLE {name} LOGIN CREATEROLE; GRANT rds_iam TO {name} WITH ADMIN OPTION")
        server.execute(f"CREATE DATABASE sluice OWNER {name}")
    ((text,),) = server.execute("SELECT format('ALTER ROLE %%I PASSWORD %%L', %s::text, %s::text)", [name, owner["password"]])
    server.execute(text)


def migrate(dev: Dev, server: LocalServer, arn: str) -> subprocess.CompletedProcess[str]:
    place = {"DB_HOST": "127.0.0.1", "DB_PORT": str(server.port), "DB_NAME": "sluice", "DATABASE_SECRET_ARN": arn}
    place["GRANT_RDS_IAM"] = "true"
    environment = {"PATH": os.environ["PATH"], **dev.account.aws.environment, **place}
    command = [sys.executable, "-m", "sluice", "migrate"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_migrate_logs_in_with_the_secret_that_terraform_made(dev: Dev, server: LocalServer, secret_arn: str) -> None:
    obey(server, secret(dev, secret_arn))
    done = migrate(dev, server, secret_arn)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["the schema is up to date"]), done.stderr
    ((owner,),) = server.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'events'", database="sluice")
    assert owner == "sluice_owner"
    assert server.execute("SELECT pg_has_role('sluice_app', 'rds_iam', 'member')") == [(True,)], "the service may use tokens"


def test_migrate_logs_in_after_the_password_was_rotated(dev: Dev, server: LocalServer, secret_arn: str) -> None:
    before = secret(dev, secret_arn)
    obey(server, before)
    rds = dev.account.aws.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier="sluice-dev", RotateMasterUserPassword=True, ApplyImmediately=True)
    after = secret(dev, secret_arn)
    obey(server, after)
    done = migrate(dev, server, secret_arn)
    assert before["password"] != after["password"]
    assert done.returncode == 0, done.stderr
    assert after["password"] not in done.stdout + done.stderr


def test_a_rotated_password_is_no_drift(dev: Dev) -> None:
    """It runs after the rotation above, and holds before it too."""
    version = dev.account.aws.client("eks").describe_cluster(name="sluice-dev")["cluster"]["version"]
    assert dev.account.terraform.plan("dev", {"kubernetes_version": version}).changes == []


def test_no_password_reaches_the_log(server: LocalServer) -> None:
    """Neither from a statement that worked nor from one that failed; RDS sends the log to CloudWatch."""
    server.execute("ALTER ROLE rds_iam PASSWORD 'worked-in-vain'")
    with pytest.raises(psycopg.errors.UndefinedObject):
        server.execute("ALTER ROLE nobody PASSWORD 'failed-in-vain'")
    assert "in-vain" not in server.log
    assert 'role "nobody" does not exist' in server.log


@pytest.fixture(scope="module")
def environment(dev: Dev) -> dict[str, str]:
    """What the chart gives the service's container about its database, from Terraform's own values."""
    values: dict[str, Any] = yaml.safe_load(dev.account.terraform.output("helm_values"))
    (deployment,) = of_kind(parse(template(merged(values, REST))), "Deployment")
    (container, *_) = deployment["spec"]["template"]["spec"]["containers"]
    names = ("DB_", "DATABASE_", "AWS_")
    return {one["name"]: one["value"] for one in container["env"] if one["name"].startswith(names) and "value" in one}


@pytest.fixture
def service(dev: Dev, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> login.Login:
    for name, value in {**dev.account.aws.environment, **environment}.items():
        monkeypatch.setenv(name, value)
    return login.of_service(Settings.from_env(environment))


def test_the_service_s_token_is_for_the_database_that_was_made(dev: Dev, service: login.Login) -> None:
    made = dev.account.terraform.output("database")
    given = service()
    token = urlsplit(f"//{given['password']}")
    asked = parse_qs(token.query)
    assert token.netloc == f"{made['host']}:{made['port']}"
    assert (asked["DBUser"], asked["Action"], asked["X-Amz-Expires"]) == (["sluice_app"], ["connect"], ["900"])
    assert asked["X-Amz-Credential"][0].split("/")[2:] == [REGION, "rds-db", "aws4_request"]
    assert (given["user"], given["dbname"], given["sslmode"]) == ("sluice_app", made["name"], "verify-full")


def test_the_service_s_user_is_the_one_that_its_role_may_be(dev: Dev, service: login.Login) -> None:
    document = dev.account.aws.client("iam").get_role_policy(RoleName="sluice-dev-service", PolicyName="sluice")["PolicyDocument"]
    (database,) = dev.account.aws.client("rds").describe_db_instances()["DBInstances"]
    (statement,) = document["Statement"]
    login_arn = f"arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:{database['DbiResourceId']}/{service()['user']}"
    assert statement["Resource"] == login_arn
    assert database["IAMDatabaseAuthenticationEnabled"] is True


def test_every_new_connection_gets_a_new_token(service: login.Login) -> None:
    """A token holds the second in which it was signed."""
    first = service()["password"]
    until(lambda: service()["password"] != first, 5, "a second passes")
