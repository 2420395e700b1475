"""The life of a key on a real cluster: real API server, kubelet, and the real service in three Pods of two workers."""

from __future__ import annotations

import contextlib
import time

import pytest
from tests.integration.waiting import until
from tests.operator.conftest import Start
from tests.operator.hand import Hand
from tests.operator.operators import Operator
from tests.operator.processes import clients
from tests.operator.stand import Stand
from tools.cluster import run

from sluice import keys

pytestmark = pytest.mark.timeout(300)
QUICK = {"overlap": "4s", "maxOverlap": "4s", "retirePolicy": "Retire"}


def test_a_new_key_is_accepted_by_every_worker_once_it_is_handed_out(stand_: Stand, operator: Operator) -> None:
    name = stand_.key()
    until(lambda: name in stand_.secrets(), 30, "it is handed out")
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


def test_a_revoked_key_is_refused_everywhere_and_for_good(stand_: Stand, operator: Operator) -> None:
    name = stand_.key()
    stand_.active(name)
    key = stand_.plaintext(name)
    with clients(stand_.space.name, name, stand_.target.url, 100, "--pinned") as under:
        stand_.change(name, revoked=True)
        until(lambda: set(stand_.answers(key)) == {401}, 30, "it is refused")
        stand_.settled()
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


def test_kubectl_waits_for_what_the_spec_asks_for_whatever_that_is(stand_: Stand, operator: Operator) -> None:
    name = stand_.key()

    def reached() -> set[int]:
        stand_.space.kubectl("wait", "--for=condition=Ready", f"apikey/{name}", "--timeout=60s")
        return set(stand_.answers(key)) if key else set()

    key = ""
    reached()
    key = stand_.plaintext(name)
    assert reached() == {200}
    for change, answers in (({"suspended": True}, {401}), ({"suspended": False}, {200}), ({"revoked": True}, {401})):
        stand_.change(name, **change)
        assert reached() == answers


def test_a_key_set_that_comes_and_goes_reaches_every_pod_each_time(stand_: Stand, operator: Operator) -> None:
    """Quicker than Pods are asked: what they said of the same key set before is not what they have."""
    name = stand_.key()
    stand_.active(name)
    key = stand_.plaintext(name)
    for _ in range(8):
        for suspended, answer in ((True, 401), (False, 200)):
            stand_.change(name, suspended=suspended)
            until(lambda answer=answer: set(stand_.answers(key)) == {answer}, what=f"every Pod answers {answer}")  # type: ignore[misc]
    stand_.settled()


def test_a_key_that_expires_is_refused_and_reported(stand_: Stand, operator: Operator) -> None:
    name = stand_.key(expiresAt=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20)))
    stand_.active(name)
    key = stand_.plaintext(name)
    assert set(stand_.answers(key)) == {200}
    stand_.until_condition(name, "Ready", "Expired", 60)
    assert set(stand_.answers(key)) == {401}


def test_a_deleted_key_is_refused_and_leaves_nothing(stand_: Stand, operator: Operator) -> None:
    name = stand_.key()
    stand_.active(name)
    key = stand_.plaintext(name)
    stand_.remove(name)
    until(lambda: set(stand_.answers(key)) == {401}, what="it is refused")
    until(lambda: not any(secret.startswith(name) for secret in stand_.secrets()), 30, "its Secrets are gone")
    assert stand_.of_key(name) == []


def test_a_key_that_is_revoked_and_deleted_in_the_same_moment_is_revoked_also_when_it_is_made_again(
    stand_: Stand, operator: Operator
) -> None:
    gone, again = stand_.key(), stand_.key()
    for name in (gone, again):
        stand_.active(name)
    leaked = [stand_.plaintext(name) for name in (gone, again)]
    with contextlib.closing(Hand(run.here().kubeconfig, stand_.space.name)) as hand:
        for name in (gone, again):
            hand.revoke(name)
            hand.delete("apikey", name)
        hand.key(again)
    stand_.active(again)
    until(lambda: {answer for key in leaked for answer in stand_.answers(key)} == {401}, 30, "both are refused")
    states = {entry["digest"]: entry["state"] for entry in stand_.published()}
    assert [states.get(keys.digest(key)) for key in leaked] == ["revoked", "revoked"]
    assert set(stand_.answers(stand_.plaintext(again))) == {200}


def test_a_key_that_is_revoked_and_made_again_while_nobody_leads_is_revoked_by_the_next(stand_: Stand, start: Start) -> None:
    operator = start().leads()
    name = stand_.key()
    stand_.active(name)
    leaked = stand_.plaintext(name)
    second = start("two")
    until(lambda: second.told("cache complete"), 60, "the second one waits")
    operator.kill()
    with contextlib.closing(Hand(run.here().kubeconfig, stand_.space.name)) as hand:
        hand.revoke(name)
        hand.delete("apikey", name)
        hand.key(name)
    second.leads()
    until(lambda: set(stand_.answers(leaked)) == {401}, 60, "it is refused")
    states = {entry["digest"]: entry["state"] for entry in stand_.published()}
    assert states[keys.digest(leaked)] == "revoked"


def test_a_key_to_be_copied_is_gone_from_the_cluster_when_its_time_is_over(stand_: Stand, operator: Operator) -> None:
    name = stand_.key(delivery={"mode": "DropAfter", "dropAfter": "3s"})
    stand_.active(name)
    key = stand_.plaintext(name)
    until(lambda: name not in stand_.secrets() and not stand_.secrets()[f"{name}-v1"].get("data"), what="it is dropped")
    assert set(stand_.answers(key)) == {200}


def test_the_probes_of_the_target_are_proven(stand_: Stand, operator: Operator) -> None:
    stand_.until_condition("main", "ProbesWired", "Proven", what="keyset")


def test_one_that_is_asked_to_stop_lets_the_next_one_lead(start: Start) -> None:
    operator, second = start().leads(), start("two")
    until(lambda: second.told("cache complete"), 60, "the second one waits")
    assert not second.told("leading")
    assert operator.stop() == 0
    second.leads()
    assert "no renewal" not in operator.log.read_text()


def test_its_probes_say_that_it_works_also_of_the_one_that_waits(start: Start) -> None:
    operator, second = start().leads(), start("two")
    until(lambda: second.told("cache complete"), 60, "the second one waits")
    for each in (operator, second):
        assert each.ask("/readyz") == "ok\n"
        assert each.ask("/livez?verbose").splitlines() == ["[+]loop ok", "[+]watches ok", "[+]lease ok", "[+]clock ok"]
    assert "sluice_operator_leader 1.0" in operator.ask("/metrics")
    assert "sluice_operator_leader 0.0" in second.ask("/metrics")
