"""How the service reaches its database: passwords that rotate, TLS that is verified, tokens and secrets of AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import boto3
import pytest
from moto import mock_aws
from tests.certificates import Authority
from tests.conftest import Part, require
from tests.integration import postgres
from tests.integration.conftest import OpenStore, ready, reason
from tests.integration.postgres import APP, APP_PASSWORD, Database, LocalServer
from tests.integration.sample import NOW, row, rows
from tests.integration.waiting import until

from sluice import errors
from sluice.filters import Filter
from sluice.settings import Settings
from sluice.stores.postgresql import inspection, login, migrate

HOST = "db.sluice.test"
CANARY = "canary-7c1d"
# Only the superuser of the tests needs no password.
HBA = b"""
local all all trust
host all postgres all trust
host all all all scram-sha-256
"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def strict_server(pristine: Path) -> Iterator[LocalServer]:
    """A server that asks for passwords."""
    server = LocalServer(pristine)
    try:
        server.start(hba_file=str(server.write("hba", HBA)))
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def tls_server(pristine_with_tls: Path, authority: Authority) -> Iterator[LocalServer]:
    """A server that speaks TLS as db.sluice.test and asks for passwords."""
    server = LocalServer(pristine_with_tls, postgres.installed())
    certificate, key = authority.sign(HOST)
    files = {"hba_file": HBA, "ssl_cert_file": certificate.encode(), "ssl_key_file": key.encode()}
    try:
        server.start(ssl="on", **{name: str(server.write(name, content)) for name, content in files.items()})
        yield server
    finally:
        server.remove()


@pytest.fixture
def tls(tls_server: LocalServer) -> Iterator[Database]:
    """A migrated database on `tls_server`."""
    with tls_server.database() as database:
        yield database


@pytest.fixture
def strict(strict_server: LocalServer) -> Iterator[Database]:
    """A migrated database on `strict_server`."""
    with strict_server.database() as database:
        yield database


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_text(authority.certificate)
    return str(path)


def remote(database: Database, host: str = HOST) -> str:
    """A URL whose host is no loopback name, reached on loopback all the same."""
    place = f"host={host}&hostaddr=127.0.0.1&port={urlsplit(database.url).port}"
    return f"postgresql://{APP}:{APP_PASSWORD}@/{database.name}?{place}"


def service(**env: str) -> login.Login:
    return login.of_service(Settings.from_env(env))


def refusal(of: login.Login) -> str:
    """The reason that a look at the database ends with."""
    with pytest.raises(errors.StoreUnavailable) as caught:
        inspection.inspect(of)
    assert APP_PASSWORD not in f"{caught.value!r} {caught.value}"
    return caught.value.reason


def encrypted(database: Database) -> set[bool]:
    """Whether the service's sessions are encrypted."""
    text = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = current_database() AND usename = %s"
    return {ssl for (ssl,) in database.execute(text, [APP])}


def test_a_host_that_is_not_loopback_is_verified_by_default(tls: Database, ca_file: str, open_store: OpenStore) -> None:
    store = ready(open_store(service(DATABASE_URL=remote(tls), DATABASE_CA_FILE=ca_file)))
    store.insert([row("a")], NOW)
    assert tls.ids() == ["a"]
    assert encrypted(tls) == {True}


def test_a_certificate_of_another_authority_is_refused(tls: Database, tmp_path: Path) -> None:
    path = tmp_path / "other.pem"
    path.write_text(Authority().certificate)
    assert refusal(service(DATABASE_URL=remote(tls), DATABASE_CA_FILE=str(path))) == "tls_refused"


def test_a_certificate_of_another_host_is_refused(tls: Database, ca_file: str) -> None:
    assert refusal(service(DATABASE_URL=remote(tls, "other.sluice.test"), DATABASE_CA_FILE=ca_file)) == "tls_refused"


def test_without_a_ca_file_the_system_s_trust_decides(tls: Database) -> None:
    assert refusal(service(DATABASE_URL=remote(tls))) == "tls_refused"


def test_a_server_without_tls_is_refused_where_it_is_verified(private_database: Database, ca_file: str) -> None:
    assert refusal(service(DATABASE_URL=remote(private_database), DATABASE_CA_FILE=ca_file)) == "tls_refused"


@pytest.mark.parametrize(("mode", "name"), [("require", "other.test"), ("verify-ca", "other.test"), ("verify-full", HOST)])
def test_db_ssl_mode_may_say_less(tls: Database, ca_file: str, mode: str, name: str) -> None:
    env = {"DATABASE_URL": remote(tls, name), "DATABASE_CA_FILE": ca_file, "DB_SSL_MODE": mode}
    assert inspection.inspect(service(**env)).missing == []


def test_sslmode_in_the_url_counts_and_db_ssl_mode_counts_more(tls: Database) -> None:
    url = f"{remote(tls)}&sslmode=require"
    assert inspection.inspect(service(DATABASE_URL=url)).missing == []
    assert refusal(service(DATABASE_URL=url, DB_SSL_MODE="verify-full")) == "tls_refused"


def test_loopback_may_be_asked_to_verify_too(tls: Database, ca_file: str) -> None:
    env = {"DATABASE_URL": f"{tls.url}?sslmode=verify-full", "DATABASE_CA_FILE": ca_file}
    assert refusal(service(**env)) == "tls_refused"


def test_an_older_postgresql_serves_too(tls: Database, open_store: OpenStore) -> None:
    store = ready(open_store(tls.login))
    found = store.insert([row("a"), row("b"), row("a")], NOW)
    assert [outcome.status for outcome in found] == ["created", "created", "duplicate"]
    assert len(list(store.export(Filter()))) == len(store.page(Filter(page_size=1)).logs) == 1
    assert store.purge(NOW + timedelta(days=1), NOW, 1) == (1, 0)
    assert tls.ids() == ["b"]


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://u@localhost/d", "prefer"), ("postgresql://u@127.0.0.1/d", "prefer"), ("postgresql://u@[::1]/d", "prefer"),
        ("postgresql://u@/d?host=/run/postgresql", "prefer"), ("postgresql://u@%2Frun%2Fpg/d", "prefer"),
        ("postgresql:///d", "prefer"),
        ("postgresql://u@db.example/d", "verify-full"), ("postgresql://u@10.0.0.1/d", "verify-full"),
        ("postgresql://u@[2001:db8::1]/d", "verify-full"), ("postgresql://u@localhost,db.example/d", "verify-full"),
        ("postgresql://u@/d?host=db.example&hostaddr=127.0.0.1", "verify-full"),
        ("postgresql://u@/d?hostaddr=10.0.0.1", "verify-full"),
        ("postgresql://u@localhost/d?hostaddr=10.0.0.1", "verify-full"),
        ("postgresql://u@db.example/d?sslmode=require", "require"),
    ],
)  # fmt: skip
def test_tls_follows_the_host(url: str, mode: str) -> None:
    assert login.address(Settings.from_env({"DATABASE_URL": url}))["sslmode"] == mode


@pytest.mark.parametrize(
    ("url", "variables", "mode"),
    [
        ("postgresql:///d", {"PGHOST": "db.example"}, "verify-full"),
        ("postgresql://u@/d", {"PGHOSTADDR": "10.0.0.1"}, "verify-full"),
        ("postgresql:///d", {"PGSERVICE": "far"}, "verify-full"), ("postgresql:///d?service=far", {}, "verify-full"),
        ("postgresql:///d?service=lax", {}, "require"), ("postgresql:///d?service=lax&sslmode=verify-ca", {}, "verify-ca"),
        ("postgresql:///d?service=near", {}, "prefer"), ("postgresql://u@db.example/d", {"PGSSLMODE": "disable"}, "verify-full"),
    ],
)  # fmt: skip
def test_tls_follows_a_host_that_a_service_file_or_a_variable_names(
    url: str, variables: dict[str, str], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, near = "[far]\nhost=db.example\n", "[near]\nhost=/run\n"
    lax = "[lax]\nhost=db.example\nsslmode=require\nsslrootcert=/theirs.pem\n"
    (tmp_path / "services").write_text(far + lax + near)
    for name, value in {"PGSERVICEFILE": str(tmp_path / "services"), **variables}.items():
        monkeypatch.setenv(name, value)
    found = login.address(Settings.from_env({"DATABASE_URL": url}))
    assert found["sslmode"] == mode
    assert ("sslrootcert" in found) == (mode == "verify-full")


def test_a_service_that_no_file_has_is_refused() -> None:
    with pytest.raises(errors.SettingsError, match="names a service that libpq does not find"):
        login.address(Settings.from_env({"DATABASE_URL": "postgresql:///d?service=nowhere"}))


def test_a_root_certificate_in_the_url_counts_more_than_ours(ca_file: str) -> None:
    env = {"DATABASE_URL": "postgresql://u@db.example/d?sslrootcert=/theirs.pem", "DATABASE_CA_FILE": ca_file}
    assert login.address(Settings.from_env(env))["sslrootcert"] == "/theirs.pem"


def test_waits_are_bounded_and_the_url_may_bound_them_otherwise() -> None:
    base = login.address(Settings.from_env({"DATABASE_URL": "postgresql://u@h/d"}))
    assert (int(base["connect_timeout"]), int(base["tcp_user_timeout"]), int(base["keepalives_idle"])) == (3, 5_000, 10)
    assert login.address(Settings.from_env({"DATABASE_URL": "postgresql://u@h/d?connect_timeout=9"}))["connect_timeout"] == "9"


def parts(database: Database) -> dict[str, str]:
    return {"DB_HOST": "127.0.0.1", "DB_PORT": str(urlsplit(database.url).port), "DB_NAME": database.name, "DB_USER": APP}


def test_seed_names_reach_the_same_database(strict: Database) -> None:
    assert inspection.inspect(service(**parts(strict), DB_PASSWORD=APP_PASSWORD)).missing == []


@pytest.mark.parametrize("wrong", ["wrong", ""])
def test_a_wrong_or_missing_password_is_reported_quickly(strict: Database, open_store: OpenStore, wrong: str) -> None:
    of = service(**parts(strict), DB_PASSWORD=wrong)
    begun = time.monotonic()
    assert reason(lambda: ready(open_store(of), seconds=0.5)) == "login_refused"
    assert time.monotonic() - begun < 2
    assert refusal(of) == "login_refused"


@pytest.mark.parametrize(
    ("change", "reason"), [({"DB_USER": "nobody"}, "login_refused"), ({"DB_NAME": "nowhere"}, "database_missing")]
)
def test_a_wrong_user_is_a_refused_login_and_a_wrong_database_a_missing_one(
    strict: Database, change: dict[str, str], reason: str
) -> None:
    assert refusal(service(**{**parts(strict), "DB_PASSWORD": APP_PASSWORD, **change})) == reason


def test_a_password_of_any_characters_works(strict: Database, tmp_path: Path) -> None:
    odd = "p@ss/w:rd?#%20 'ü\\"
    strict.execute(f"DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN IN ROLE {APP}")
    strict.execute("SELECT set_config('x.y', %s, false)", [odd])
    with_password(strict, "odd", odd)
    path = tmp_path / "password"
    path.write_text(odd + "\n", encoding="utf-8-sig")
    env = {**parts(strict), "DB_USER": "odd"}
    url = f"postgresql://odd:{quote(odd, safe='')}@127.0.0.1:{env['DB_PORT']}/{strict.name}"
    for of in (service(**env, DB_PASSWORD=odd), service(**env, DATABASE_PASSWORD_FILE=str(path)), service(DATABASE_URL=url)):
        assert inspection.inspect(of).missing == []


def with_password(database: Database, role: str, password: str) -> None:
    """ALTER ROLE takes no parameters."""
    ((text,),) = database.execute("SELECT format('ALTER ROLE %%I PASSWORD %%L', %s::text, %s::text)", [role, password])
    database.execute(text)


def test_a_rotated_password_needs_no_restart(strict: Database, open_store: OpenStore, tmp_path: Path) -> None:
    strict.execute(f"DROP ROLE IF EXISTS rotating; CREATE ROLE rotating LOGIN IN ROLE {APP} PASSWORD 'one'")
    path = tmp_path / "password"
    path.write_text("one\n")
    store = ready(open_store(service(**{**parts(strict), "DB_USER": "rotating"}, DATABASE_PASSWORD_FILE=str(path))))
    with_password(strict, "rotating", "two")
    path.write_text("two\n")
    assert strict.terminate() >= 1
    assert [outcome.status for outcome in store.insert(rows(2), NOW)] == ["created"] * 2
    assert strict.count() == 2


def test_a_password_file_that_comes_late_is_waited_for(strict: Database, open_store: OpenStore, tmp_path: Path) -> None:
    path = tmp_path / "password"
    store = open_store(service(**parts(strict), DATABASE_PASSWORD_FILE=str(path)))
    assert reason(lambda: ready(store, seconds=0.3)) == "password_file_missing"
    path.write_text(APP_PASSWORD)
    ready(store).insert(rows(1), NOW)
    assert strict.count() == 1


def test_no_password_is_ever_logged(
    strict: Database, open_store: OpenStore, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for env in (parts(strict) | {"DB_PASSWORD": CANARY}, {"DATABASE_URL": strict.url.replace(APP_PASSWORD, CANARY)}):
        with pytest.raises(errors.StoreUnavailable) as caught:
            ready(open_store(service(**env)), seconds=0.2)
        with pytest.raises(errors.StoreUnavailable):
            migrate.migrate(service(**env))
        assert CANARY not in repr(caught.value)
    written = "".join(capfd.readouterr()) + caplog.text
    assert "store" in written
    assert CANARY not in written


def test_a_socket_folder_is_an_address(private_database: Database, private_server: LocalServer) -> None:
    folder, port = quote(str(private_server.folder), safe=""), private_server.port
    for url in (f"@{folder}:{port}/{private_database.name}", f"@/{private_database.name}?host={folder}&port={port}"):
        assert inspection.inspect(service(DATABASE_URL=f"postgresql://{APP}{url}")).missing == []
    place = {"DB_HOST": str(private_server.folder), "DB_PORT": str(port), "DB_USER": APP, "DB_NAME": private_database.name}
    assert inspection.inspect(service(**place)).missing == []


def test_an_ipv6_address_is_an_address(strict: Database) -> None:
    require("IPv6", Part("/proc/net/if_inet6", "turn it on for the loopback interface", in_ci=False))
    env = {**parts(strict), "DB_HOST": "::1", "DB_PASSWORD": APP_PASSWORD}
    url = f"postgresql://{APP}:{APP_PASSWORD}@[::1]:{env['DB_PORT']}/{strict.name}"
    assert inspection.inspect(service(**env)).missing == inspection.inspect(service(DATABASE_URL=url)).missing == []


def test_of_several_hosts_the_one_that_answers_is_used(strict: Database) -> None:
    hosts = f"127.0.0.1:1,127.0.0.1:{urlsplit(strict.url).port}"
    assert inspection.inspect(service(DATABASE_URL=f"postgresql://{APP}:{APP_PASSWORD}@{hosts}/{strict.name}")).missing == []


def test_of_several_hosts_the_one_that_may_be_written_to_is_used(
    strict_server: LocalServer, private_server: LocalServer, open_store: OpenStore
) -> None:
    private_server.stop()
    private_server.start(default_transaction_read_only="on")
    hosts = f"127.0.0.1:{private_server.port},127.0.0.1:{strict_server.port}"
    of = service(DATABASE_URL=f"postgresql://{APP}:{APP_PASSWORD}@{hosts}/{postgres.TEMPLATE}")
    (port,) = ready(open_store(of)).database.writes.run(lambda connection: [connection.info.port])
    assert port == strict_server.port


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS by moto, in this process."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


RDS = {"DB_HOST": "db.abc.eu-central-1.rds.amazonaws.com", "DB_PORT": "5433", "DB_NAME": "logs"}


@pytest.mark.usefixtures("aws")
def test_an_iam_token_is_the_password_of_the_service_s_role() -> None:
    given = service(**RDS, DB_USER=APP, DATABASE_IAM_AUTH="true")()
    token = urlsplit(f"//{given['password']}")
    asked = parse_qs(token.query)
    assert (token.netloc, asked["DBUser"], asked["Action"]) == (f"{RDS['DB_HOST']}:5433", [APP], ["connect"])
    assert (given["user"], given["sslmode"], asked["X-Amz-Expires"]) == (APP, "verify-full", ["900"])


@pytest.mark.usefixtures("aws")
def test_a_token_without_a_user_is_for_the_service_s_role() -> None:
    given = service(DATABASE_URL=f"postgresql://{RDS['DB_HOST']}/logs", DATABASE_IAM_AUTH="true")()
    assert (given["user"], parse_qs(urlsplit(f"//{given['password']}").query)["DBUser"]) == (APP, [APP])


@pytest.mark.usefixtures("aws")
def test_each_connection_gets_a_fresh_token(monkeypatch: pytest.MonkeyPatch, strict: Database, open_store: OpenStore) -> None:
    made: list[str] = []

    def token(_base: object) -> str:
        made.append("stale" if not made else APP_PASSWORD)
        return made[-1]

    monkeypatch.setattr(login, "iam_token", token)
    store = ready(open_store(service(**parts(strict), DATABASE_IAM_AUTH="true"), 1))
    before = len(made)
    strict.terminate()
    store.insert(rows(1), NOW)
    assert strict.count() == 1
    assert len(made) > before > 1


def test_a_token_that_cannot_be_made_is_a_refused_login(open_store: OpenStore) -> None:
    store = open_store(service(**RDS, DB_USER=APP, DATABASE_IAM_AUTH="true"))
    until(lambda: reason(store.check) == "login_refused")


@pytest.mark.usefixtures("aws")
def test_migrate_logs_in_with_the_owner_s_secret(strict: Database, strict_server: LocalServer) -> None:
    strict_server.execute(f"DROP ROLE IF EXISTS boss; CREATE ROLE boss SUPERUSER LOGIN PASSWORD '{CANARY}'")
    secret = json.dumps({"username": "boss", "password": CANARY, "engine": "postgres"})
    arn = boto3.client("secretsmanager").create_secret(Name="owner", SecretString=secret)["ARN"]
    env = {**parts(strict), "DB_NAME": "postgres", "DATABASE_SECRET_ARN": arn}
    of = login.of_owner(Settings.from_env(env))
    assert (of()["user"], of()["password"], of()["dbname"]) == ("boss", CANARY, "postgres")
    assert inspection.inspect(of).role_may_ddl is False
    assert CANARY not in repr(of) + repr(Settings.from_env(env))


@pytest.mark.usefixtures("aws")
def test_a_rotated_owner_s_secret_is_read_again() -> None:
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="owner", SecretString='{"username": "o", "password": "one"}')["ARN"]
    of = login.of_owner(Settings.from_env({**RDS, "DATABASE_SECRET_ARN": arn}))
    assert of()["password"] == "one"
    client.put_secret_value(SecretId=arn, SecretString='{"username": "o", "password": "two"}')
    assert of()["password"] == "two"
