"""The chain as a picture, from the workflows and the Applications: `python -m tests.gitops.picture` writes it into README.md."""

from __future__ import annotations

import re
from typing import Any

import yaml
from tests import docs
from tests.conftest import ROOT

README = ROOT / "README.md"
MARKS = "chain"
WAVE = re.compile(r'name: \{\{ \.Values\.cluster \}\}-(\w+).*?sync-wave: "(\d+)"', re.DOTALL)


def picture() -> str:
    """Mermaid: the jobs of deliver and promote in their order, the lines of git, the Applications by wave, the way back."""
    lines = ["flowchart LR", "  commit([commit on main])"]
    jobs = workflow("deliver")
    for name, job in jobs.items():
        lines.append(f"  {name}[{label(name, job)}]")
    for name, job in jobs.items():
        lines += [f"  {before} --> {name}" for before in needs(job)]
    (last,) = jobs.keys() - {before for job in jobs.values() for before in needs(job)}
    lines += ["  staging[(staging, in git)]", "  prod[(prod, in git)]", f"  {last} -->|commit| staging"]
    lines += ["  promote[promote<br/>reviewers]", "  staging --> promote", "  promote -->|pull request| prod"]
    lines += ["  rollback[rollback<br/>pin]", "  rollback -->|commit| staging", "  rollback -->|commit| prod"]
    lines += ["  subgraph argocd[Argo CD, in each cluster]", "    direction LR"]
    template = (ROOT / "argocd" / "cluster" / "templates" / "applications.yaml").read_text()
    waves = {name: int(wave) for name, wave in WAVE.findall(template)}
    lines += [f"    {name}[{name}<br/>wave {wave}]" for name, wave in waves.items()]
    lines += [f"    {one} --> {two}" for one in waves for two in waves if waves[two] == waves[one] + 1]
    lines += ["  end", "  staging --> argocd", "  prod --> argocd"]
    return "\n".join(["```mermaid", *lines, "```"])


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]
    return found


def needs(job: dict[str, Any]) -> list[str]:
    found = job.get("needs", ["commit"])
    return [found] if isinstance(found, str) else list(found)


def label(name: str, job: dict[str, Any]) -> str:
    """With what it may do that others may not."""
    more = []
    if "matrix" in job.get("strategy", {}):
        more.append(" and ".join(job["strategy"]["matrix"]["arch"]))
    if "id-token" in job["permissions"]:
        more.append("OIDC")
    if "GITOPS_APP_KEY" in yaml.safe_dump(job):
        more.append("writes git")
    return "<br/>".join([name, *more])


if __name__ == "__main__":
    docs.put(README, MARKS, picture())
