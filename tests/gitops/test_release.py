"""bump, promote, rollback, unpin on a bare repository. tests/gitops/node does it with real signatures and a real Argo CD."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.gitops.bare import VALUES, Bare, commit_of, digest_of, started
from tools.release import environment, repository
from tools.release.environment import Pin, Release, State


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare(tmp_path, "staging", "prod")


def line(build: int, more: str = "") -> str:
    return f"  digest: {digest_of(build)} # build {build}, commit {commit_of(build)}{more}\n"


def test_a_bump_changes_one_line_and_says_where_the_image_comes_from(bare: Bare) -> None:
    assert "Release build 7 to staging" in bare.ok(*bare.bump("staging", 7, "--run=https://ci.test/1"))
    assert bare.values("staging") == VALUES.replace('  digest: ""\n', line(7))
    trailers = bare.git("log", "-1", "--format=%(trailers)", "main").strip().splitlines()
    assert trailers == [
        f"Sluice-Digest: {digest_of(7)}",
        "Sluice-Build: 7",
        f"Sluice-Commit: {commit_of(7)}",
        "Sluice-Run: https://ci.test/1",
    ]
    assert bare.git("show", "--format=", "--name-only", "main").split() == ["argocd/environments/staging/values.yaml"]


def test_line_ends_of_windows_and_bytes_of_any_kind_stay_as_they_are(bare: Bare) -> None:
    work, before = bare.folder / "work", VALUES.replace("\n", "\r\n").encode() + b"# caf\xe9\r\n"
    (work / repository.values_of("staging")).write_bytes(before)
    repository.git("-c", "core.autocrlf=false", "commit", "--quiet", "--all", "--message=From Windows", folder=work)
    repository.git("push", "--quiet", "origin", "HEAD:main", folder=work)
    for build in (7, 8):
        bare.ok(*bare.bump("staging", build))
        repository.git("pull", "--quiet", "origin", "main", folder=work)
        written = line(build).replace("\n", "\r\n").encode()
        assert (work / repository.values_of("staging")).read_bytes() == before.replace(b'  digest: ""\r\n', written)


def test_the_same_bump_again_writes_nothing(bare: Bare) -> None:
    bare.bumped(7)
    head = bare.head()
    assert "is there already" in bare.ok(*bare.bump("staging", 7))
    assert bare.head() == head


def test_an_older_build_never_replaces_a_newer_one(bare: Bare) -> None:
    bare.bumped(7)
    assert "not newer than build 7" in bare.ok(*bare.bump("staging", 6))
    assert bare.status("staging")["build"] == 7


@pytest.mark.parametrize(
    ("proof", "says"),
    [
        (lambda bare: bare.proof(7, "theirs.pub"), "does not prove"),
        (lambda bare: bare.proof(7, commit="f" * 40), "made of commit ffff"),
        (lambda bare: bare.proof(6), "does not prove"),
        (lambda bare: bare.folder / "nothing", "it was not signed"),
    ],
    ids=["signed by another key", "made of another commit", "of another image", "unsigned"],
)
def test_an_unproven_image_never_reaches_git(bare: Bare, proof: Callable[[Bare], Path], says: str) -> None:
    head = bare.head()
    done = bare.run(*bare.bump("staging", 7, proof=proof(bare)))
    assert (done.exit_code, bare.head()) == (1, head)
    assert says in done.output


@pytest.mark.parametrize("trust", [(), ("--key=a", "--identity=b", "--issuer=c"), ("--identity=b",)])
def test_whom_to_trust_is_said_exactly(bare: Bare, trust: tuple[str, ...]) -> None:
    words = ("verify", f"--digest={digest_of(1)}", f"--commit={commit_of(1)}", f"--proof={bare.proof(1)}", *trust)
    done = bare.run(*words)
    assert done.exit_code == 1
    assert "either --key, or --identity and --issuer" in done.output


def test_an_identity_is_trusted_as_a_whole(bare: Bare) -> None:
    words = ("verify", f"--digest={digest_of(1)}", f"--commit={commit_of(1)}", f"--cosign={bare.cosign}")
    workflow, issuer = "https://github.test/a/b/.github/workflows/release.yml@refs/heads/main", "https://token.test"
    proof = f"--proof={bare.proof(1, by=workflow + issuer)}"
    assert "verified" in bare.ok(*words, proof, f"--identity={workflow}", f"--issuer={issuer}")
    assert bare.run(*words, proof, f"--identity={workflow[:-1]}", f"--issuer={issuer}").exit_code == 1


def test_prod_gets_a_branch_and_the_text_of_a_pull_request(bare: Bare, tmp_path: Path) -> None:
    head = bare.head()
    body = tmp_path / "body.md"
    assert "proposed as branch release/prod-7" in bare.ok(*bare.bump("prod", 7, f"--body={body}"))
    assert bare.head() == head
    assert line(7) in bare.values("prod", "release/prod-7")
    assert digest_of(7) in body.read_text()
    bare.ok(*bare.bump("prod", 7, f"--body={body}"))


def test_promote_proposes_what_staging_runs(bare: Bare) -> None:
    bare.bumped(7)
    bare.ok(*bare.words("promote", "staging", "prod", *bare.trust(bare.proof(7))))
    assert line(7) in bare.values("prod", "release/prod-7")


def test_promote_verifies_what_staging_runs(bare: Bare) -> None:
    bare.bumped(7)
    done = bare.run(*bare.words("promote", "staging", "prod", *bare.trust(bare.proof(7, by="theirs.pub"))))
    assert done.exit_code == 1
    assert "release/prod-7" not in bare.git("branch", "--all")


def test_a_rollback_restores_the_release_before_and_holds_it(bare: Bare) -> None:
    bare.bumped(5, 7)
    assert "Roll staging back to build 5" in bare.ok(*bare.words("rollback", "staging", "--reason=never ready"))
    assert line(5, ", not 7") in bare.values("staging")
    assert bare.status("staging")["pin"]["reason"] == "never ready"


def test_after_a_rollback_ten_runs_of_the_updater_write_nothing(bare: Bare) -> None:
    bare.bumped(5, 7)
    bare.ok(*bare.words("rollback", "staging", "--reason=never ready"))
    head = bare.head()
    for build in [7] * 5 + [8] * 5:
        assert "pinned until" in bare.ok(*bare.bump("staging", build))
    assert bare.head() == head


def test_without_the_pin_newer_builds_come_and_the_bad_one_does_not(bare: Bare) -> None:
    bare.bumped(5, 7)
    bare.ok(*bare.words("rollback", "staging", "--reason=never ready"))
    bare.ok(*bare.words("unpin", "staging"))
    assert "which was rolled back" in bare.ok(*bare.bump("staging", 7))
    assert "which was rolled back" in bare.ok(*bare.bump("staging", 6))
    bare.bumped(8)
    assert line(8) in bare.values("staging")


def test_a_second_rollback_goes_further_back_and_jumps_over_what_was_bad(bare: Bare) -> None:
    bare.bumped(3, 5, 7)
    back = bare.words("rollback", "staging", "--reason=bad")
    bare.ok(*back)
    bare.ok(*bare.words("unpin", "staging"))
    bare.bumped(9)
    bare.ok(*back)
    assert line(5, ", not 9") in bare.values("staging")
    bare.ok(*back)
    assert line(3, ", not 9") in bare.values("staging")
    done = bare.run(*back)
    assert done.exit_code == 1
    assert "no release before" in done.output


def test_a_rollback_can_name_its_build(bare: Bare) -> None:
    bare.bumped(3, 5, 7)
    bare.ok(*bare.words("rollback", "staging", "--reason=bad", "--to=3"))
    assert bare.status("staging")["build"] == 3
    assert bare.run(*bare.words("rollback", "staging", "--reason=bad", "--to=2")).exit_code == 1


def test_a_rollback_keeps_what_else_was_changed_since(bare: Bare, tmp_path: Path) -> None:
    bare.bumped(5, 7)
    work = tmp_path / "other"
    repository.git("clone", "--quiet", bare.url, str(work))
    file = work / repository.values_of("staging")
    file.write_text(file.read_text().replace("replicaCount: 3", "replicaCount: 4"))
    repository.git("commit", "--quiet", "--all", "--message=More", folder=work)
    repository.git("push", "--quiet", "origin", "HEAD:main", folder=work)
    bare.ok(*bare.words("rollback", "staging", "--reason=bad"))
    assert "replicaCount: 4" in bare.values("staging")
    assert line(5, ", not 7") in bare.values("staging")


def test_unpin_without_a_pin_writes_nothing(bare: Bare) -> None:
    head = bare.head()
    assert "is not pinned" in bare.ok(*bare.words("unpin", "staging"))
    assert bare.head() == head


def test_an_unknown_environment_is_named(bare: Bare) -> None:
    done = bare.run(*bare.bump("stagin", 7))
    assert done.exit_code == 1
    assert "argocd/environments/stagin/values.yaml" in done.output


@pytest.mark.parametrize("word", ["--digest=sha256:0", "--digest=latest", "--commit=main", "--build=0"])
def test_what_could_move_is_refused(bare: Bare, word: str) -> None:
    assert bare.run(*bare.bump("staging", 7), word).exit_code == 2


@pytest.mark.timeout(300)
def test_of_eight_bumps_at_once_none_is_lost_and_none_out_of_order(bare: Bare) -> None:
    """Each waits for nobody: the newest build stands at the end, and the builds in the history only grow."""
    crowd = {build: started(bare.bump("staging", build), os.environ) for build in range(1, 9)}
    said = {build: process.communicate()[0] for build, process in crowd.items()}
    assert [said[build] for build, process in crowd.items() if process.returncode] == []
    history = bare.git("log", "--reverse", "--format=%(trailers:key=Sluice-Build,valueonly,separator=)", "main").split()
    builds = [int(build) for build in history]
    assert builds == sorted(set(builds))
    assert builds[-1] == 8
    left = {build for build, words in said.items() if "stays as it is" in words}
    assert left | set(builds) == set(range(1, 9))
    assert bare.status("staging")["digest"] == digest_of(8)


@pytest.mark.timeout(300)
def test_four_environments_at_once_all_get_theirs(tmp_path: Path) -> None:
    names = [f"region-{number}" for number in range(4)]
    bare = Bare(tmp_path, *names)
    crowd = {name: started(bare.bump(name, 4), os.environ) for name in names}
    said = {name: process.communicate()[0] for name, process in crowd.items()}
    assert {process.returncode for process in crowd.values()} == {0}, said
    assert {bare.status(name)["build"] for name in names} == {4}


NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def release(build: int) -> Release:
    return Release(digest_of(build), build, commit_of(build))


@pytest.mark.parametrize(("hours", "held"), [(1, True), (0, False), (-1, False)])
def test_a_pin_holds_until_it_expires(hours: int, held: bool) -> None:
    state = State(release(5), 7, Pin(NOW + timedelta(hours=hours), "bad"))
    assert ("pinned" in (environment.hindrance(state, release(8), NOW) or "")) is held


def test_the_bad_build_stays_away_when_the_pin_has_expired() -> None:
    state = State(release(5), 7, Pin(NOW - timedelta(hours=1), "bad"))
    assert "rolled back" in (environment.hindrance(state, release(7), NOW) or "")


def test_a_pin_reads_as_it_was_written() -> None:
    pin = Pin(NOW, "a: reason # with signs")
    assert environment.read_pin(pin.text(), "here") == pin


@pytest.mark.parametrize("values", ["", "image: {}\n", VALUES + VALUES, VALUES.replace('""', digest_of(1))])
def test_values_without_the_one_line_are_refused(values: str) -> None:
    with pytest.raises(environment.Malformed, match=r"values\.yaml"):
        environment.read(values, None, "here")
