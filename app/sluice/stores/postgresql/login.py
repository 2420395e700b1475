"""How one connection to PostgreSQL is made: address, TLS and password, decided anew for every connection.

A rotated password, a fresh IAM token or another CA file therefore needs no restart.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from sluice import errors
from sluice.settings import Settings, is_loopback

# libpq's own waits: a host that drops packets is given up after 3 s, a dead peer after 5 s.
BOUNDS: dict[str, Any] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 10,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "sluice",
}

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
    parameters: dict[str, Any] = {**BOUNDS, **conninfo_to_dict(settings.conninfo)}
    hosts = str(parameters.get("host") or parameters.get("hostaddr") or "").split(",")
    local = all(is_loopback(host) for host in hosts)
    if len(hosts) > 1:
        # libpq's own default takes the first that answers, which may be a standby.
        parameters.setdefault("target_session_attrs", "read-write")
    if settings.database_iam_auth:
        parameters.setdefault("user", "sluice_app")
    mode = settings.db_ssl_mode or parameters.get("sslmode") or ("prefer" if local else "verify-full")
    parameters["sslmode"] = mode
    if mode.startswith("verify"):
        parameters.setdefault("sslrootcert", str(settings.database_ca_file or system_trust()))
    return parameters


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
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise errors.StoreUnavailable("password_file_missing") from error


def iam_token(base: dict[str, Any]) -> str:
    """A token of 15 minutes that RDS takes as a password (RDS user guide, "IAM database authentication")."""
    import boto3  # noqa: PLC0415 - extra `aws`

    token: str = boto3.client("rds").generate_db_auth_token(
        DBHostname=base["host"], Port=int(base.get("port", 5432)), DBUsername=base["user"]
    )
    return token


def owner_secret(arn: str) -> dict[str, Any]:
    """`username` and `password` of the secret that RDS keeps for the owner."""
    import boto3  # noqa: PLC0415 - extra `aws`
    import msgspec  # noqa: PLC0415

    text = boto3.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    secret = msgspec.json.decode(text, type=dict[str, Any])
    return {"user": secret["username"], "password": secret["password"]}
