"""Each script of the workflows, run: with real git and crane where they matter, and programs that record what they were asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT
from tests.gitops.bare import Bare, commit_of, digest_of
from tools.release import allowed, layout, repository

RELEASE = ROOT / "tools" / "release"
# Writes down its words and its input, and answers from files: `<program>.<first word>` or nothing.
RECORDER = """#!/bin/sh
{{ echo "$(basename "$0") $*"; }} >>{log}
case "$*" in *--password-stdin* | *"--input -"*) cat >>{log} ;; esac
reply={folder}/reply-$(basename "$0")-$1
[ ! -e "$reply-fails" ] || exit 1
[ ! -e "$reply" ] || cat "$reply"
"""


class Recorder:
    """Programs on PATH that only record."""

    def __init__(self, folder: Path, *programs: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "log"
        self.log.touch()
        for name in programs:
            (self.bin / name).write_text(RECORDER.format(log=self.log, folder=folder))
            (self.bin / name).chmod(0o755)

    def reply(self, program: str, word: str, text: str = "", fails: bool = False) -> None:
        (self.folder / f"reply-{program}-{word}{'-fails' if fails else ''}").write_text(text)

    def run(self, script: str | Path, *words: str, cwd: Any = ROOT, code: Any = 0, **environ: str) -> str:
        path = os.pathsep.join([str(self.bin), os.path.dirname(sys.executable), os.environ["PATH"]])
        given = {**os.environ, "PATH": path, "PYTHON": sys.executable, "GITHUB_OUTPUT": str(self.folder / "output"), **environ}
        done = subprocess.run([RELEASE / script, *words], cwd=cwd, env=given, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


def oci_layout(folder: Path, digest: str) -> Path:
    folder.mkdir()
    (folder / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
    return folder


def test_build_pins_the_base_and_pushes_nothing(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "docker")
    programs.reply("docker", "buildx", digest_of(9))
    programs.run("build.sh", ARCH="arm64", OUT="image-arm64", SOURCE="https://g.test/a")
    (build,) = [line for line in programs.lines() if " build --platform" in line]
    assert "--platform linux/arm64" in build
    assert f"BASE_DIGEST={digest_of(9)}" in build
    assert "SOURCE=https://g.test/a" in build
    assert re.search(r"REVISION=[0-9a-f]{40} --build-arg CREATED=\d{4}-\d\d-\d\dT\S+ ", build)
    assert "type=oci,dest=image-arm64" in build
    assert "push" not in "".join(programs.lines())


def test_login_gives_the_password_by_stdin_to_the_registry_of_the_image(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "aws", "crane")
    programs.reply("aws", "ecr", "a-password")
    programs.run("login.sh", IMAGE="1.dkr.ecr.eu-central-1.amazonaws.com/sluice", CRANE=str(programs.bin / "crane"))
    assert "crane auth login --username AWS --password-stdin 1.dkr.ecr.eu-central-1.amazonaws.com" in programs.lines()
    assert "a-password" in programs.lines()


def test_push_joins_both_architectures_by_digest(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "crane")
    state = tmp_path / "pushed"
    (programs.bin / "crane").write_text(
        f'#!/bin/sh\necho "crane $*" >>{programs.log}\n'
        f"case $1 in digest) [ -e {state} ] && echo {digest_of(3)} ;; index) touch {state} ;; esac\n"
    )
    layouts = [str(oci_layout(tmp_path / f"image-{arch}", digest_of(number))) for number, arch in ((1, "amd64"), (2, "arm64"))]
    given = {"IMAGE": "r.test/sluice", "COMMIT": commit_of(5), "CRANE": str(programs.bin / "crane")}
    assert f"digest={digest_of(3)}" in programs.run("push.sh", *layouts, **given)
    pushed = [line for line in programs.lines() if line.startswith("crane push")]
    assert pushed == [f"crane push {path} r.test/sluice@{digest_of(number)}" for number, path in enumerate(layouts, 1)]
    tag = f"r.test/sluice:sha-{commit_of(5)}"
    both = " ".join(f"--manifest r.test/sluice@{digest_of(number)}" for number in (1, 2))
    assert f"crane index append {both} --tag {tag}" in programs.lines()
    before = len(programs.lines())
    assert f"digest={digest_of(3)}" in programs.run("push.sh", *layouts, **given)
    assert programs.lines()[before:] == [f"crane digest {tag}"]


def test_a_layout_holds_one_image(tmp_path: Path) -> None:
    folder = oci_layout(tmp_path / "one", digest_of(1))
    assert layout.digest(folder) == digest_of(1)
    (folder / "index.json").write_text('{"manifests": []}')
    with pytest.raises(SystemExit, match="0 images, not one"):
        layout.digest(folder)


def test_sign_signs_the_digest_and_attests_provenance_and_sboms(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "cosign")
    about = {
        "IMAGE": "r.test/sluice",
        "DIGEST": digest_of(3),
        "COMMIT": commit_of(5),
        "SOURCE": "https://g.test/a",
        "RUN": "https://g.test/a/1",
    }
    proof = tmp_path / "proof"
    programs.run("sign.sh", str(proof), "a.spdx.json", "a.cdx.json", KMS_KEY="awskms:///alias/x", **about)
    image = f"r.test/sluice@{digest_of(3)}"
    assert programs.lines() == [
        f"cosign sign --yes --bundle {proof}/signature.json {image}",
        f"cosign attest --yes --bundle {proof}/provenance.json --type slsaprovenance1 --predicate {proof}/predicate.json {image}",
        f"cosign attest --yes --type spdxjson --predicate a.spdx.json {image}",
        f"cosign attest --yes --type cyclonedx --predicate a.cdx.json {image}",
        f"cosign sign --yes --key awskms:///alias/x {image}",
    ]
    predicate = json.loads((proof / "predicate.json").read_text())
    assert predicate["buildDefinition"]["resolvedDependencies"] == [
        {"uri": "git+https://g.test/a", "digest": {"gitCommit": commit_of(5)}}
    ]


def test_what_is_deployed_is_kept_by_a_tag_and_tags_do_not_move(tmp_path: Path) -> None:
    bare = Bare(tmp_path, "staging", "dev")
    bare.ok(*bare.bump("staging", 7))
    work = tmp_path / "checkout"
    repository.git("clone", "--quiet", bare.url, str(work))
    programs = Recorder(tmp_path, "crane")
    programs.reply("crane", "digest", fails=True)
    given = {"IMAGE": "r.test/sluice", "ROOT": str(work), "CRANE": str(programs.bin / "crane")}
    assert "tagged deployed-staging-7" in programs.run("keep.sh", **given)
    assert [line for line in programs.lines() if " tag " in line] == [
        f"crane tag r.test/sluice@{digest_of(7)} deployed-staging-7"
    ]
    programs.reply("crane", "tag", fails=True)
    assert f"has no {digest_of(7)}" in programs.run("keep.sh", **given)


@pytest.fixture
def checkout(tmp_path: Path) -> tuple[Bare, Path, Recorder]:
    """A clone with the command line in it, as a workflow has, and programs of GitHub's that record."""
    bare = Bare(tmp_path, "staging", "prod")
    work = tmp_path / "checkout"
    repository.git("clone", "--quiet", bare.url, str(work))
    (work / "tools").symlink_to(ROOT / "tools")
    programs = Recorder(tmp_path, "gh", "cosign")
    (programs.bin / "cosign").write_text(bare.cosign.read_text())
    # What install.sh would install is here already.
    (programs.bin / "python").write_text(f'#!/bin/sh\n[ "$2" = pip ] && exit\nexec {sys.executable} "$@"\n')
    (programs.bin / "python").chmod(0o755)
    return bare, work, programs


def deployed(bare: Bare, work: Path, programs: Recorder, environment: str, by: str = "who", code: int = 0) -> str:
    commit = repository.git("rev-parse", "HEAD", folder=work).strip()
    proof = bare.proof(1, by=f"{by}issuer", commit=commit)
    (work / "proof").unlink(missing_ok=True)
    (work / "proof").symlink_to(proof)
    return programs.run(
        "deploy.sh",
        cwd=work,
        code=code,
        PYTHON=str(programs.bin / "python"),
        ENVIRONMENT=environment,
        DIGEST=digest_of(1),
        COMMIT=commit,
        RUN="https://g.test/a/actions/runs/77",
        RELEASE_IDENTITY="who",
        RELEASE_ISSUER="issuer",
    )


def test_deploy_writes_staging_by_a_commit_and_status_finds_its_run(checkout: tuple[Bare, Path, Recorder]) -> None:
    bare, work, programs = checkout
    assert "Release build 1 to staging" in deployed(bare, work, programs, "staging")
    assert bare.status("staging")["digest"] == digest_of(1)
    assert not [line for line in programs.lines() if " pr " in line]
    repository.git("pull", "--quiet", folder=work)
    said = programs.run("status.sh", "staging", cwd=work, PYTHON=str(programs.bin / "python"))
    assert f"digest={digest_of(1)}" in said
    assert "run=77" in said.splitlines()


def test_status_finds_the_run_of_a_release_that_was_rolled_back_to(checkout: tuple[Bare, Path, Recorder]) -> None:
    bare, work, programs = checkout
    deployed(bare, work, programs, "staging")
    bare.ok(*bare.bump("staging", 7))
    bare.ok(*bare.words("rollback", "staging", "--reason=bad"))
    repository.git("pull", "--quiet", folder=work)
    said = programs.run("status.sh", "staging", cwd=work, PYTHON=str(programs.bin / "python"))
    assert f"digest={digest_of(1)}" in said
    assert "run=77" in said.splitlines()


def test_deploy_proposes_prod_by_a_pull_request_once(checkout: tuple[Bare, Path, Recorder]) -> None:
    bare, work, programs = checkout
    deployed(bare, work, programs, "prod")
    proposals = ["gh pr create --head release/prod-1 --title Release build 1 to prod. --body-file body.md"]
    assert [line for line in programs.lines() if "pr create" in line] == proposals
    assert bare.status("prod")["build"] == 0
    # One that was closed is not listed, and is proposed again.
    assert "gh pr list --head release/prod-1 --state open --json number --jq .[].number" in programs.lines()
    (programs.bin / "gh").write_text(f'#!/bin/sh\necho "gh $*" >>{programs.log}\n[ "$1 $2" != "pr list" ] || echo 5\n')
    deployed(bare, work, programs, "prod")
    assert [line for line in programs.lines() if "pr create" in line] == proposals


def test_deploy_writes_nothing_that_another_workflow_signed(checkout: tuple[Bare, Path, Recorder]) -> None:
    bare, work, programs = checkout
    head = bare.head()
    assert "does not prove" in deployed(bare, work, programs, "staging", by="somebody", code=1)
    assert bare.head() == head


def test_rollback_takes_its_words_from_the_form(checkout: tuple[Bare, Path, Recorder]) -> None:
    bare, work, programs = checkout
    for build in (5, 7):
        bare.ok(*bare.bump("staging", build))
    given = {"ENVIRONMENT": "staging", "REASON": "it's $(touch hacked)", "PIN": "2d"}
    said = programs.run("rollback.sh", cwd=work, PYTHON=str(programs.bin / "python"), **given)
    assert "Roll staging back to build 5" in said
    assert bare.status("staging")["pin"]["reason"] == "it's $(touch hacked)"
    assert not (work / "hacked").exists()


def test_install_takes_what_it_needs_by_hash() -> None:
    pins = (RELEASE / "requirements.txt").read_text()
    assert "--hash=sha256:" in pins
    assert {line.partition("==")[0] for line in pins.splitlines() if "==" in line} >= {"click", "pyyaml"}
    assert "--require-hashes" in (RELEASE / "install.sh").read_text()


@pytest.mark.parametrize("command", ["init", "test"])
def test_terraform_is_judged_in_each_root_by_runs_that_are_there(tmp_path: Path, command: str) -> None:
    """Terraform finds runs in one folder, not below it, and ends well where it finds none."""
    programs = Recorder(tmp_path, "terraform")
    programs.run("terraform.sh")
    folders = re.findall(rf"terraform -chdir=(\S+) {command} .*-test-directory=(\S+)", programs.log.read_text())
    assert {root for root, _ in folders} == {".", "bootstrap"}
    assert all(list((ROOT / "terraform" / root / folder).glob("*.tftest.hcl")) for root, folder in folders)


def test_chart_upgrades_from_the_release_before_and_goes_back(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "helm")
    programs.run("chart.sh", TAG="HEAD", SKIP_IMAGE="1", KUBECONFIG="/nowhere")
    verbs = [" ".join(line.split()[1:3]) for line in programs.lines()]
    assert verbs == [
        "lint --strict",
        "package charts/sluice",
        "upgrade --install",
        "upgrade --install",
        "test sluice",
        "rollback sluice",
        "test sluice",
    ]


def test_chart_without_a_release_before_is_installed(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "helm", "kind", "docker")
    programs.run("chart.sh", TAG="", HOME=str(tmp_path), KUBECONFIG="")
    assert "kind load docker-image localhost/sluice:test" in programs.lines()
    assert not [line for line in programs.lines() if "rollback" in line]


def test_publish_signs_the_chart_by_digest(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "helm", "cosign", "crane")
    said_by_helm = f'[ "$1" != show ] || echo "version: 0.1.0"\n[ "$1" != push ] || echo "Digest: {digest_of(4)}" >&2\n'
    (programs.bin / "helm").write_text(f'#!/bin/sh\necho "helm $*" >>{programs.log}\n{said_by_helm}')
    programs.reply("crane", "digest", fails=True)
    given = {"IMAGE": "r.test/dev/sluice", "CRANE": str(programs.bin / "crane")}
    before = set(ROOT.iterdir())
    said = programs.run("publish.sh", TAG="v0.1.0", **given)
    assert set(ROOT.iterdir()) == before
    assert f"digest={digest_of(4)}" in said
    assert f"cosign sign --yes r.test/dev/charts/sluice@{digest_of(4)}" in programs.lines()
    assert "does not have version 9.9.9" in programs.run("publish.sh", TAG="v9.9.9", code=2, **given)


def test_a_chart_that_is_there_is_signed_and_not_pushed_again(tmp_path: Path) -> None:
    """Another package of the same files has another digest, and the registry's tags do not move."""
    programs = Recorder(tmp_path, "helm", "cosign", "crane")
    programs.reply("helm", "show", "version: 0.1.0")
    programs.reply("crane", "digest", digest_of(4))
    said = programs.run("publish.sh", IMAGE="r.test/dev/sluice", TAG="v0.1.0", CRANE=str(programs.bin / "crane"))
    assert f"digest={digest_of(4)}" in said
    assert "crane digest r.test/dev/charts/sluice:0.1.0" in programs.lines()
    assert not [line for line in programs.lines() if line.startswith("helm push")]
    assert f"cosign sign --yes r.test/dev/charts/sluice@{digest_of(4)}" in programs.lines()


def test_release_notes_are_the_section_of_the_changelog(tmp_path: Path) -> None:
    programs = Recorder(tmp_path, "gh")
    programs.reply("gh", "release", fails=False)
    (programs.bin / "gh").write_text(
        f'#!/bin/sh\necho "gh $*" >>{programs.log}\n[ "$2" != view ] || exit 1\ncat notes.md >>{programs.log}\n'
    )
    try:
        programs.run("notes.sh", TAG="v0.1.0", CHART=digest_of(4))
    finally:
        (ROOT / "notes.md").unlink(missing_ok=True)
    assert digest_of(4) in programs.log.read_text()
    assert "The first slice" in programs.log.read_text()


@pytest.fixture
def protected(tmp_path: Path) -> str:
    """What protect.sh asked of GitHub, each request with its body."""
    programs = Recorder(tmp_path, "gh")
    programs.run("../protect.sh", "acme/sluice", REVIEWERS="12", GITOPS_APP="34")
    return programs.log.read_text()


def environments_of(log: str) -> dict[str, Any]:
    """The rules of each environment, by its name."""
    bodies = re.findall(r"--method PUT repos/acme/sluice/environments/([\w-]+) --input -\n(.*)", log)
    return {name: json.loads(body) for name, body in bodies}


def test_protect_lets_only_the_app_push_to_main(protected: str) -> None:
    rules, _ = json.JSONDecoder().raw_decode(protected[protected.index("{") :])
    assert rules["conditions"]["ref_name"]["include"] == ["refs/heads/main"]
    assert rules["bypass_actors"] == [{"actor_id": 34, "actor_type": "Integration", "bypass_mode": "always"}]


def test_protect_takes_no_ruleset_of_the_organization_for_its_own(protected: str) -> None:
    """GitHub lists those too, and `main` is a common name; the repository cannot write them."""
    listed = re.findall(r"^gh api (repos/acme/sluice/rulesets\S*) --jq", protected, re.MULTILINE)
    assert listed == ["repos/acme/sluice/rulesets?includes_parents=false"] * 2


def test_every_environment_that_a_role_trusts_or_a_workflow_names_is_made_with_its_rules(protected: str) -> None:
    """GitHub makes one that does not exist when a workflow names it, and lets everybody use it."""
    files = [*(ROOT / "terraform").rglob("*.tf"), *(ROOT / "terraform").rglob("*.md"), *(ROOT / "terraform").rglob("*.tfvars")]
    trusted = {name for file in files for name in re.findall(r'"environment:([^"]+)"', file.read_text())}
    assert trusted == {"terraform", "registry-push", "registry-sign"}
    workflows = [yaml.safe_load(file.read_text()) for file in (ROOT / ".github" / "workflows").glob("*.yml")]
    named = {str(job["environment"]) for one in workflows for job in one["jobs"].values() if "environment" in job}
    rollback = {f"{name}-rollback" for name in ("dev", "staging", "prod")}
    made = environments_of(protected)
    assert trusted | (named - {"${{ inputs.environment }}-rollback"}) | rollback <= made.keys()
    assert all(one["deployment_branch_policy"]["custom_branch_policies"] for one in made.values())
    assert {name for name, one in made.items() if one["reviewers"] == [{"type": "Team", "id": 12}]} == {"prod", "terraform"}
    for name in made:
        assert f"environments/{name}/deployment-branch-policies --field name=main --field type=branch" in protected
    # A tag is not on a branch: workflow `release` runs at one.
    assert re.findall(r"environments/([\w-]+)/deployment-branch-policies --field name=v\* --field type=tag", protected) == [
        "registry-sign"
    ]


def test_only_the_reviewers_make_move_or_delete_the_tag_of_a_release(protected: str) -> None:
    rules, _ = json.JSONDecoder().raw_decode(protected[protected.index('{\n  "name": "releases"') :])
    assert (rules["target"], rules["conditions"]["ref_name"]["include"]) == ("tag", ["refs/tags/v*"])
    assert rules["bypass_actors"] == [{"actor_id": 12, "actor_type": "Team", "bypass_mode": "always"}]
    assert {one["type"] for one in rules["rules"]} == {"creation", "update", "deletion"}


def test_the_repository_that_a_chart_is_pushed_to_is_made_and_its_signer_may_write_there() -> None:
    """publish.sh puts the chart beside the image; helm adds the chart's name."""
    (default,) = re.findall(
        r'variable "repositories" \{.*?default += (\[.*?\])', (ROOT / "terraform/variables_registry.tf").read_text(), re.DOTALL
    )
    assert json.loads(default) == ["sluice", "charts/sluice"]
    assert 'oci://${IMAGE%/*}/charts"' in (RELEASE / "publish.sh").read_text()


TODAY = date(2026, 11, 29)


def entry(until: str, reason: str = "not reached") -> str:
    return f'[[allowed]]\nvulnerability = "CVE-2026-1"\nreason = "{reason}"\nuntil = {until}\n'


def test_an_allowed_vulnerability_ends_by_itself() -> None:
    assert "CVE-2026-1" in allowed.configuration(entry("2026-11-29"), TODAY)
    assert allowed.configuration(entry("2026-11-28"), TODAY) == "ignore: []\n"


@pytest.mark.parametrize(
    "text", [entry("2027-11-29"), entry("2026-12-01", reason=""), entry('"2026-12-01"'), '[[allowed]]\nvulnerability = "x"\n']
)
def test_an_allowance_without_reason_or_near_end_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        allowed.configuration(text, TODAY)


def test_the_list_that_is_here_can_be_used() -> None:
    done = subprocess.run([sys.executable, RELEASE / "allowed.py"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ignore:")
