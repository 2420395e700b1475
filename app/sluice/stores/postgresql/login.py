"""How one connection to PostgreSQL is made: address, TLS and password, decided anew for every connection.

A rotated password, a fresh IAM token or another CA file therefore needs no restart.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sluice import errors
from sluice.settings import Settings
from sluice.values import is_loopback

log = structlog.get_logger()

# libpq's own waits: a host that drops packets is given up after 3 s, a dead peer after 5 s.
BOUNDS: dict[str, Any] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 10,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "sluice",
    # A role, a database or PGCLIENTENCODING may have chosen another.
    "client_encoding": "UTF8",
}

# Parameters of other drivers that URLs are often copied with; of any other the name is not repeated.
FOREIGN = ("pgbouncer", "schema", "connection_limit", "pool_timeout", "sslaccept", "statement_cache_size", "prepareThreshold")

Login = Callable[[], dict[str, Any]]


def of_service(settings: Settings) -> Login:
    """Connection parameters of `serve`; called once per new connection."""
    base = address(settings)

    def login() -> dict[str, Any]:
        return {**base, **password(settings, base)}

    return login


def of_owner(settings: Settings) -> Login:
    """Connection parameters of `migrate`: user and password from Secrets Manager when DATABASE_SECRET_ARN names them."""
    if settings.database_secret_arn is None:
        return of_service(settings)
    base, arn = address(settings), settings.database_secret_arn
    return lambda: {**base, **owner_secret(arn)}


def address(settings: Settings) -> dict[str, Any]:
    """Host, port, name, user and TLS. TLS is verify-full for every host that is not loopback, unless it was chosen otherwise."""
    name = "DATABASE_URL" if settings.database_url else "DB_HOST and the other DB_*"
    try:
        parameters: dict[str, Any] = {**BOUNDS, **conninfo_to_dict(settings.conninfo)}
    except psycopg.Error:
        # Not its text, which quotes the URL; the rest of what can be wrong with one was checked by the settings.
        known = ", ".join(sorted(name for name in FOREIGN if re.search(rf"[?&]{name}=", settings.conninfo)))
        what = f"the parameter {known}" if known else "a parameter"
        raise errors.SettingsError([f"{name} has {what} that libpq does not know; remove it"]) from None
    found = effective(parameters, name)
    hosts = (found.get("host") or found.get("hostaddr") or "").split(",")
    local = all(is_loopback(host) for host in (*hosts, *found.get("hostaddr", "").split(",")))
    if len(hosts) > 1 and found.get("target_session_attrs") == "any":
        # libpq's own default takes the first that answers, which may be a standby.
        parameters.setdefault("target_session_attrs", "read-write")
    if settings.database_iam_auth:
        parameters.setdefault("user", "sluice_app")
    # PGSSLMODE alone does not count: what one has for psql must not make the service's TLS weaker. "prefer" is libpq's default.
    of_service_file = found.get("sslmode") if found.get("service") and found["sslmode"] != "prefer" else None
    mode = settings.db_ssl_mode or parameters.get("sslmode") or of_service_file or ("prefer" if local else "verify-full")
    parameters["sslmode"] = mode
    if mode.startswith("verify") and not found.get("sslrootcert"):
        parameters["sslrootcert"] = str(settings.database_ca_file or system_trust())
    check(parameters, name, len(hosts))
    return parameters


def effective(parameters: dict[str, Any], name: str) -> dict[str, str]:
    """`parameters` with what libpq adds to them: of a service file, and of variables such as PGHOST.

    They are read before this wrong value is found, so that nothing is sent.
    """
    attempt = psycopg.pq.PGconn.connect_start(make_conninfo(**{**parameters, "channel_binding": "none"}).encode())
    found = {each.keyword.decode(): each.val.decode(errors="surrogateescape") for each in attempt.info if each.val is not None}
    text = attempt.error_message.decode(errors="replace")
    attempt.finish()
    if "service" in text.partition('"')[0]:
        raise errors.SettingsError([f"{name} names a service that libpq does not find; see `man pg_service.conf`, PGSERVICEFILE"])
    return found


def check(parameters: dict[str, Any], name: str, hosts: int) -> None:
    """Raise SettingsError for what libpq will refuse whatever the server says; it would look like one that is away."""
    for number in (key for key, value in BOUNDS.items() if isinstance(value, int)):
        if not re.fullmatch(r"-?\d{1,9}", str(parameters[number])):
            raise errors.SettingsError([f"{name} has a wrong value for {number}; write a whole number"])
    # A host that is a folder without a socket: everything is checked, and nothing is sent.
    tried = {**parameters, "host": ",".join(["/nonexistent"] * hosts), "hostaddr": None}
    attempt = psycopg.pq.PGconn.connect_start(make_conninfo(**tried).encode())
    text = attempt.error_message.decode(errors="replace")
    attempt.finish()
    if text and not text.startswith(("connection to server", "could not connect to server")):
        # Its text quotes the value.
        named = re.match(r'invalid (\w+) value|invalid integer value ".*" for connection option "(\w+)"', text)
        what = f"a wrong value for {named[1] or named[2]}" if named else "parameters that do not go together"
        raise errors.SettingsError([f"{name} has {what}; see libpq's list of connection parameters"])


def system_trust() -> str:
    """The CA bundle of the system: a wheel's own OpenSSL looks in other places than the distribution's."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or "system"


def password(settings: Settings, base: dict[str, Any]) -> dict[str, Any]:
    if settings.database_iam_auth:
        return {"password": iam_token(base)}
    if settings.database_password_file is not None:
        return {"password": password_from(settings)}
    return {"password": settings.db_password} if settings.db_password else {}


def password_from(settings: Settings) -> str:
    path = settings.database_password_file
    assert path is not None  # noqa: S101 - the caller looked
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.StoreUnavailable("password_file_missing") from error
    if "\0" in text:
        raise errors.StoreUnavailable("login_refused")
    return text


def iam_token(base: dict[str, Any]) -> str:
    """A token of 15 minutes that RDS takes as a password (RDS user guide, "IAM database authentication")."""
    with aws() as boto3:
        token: str = boto3.client("rds").generate_db_auth_token(
            DBHostname=base["host"], Port=int(base.get("port", 5432)), DBUsername=base["user"]
        )
        return token


def owner_secret(arn: str) -> dict[str, Any]:
    """`username` and `password` of the secret that RDS keeps for the owner."""
    with aws() as boto3:
        text = boto3.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        secret = msgspec.json.decode(text, type=dict[str, Any])
        return {"user": secret["username"], "password": secret["password"]}


@contextlib.contextmanager
def aws() -> Iterator[Any]:
    """boto3. What goes wrong with it becomes StoreUnavailable, its type in the log: its text may quote a secret."""
    try:
        import boto3  # noqa: PLC0415 - extra `aws`
    except ImportError as error:
        fix = "install sluice[aws]"
        raise errors.SettingsError([f"DATABASE_IAM_AUTH and DATABASE_SECRET_ARN need the extra `aws`; {fix}"]) from error
    try:
        yield boto3
    except Exception as error:
        log.error("login.aws", cause=type(error).__name__, fix="give the region, credentials and permissions of AWS")
        raise errors.StoreUnavailable("login_refused") from error
