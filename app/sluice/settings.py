"""The only reader of the service's environment. Everything else is handed a `Settings`."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sluice import env, errors, origins
from sluice.env import LOG_LEVELS, one_of, read_all, setting, switch, whole
from sluice.values import (
    SOURCE_NAME,
    SOURCE_NAME_RULE,
    duration,
    host_name,
    host_part,
    http_url,
    influxdb_name,
    is_loopback,
    mongodb_uri,
    password_text,
    path,
    paths,
    postgresql_url,
    queue_url,
    redis_url,
    region,
    seconds,
    table_name,
    token,
    words,
)

# Those that this process may use: a container may have a few of many.
CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# Near names of ours that many shells have for other programs, and of compose.yaml.
OF_OTHERS = frozenset(("API_KEY", "API_KEY_FILE", "API_TIMEOUT_MS", "DATABASE_PASSWORD", "DATADIR"))
# The names of what only one of them reads begin with its own.
STORES = ("postgresql", "dynamodb", "mongodb", "influxdb")
LINK = re.compile(r"(tcp|udp|sctp)://")
# The names of seeds 003 and 004 of variables of ours, which win where both are set.
ALIASES = {"SERVER_PORT": "PORT", "POSTGRES_URI": "DATABASE_URL", "POSTGRES_URL": "DATABASE_URL", "RABBITMQ_URL": "QUEUE_URL"}
MIN_TABLE_NAME = 3
# What an event may have where one of these holds it, less what stands beside it there; and why.
MAX_EVENT_BYTES = {
    "sqs": (700_000, "a message of SQS holds 1 MiB, and an event travels in base64"),
    "dynamodb": (393_216, "an item of DynamoDB holds 400 KB"),
    "mongodb": (15 << 20, "a document of MongoDB holds 16 MiB"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting of the service; sizes in bytes, times in seconds unless the name says otherwise."""

    host: str = setting("HOST", str, "127.0.0.1", "address that both ports listen on")
    port: int = setting("PORT", whole(0, 65535), 8080, "the service; 0 picks a free port; also read as `SERVER_PORT`")
    admin_port: int = setting("ADMIN_PORT", whole(0, 65535), 8081, "probes, `/metrics` and `/keyset`; 0 picks a free port")
    data_dir: Path = setting("DATA_DIR", path, Path(".sluice"), "embedded database and first-run key")
    database_url: str | None = setting(
        "DATABASE_URL",
        postgresql_url,
        None,
        "any PostgreSQL >= 14; also read as `POSTGRES_URL`, `POSTGRES_URI`",
        secret=True,
        shown="embedded server under `DATA_DIR`",
    )
    db_host: str | None = setting(
        "DB_HOST", host_name, None, "with `DB_PORT`, `DB_NAME`, `DB_USER`, `DB_PASSWORD`: instead of a URL"
    )
    db_port: int = setting("DB_PORT", whole(1, 65535), 5432, "see `DB_HOST`")
    db_name: str = setting("DB_NAME", str, "analytics_logs", "see `DB_HOST`")
    db_user: str = setting("DB_USER", str, "postgres", "see `DB_HOST`")
    db_password: str | None = setting("DB_PASSWORD", password_text, None, "see `DB_HOST`", secret=True)
    db_ssl_mode: str | None = setting(
        "DB_SSL_MODE", one_of(*SSL_MODES), None, "TLS to the database", shown="`verify-full`, on loopback `prefer`"
    )
    database_password_file: Path | None = setting(
        "DATABASE_PASSWORD_FILE", path, None, "password, read again for every new connection"
    )
    database_secret_arn: str | None = setting(
        "DATABASE_SECRET_ARN",
        str,
        None,
        "`migrate` reads the owner's user and password from this Secrets Manager secret (extra `aws`)",
    )
    database_iam_auth: bool = setting(
        "DATABASE_IAM_AUTH", switch, False, "log in by RDS IAM tokens, a fresh one for every new connection (extra `aws`)"
    )
    grant_rds_iam: bool | None = setting(
        "GRANT_RDS_IAM",
        switch,
        None,
        "`migrate` lets `sluice_app` log in by RDS IAM tokens, and by no password any more",
        shown="that of `DATABASE_IAM_AUTH`",
    )
    database_ca_file: Path | None = setting(
        "DATABASE_CA_FILE", path, None, "CA bundle for TLS to the database", shown="system trust"
    )
    db_pool_size: int = setting("DB_POOL_SIZE", whole(1, 100), 4, "database connections of one worker")
    api_keys: tuple[str, ...] = setting(
        "API_KEYS",
        words,
        (),
        "plain keys, separated by commas or lines, hashed at boot",
        secret=True,
        shown="a first-run key while `HOST` is loopback and the store embedded",
    )
    keyset_file: Path | None = setting("KEYSET_FILE", path, None, "the operator's document, polled every second")
    anonymous_paths: tuple[str, ...] = setting(
        "ANONYMOUS_PATHS", paths, (), "of `/` and `/log`: POST without a key, all in one rate-limit bucket", shown="none"
    )
    allowed_origins: tuple[str, ...] = setting(
        "ALLOWED_ORIGINS",
        lambda text: tuple(map(origins.parse, words(text))),
        (),
        "origins of web pages that may call the service (CORS): `https://app.example.com`, `https://*.example.com`",
        shown="none",
    )
    console: bool = setting(
        "CONSOLE", switch, True, "pages for browsers at `/console` ([docs/console.md](docs/console.md))", shown="on"
    )
    workers: int = setting("WORKERS", whole(1, 64), max(2, min(CORES, 8)), "gunicorn workers", shown="one a core, 2 to 8")
    threads: int = setting("THREADS", whole(2, 256), 16, "threads of one worker")
    fast_path: bool = setting(
        "FAST_PATH",
        switch,
        True,
        "serve plain single posts without a thread for each (needs gunicorn's HTTP parser in C)",
        shown="on",
    )
    max_requests: int = setting(
        "MAX_REQUESTS",
        whole(0, 10**9),
        10_000_000,
        "requests after which a worker is replaced (plus jitter of a tenth); 0 never",
    )
    drain_seconds: float = setting(
        "DRAIN_SECONDS", seconds(0, 300), 5.0, "how long SIGTERM keeps serving, not ready, with `Connection: close`"
    )
    graceful_timeout: int = setting("GRACEFUL_TIMEOUT", whole(1, 300), 20, "how long requests in flight may take after the drain")
    keep_alive: int = setting(
        "KEEP_ALIVE",
        whole(1, 7200),
        620,
        "seconds an idle connection is kept; above the load balancer's idle timeout (Envoy's is 3600)",
    )
    request_timeout: float = setting(
        "REQUEST_TIMEOUT_SECONDS", seconds(1, 300), 10.0, "deadline of one request; of one chunk in a stream"
    )
    heartbeat_timeout: float = setting(
        "HEARTBEAT_TIMEOUT", seconds(2, 300), 25.0, "liveness fails when no worker's heartbeat is younger"
    )
    rate_limit_requests_per_minute: int = setting(
        "RATE_LIMIT_REQUESTS_PER_MINUTE", whole(0, 10**9), 60_000, "a key's requests in a minute, by this pod; 0 no limit"
    )
    rate_limit_events_per_minute: int = setting(
        "RATE_LIMIT_EVENTS_PER_MINUTE", whole(0, 10**9), 6_000_000, "a key's events in a minute, by this pod; 0 no limit"
    )
    redis_url: str | None = setting(
        "REDIS_URL",
        redis_url,
        None,
        "limits hold for all pods together, and expensive reads are cached (extra `redis`)",
        secret=True,
    )
    max_batch_size: int = setting(
        "MAX_BATCH_SIZE", whole(1, 10_000), 1_000, "events in a JSON batch, lines in one commit of a stream"
    )
    max_event_bytes: int = setting("MAX_EVENT_BYTES", whole(1_024, 16 << 20), 256 << 10, "one event as canonical JSON")
    max_body_bytes: int = setting(
        "MAX_BODY_BYTES", whole(1_024, 256 << 20), 10 << 20, "a body on the wire (streams have no limit)"
    )
    max_inflated_bytes: int = setting("MAX_INFLATED_BYTES", whole(1_024, 512 << 20), 20 << 20, "a body after decompression")
    max_inflight_bytes: int = setting(
        "MAX_INFLIGHT_BYTES", whole(2 << 20, 8 << 30), 48 << 20, "bodies that one worker holds at a time; above it 503"
    )
    queue_url: str | None = setting(
        "QUEUE_URL",
        queue_url,
        None,
        "a queue before the store: `amqp://`, `amqps://` (extra `queue`), `sqs://` (extra `sqs`), see"
        " [docs/queue.md](docs/queue.md); also read as `RABBITMQ_URL`",
        secret=True,
    )
    storage_type: str = setting(
        "STORAGE_TYPE",
        one_of(*STORES),
        "postgresql",
        "the store ([docs/stores.md](docs/stores.md))",
    )
    aws_region: str = setting("AWS_REGION", region, "us-west-2", "with `STORAGE_TYPE=dynamodb`")
    dynamodb_endpoint: str | None = setting(
        "DYNAMODB_ENDPOINT", http_url, None, "the URL of DynamoDB", shown="that of `AWS_REGION`"
    )
    dynamodb_shards: int = setting(
        "DYNAMODB_SHARDS",
        whole(1, 128),
        8,
        "`sluice migrate` spreads the indexes over so many partitions, each good for 1,000 events/s; it may grow",
    )
    mongodb_uri: str | None = setting(
        "MONGODB_URI",
        mongodb_uri,
        None,
        "with `STORAGE_TYPE=mongodb` its server and database: `mongodb://user:password@host/name?tls=true`, `mongodb+srv://`",
        secret=True,
    )
    influxdb_url: str | None = setting("INFLUXDB_URL", http_url, None, "with `STORAGE_TYPE=influxdb`: 2.x, or 1.x from 1.8 on")
    influxdb_token: str | None = setting(
        "INFLUXDB_TOKEN", token, None, "reads and writes the bucket; on 1.x `user:password`", secret=True
    )
    influxdb_org: str | None = setting("INFLUXDB_ORG", influxdb_name, None, "the organization; on 1.x any word")
    influxdb_bucket: str | None = setting("INFLUXDB_BUCKET", influxdb_name, None, "the bucket; on 1.x `database/policy`")
    retention_days: int | None = setting(
        "RETENTION_DAYS", whole(1, 36_500), None, "older events are removed, and refused as `too_old`", shown="keep for ever"
    )
    error_group_retention_days: int = setting(
        "ERROR_GROUP_RETENTION_DAYS",
        whole(1, 36_500),
        90,
        "an error group is removed so long after its newest event, and never before its events: `RETENTION_DAYS` comes first",
    )
    api_endpoint: str | None = setting(
        "API_ENDPOINT", http_url, None, "a pull source: the URL of a JSON list, which is read again and again", secret=True
    )
    ingestion_interval: float = setting(
        "INGESTION_INTERVAL", duration(1, 366 * 86_400), 300.0, "how often that source is pulled", shown="`5m`"
    )
    api_timeout: float = setting(
        "API_TIMEOUT", duration(0.1, 600), 30.0, "how long one request of a pull may take", shown="`30s`"
    )
    retry_count: int = setting("RETRY_COUNT", whole(0, 20), 3, "tries after a failed request of a pull")
    api_allow_private: bool = setting(
        "API_ALLOW_PRIVATE", switch, False, "let `API_ENDPOINT` lead to loopback, link-local and private addresses"
    )
    table_name: str | None = setting(
        "TABLE_NAME",
        table_name,
        None,
        "with `STORAGE_TYPE=dynamodb` its table, else the name of the source that `API_ENDPOINT` is",
        shown="`ingested_data`; `placeholder_api`",
    )
    sources_file: Path | None = setting("SOURCES_FILE", path, None, "more pull sources, as YAML or JSON")
    source_runs_days: int = setting("SOURCE_RUNS_DAYS", whole(1, 36_500), 30, "how long the history of pulls is kept")
    secret_wait: int = setting(
        "SECRET_WAIT_SECONDS",
        whole(0, 3600),
        0,
        "how long `serve` and `migrate` wait for a file that a `_FILE` variable names: a Secret may come after its Pod",
    )
    data_dir_wait: int = setting(
        "DATA_DIR_WAIT_SECONDS",
        whole(0, 3600),
        0,
        "how long `serve` waits for another process to let go of `DATA_DIR`: a deleted Pod ends after its successor began",
    )
    log_level: str = setting("LOG_LEVEL", one_of(*LOG_LEVELS), "info", "`debug` logs every request")
    run_dir: Path | None = setting(
        "SLUICE_RUN_DIR", path, None, "folder in which a `serve` makes the folder where its processes meet", shown="shared memory"
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read and check all of `env`; raises SettingsError with every problem at once."""
        # A Service that is named `db` or `admin` makes Kubernetes set a DB_PORT or ADMIN_PORT of tcp://...
        env = {name: text for name, text in env.items() if not (name.endswith("_PORT") and LINK.match(text))}
        env = {**env, **{ours: env[name] for name, ours in ALIASES.items() if env.get(name) and not env.get(ours)}}
        problems = list(misspelt(env))
        values = dict(read_all(cls, env, problems))
        if not problems:
            settings = cls(**values)
            problems.extend(contradictions(settings, env))
        if problems:
            raise errors.SettingsError(problems)
        return settings

    @property
    def embedded(self) -> bool:
        """True when no other store is named, so that our server under DATA_DIR is it."""
        return self.storage_type == "postgresql" and self.database_url is None and self.db_host is None

    @property
    def grants_rds_iam(self) -> bool:
        """Whether `migrate` grants rds_iam to the service's role."""
        return self.database_iam_auth if self.grant_rds_iam is None else self.grant_rds_iam

    @property
    def dynamodb_table(self) -> str:
        return self.table_name or "ingested_data"

    @property
    def source_name(self) -> str:
        # DynamoDB's table has a name that need not be one of a source.
        given = self.table_name if self.storage_type != "dynamodb" else None
        return given or "placeholder_api"

    @property
    def loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def conninfo(self) -> str:
        """The libpq URL without what is decided per connection (password by file, IAM token, TLS)."""
        if self.database_url is not None:
            return self.database_url
        user, name = quote(self.db_user, safe=""), quote(self.db_name, safe="")
        return f"postgresql://{user}@{host_part(self.db_host or '')}:{self.db_port}/{name}"


def known() -> dict[str, Field[Any]]:
    """Every variable of ours by name."""
    return env.known(Settings)


def misspelt(env: Mapping[str, str]) -> Iterator[str]:
    """Variables that are nearly one of ours, or one of ours behind our name.

    Short names (PORT, HOST) are near too many innocent ones, and Kubernetes itself sets `<SERVICE>_PORT` and
    `<SERVICE>_SERVICE_HOST` for every Service of a namespace, so neither is judged, nor what other programs read: INFLUX_TOKEN
    and MONGODB_URL are theirs where events are in PostgreSQL.
    """
    names = set(known()) | {f"{name}_FILE" for name, f in known().items() if f.metadata["secret"]}
    unused = tuple(f"{kind.upper()}_" for kind in STORES if kind != env.get("STORAGE_TYPE", "").lower())
    long_names = [name for name in names if len(name) >= 8 and not name.startswith(unused)]
    for name in sorted(set(env) - names - OF_OTHERS):
        if name.endswith(("_SERVICE_HOST", "_SERVICE_PORT", "_PORT")):
            continue
        meant = name.removeprefix("SLUICE_") if name.startswith("SLUICE_") else ""
        near = [meant] if meant in names else difflib.get_close_matches(name, long_names, n=1, cutoff=0.86)
        if near:
            yield f"{name} is not a setting; did you mean {near[0]}?"


def absent_files(env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that name a secret's file which is not there."""
    files = (*(f"{name}_FILE" for name, spec in known().items() if spec.metadata["secret"]), "DATABASE_PASSWORD_FILE")
    return tuple(name for name in files if env.get(name) and not Path(env[name]).exists())


def secret_wait(env: Mapping[str, str]) -> int:
    """SECRET_WAIT_SECONDS; 0 when it is absent or wrong, which `Settings.from_env` then reports."""
    found = dict(read_all(Settings, {"SECRET_WAIT_SECONDS": env.get("SECRET_WAIT_SECONDS", "")}, []))
    return int(found.get("secret_wait", 0))


def contradictions(settings: Settings, env: Mapping[str, str]) -> Iterator[str]:
    """Settings that are each right and together wrong, and what this version cannot keep its word on."""
    yield from missing_extras(settings)
    for holder in ((settings.queue_url or "").partition(":")[0], settings.storage_type):
        most, why = MAX_EVENT_BYTES.get(holder, (settings.max_event_bytes, ""))
        if settings.max_event_bytes > most:
            yield f"MAX_EVENT_BYTES must be at most {most}: {why}"
    if settings.queue_url and settings.embedded:
        yield "QUEUE_URL needs a database that `sluice worker` reaches too; set DATABASE_URL"
    yield from of_store(settings)
    if settings.database_url and settings.db_host:
        yield "DATABASE_URL and DB_HOST both name a server; keep one"
    if settings.database_iam_auth and (settings.db_password or settings.database_password_file):
        yield "DATABASE_IAM_AUTH needs no password; remove DB_PASSWORD and DATABASE_PASSWORD_FILE"
    given = [name for name in ("DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD") if env.get(name)]
    if given and settings.embedded:
        yield f"{given[0]} is set without DB_HOST; set DB_HOST, or DATABASE_URL instead of all DB_*"
    if settings.port == settings.admin_port != 0:
        yield "PORT and ADMIN_PORT are the same; probes and metrics need a port of their own"
    # A body is counted at the size it may grow to: one larger than the room would never be let in.
    if settings.max_inflated_bytes > settings.max_inflight_bytes:
        yield "MAX_INFLATED_BYTES is above MAX_INFLIGHT_BYTES, so that no worker could hold such a body; raise the latter"


def missing_extras(settings: Settings) -> Iterator[str]:
    """Packages that these settings need and that are not installed."""
    sqs = (settings.queue_url or "").startswith("sqs:")
    needed = (
        (settings.queue_url and not sqs, "QUEUE_URL", "queue", "amqp"),
        (sqs, "QUEUE_URL=sqs://", "sqs", "boto3"),
        (settings.redis_url, "REDIS_URL", "redis", "redis"),
        (settings.storage_type == "dynamodb", "STORAGE_TYPE=dynamodb", "dynamodb", "boto3"),
        (settings.storage_type == "mongodb", "STORAGE_TYPE=mongodb", "mongodb", "pymongo"),
        (settings.storage_type == "influxdb", "STORAGE_TYPE=influxdb", "influxdb", "influxdb_client"),
    )
    for used, name, extra, module in needed:
        if used and importlib.util.find_spec(module) is None:
            yield f"{name} needs the extra `{extra}`; pip install 'sluice[{extra}]'"


def of_store(settings: Settings) -> Iterator[str]:
    """What does not go together with this STORAGE_TYPE."""
    kind = settings.storage_type
    if kind != "postgresql" and (settings.database_url or settings.db_host):
        yield f"STORAGE_TYPE={kind} uses no PostgreSQL; remove DATABASE_URL and DB_*, or set STORAGE_TYPE to postgresql"
    if kind not in ("postgresql", "dynamodb") and (settings.api_endpoint or settings.sources_file):
        yield "API_ENDPOINT and SOURCES_FILE need STORAGE_TYPE=postgresql or dynamodb, where pull sources keep their records"
    if kind == "dynamodb":
        if len(settings.dynamodb_table) < MIN_TABLE_NAME:
            yield f"TABLE_NAME must have at least {MIN_TABLE_NAME} characters, as DynamoDB's tables do"
    elif settings.table_name is not None and not SOURCE_NAME.fullmatch(settings.table_name):
        yield f"TABLE_NAME {SOURCE_NAME_RULE}"
    if kind == "mongodb" and settings.mongodb_uri is None:
        yield "STORAGE_TYPE=mongodb needs a server; set MONGODB_URI to mongodb://user:password@host/database"
    if kind != "mongodb" and settings.mongodb_uri is not None:
        yield f"MONGODB_URI is set beside STORAGE_TYPE={kind}; set STORAGE_TYPE to mongodb, or remove MONGODB_URI"
    if kind == "influxdb":
        names = [f"INFLUXDB_{name}" for name in ("URL", "TOKEN", "ORG", "BUCKET")]
        if missing := [name for name in names if getattr(settings, name.lower()) is None]:
            yield f"STORAGE_TYPE=influxdb needs {', '.join(missing)}"
