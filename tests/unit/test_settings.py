"""Settings: every variable, every mistake at once, and no secret in any text."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import conninfo

from sluice import errors, settings, values
from sluice.settings import Settings

SECRET = "canary-7f3a2c"


def read(**env: str) -> Settings:
    return Settings.from_env(env)


def problems(**env: str) -> tuple[str, ...]:
    with pytest.raises(errors.SettingsError) as caught:
        Settings.from_env(env)
    return caught.value.problems


def test_an_empty_environment_is_the_defaults() -> None:
    found = read()
    assert found == Settings()
    assert (found.host, found.port, found.admin_port, found.embedded, found.loopback) == ("127.0.0.1", 8080, 8081, True, True)


# One good value for each variable, and what it means.
VALUES: dict[str, tuple[str, Any]] = {
    "HOST": ("0.0.0.0", "0.0.0.0"),
    "PORT": ("0", 0),
    "ADMIN_PORT": ("65535", 65535),
    "DATA_DIR": ("/data", Path("/data")),
    "DATABASE_URL": ("postgres://db/x", "postgres://db/x"),
    "QUEUE_URL": ("amqp://broker/v", "amqp://broker/v"),
    "DB_HOST": ("db", "db"),
    "DB_PORT": ("5433", 5433),
    "DB_NAME": ("logs", "logs"),
    "DB_USER": ("me", "me"),
    "DB_PASSWORD": ("p w,=", "p w,="),
    "DB_SSL_MODE": ("Require", "require"),
    "DATABASE_PASSWORD_FILE": ("/run/password", Path("/run/password")),
    "DATABASE_SECRET_ARN": ("arn:aws:x", "arn:aws:x"),
    "DATABASE_IAM_AUTH": ("true", True),
    "GRANT_RDS_IAM": ("true", True),
    "DATABASE_CA_FILE": ("/ca.pem", Path("/ca.pem")),
    "DB_POOL_SIZE": ("9", 9),
    "API_KEYS": (" a , b,,", ("a", "b")),
    "KEYSET_FILE": ("/keyset.json", Path("/keyset.json")),
    "ANONYMOUS_PATHS": ("/, /log", ("/", "/log")),
    "ALLOWED_ORIGINS": ("https://a.example", ("https://a.example",)),
    "WORKERS": ("3", 3),
    "THREADS": ("4", 4),
    "FAST_PATH": ("off", False),
    "CONSOLE": ("off", False),
    "MAX_REQUESTS": ("0", 0),
    "DRAIN_SECONDS": ("0.25", 0.25),
    "GRACEFUL_TIMEOUT": ("30", 30),
    "KEEP_ALIVE": ("61", 61),
    "REQUEST_TIMEOUT_SECONDS": ("2.5", 2.5),
    "HEARTBEAT_TIMEOUT": ("10", 10.0),
    "RATE_LIMIT_REQUESTS_PER_MINUTE": ("0", 0),
    "RATE_LIMIT_EVENTS_PER_MINUTE": ("1000000000", 10**9),
    "MAX_BATCH_SIZE": ("10000", 10_000),
    "REDIS_URL": ("redis://:p%40@cache:6379/1", "redis://:p%40@cache:6379/1"),
    "MAX_EVENT_BYTES": ("1024", 1_024),
    "MAX_BODY_BYTES": ("1024", 1_024),
    "MAX_INFLATED_BYTES": ("2048", 2_048),
    "MAX_INFLIGHT_BYTES": ("33554432", 32 << 20),
    "STORAGE_TYPE": ("PostgreSQL", "postgresql"),
    "AWS_REGION": ("eu-central-1", "eu-central-1"),
    "DYNAMODB_ENDPOINT": ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    "DYNAMODB_SHARDS": ("16", 16),
    "MONGODB_URI": ("mongodb+srv://me:p%40@db/x?w=majority", "mongodb+srv://me:p%40@db/x?w=majority"),
    "INFLUXDB_URL": ("https://influx:8086", "https://influx:8086"),
    "INFLUXDB_TOKEN": ("user:pass word", "user:pass word"),
    "INFLUXDB_ORG": ("Acme & Söhne", "Acme & Söhne"),
    "INFLUXDB_BUCKET": ("logs/autogen", "logs/autogen"),
    "RETENTION_DAYS": ("30", 30),
    "ERROR_GROUP_RETENTION_DAYS": ("365", 365),
    "API_ENDPOINT": ("https://x.example/posts", "https://x.example/posts"),
    "INGESTION_INTERVAL": ("1m30s", 90.0),
    "API_TIMEOUT": ("500ms", 0.5),
    "RETRY_COUNT": ("0", 0),
    "API_ALLOW_PRIVATE": ("true", True),
    "TABLE_NAME": ("ingested_data", "ingested_data"),
    "SOURCES_FILE": ("/sources.yaml", Path("/sources.yaml")),
    "SOURCE_RUNS_DAYS": ("7", 7),
    "SECRET_WAIT_SECONDS": ("60", 60),
    "DATA_DIR_WAIT_SECONDS": ("60", 60),
    "LOG_LEVEL": ("DEBUG", "debug"),
    "SLUICE_RUN_DIR": ("/run/sluice", Path("/run/sluice")),
}


# DB_* mean nothing without a host, and a queue needs one.
WITH_HOST = ("DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD", "QUEUE_URL")
BESIDE = {**{name: {"DB_HOST": "db"} for name in WITH_HOST}, "MONGODB_URI": {"STORAGE_TYPE": "mongodb"}}


def test_the_table_of_this_test_knows_every_variable() -> None:
    assert set(VALUES) == set(settings.known())


@pytest.mark.parametrize("name", VALUES)
def test_a_variable_is_read(name: str) -> None:
    text, value = VALUES[name]
    field = settings.known()[name]
    found = Settings.from_env(BESIDE.get(name, {}) | {name: text})
    assert getattr(found, field.name) == value
    assert value != field.default or name == "STORAGE_TYPE"


@pytest.mark.parametrize("name", VALUES)
def test_an_empty_variable_is_an_absent_one(name: str) -> None:
    assert Settings.from_env({name: ""}) == Settings()


@pytest.mark.parametrize("name", VALUES)
def test_every_variable_is_explained_in_words(name: str) -> None:
    assert len(settings.known()[name].metadata["doc"]) > 10 or name == "STORAGE_TYPE"


BAD = {
    "DATA_DIR": ["a\nb", "a\x7f"],
    "DB_HOST": ["http://db", "me@db", "db:5432", "a b"],
    "PORT": ["65536", "-1", "http", "80.0", "1e3", " 80", "0x50", "9" * 30],
    "DB_PORT": ["0"],
    "DATABASE_URL": ["mysql://db", "db", "POSTGRESQL://db"],
    "DB_PASSWORD": ["a\0b"],
    "REDIS_URL": [
        "cache:6379",
        "http://cache",
        "redis://:6379",
        "redis://a@b@cache",
        "redis://cache:0",
        "redis://cache:x",
        "redis://cache/x",
    ],
    "DB_SSL_MODE": ["on"],
    "DATABASE_IAM_AUTH": ["yes", "2"],
    "ANONYMOUS_PATHS": ["/metrics", "/log,/x"],
    "WORKERS": ["0", "65"],
    "THREADS": ["1"],
    "DRAIN_SECONDS": ["-1", "301", "1e1", "nan", "inf", ".5"],
    "REQUEST_TIMEOUT_SECONDS": ["0"],
    "MAX_BATCH_SIZE": ["0", "10001"],
    "MAX_EVENT_BYTES": ["1023"],
    "STORAGE_TYPE": ["cassandra"],
    "AWS_REGION": ["Frankfurt", "eu"],
    "DYNAMODB_SHARDS": ["0", "129"],
    "MONGODB_URI": [
        "db:27017",
        "postgresql://db",
        "mongodb://",
        "mongodb://a@b@db",
        "mongodb://db:0",
        "mongodb://db:27017,other:x",
        "mongodb://db/a/b",
        "mongodb://db/a.b",
        f"mongodb://db/{'n' * 64}",
        "mongodb://db/?tls",
        "mongodb://db/?w=1",
        "mongodb://db/?W=2&journal=true",
        "mongodb://db/?journal=false",
        "mongodb://db/?j=false",
        "mongodb://db?w=0",
    ],
    "RETENTION_DAYS": ["0", "36501"],
    "ERROR_GROUP_RETENTION_DAYS": ["0", "36501"],
    "API_ENDPOINT": [
        "x.example/posts",
        "ftp://x.example",
        "https://me:pw@x.example/",
        "https://x.example/#a",
        "https://x.example/ä",
    ],
    "INGESTION_INTERVAL": ["5", "0s", "5d"],
    "API_TIMEOUT": ["11m", "1ms"],
    "RETRY_COUNT": ["-1", "21"],
    "API_ALLOW_PRIVATE": ["yes"],
    "TABLE_NAME": ["A", "a/b"],
    "SOURCE_RUNS_DAYS": ["0"],
    "LOG_LEVEL": ["verbose"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_a_value_out_of_range_is_refused_with_what_would_be_right(name: str, text: str) -> None:
    (problem,) = problems(**{name: text})
    assert problem.startswith(f"{name} m")
    assert text not in problem.removeprefix(name) or len(text) < 3


# What no reader of a URL may take in another way than we do. (Where a space means itself, libpq says so.)
ODD_URL = ["%zz", "%", "%00", "%ff", "%ed%a0%80", "a\x00b", "a\nb", "a\x7fb"]
SCHEME = {"DATABASE_URL": "postgresql", "MONGODB_URI": "mongodb", "REDIS_URL": "redis", "QUEUE_URL": "amqp"}


@pytest.mark.parametrize("odd", ODD_URL)
@pytest.mark.parametrize("name", SCHEME)
def test_every_url_with_a_login_is_text_in_utf_8_percent_encoded(name: str, odd: str) -> None:
    (problem,) = problems(**BESIDE.get(name, {}), **{name: f"{SCHEME[name]}://me:{odd}@host/"})
    assert problem.startswith(f"{name} has a %")
    assert "as %25" in problem


DYNAMODB = {"STORAGE_TYPE": "dynamodb"}


def test_dynamodb_needs_no_database_and_no_embedded_one() -> None:
    found = read(**DYNAMODB, TABLE_NAME="Events.prod", QUEUE_URL="amqp://broker/")
    assert (found.embedded, found.dynamodb_table, read(**DYNAMODB).dynamodb_table) == (False, "Events.prod", "ingested_data")


MONGODB = {"STORAGE_TYPE": "mongodb", "MONGODB_URI": "mongodb://db/"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({**DYNAMODB, "DATABASE_URL": "postgresql://db/x"}, "remove DATABASE_URL"),
        ({**DYNAMODB, "TABLE_NAME": "ab"}, "at least 3 characters"),
        ({**DYNAMODB, "MAX_EVENT_BYTES": "400000"}, "at most 393216"),
        ({"STORAGE_TYPE": "mongodb"}, "set MONGODB_URI to"),
        ({"MONGODB_URI": "mongodb://db/"}, "set STORAGE_TYPE to mongodb"),
        ({**MONGODB, "DATABASE_URL": "postgresql://db/x"}, "remove DATABASE_URL"),
        ({**MONGODB, "SOURCES_FILE": "/sources"}, "need STORAGE_TYPE=postgresql"),
        ({**MONGODB, "MAX_EVENT_BYTES": "16000000"}, "at most 15728640"),
    ],
)
def test_what_a_store_cannot_do_stops_the_start(given: dict[str, str], told: str) -> None:
    (problem,) = problems(**given)
    assert told in problem


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://me:p%3Fw@a:27017,[::1]:27018/events?replicaSet=rs0&tls=true&tlsCAFile=/ca.pem",
        "mongodb://db?w=majority&journal=true&j=true",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock/",
    ],
)
def test_a_uri_of_mongodb_is_taken_as_it_is(uri: str) -> None:
    found = read(**MONGODB | {"MONGODB_URI": uri})
    assert (found.mongodb_uri, found.embedded) == (uri, False)


INFLUXDB = {
    "STORAGE_TYPE": "influxdb",
    "INFLUXDB_URL": "http://influx:8086",
    "INFLUXDB_TOKEN": "me:secret word",
    "INFLUXDB_ORG": "acme",
    "INFLUXDB_BUCKET": "logs/autogen",
}


def test_influxdb_needs_no_database_and_all_its_variables() -> None:
    assert (read(**INFLUXDB).embedded, read(**INFLUXDB, QUEUE_URL="amqp://broker/").influxdb_org) == (False, "acme")
    (told,) = problems(STORAGE_TYPE="influxdb", INFLUXDB_URL="http://influx")
    assert told == "STORAGE_TYPE=influxdb needs INFLUXDB_TOKEN, INFLUXDB_ORG, INFLUXDB_BUCKET"
    (told,) = problems(**INFLUXDB, DB_HOST="db")
    assert "STORAGE_TYPE=influxdb uses no PostgreSQL" in told


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("INFLUXDB_URL", "influx:8086"),
        ("INFLUXDB_URL", "http://me:canary@influx"),
        ("INFLUXDB_TOKEN", "canary\nx"),
        ("INFLUXDB_TOKEN", "canar\u00fc"),
        ("INFLUXDB_TOKEN", "canary\x00"),
        ("INFLUXDB_ORG", "a\nb"),
        ("INFLUXDB_BUCKET", "canary" * 50),
    ],
)
def test_what_influxdb_cannot_use_is_refused_and_not_repeated(name: str, text: str) -> None:
    (problem,) = problems(**{**INFLUXDB, name: text})
    assert problem.startswith(f"{name} must be")
    assert "canar" not in problem


def test_every_problem_is_reported_at_once() -> None:
    found = problems(PORT="x", WORKERS="0", LOG_LEVEL="loud", RETENTON_DAYS="3", API_KEYS="a", API_KEYS_FILE="/b")
    assert [problem.split()[0] for problem in found] == ["RETENTON_DAYS", "PORT", "API_KEYS", "WORKERS", "LOG_LEVEL"]


MISSPELT = {
    "DATABSE_URL": "DATABASE_URL",
    "DATABASE_URI": "DATABASE_URL",
    "DB_PASWORD": "DB_PASSWORD",
    "API_KEYZ": "API_KEYS",
    "SLUICE_API_KEYS": "API_KEYS",
    "SLUICE_LOG_LEVEL": "LOG_LEVEL",
    "SLUICE_RUNDIR": "SLUICE_RUN_DIR",
    "API_KEYS_FLIE": "API_KEYS_FILE",
    "RETENTION_DAY": "RETENTION_DAYS",
    "LOGLEVEL": "LOG_LEVEL",
    "RATE_LIMIT_REQUEST_PER_MINUTE": "RATE_LIMIT_REQUESTS_PER_MINUTE",
}


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
def test_a_misspelt_variable_is_reported_with_the_one_that_was_meant(name: str, meant: str) -> None:
    assert problems(**{name: SECRET}) == (f"{name} is not a setting; did you mean {meant}?",)


def test_a_misspelt_setting_of_the_chosen_store_is_reported() -> None:
    found = problems(STORAGE_TYPE="DynamoDB", DYNAMODB_SHARD="8")
    assert found == ("DYNAMODB_SHARD is not a setting; did you mean DYNAMODB_SHARDS?",)


def test_no_setting_is_nearly_another_one() -> None:
    """An image from before it was there would take it for misspelt, and not start with a newer chart that sets it."""
    both = {"RATE_LIMIT_REQUESTS_PER_MINUTE", "RATE_LIMIT_EVENTS_PER_MINUTE"}
    for new in set(settings.known()) - both:
        assert difflib.get_close_matches(new, set(settings.known()) - {new}, n=1, cutoff=0.86) == []


# Kubernetes tells every container of every Service in its namespace by these.
OF_A_SERVICE = [
    "SERVICE_HOST",
    "SERVICE_PORT",
    "SERVICE_PORT_HTTP",
    "PORT",
    "PORT_8080_TCP",
    "PORT_8080_TCP_PROTO",
    "PORT_8080_TCP_PORT",
    "PORT_8080_TCP_ADDR",
]


@pytest.mark.parametrize(
    "service", ["SLUICE", "SLUICE_ADMIN", "ADMIN", "DB", "DATABASE", "API_KEYS", "KEYSET", "WORKERS", "HOST"]
)
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_what_kubernetes_sets_for_a_service_is_not_judged(service: str, scheme: str) -> None:
    env = {f"{service}_{name}": f"{scheme}://10.0.0.1:8080" for name in OF_A_SERVICE}
    assert Settings.from_env(env) == Settings()


def test_a_port_of_our_own_that_is_no_number_is_still_refused() -> None:
    assert len(problems(DB_HOST="db", DB_PORT="http://10.0.0.1", ADMIN_PORT="x")) == 2


# What shells have for other programs, or for our own client.
OTHERS = [
    "API_KEY", "API_KEY_FILE", "DATABASE_PASSWORD", "OPENAI_API_KEY", "MY_API_KEYS", "DATADIR", "SLUICE_API_KEY", "SLUICE_URL",
    "API_TIMEOUT_MS", "INFLUX_ORG", "INFLUX_TOKEN", "INFLUXDB_V2_TOKEN", "INFLUXDB_USER", "MONGODB_URL", "MONGO_URI",
    "DYNAMODB_ENDPOINT_URL",
]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["HOSTNAME", "PATH", "HOME", "PGHOST", "XDG_DATA_DIRS", "APP_PORT", "THREAD", "REDIS_PORT", "TERM", *OTHERS]
)
def test_an_innocent_variable_is_not_judged(name: str) -> None:
    assert Settings.from_env({name: "x"}) == Settings()


# Secrets

SECRETS = [name for name, field in settings.known().items() if field.metadata["secret"]]
SECRET_VALUE = {
    "DATABASE_URL": f"postgresql://me:{SECRET}@db/x",
    "REDIS_URL": f"redis://:{SECRET}@cache",
    "QUEUE_URL": f"amqp://me:{SECRET}@broker",
    "API_ENDPOINT": f"https://x.example/?key={SECRET}",
    "MONGODB_URI": f"mongodb://me:{SECRET}@db/x",
}


def test_the_secrets_are_known_as_such() -> None:
    assert set(SECRETS) == {
        "DATABASE_URL", "DB_PASSWORD", "API_KEYS", "QUEUE_URL", "REDIS_URL", "MONGODB_URI", "INFLUXDB_TOKEN", "API_ENDPOINT",
    }  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_may_be_given_by_a_file(name: str, tmp_path: Path) -> None:
    value = SECRET_VALUE.get(name, SECRET)
    (tmp_path / "secret").write_text(f"{value}\n")
    host = BESIDE.get(name, {})
    assert Settings.from_env(host | {f"{name}_FILE": str(tmp_path / "secret")}) == Settings.from_env(host | {name: value})


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_both_forms_is_refused(name: str) -> None:
    assert problems(**{name: SECRET, f"{name}_FILE": "/x"}) == (f"{name} and {name}_FILE are both set; keep one",)


@pytest.mark.parametrize("name", SECRETS)
def test_a_file_that_is_not_there_is_reported_without_its_path(name: str) -> None:
    (problem,) = problems(**{f"{name}_FILE": f"/{SECRET}"})
    assert problem == f"{name} cannot be read from the file that {name}_FILE names: FileNotFoundError"


def test_a_file_that_is_not_text_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff")
    assert problems(API_KEYS_FILE=str(tmp_path / "secret"))[0].endswith("UnicodeDecodeError")


def test_an_empty_file_is_an_absent_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("\n")
    assert read(API_KEYS_FILE=str(tmp_path / "secret")) == Settings()


@pytest.mark.parametrize("name", ["PORT", "LOG_LEVEL", "DB_HOST"])
def test_only_a_secret_has_a_file_form(name: str) -> None:
    assert Settings.from_env({f"{name}_FILE": "/x"}) == Settings()


def test_no_secret_is_in_the_text_of_the_settings() -> None:
    found = read(DATABASE_URL=SECRET_VALUE["DATABASE_URL"], DB_PASSWORD=SECRET, API_KEYS=SECRET)
    assert found.api_keys == (SECRET,)
    assert SECRET not in f"{found!r} {found} {dataclasses.replace(found, port=1)!r}"


@pytest.mark.parametrize("name", settings.known())
def test_no_value_comes_back_in_a_problem(name: str) -> None:
    env = {name: f"tcp://{SECRET}", f"{name}_FILE": f"/{SECRET}", "WORKERS": SECRET, "DB_USER": SECRET, f"{name}X": SECRET}
    with pytest.raises(errors.SettingsError) as caught:
        Settings.from_env(env)
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.problems}"


def conninfo_or_problems(env: dict[str, str]) -> str | tuple[str, ...]:
    try:
        return Settings.from_env(env).conninfo
    except errors.SettingsError as error:
        return error.problems


@given(st.dictionaries(st.sampled_from(sorted(VALUES)), st.text(st.characters(exclude_characters="\0"))))
def test_any_values_make_settings_or_problems_and_nothing_else(env: dict[str, str]) -> None:
    assert conninfo_or_problems(env)


# Contradictions

CONTRADICTIONS = {
    "two servers": ({"DATABASE_URL": "postgresql://a/b", "DB_HOST": "db"}, "DATABASE_URL and DB_HOST"),
    "a token and a password": ({"DB_HOST": "db", "DATABASE_IAM_AUTH": "true", "DB_PASSWORD": "x"}, "DATABASE_IAM_AUTH"),
    "a token and a password file": ({"DATABASE_IAM_AUTH": "true", "DATABASE_PASSWORD_FILE": "/x"}, "DATABASE_IAM_AUTH"),
    "a user without a host": ({"DB_USER": "me"}, "DB_USER is set without DB_HOST"),
    "a password without a host": ({"DB_PASSWORD": "x"}, "DB_PASSWORD is set without DB_HOST"),
    "one port twice": ({"PORT": "9000", "ADMIN_PORT": "9000"}, "PORT and ADMIN_PORT"),
    "a queue before a database of this process alone": ({"QUEUE_URL": "amqp://broker"}, "QUEUE_URL needs a database"),
    "the other's default port": ({"PORT": "8081"}, "PORT and ADMIN_PORT"),
}


@pytest.mark.parametrize(("env", "begin"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(env: dict[str, str], begin: str) -> None:
    (problem,) = problems(**env)
    assert problem.startswith(begin)
    assert ";" in problem


def test_two_free_ports_are_no_contradiction() -> None:
    assert read(PORT="0", ADMIN_PORT="0").port == 0


# Other names, and the queue

ALIASES = {
    "SERVER_PORT": ("9000", "port", 9000),
    "POSTGRES_URL": ("postgresql://db/x", "database_url", "postgresql://db/x"),
    "POSTGRES_URI": ("postgresql://db/x", "database_url", "postgresql://db/x"),
    "RABBITMQ_URL": ("amqp://broker", "queue_url", "amqp://broker"),
}


@pytest.mark.parametrize(("alias", "text", "field", "value"), [(name, *rest) for name, rest in ALIASES.items()])
def test_the_names_of_the_seeds_are_read_too(alias: str, text: str, field: str, value: object) -> None:
    assert getattr(read(**{"DB_HOST": "db", alias: text} if alias == "RABBITMQ_URL" else {alias: text}), field) == value


def test_a_name_of_ours_counts_before_another() -> None:
    assert read(PORT="9000", SERVER_PORT="9001").port == 9000


GOOD_QUEUES = [
    "sqs://eu-central-1",
    "sqs://eu-central-1/production-?endpoint=http://127.0.0.1:9324",
    "amqp://b",
    "amqps://u:p%40@b:5671/v%2Fh?heartbeat=10&cacertfile=/ca.pem",
    "amqp://[::1]:5672/",
]
BAD_QUEUES = {
    "http://b": "must be amqp",
    f"amqp://u:{SECRET}/x@b/v": "must be amqp",
    "amqp://": "must be amqp",
    f"amqp://[{SECRET}": "must be amqp",
    f"amqp://{SECRET}\u2100/v": "must be amqp",
    "amqp://b?frame_max=1": "takes the parameters",
    "amqp://b?heartbeat=0": "takes the parameters",
    "sqs://": "must be sqs://region/prefix",
    "sqs://eu-central-1/a/b": "must be sqs://region/prefix",
    f"sqs://me:{SECRET}@eu-central-1/": "must be sqs://region/prefix",
    "sqs://eu-central-1/?endpoint=ftp://x": "must be a URL",
}


@pytest.mark.parametrize("url", GOOD_QUEUES)
def test_a_url_of_rabbitmq_is_taken_as_it_is(url: str) -> None:
    assert read(QUEUE_URL=url, DB_HOST="db").queue_url == url


@pytest.mark.parametrize(("url", "begin"), BAD_QUEUES.items())
def test_a_queue_that_cannot_be_used_is_refused_without_a_word_of_its_url(url: str, begin: str) -> None:
    (problem,) = problems(QUEUE_URL=url, DB_HOST="db")
    assert problem.startswith(f"QUEUE_URL {begin}")
    assert SECRET not in problem


# Where the database is


def test_a_url_is_taken_as_it_is() -> None:
    found = read(DATABASE_URL="postgresql://me:p%40@db:5433/x?application_name=y")
    assert (found.conninfo, found.embedded) == ("postgresql://me:p%40@db:5433/x?application_name=y", False)


HOSTS = ["db", "10.0.0.1", "::1", "fe80::1%eth0", "/var/run/postgresql", "/tmp/a b"]


@pytest.mark.parametrize("host", HOSTS)
def test_libpq_reads_the_names_that_were_given(host: str) -> None:
    found = read(DB_HOST=host, DB_PORT="5433", DB_NAME="a/b?c=d&e", DB_USER="us:er@x/ü", DB_PASSWORD=SECRET)
    assert conninfo.conninfo_to_dict(found.conninfo) == {"user": "us:er@x/ü", "host": host, "port": "5433", "dbname": "a/b?c=d&e"}


@given(st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1))
def test_no_user_or_name_breaks_out_of_its_place(text: str) -> None:
    found = conninfo.conninfo_to_dict(read(DB_HOST="db", DB_NAME=text, DB_USER=text).conninfo)
    assert (found["user"], found["dbname"], found["host"]) == (text, text, "db")


LOOPBACK = {"127.0.0.1": True, "127.9.9.9": True, "::1": True, "localhost": True, "/run": True, "0.0.0.0": False, "::": False}


@pytest.mark.parametrize(
    ("host", "loopback"), [*LOOPBACK.items(), ("10.0.0.1", False), ("db.example", False), ("localhost.evil", False)]
)
def test_loopback_is_only_what_this_machine_alone_can_reach(host: str, loopback: bool) -> None:
    assert values.is_loopback(host) is loopback


def test_no_worker_is_asked_to_hold_a_body_that_it_would_never_let_in() -> None:
    room = {"MAX_INFLIGHT_BYTES": str(16 << 20)}
    with pytest.raises(errors.SettingsError, match="MAX_INFLATED_BYTES is above MAX_INFLIGHT_BYTES"):
        Settings.from_env(room)
    assert Settings.from_env({**room, "MAX_INFLATED_BYTES": str(16 << 20)}).max_inflight_bytes == 16 << 20
