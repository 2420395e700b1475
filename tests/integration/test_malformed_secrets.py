"""A secret that is malformed in any way: one line says which setting and what to do, and no part of it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sluice.cli import main

pytestmark = [pytest.mark.needs("embedded PostgreSQL"), pytest.mark.usefixtures("signals_put_back")]
SECRET = "canary7f3a"

# Nothing listens on port 1.
URLS = [
    f"postgresql://me:{SECRET}%@127.0.0.1:1/x",
    f"postgresql://me:%{SECRET}@127.0.0.1:1/x",
    f"postgresql://me:{SECRET}%00@127.0.0.1:1/x",
    f"postgresql://me:a/{SECRET}@127.0.0.1:1/x",
    f"postgresql://me:{SECRET}/a@127.0.0.1:1/x",
    f"postgresql://me:a@{SECRET}@127.0.0.1:1/x",
    f"postgresql://me:1?{SECRET}",
    f"postgresql://me:{SECRET}",
    f"postgresql://127.0.0.1:1/x?password={SECRET}&pgbouncer=true",
    f"postgresql://127.0.0.1:1/x?{SECRET}=1",
    f"postgresql://127.0.0.1:1/x?{SECRET}",
    f"postgresql://me:{SECRET}@127.0.0.1:1/x?sslmode={SECRET}",
    f"postgresql://me:{SECRET}@127.0.0.1:1/x?connect_timeout={SECRET}",
    f"postgresql://me:{SECRET}@127.0.0.1:99999/x",
    f"postgresql://me:{SECRET}@[127.0.0.1:1/x",
    f"postgresql://me:{SECRET}@127.0.0.1:1/\nx",
    f"postgresql:me:{SECRET}@127.0.0.1:1/x",
    f"https://me:{SECRET}@127.0.0.1:1/x",
    f"{SECRET}",
    f"postgresql://me:{SECRET}\udcff@127.0.0.1:1/x",
]
REDIS_URLS = [
    f"redis://me:{SECRET}%@127.0.0.1:1/0",
    f"redis://me:%{SECRET}@127.0.0.1:1/0",
    f"redis://me:a@{SECRET}@127.0.0.1:1/0",
    f"redis://me:a/{SECRET}@127.0.0.1:1/0",
    f"redis://me:a#{SECRET}@127.0.0.1:1/0",
    f"redis://me:{SECRET}@127.0.0.1:99999",
    f"redis://me:{SECRET}@[127.0.0.1:1",
    f"redis://me:{SECRET}",
    f"redis://127.0.0.1:1/0?password={SECRET}",
    f"https://me:{SECRET}@127.0.0.1:1/0",
    f"{SECRET}",
]
MONGODB_URIS = [
    f"mongodb://me:{SECRET}%@127.0.0.1:1/x",
    f"mongodb://me:%{SECRET}@127.0.0.1:1/x",
    f"mongodb://me:a@{SECRET}@127.0.0.1:1/x",
    f"mongodb://me:{SECRET}/a@127.0.0.1:1/x",
    f"mongodb://me:1?{SECRET}",
    f"mongodb://me:1?{SECRET}=1",
    f"mongodb://me:{SECRET}",
    f"mongodb://127.0.0.1:1/x?w={SECRET}",
    f"mongodb://127.0.0.1:1/x?{SECRET}=1",
    f"mongodb://127.0.0.1:1/x?{SECRET}",
    f"mongodb://me:{SECRET}@127.0.0.1:1/x?maxPoolSize={SECRET}",
    f"mongodb://me:{SECRET}@127.0.0.1:1/x?tls=true&tlsCAFile=/{SECRET}",
    f"mongodb://me:{SECRET}@127.0.0.1:1/x?authMechanism={SECRET}",
    f"mongodb://me:{SECRET}@127.0.0.1:1/x?authMechanism=GSSAPI&replicaSet={SECRET}&directConnection=x",
    f"mongodb://me:{SECRET}@127.0.0.1:99999/x",
    f"mongodb://me:{SECRET}@[127.0.0.1:1/x",
    f"mongodb://me:{SECRET}@127.0.0.1:1/x.{SECRET}",
    f"mongodb+srv://me:{SECRET}@127.0.0.1/x",
    f"mongodb+srv://me:{SECRET}@a.example.com:1/x",
    f"https://me:{SECRET}@127.0.0.1:1/x",
    f"{SECRET}",
]
KEYS = [
    f"slk_{SECRET}",
    f"slk_prod_{SECRET}{'0' * 39}",
    f"good,slk_{SECRET}",
    f"{SECRET} with\u00a0space",
    f"{SECRET}\u00fc",
    f"{SECRET}\x07",
    f"{SECRET}\u200b",
    f"{SECRET}\udcff",
    SECRET * 100,
    f"slk_{SECRET},slk_{SECRET}",
]
PASSWORDS = [
    f"{SECRET}\0",
    f"\0{SECRET}",
    f"{SECRET}\udcff",
    f"'{SECRET}",
    f"\\{SECRET}",
    f"{SECRET}%",
    f"a b={SECRET}",
    f"{SECRET}@x",
    f"{SECRET}\n{SECRET}",
    f"{SECRET}" * 200,
]


TOKENS = [
    f"{SECRET}\n{SECRET}",
    f"{SECRET}\u00fc",
    f"{SECRET}\0",
    f"{SECRET}\x7f",
    f"{SECRET}\udcff",
    SECRET * 200,
    # Well-formed: nobody listens.
    f"{SECRET}",
    f"me:{SECRET} ${{x}} \"'\\",
]


def said_by(command: str, folder: Path, capfd: pytest.CaptureFixture[str], **environment: str | None) -> str:
    """Everything that a command which must fail writes."""
    place = {"DATA_DIR": str(folder / "data"), "PORT": "0", "ADMIN_PORT": "0", "COLUMNS": "1000"}
    capfd.readouterr()
    done = CliRunner().invoke(main, [command], env={**place, **environment})
    said = done.output + "".join(capfd.readouterr())
    assert isinstance(done.exception, SystemExit), f"{command}: {type(done.exception)}"
    assert done.exit_code in (1, 2), said
    assert "Traceback" not in said
    # Seven characters: a part of it is a secret, too.
    assert SECRET[:7] not in said
    return said


@pytest.mark.parametrize("by_file", [False, True], ids=["", "by file"])
@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_a_malformed_url_is_refused_in_one_line(
    url: str, by_file: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "url").write_bytes(url.encode(errors="surrogateescape"))
    given = {"DATABASE_URL_FILE": str(tmp_path / "url")} if by_file else {"DATABASE_URL": url}
    for command in ("serve", "migrate", "doctor"):
        said = said_by(command, tmp_path, capfd, API_KEYS="a-plain-key-for-tests", **given)
        assert "DATABASE_URL " in said, command
        assert "these settings cannot be used" in said


@pytest.mark.parametrize("url", REDIS_URLS, ids=range(len(REDIS_URLS)))
def test_a_malformed_url_of_redis_is_refused_in_one_line(url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "doctor"):
        assert "REDIS_URL " in said_by(command, tmp_path, capfd, API_KEYS="a-plain-key-for-tests", REDIS_URL=url)


@pytest.mark.parametrize("uri", MONGODB_URIS, ids=range(len(MONGODB_URIS)))
def test_a_malformed_uri_of_mongodb_is_refused_in_one_line(uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = {"API_KEYS": "a-plain-key-for-tests", "STORAGE_TYPE": "mongodb", "MONGODB_URI": uri}
    for command in ("serve", "migrate", "doctor"):
        assert "MONGODB_URI has " in (said := said_by(command, tmp_path, capfd, **given)) or "MONGODB_URI must " in said, command


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_malformed_key_is_refused_by_its_position(key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for command in ("serve", "doctor"):
        assert "API_KEYS" in said_by(command, tmp_path, capfd, API_KEYS=key)


@pytest.mark.parametrize("name", ["DB_PASSWORD_FILE", "DATABASE_PASSWORD_FILE"])
@pytest.mark.parametrize("password", PASSWORDS, ids=range(len(PASSWORDS)))
def test_an_odd_password_is_in_no_text(password: str, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "password").write_bytes(password.encode(errors="surrogateescape"))
    given = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "API_KEYS": "a-plain-key-for-tests", name: str(tmp_path / "password")}
    for command in ("migrate", "doctor"):
        said_by(command, tmp_path, capfd, **given)


@pytest.mark.parametrize("token", TOKENS, ids=range(len(TOKENS)))
def test_a_token_of_influxdb_is_in_no_text(token: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_bytes(token.encode(errors="surrogateescape"))
    place = {"STORAGE_TYPE": "influxdb", "INFLUXDB_URL": "http://127.0.0.1:1", "INFLUXDB_ORG": "o", "INFLUXDB_BUCKET": "b"}
    for command in ("migrate", "doctor"):
        given = {**place, "INFLUXDB_TOKEN_FILE": str(tmp_path / "token")}
        said = said_by(command, tmp_path, capfd, API_KEYS="a-plain-key-for-tests", **given)
        assert "INFLUXDB_TOKEN" in said or "database_unreachable" in said
