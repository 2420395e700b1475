"""The life of a key on a real cluster: real API server, kubelet, and the real service in three Pods of two workers."""

from __future__ import annotations

import time

import pytest
from tests.integration.waiting import until
from tests.operator.operators import Operator
from tests.operator.processes import clients
from tests.operator.stand import Stand

pytestmark = pytest.mark.timeout(300)
QUICK = {"overlap": "4s", "maxOverlap": "4s", "retirePolicy": "Retire"}


def test_a_new_key_is_accepted_by_every_worker_within_three_seconds(stand_: Stand, operator: Operator) -> None:
    began = time.monotonic()
    name = stand_.key()
    stand_.active(name)
    assert time.monotonic() - began < 3
    assert set(stand_.answers(stand_.plaintext(name))) == {200}


def test_a_rotation_rejects_no_request_of_a_client_that_follows_its_secret(stand_: Stand, operator: Operator) -> None:
    name = stand_.key(rotation=QUICK)
    stand_.active(name, 1)
    with clients(stand_.space.name, name, stand_.target.url) as under:
        for version in (2, 3):
            stand_.rotate(name)
            stand_.active(name, version)
            until(lambda: len(stand_.of_key(name)) == 1, 60, "the version before has ended")
    assert set(under.answers) == {"200"}
    assert under.versions == {1, 2, 3}
    assert under.answers["200"] > 500


def test_a_revoked_key_is_refused_everywhere_within_three_seconds(stand_: Stand, operator: Operator) -> None:
    name = stand_.key()
    stand_.active(name)
    key = stand_.plaintext(name)
    with clients(stand_.space.name, name, stand_.target.url, 100, "--pinned") as under:
        until(lambda: set(stand_.answers(key)) == {200})
        began = time.time()
        stand_.change(name, revoked=True)
        stand_.until_condition(name, "Ready", "Revoked")
        time.sleep(3)
    assert under.result["last"]["200"] - began < 3
    assert set(under.answers) == {"200", "401"}
    assert set(stand_.answers(key)) == {401}
    until(lambda: not any(secret.startswith(name) for secret in stand_.secrets()), what="its Secrets are gone")
    assert {entry["state"] for entry in stand_.of_key(name)} == {"revoked"}


def test_a_suspended_key_is_refused_and_comes_back_as_it_was(stand_: Stand, operator: Operator) -> None:
    name = stand_.key()
    stand_.active(name)
    key = stand_.plaintext(name)
    stand_.change(name, suspended=True)
    until(lambda: set(stand_.answers(key)) == {401}, what="it is refused")
    stand_.change(name, suspended=False)
    until(lambda: set(stand_.answers(key)) == {200}, what="it is accepted")
    assert stand_.plaintext(name) == key


def test_a_key_that_expires_is_refused_and_told(stand_: Stand, operator: Operator) -> None:
    name = stand_.key(expiresAt=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 8)))
    stand_.active(name)
    key = stand_.plaintext(name)
    assert set(stand_.answers(key)) == {200}
    stand_.until_condition(name, "Ready", "Expired")
    assert set(stand_.answers(key)) == {401}


def test_a_deleted_key_is_refused_and_leaves_nothing(stand_: Stand, operator: Operator) -> None:
    name = stand_.key()
    stand_.active(name)
    key = stand_.plaintext(name)
    stand_.remove(name)
    until(lambda: set(stand_.answers(key)) == {401}, what="it is refused")
    until(lambda: not any(secret.startswith(name) for secret in stand_.secrets()), 30, "its Secrets are gone")
    assert stand_.of_key(name) == []


def test_a_key_to_be_copied_is_gone_from_the_cluster_when_its_time_is_over(stand_: Stand, operator: Operator) -> None:
    name = stand_.key(delivery={"mode": "DropAfter", "dropAfter": "3s"})
    stand_.active(name)
    key = stand_.plaintext(name)
    until(lambda: name not in stand_.secrets() and not stand_.secrets()[f"{name}-v1"].get("data"), what="it is dropped")
    assert set(stand_.answers(key)) == {200}


def test_the_probes_of_the_target_are_proven(stand_: Stand, operator: Operator) -> None:
    stand_.until_condition("main", "ProbesWired", "Proven", what="keyset")


def test_it_stops_at_once_and_lets_the_next_one_lead(stand_: Stand, start: object, operator: Operator) -> None:
    assert callable(start)
    second: Operator = start("two")
    until(lambda: second.told("cache complete"), 20, "the second one waits")
    assert not second.told("leading")
    began = time.monotonic()
    assert operator.stop() == 0
    second.leads()
    assert time.monotonic() - began < 6
