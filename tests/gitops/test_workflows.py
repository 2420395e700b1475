""".github/workflows as parsed YAML: who may do what, in which order, and by which scripts. And what three judges say of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import docs
from tests.conftest import ROOT
from tools import binaries, isolated, not_installed

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
SCRIPTS = sorted([*(ROOT / "tools").glob("*.sh"), *(ROOT / "tools/release").glob("*.sh"), *(ROOT / "argocd").rglob("*.sh")])
PINNED = re.compile(r"^[\w./-]+@[0-9a-f]{40}$")
USES = re.compile(r"uses: (\S+)(.*)")

Job = dict[str, Any]


@cache
def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    return found


def jobs() -> list[tuple[str, str, Job]]:
    return [(file.stem, name, job) for file in FILES for name, job in workflow(file.stem)["jobs"].items()]


def granted(job: Job, what: str) -> str:
    return str(job.get("permissions", {}).get(what, "none"))


def text_of(job: Job) -> str:
    return yaml.safe_dump(job)


def events(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    found: dict[str, Any] = workflow(name)[True]  # type: ignore[index]
    return found


def test_only_push_and_sign_get_an_oidc_token() -> None:
    assert {(file, name) for file, name, job in jobs() if granted(job, "id-token") == "write"} == {
        ("deliver", "push"),
        ("deliver", "sign"),
        ("release", "sign"),
    }


def test_only_who_has_an_oidc_token_takes_a_role_and_each_its_own() -> None:
    roles = {(file, name): re.findall(r"vars\.(\w+_ROLE)", text_of(job)) for file, name, job in jobs()}
    assert {place: found for place, found in roles.items() if found} == {
        ("deliver", "push"): ["PUSH_ROLE"],
        ("deliver", "sign"): ["SIGN_ROLE"],
        ("release", "sign"): ["SIGN_ROLE"],
    }


def test_who_builds_or_scans_holds_no_secret_and_no_token() -> None:
    for name in ("build", "scan"):
        job = workflow("deliver")["jobs"][name]
        assert job["permissions"] == {"contents": "read"}
        assert "secrets." not in text_of(job)
        assert "environment" not in job


def test_who_writes_to_git_has_no_role_in_aws() -> None:
    for file, name, job in jobs():
        if "GITOPS_APP_KEY" in text_of(job):
            assert granted(job, "id-token") == "none", (file, name)
            assert job["environment"], (file, name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_workflow_grants_nothing_and_each_job_just_what_it_needs(file: Path) -> None:
    document = workflow(file.stem)
    assert document["permissions"] == {}
    for job in document["jobs"].values():
        assert job["permissions"]["contents"] == ("write" if job["name"] == "release notes" else "read")
        assert job["timeout-minutes"] <= 120
        assert job["name"]


def test_codeql_may_look_at_its_run_in_a_private_repository() -> None:
    """Where it may not, its report is refused (github/codeql-action, pull request 457)."""
    assert granted(workflow("security")["jobs"]["codeql"], "actions") == "read"


def test_a_run_on_main_is_never_cancelled() -> None:
    for file in FILES:
        cancels = workflow(file.stem)["concurrency"]["cancel-in-progress"]
        assert cancels in (False, "${{ github.event_name == 'pull_request' }}"), file.name


def test_nothing_runs_with_our_rights_on_the_code_of_a_stranger() -> None:
    for file in FILES:
        assert not events(file.stem).keys() & {"pull_request_target", "workflow_run", "issue_comment"}, file.name
    assert {file.stem for file in FILES if "pull_request" in events(file.stem)} == {"ci", "security"}


def test_every_action_is_pinned_by_its_commit_and_named_by_its_version() -> None:
    docs = (ROOT / "docs" / "gitops.md").read_text()
    for file in FILES:
        for action, comment in USES.findall(file.read_text()):
            assert PINNED.match(action), f"{file.name}: {action}"
            assert re.match(r" # v?\d+\.\d+(\.\d+)?$", comment), f"{file.name}: {action}"
            name, _, commit = action.partition("@")
            row = f"| `{'/'.join(name.split('/')[:2])}` | {comment.removeprefix(' # ')} | `{commit}` |"
            assert row in docs, f"docs/gitops.md lacks {row}"


def test_one_action_has_one_version_everywhere() -> None:
    found = {action.partition("@")[::2] for file in FILES for action, _ in USES.findall(file.read_text())}
    assert len({name for name, _ in found}) == len(found)


def test_no_checkout_leaves_its_token_behind() -> None:
    steps = [step for _, _, job in jobs() for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
    assert len(steps) >= 15
    assert all(step["with"]["persist-credentials"] is False for step in steps)


def test_an_image_is_scanned_before_it_is_signed_and_signed_before_it_is_deployed() -> None:
    found = workflow("deliver")["jobs"]
    assert found["push"]["needs"] == "build"
    assert found["scan"]["needs"] == "build"
    assert set(found["sign"]["needs"]) == {"push", "scan"}
    assert set(found["deploy"]["needs"]) == {"push", "sign"}


@pytest.mark.parametrize(("file", "environment"), [("deliver", "staging"), ("promote", "prod")])
def test_a_deployment_trusts_exactly_one_workflow(file: str, environment: str) -> None:
    job = workflow(file)["jobs"]["deploy"]
    assert job["environment"] == environment
    (step,) = [step for step in job["steps"] if step.get("run") == "tools/release/deploy.sh"]
    identity = "${{ github.server_url }}/${{ github.repository }}/.github/workflows/deliver.yml@refs/heads/main"
    assert step["env"]["RELEASE_IDENTITY"] == identity
    assert step["env"]["RELEASE_ISSUER"] == "https://token.actions.githubusercontent.com"
    assert step["env"]["ENVIRONMENT"] == environment


def test_a_release_that_is_written_starts_no_new_one() -> None:
    """Else each bump would build, deploy and bump again."""
    assert not any("argocd" in path for path in events("deliver")["push"]["paths"])
    assert events("ci")["push"]["paths-ignore"] == ["argocd/environments/**"]


def test_an_image_is_built_anew_by_hand() -> None:
    """What proves one is kept for 90 days, and only what is proven is promoted."""
    assert "workflow_dispatch" in events("deliver")


def test_no_deployment_waits_in_a_line_where_a_newer_one_is_cancelled() -> None:
    """GitHub keeps one waiting job of a group, the last that came; tools/release/repository.py keeps the newest build."""
    assert [(file, name) for file, name, job in jobs() if "concurrency" in job] == []


def test_a_run_line_is_a_script_or_a_make_target() -> None:
    """So that everything a workflow does can be run, and is, without GitHub."""
    other = r"make [\w -]+|sudo .*|python3 tools/release/allowed\.py >\.grype\.yaml|flyctl deploy --remote-only"
    short = re.compile(rf"^(tools/release/\w+\.sh\b.*|{other})$")
    lines = [line for _, _, job in jobs() for step in job["steps"] for line in str(step.get("run", "")).splitlines()]
    assert [line for line in lines if not short.match(line)] == []
    called = {match for line in lines for match in re.findall(r"tools/release/(\w+\.sh)", line)}
    assert called <= {script.name for script in SCRIPTS}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_zizmor_s_auditor_finds_nothing() -> None:
    program = isolated.program("zizmor")
    done = subprocess.run(
        [program, "--offline", "--persona=auditor", "--no-progress", ROOT / ".github"], capture_output=True, text=True
    )
    assert "No findings to report" in done.stdout, done.stdout + done.stderr
    assert "ignored" not in done.stdout
    assert not re.search(r"zizmor:\s*ignore", "".join(file.read_text() for file in FILES))
    assert not list(ROOT.glob("**/zizmor.y*ml"))


# The example of terraform/README.md.
SHOWN = docs.section(ROOT / "terraform" / "README.md", "workflow").strip("`").removeprefix("yaml")


def test_the_workflow_that_is_shown_takes_actions_that_ours_take_and_gives_each_event_its_role() -> None:
    ours = {match.group() for file in FILES for match in USES.finditer(file.read_text())}
    assert {match.group() for match in USES.finditer(SHOWN)} <= ours
    for name, job in yaml.safe_load(SHOWN)["jobs"].items():
        assert text_of(job).count(f"role/sluice-terraform-{name}") == 1
        assert job.get("environment") == {"plan": None, "apply": "terraform"}[name]


def test_the_workflow_that_is_shown_applies_in_the_order_of_commits_and_does_not_lose_its_rights_half_way() -> None:
    """An older commit that is approved late would undo a newer one; a session of an hour ends before a long upgrade does."""
    shown = yaml.safe_load(SHOWN)
    assert shown["concurrency"] == {"group": "terraform-${{ github.ref }}", "cancel-in-progress": False}
    (asked,) = re.findall(r"role-duration-seconds: (\d+)", text_of(shown["jobs"]["apply"]))
    (given,) = re.findall(r"apply = .* session = (\d+)", (ROOT / "terraform" / "bootstrap" / "github.tf").read_text())
    assert int(given) >= int(asked) > 3600


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    (shown := tmp_path / "shown.yml").write_text(SHOWN)
    done = subprocess.run([binaries.path("actionlint"), "-no-color", *FILES, shown], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        raise not_installed("shellcheck")
    done = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
