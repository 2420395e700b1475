"""Keys that are moved into another namespace, by the words of docs/operator.md, go on there as they were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import docs
from tests.cluster.kube import Cluster, Namespace
from tests.conftest import ROOT
from tests.integration.waiting import until
from tests.operator import account, stand, target
from tests.operator.operators import Operator
from tests.operator.stand import KEYSET, NEVER_PULLED, Stand
from tools import kubectl

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(shutil.which("jq") is None, reason="the guide restores with jq")]


@pytest.fixture
def places(cluster: Cluster) -> Iterator[tuple[Stand, Stand]]:
    """The second one has no KeySet yet. No target has Pods."""
    with cluster.namespace("old") as old, cluster.namespace("new") as new:
        for space in (old, new):
            account.create(space)
        stand.furnish(old)
        new.apply(target.deployment(NEVER_PULLED, KEYSET, replicas=0))
        both = Stand(old, target=None), Stand(new, target=None)  # type: ignore[arg-type]
        yield both
        for each in both:
            each.reader.close()


def follow(name: str, space: Namespace, folder: Path) -> None:
    """Do in `space` what the guide says."""
    config = json.loads(Path(space.cluster.kubeconfig).read_text())
    config["contexts"][0]["context"]["namespace"] = space.name
    (folder / "config").write_text(json.dumps(config))
    path = os.pathsep.join([str(kubectl.kubectl().parent), os.environ["PATH"]])
    text = docs.section(ROOT / "docs/operator.md", name).removeprefix("```sh\n").removesuffix("```")
    environment = {**os.environ, "KUBECONFIG": str(folder / "config"), "PATH": path}
    subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, cwd=folder, env=environment)


def test_keys_that_are_moved_as_the_guide_says_go_on_with_their_overlap_and_stay_revoked(
    places: tuple[Stand, Stand], tmp_path: Path
) -> None:
    old, new = places
    operator = Operator(old.space).start().leads()
    for name in ("stays", "rotates", "ends"):
        old.key(name)
        old.active(name)
    old.rotate("rotates")
    old.active("rotates", 2)
    old.change("ends", revoked=True)
    until(lambda: not any(name.startswith("ends") for name in old.secrets()), 30, "its Secrets are gone")
    old.settled()
    operator.remove()
    published, secrets = old.published(), old.secrets()

    follow("backup", old.space, tmp_path)
    follow("restore", new.space, tmp_path)
    operator = Operator(new.space).start().leads()
    try:
        new.active("rotates", 2)
        new.until_condition("ends", "Ready", "Revoked")
        until(lambda: all(each["metadata"].get("ownerReferences") for each in new.secrets().values()), 30, "all have an owner")
        assert new.published() == published
        assert {name: each["data"] for name, each in new.secrets().items() if "key" in each["data"]} == {
            name: each["data"] for name, each in secrets.items() if "key" in each["data"]
        }
    finally:
        operator.remove()
