"""Terraform as a program: a copy of terraform/ to work in, its commands, and what they did."""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.platform.runs import Run, Told, Verdict, collected, judge, must, worked

FOLDER = ROOT / "terraform"
# Stamps of a run, which no copy of the code has.
LEFT_OUT = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan")

Variables = Mapping[str, Any]
NONE: Variables = {}


class Terraform:
    """Terraform in a copy of terraform/ of its own.

    `settings` names AWS and the CLI configuration, `overrides` are variables of every command, `root` a folder to work in.
    `environment` is a name in envs/, or None for variables alone.
    """

    def __init__(
        self, program: Path, work: Path, settings: Mapping[str, str], overrides: Variables = NONE, root: str = "."
    ) -> None:
        self.folder = shutil.copytree(FOLDER, work / "terraform", ignore=LEFT_OUT, dirs_exist_ok=True) / root
        self.overrides = dict(overrides)
        self._program, self._work, self._settings = program, work, dict(settings)
        self._files = (work / f"changes-{number}.tfvars.json" for number in itertools.count(1))

    def at(self, root: str) -> Terraform:
        """Another root of the code, in a copy of its own, without the overrides."""
        return Terraform(self._program, Path(tempfile.mkdtemp(dir=self._work)), self._settings, root=root)

    def under(self, **settings: str) -> Terraform:
        """The same folder, with more variables of the environment."""
        other = copy.copy(self)
        other._settings = {**self._settings, **settings}
        return other

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._work),
            "TF_DATA_DIR": str(self._work / "data"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            **self._settings,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any command, whatever it ends with."""
        return subprocess.run(self._line(*arguments), env=self._environment, capture_output=True, text=True, check=False)

    def init(self, environment: str | None = None) -> None:
        """With the backend of an environment, or with that of the root. The lock file may not change."""
        where = ["-reconfigure", f"-backend-config=envs/{environment}.s3.tfbackend"] if environment else []
        must(self.run("init", "-input=false", "-no-color", "-lockfile=readonly", *where))

    def apply(self, environment: str | None, changes: Variables = NONE, told: Told | None = None) -> Run:
        return collected(self.start_apply(environment, changes), told)

    def start_apply(self, environment: str | None, changes: Variables = NONE) -> subprocess.Popen[str]:
        """An apply that goes on in the background, for collected()."""
        return self._start("apply", environment, changes, "-auto-approve")

    def plan(self, environment: str | None, changes: Variables = NONE) -> Run:
        """Its code is 0 for no change, 1 for an error, 2 for changes."""
        return collected(self._start("plan", environment, changes, "-detailed-exitcode"))

    def planned(self, environment: str) -> tuple[Run, dict[str, Any]]:
        """A plan, and what it would make (Terraform's documentation, "JSON output format", values representation)."""
        run = worked(collected(self._start("plan", environment, NONE, "-out=plan.tfplan")))
        values: dict[str, Any] = json.loads(must(self.run("show", "-json", "plan.tfplan")))["planned_values"]
        return run, values

    def destroy(self, environment: str | None, changes: Variables = NONE, told: Told | None = None) -> Run:
        return collected(self._start("destroy", environment, changes, "-auto-approve"), told)

    def adopt(self, exist: Mapping[str, str]) -> None:
        """Let the next apply take over what is there already: ids by address."""
        blocks = [f'import {{\n  to = {address}\n  id = "{key}"\n}}\n' for address, key in exist.items()]
        (self.folder / "imports.tf").write_text("\n".join(blocks), encoding="utf-8")

    def unlock(self, lock: str) -> None:
        must(self.run("force-unlock", "-force", lock))

    def output(self, name: str) -> Any:
        return json.loads(must(self.run("output", "-json", name)))

    def state(self) -> list[str]:
        """The address of everything in the state."""
        return must(self.run("state", "list")).split()

    def shown(self) -> str:
        """The state as `terraform show -json` tells it."""
        return must(self.run("show", "-json"))

    def finished(self) -> list[dict[str, Any]]:
        """The resources in the state but those that the next apply makes anew or deletes."""
        root = json.loads(self.shown()).get("values", {}).get("root_module", {})
        return [one for one in resources(root) if not one.get("tainted") and "deposed_key" not in one]

    def test(self, directory: str = "tests", told: Told | None = None, only: str | None = None) -> Verdict:
        """Every run of a folder, or of one file in it. Modules that only its runs name are installed first."""
        must(self.run("init", "-backend=false", "-input=false", "-no-color", f"-test-directory={directory}"))
        verdict = Verdict()

        def hear(message: dict[str, Any]) -> None:
            judge(verdict, message)
            if told is not None:
                told(message)

        chosen = [f"-filter={directory}/{only}"] if only else []
        run = collected(self._open("test", "-json", f"-test-directory={directory}", *chosen), hear)
        verdict.seconds = run.seconds
        verdict.errors += run.errors
        return verdict

    def _start(self, command: str, environment: str | None, changes: Variables, *options: str) -> subprocess.Popen[str]:
        return self._open(command, "-json", "-input=false", *options, *self._given(environment, changes))

    def _given(self, environment: str | None, changes: Variables) -> list[str]:
        """Variables go by a file: on the command line a null would be a word."""
        file = next(self._files)
        file.write_text(json.dumps({**self.overrides, **changes}), encoding="utf-8")
        return [*([f"-var-file=envs/{environment}.tfvars"] if environment else []), f"-var-file={file}"]

    def _open(self, *arguments: str) -> subprocess.Popen[str]:
        pipe, out = subprocess.PIPE, subprocess.STDOUT
        return subprocess.Popen(self._line(*arguments), env=self._environment, stdout=pipe, stderr=out, text=True)

    def _line(self, *arguments: str) -> list[str]:
        return [str(self._program), f"-chdir={self.folder}", *arguments]


def resources(module: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Of a module and of those in it."""
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)
