"""The only reader of the service's environment. Everything else is handed a `Settings`."""

from __future__ import annotations

import difflib
import importlib.util
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sluice import env, errors, origins
from sluice.env import LOG_LEVELS, Parser, one_of, read_all, setting, switch, whole

CORES = os.cpu_count() or 1
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ANONYMOUS_CHOICES = ("/", "/log")
# Near names of ours that many shells have for other programs.
OF_OTHERS = frozenset(("API_KEY", "API_KEY_FILE", "DATADIR"))
LINK = re.compile(r"(tcp|udp|sctp)://")
# The names of seeds 003 and 004 of variables of ours, which win where both are set.
ALIASES = {"SERVER_PORT": "PORT", "POSTGRES_URI": "DATABASE_URL", "POSTGRES_URL": "DATABASE_URL", "RABBITMQ_URL": "QUEUE_URL"}
# As Go writes durations (time.ParseDuration): 30s, 5m, 1h30m.
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
MIN_TABLE_NAME = 3
# Of the 409,600 bytes of an item, 16 KiB are left for what is stored beside the event.
MAX_ITEM_EVENT = 393_216
# Of the 16 MiB of a document, as much as is plenty for what is stored beside the event.
MAX_DOCUMENT_EVENT = 15 << 20
MAX_DATABASE_NAME = 63
# 1 MiB in base64, less what a message holds beside the event.
MAX_SQS_EVENT = 700_000
SOURCE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")


def seconds(low: float, high: float) -> Parser:
    """A parser of seconds from `low` to `high`, a fraction allowed."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text) or not low <= float(text) <= high:
            raise ValueError(f"must be seconds from {low:g} to {high:g}")
        return float(text)

    return parse


def duration(low: float, high: float) -> Parser:
    """A parser of durations in Go's form, from `low` to `high` seconds."""

    def parse(text: str) -> float:
        seconds = sum(float(number) * UNITS[unit] for number, unit in DURATION.findall(text))
        if not re.fullmatch(f"(?:{DURATION.pattern})+", text) or not low <= seconds <= high:
            raise ValueError(f"must be a duration such as 30s, 5m or 1h30m, from {low:g} to {high:g} seconds")
        return seconds

    return parse


def http_url(text: str) -> str:
    """An absolute http(s) URL. No message repeats it: its query may hold a secret."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("must be a URL such as https://api.example.com/items, percent-encoded")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must be a URL without user, password and #fragment; a login goes into a header of SOURCES_FILE")
    return text


def source_name(text: str) -> str:
    if not SOURCE_NAME.fullmatch(text):
        raise ValueError("must be 1 to 63 of a-z, 0-9, - and _, and begin and end with a letter or digit")
    return text


def words(text: str) -> tuple[str, ...]:
    """A list, separated by commas or (in a file) by lines; empty parts are dropped."""
    return tuple(part.strip() for part in re.split(r"[,\n]", text) if part.strip())


def paths(text: str) -> tuple[str, ...]:
    """A comma-separated list out of the paths that may be opened without a key."""
    found = words(text)
    if not set(found) <= set(ANONYMOUS_CHOICES):
        raise ValueError(f"may list only {' and '.join(ANONYMOUS_CHOICES)}")
    return found


def path(text: str) -> Path:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("must be a path without line ends or other control characters")
    return Path(text)


def encoded_url(text: str, *, spaces: bool = False) -> str:
    """A URL whose %XX are text in UTF-8, so that every reader of it finds the same user and password.

    No message here or below repeats a part of it: what looks like a host may be half a password.
    """
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00|[\x00-\x1f\x7f]", text) or (" " in text and not spaces):
        raise ValueError("has a % without two hex digits, a space or a control character; write it as %XX, a % as %25")
    try:
        unquote(text, errors="strict")
    except UnicodeError:
        raise ValueError("has a % with two hex digits that are no text in UTF-8; write a % of user or password as %25") from None
    return text


def postgresql_url(text: str) -> str:
    """A URL that libpq reads as it was meant."""
    scheme, _, rest = text.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ValueError("must be a postgresql:// URL")
    encoded_url(text, spaces=True)
    url = re.fullmatch(r"(?:[^@/]*@)?(?P<hosts>[^@/?]*)(?:/[^@?]*)?(?:\?(?P<query>[^@]*))?", rest)
    if url is None:
        raise ValueError("has an @ or a / too many; in user, password and name write @ as %40, / as %2F and ? as %3F")
    for host in url["hosts"].split(","):
        place = re.fullmatch(r"(?:\[[^\[\]]+\]|[^:\[\]]*)(?::(\d{0,5}))?", host)
        if place is None or not 0 < int(place[1] or 1) < 65536:
            raise ValueError("has a port that is no number from 1 to 65535; in user and password write / as %2F and @ as %40")
    if url["query"] and not all(part.count("=") == 1 for part in url["query"].split("&")):
        raise ValueError("has a ? whose parameters are not name=value; in user and password write ? as %3F")
    return text


def redis_url(text: str) -> str:
    """A URL that redis-py reads as it was meant."""
    encoded_url(text)
    if text.count("@") > 1:
        raise ValueError("must write a character of user or password such as @, %, / or a space as %XX")
    try:
        place = urlsplit(text)
        known = place.scheme == "unix" or (place.scheme in ("redis", "rediss") and place.hostname and place.port != 0)
    except ValueError:
        known = False
    if not known or place.fragment or place.query or (place.scheme != "unix" and not re.fullmatch(r"(/\d{0,4})?", place.path)):
        raise ValueError("must be redis://[user:password@]host[:port][/number], with #, ? and / of a password as %23, %3F, %2F")
    return text


def queue_url(text: str) -> str:
    """A URL of RabbitMQ, or `sqs://region/prefix` with the parameter `endpoint`."""
    if not text.startswith("sqs:"):
        return amqp_url(text)
    sound = re.fullmatch(r"sqs://[a-z]{2,}(?:-[a-z0-9]+)+(?:/[A-Za-z0-9_-]{0,60})?(?:\?endpoint=([^#&]+))?", encoded_url(text))
    if not sound:
        raise ValueError("must be sqs://region/prefix: a region of AWS, and what the names of the queues begin with")
    if sound[1]:
        http_url(unquote(sound[1]))
    return text


def amqp_url(text: str) -> str:
    """A URL of RabbitMQ: `amqp://user:password@host:port/vhost`, of whose parameters `cacertfile` and `heartbeat` are taken."""
    encoded_url(text)
    try:
        url = urlsplit(text)
        sound = bool(url.hostname) and url.port != 0 and "/" not in url.path[1:] and not url.fragment
    except ValueError:  # its text may quote a password
        sound = False
    if not sound or url.scheme not in ("amqp", "amqps") or text.count("@") > 1:
        raise ValueError("must be amqp[s]://user:password@host:port/vhost; in user, password and vhost write / as %2F, @ as %40")
    given = dict(parse_qsl(url.query, keep_blank_values=True))
    if not set(given) <= {"cacertfile", "heartbeat"} or not re.fullmatch(r"[1-9]\d{0,3}", given.get("heartbeat", "60")):
        raise ValueError("takes the parameters cacertfile (a path) and heartbeat (seconds, 1 to 9999)")
    return text


def mongodb_uri(text: str) -> str:
    """A URI that pymongo reads as it was meant, and that asks for no less than a majority with journal.

    Which options there are, and their values, the driver judges (stores.mongodb.connection).
    """
    encoded_url(text)
    url = re.fullmatch(r"mongodb(?:\+srv)?://(?:[^@/?#]*@)?([^@/?#]+)(?:/([^@/?#]*))?(?:\?([^@?#]*))?", text)
    places = [re.fullmatch(r"(?:\[[^\[\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?", host) for host in url[1].split(",")] if url else [None]
    if url is None or not all(place and 0 < int(place[1] or 1) < 65536 for place in places):
        raise ValueError(
            "must be mongodb[+srv]://user:password@host:port/database; in user and password write / as %2F, @ as %40"
        )
    if text.startswith("mongodb+srv:") and not re.fullmatch(r"[^:,]*[A-Za-z][^:,]*", url[1]):
        raise ValueError(
            "must have one host without a port after mongodb+srv://, a name under which the servers are found by DNS"
        )
    if re.search(r'[/\\. "$*<>:|?]', unquote(url[2] or "")) or len((url[2] or "").encode()) > MAX_DATABASE_NAME:
        raise ValueError('must name a database of 1 to 63 characters, without dots, spaces and / \\ " $ * < > : | ?')
    if url[3] and not all(part.count("=") == 1 for part in url[3].split("&")):
        raise ValueError("must have options of the form name=value; in user and password write ? as %3F")
    for name, value in parse_qsl(url[3] or "", keep_blank_values=True):
        if value != {"w": "majority", "journal": "true", "j": "true"}.get(name.lower(), value):
            raise ValueError("must not ask for less than w=majority and journal=true: a 2xx says that an event is kept")
    return text


def table_name(text: str) -> str:
    """A name of a DynamoDB table, or of a pull source: which of them, and so what else holds, STORAGE_TYPE says."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", text):
        raise ValueError("must be 1 to 255 of A-Z, a-z, 0-9, _, - and .")
    return text


def token(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?", text):
        raise ValueError("must be 1 to 1024 characters of ASCII, no control character and no space at its ends")
    return text


def influxdb_name(text: str) -> str:
    if not re.fullmatch(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}", text):
        raise ValueError("must be 1 to 255 characters without line ends or other control characters")
    return text


def region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,}(-[a-z0-9]+)+", text):
        raise ValueError("must be a region of AWS, such as eu-central-1")
    return text


def host_name(text: str) -> str:
    if re.search(r"://|@|\s|^[^/:]+:\d+$", text) and not text.startswith("/"):
        raise ValueError(
            "must be a host name, an address or a socket folder; the port goes into DB_PORT, a URL into DATABASE_URL"
        )
    return text


def password_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not have a NUL character")
    return text


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
        "KEEP_ALIVE", whole(1, 3600), 75, "seconds an idle connection is kept; above the load balancer's idle timeout"
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
        one_of("postgresql", "dynamodb", "mongodb", "influxdb"),
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
    `<SERVICE>_SERVICE_HOST` for every Service of a namespace, so neither is judged, nor what other programs read.
    """
    names = set(known()) | {f"{name}_FILE" for name, f in known().items() if f.metadata["secret"]}
    long_names = [name for name in names if len(name) >= 8]
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
    if (settings.queue_url or "").startswith("sqs:") and settings.max_event_bytes > MAX_SQS_EVENT:
        yield f"MAX_EVENT_BYTES must be at most {MAX_SQS_EVENT}: a message of SQS holds 1 MiB"
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
        yield from of_dynamodb(settings)
    elif settings.table_name is not None and not SOURCE_NAME.fullmatch(settings.table_name):
        yield "TABLE_NAME must be 1 to 63 of a-z, 0-9, - and _, and begin and end with a letter or digit"
    if kind == "mongodb":
        yield from of_mongodb(settings)
    elif settings.mongodb_uri is not None:
        yield f"MONGODB_URI is set beside STORAGE_TYPE={kind}; set STORAGE_TYPE to mongodb, or remove MONGODB_URI"
    if kind == "influxdb":
        yield from of_influxdb(settings)


def of_dynamodb(settings: Settings) -> Iterator[str]:
    if len(settings.dynamodb_table) < MIN_TABLE_NAME:
        yield f"TABLE_NAME must have at least {MIN_TABLE_NAME} characters, as DynamoDB's tables do"
    if settings.max_event_bytes > MAX_ITEM_EVENT:
        yield f"MAX_EVENT_BYTES must be at most {MAX_ITEM_EVENT}: an item of DynamoDB holds 400 KB"


def of_mongodb(settings: Settings) -> Iterator[str]:
    if settings.mongodb_uri is None:
        yield "STORAGE_TYPE=mongodb needs a server; set MONGODB_URI to mongodb://user:password@host/database"
    if settings.max_event_bytes > MAX_DOCUMENT_EVENT:
        yield f"MAX_EVENT_BYTES must be at most {MAX_DOCUMENT_EVENT}: a document of MongoDB holds 16 MiB"


def of_influxdb(settings: Settings) -> Iterator[str]:
    missing = [name for name in ("URL", "TOKEN", "ORG", "BUCKET") if getattr(settings, f"influxdb_{name.lower()}") is None]
    if missing:
        yield f"STORAGE_TYPE=influxdb needs {', '.join(f'INFLUXDB_{name}' for name in missing)}"


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only; a socket folder counts."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_part(host: str) -> str:
    """A host as it stands in a URL: a socket folder is quoted, an IPv6 address bracketed."""
    return f"[{quote(host, safe=':')}]" if ":" in host else quote(host, safe="")
