"""`sluice keys`: what a person or a script gets on stdout, and that a key comes in by stdin only and never comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import sluice.commands.keys
from sluice import keys

KEY = keys.mint("prod", lambda count: bytes(range(count)))
DIGEST = keys.digest(KEY)
WRONG = KEY[:-1] + ("a" if KEY[-1] != "a" else "b")
ENTRY = f"keyId=web,owner=shop,digest={DIGEST},scopes=ingest+read"


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    # Wide enough that no cell of a table is broken over lines.
    return CliRunner(env={"COLUMNS": "200"}).invoke(sluice.commands.keys.keys, arguments, input=stdin)


@pytest.fixture
def published(tmp_path: Path) -> str:
    other = f"keyId=b,version=2,owner=[red]x,scopes=admin,digest={keys.digest('b')}"
    (tmp_path / "keyset.json").write_bytes(run("keyset", "--entry", ENTRY, "--entry", other).stdout_bytes)
    return str(tmp_path / "keyset.json")


def test_new_prints_a_good_key_once_with_its_digest() -> None:
    result = run("new", "--environment", "staging")
    name, key, other, digest = result.stdout.split()
    assert (name, other, result.exit_code) == ("key", "digest", 0)
    assert keys.checksum_ok(key)
    assert key.startswith("slk_staging_")
    assert digest == keys.digest(key)
    assert result.output.count(key) == 1


def test_new_reports_on_stderr_how_a_key_is_used() -> None:
    told = run("new").stderr
    assert all(word in told for word in ("API_KEYS", "KEYSET_FILE", "sluice keys keyset --entry"))


def test_new_prints_as_many_different_keys_as_asked_for() -> None:
    lines = run("new", "--count", "3").stdout.splitlines()
    assert len({line for line in lines if line.startswith("key ")}) == 3


@pytest.mark.parametrize("arguments", [("--environment", "Prod"), ("--environment", ""), ("--count", "0")])
def test_new_refuses_what_is_out_of_range(arguments: tuple[str, ...]) -> None:
    result = run("new", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize("stdin", [KEY, f"{KEY}\n", f"  {KEY}\r\n", f"\ufeff{KEY}\r\n"])
def test_digest_reads_the_key_from_stdin(stdin: str) -> None:
    assert run("digest", stdin=stdin).stdout == f"{DIGEST}\n"


def test_digest_takes_a_plain_key_of_any_form() -> None:
    assert run("digest", stdin="any form\n").stdout.strip() == keys.digest("any form")


@pytest.mark.parametrize("command", ["digest", "check"])
@pytest.mark.parametrize("stdin", [WRONG, KEY[:-1], f"{KEY}\n{KEY}", "é", b"\xff\xfe", "k" * 100_000])
def test_a_key_that_no_service_would_look_up_is_refused_and_not_repeated(command: str, stdin: str) -> None:
    result = run(command, stdin=stdin)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: the key ")
    assert WRONG[9:-1] not in result.stderr


@pytest.mark.parametrize("command", ["digest", "check"])
@pytest.mark.parametrize("argument", [KEY, f"--{KEY}"])
def test_a_key_as_an_argument_is_refused_and_not_repeated(command: str, argument: str) -> None:
    result = run(command, argument)
    assert result.exit_code == 2
    assert "shell's history" in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize("command", ["digest", "check"])
def test_an_empty_stdin_is_answered_with_how_to_give_the_key(command: str) -> None:
    result = run(command, stdin="\n")
    assert (result.exit_code, "< key.txt" in result.stderr) == (1, True)


@pytest.mark.parametrize(("key", "verdict"), [(KEY, "the checksum is right"), ("plain", "a plain key")])
def test_check_reports_the_form_of_a_good_key(key: str, verdict: str) -> None:
    result = run("check", stdin=key)
    assert (result.exit_code, verdict in result.stdout) == (0, True)


def test_keyset_writes_a_document_that_the_service_reads() -> None:
    more = ",version=3,state=suspended,notAfter=2030-01-01T00:00:00Z,requestsPerMinute=60"
    (entry,) = keys.parse_document(run("keyset", "--entry", ENTRY + more).stdout_bytes).entries
    assert (entry.key_id, entry.version, entry.owner, entry.digest) == ("web", 3, "shop", DIGEST)
    assert (entry.state, entry.scopes) == ("suspended", frozenset({"ingest", "read"}))
    assert entry.rate_limit == keys.RateLimit(requests_per_minute=60)


def test_keyset_makes_a_new_revision_of_an_edited_list_and_joins_new_entries(published: str) -> None:
    old = keys.parse_document(Path(published).read_bytes())
    edited = json.dumps(json.loads(Path(published).read_bytes())["entries"][:1])
    more = f"keyId=ops,owner=sre,scopes=admin,digest={keys.digest('ops')}"
    new = keys.parse_document(run("keyset", "--from", "-", "--entry", more, stdin=edited).stdout_bytes)
    assert [entry.key_id for entry in new.entries] == ["b", "ops"]
    assert new.revision != old.revision


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (ENTRY.replace(DIGEST, KEY), "--entry: entries[0]: digest must be sha256:"),
        (ENTRY.replace("read", "rread"), "scopes must be a list"),
        (ENTRY.replace("owner", KEY), "the names are keyId, version"),
        (KEY, "the names are keyId, version"),
        ("", "the names are keyId, version"),
        ("keyId=web,scopes=read", "entries[0] has no"),
        (ENTRY + ",notAfter=tomorrow", "notAfter must be RFC 3339"),
        (ENTRY + ",notBefore=2030-01-02T00:00:00Z,notAfter=2030-01-01T00:00:00Z", "entries[0].notAfter must be later"),
    ],
)
def test_keyset_names_the_fix_of_a_wrong_entry_and_never_repeats_it(entry: str, words: str) -> None:
    result = run("keyset", "--entry", entry)
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert result.stdout == ""
    assert KEY not in result.output


def test_keyset_without_any_entry_says_what_to_give() -> None:
    assert "--entry, or --from" in run("keyset").stderr


def test_keyset_reports_where_a_wrong_entry_of_a_list_stands(published: str) -> None:
    entries = [*json.loads(Path(published).read_bytes())["entries"], KEY]
    result = run("keyset", "--from", "-", stdin=json.dumps(entries))
    assert result.stderr == "Error: --from: entries[2] must be a JSON object\n"


def test_show_draws_every_entry_with_the_start_of_its_digest_only(published: str) -> None:
    shown = run("show", published).stdout
    assert [line.split()[1:8:2] for line in shown.splitlines() if "active" in line] == [
        ["b", "2", "[red]x", "admin"],
        ["web", "1", "shop", "ingest"],
    ]
    assert DIGEST[7:15] in shown
    assert DIGEST[7:16] not in shown


@pytest.mark.parametrize("content", [b"", KEY.encode(), b'{"schema": 1}', b" " * (3 << 20)])
def test_show_refuses_what_is_no_key_set_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    result = run("show", str(tmp_path / "bad.json"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: the key set ")
    assert KEY not in result.output
