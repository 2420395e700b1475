"""What Argo CD says of an ApiKey and a KeySet, by the Lua that the chart brings."""

from __future__ import annotations

from typing import Any

import lupa.lua51
import pytest
from tests.conftest import ROOT
from tests.unit.operator_.cluster import START
from tests.unit.operator_.story import DAY, Story, running

SCRIPT = (ROOT / "charts/sluice/files/argocd/health.lua").read_text(encoding="utf-8")


def health(raw: dict[str, Any]) -> str:
    """As Argo CD runs it: Lua 5.1 with the object as `obj`."""
    lua = lupa.lua51.LuaRuntime()
    lua.globals().obj = lua.table_from(raw, recursive=True)
    return str(lua.execute(SCRIPT)["status"])


def of(story: Story, name: str = "alpha") -> str:
    found = story.keys[name]
    return health({"metadata": {"generation": found.metadata.generation}, "status": found.status})


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({}, "Healthy"),
        ({"notBefore": (START + DAY).isoformat()}, "Healthy"),
        ({"revoked": True}, "Healthy"),
        ({"expiresAt": START.isoformat()}, "Healthy"),
        ({"suspended": True}, "Suspended"),
        ({"scopes": ["admin"]}, "Degraded"),
    ],
)
def test_a_key_whose_spec_is_reached_ends_a_sync(spec: dict[str, Any], status: str) -> None:
    story = Story(1, allowedScopes=["ingest", "read"])
    story.apply("alpha")
    story.run()
    story.apply("alpha", **spec)
    story.run()
    assert of(story) == status


def test_what_was_changed_and_not_looked_at_yet_is_on_its_way() -> None:
    story = running()
    story.apply("alpha", suspended=True)
    assert of(story) == "Progressing"
    story.apply("beta")
    assert of(story, "beta") == "Progressing"


def test_a_key_set_is_healthy_when_every_pod_has_it() -> None:
    story = running()
    assert story.keyset is not None
    assert health({"metadata": {"generation": 1}, "status": story.keyset.status}) == "Healthy"
