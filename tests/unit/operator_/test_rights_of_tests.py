"""tests/operator runs with the rights of the chart, and reads those that were used out of an audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.operator import account
from tests.operator.calls import Recorder, Right, granted, used


def call(verb: str, resource: str, user: str = "sluice-operator", agent: str = "sluice-operator", **about: str) -> dict[str, Any]:
    """As the API server writes it at level Metadata."""
    name = f"system:serviceaccount:space:{user}"
    return {"verb": verb, "user": {"username": name}, "userAgent": agent, "objectRef": {"resource": resource, **about}}


def test_the_account_has_every_rule_of_the_chart_and_no_other() -> None:
    assert granted(account.rules()) == granted(account.rendered())
    assert Right("", "secrets", "delete") in granted(account.rules())
    assert Right("apps", "deployments", "patch") in granted(account.rules())
    assert Right("", "configmaps", "get") in granted(account.rules())


def test_only_the_name_of_the_lease_is_free() -> None:
    named = [rule["resources"] for rule in account.rules() if "resourceNames" in rule]
    assert named == [["configmaps"]]


def test_a_right_can_be_left_out() -> None:
    gone = granted(account.rules()) - granted(account.rules("create secrets", "patch apikeys/status"))
    assert gone == {Right("", "secrets", "create"), Right("sluice.dev", "apikeys/status", "patch")}


def test_calls_of_the_operator_count_with_group_and_subresource() -> None:
    events = [
        call("list", "secrets"),
        call("patch", "apikeys", apiGroup="sluice.dev", subresource="status", name="web"),
        call("get", "leases", user="other"),
        call("delete", "pods", agent="python-httpx/0.28.1"),
        {"verb": "get", "user": {"username": "system:serviceaccount:space:sluice-operator"}, "requestURI": "/api"},
    ]
    assert used(events) == {Right("", "secrets", "list"), Right("sluice.dev", "apikeys/status", "patch")}


def test_only_what_was_written_since_the_beginning_is_read(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    recorder = Recorder(log)
    recorder.begin()
    log.write_text(json.dumps(call("list", "pods")) + "\n")
    assert len(list(recorder.events())) == 1
    recorder.begin()
    with log.open("a") as stream:
        stream.write(json.dumps(call("patch", "pods")) + '\n{"half": ')
    assert [event["verb"] for event in recorder.events()] == ["patch"]
