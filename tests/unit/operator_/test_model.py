"""Objects of the API server become ApiKeys and KeySets, or are refused in words without their values."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sluice_operator.api_types import ApiKey, InvalidObject, KeySet, parse

CANARY = "slk_prod_CANARY"


def raw(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "alpha", "creationTimestamp": "2026-03-01T12:00:00Z", "managedFields": [{}]}
    return {"apiVersion": "sluice.dev/v1alpha1", "kind": "ApiKey", "metadata": metadata, "spec": spec}


def api_key(**spec: Any) -> dict[str, Any]:
    return raw(keySetRef={"name": "main"}, owner="tests", scopes=["ingest"], **spec)


def test_what_is_left_out_has_its_default() -> None:
    spec = parse(ApiKey, api_key()).spec
    assert (spec.rotation.period, spec.rotation.overlap, spec.rotation.max_overlap) == (
        None,
        timedelta(days=1),
        timedelta(days=7),
    )
    assert spec.rotation.retire_policy == "HoldIfUsed"
    assert (spec.delivery.mode, spec.suspended, spec.revoked) == ("Retain", False, False)


def test_a_key_set_has_the_contract_s_defaults() -> None:
    spec = parse(KeySet, raw(environment="prod", target={"name": "web"})).spec
    assert (spec.max_keys, spec.max_concurrent_rotations, spec.probes.mode) == (1500, 10, "Audit")
    assert spec.allowed_scopes == {"ingest", "read", "admin"}
    assert (spec.target.admin_port, spec.target.keyset_path) == (8081, "/keyset")
    assert (spec.target.service_port, spec.target.whoami_path) == (8080, "/api/v1/whoami")
    assert (spec.probes.readiness_path, spec.probes.liveness_path) == ("/readiness", "/liveness")


def test_the_client_secret_is_named_for_the_key_or_as_asked() -> None:
    assert parse(ApiKey, api_key()).client_secret == "alpha"
    assert parse(ApiKey, api_key(delivery={"secretName": "other"})).client_secret == "other"
    assert parse(ApiKey, api_key(delivery={"mode": "Provided", "secretName": "other"})).client_secret is None


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"owner": "two\nlines"}, "`$.spec.owner`"),
        ({"rotation": {"period": CANARY}}, "`$.spec.rotation.period`"),
        ({"rotation": {"period": 5}}, "`$.spec.rotation.period`"),
        ({"scopes": [CANARY]}, "`$.spec.scopes[0]`"),
        ({"delivery": {"digest": CANARY}}, "`$.spec.delivery.digest`"),
        ({"expiresAt": "2026-03-01T12:00:00"}, "`$.spec.expiresAt`"),
    ],
)
def test_a_wrong_value_is_named_by_its_place_only(spec: dict[str, Any], path: str) -> None:
    wrong = api_key()
    wrong["spec"] |= spec
    with pytest.raises(InvalidObject) as caught:
        parse(ApiKey, wrong)
    assert str(caught.value) == f"ApiKey: wrong value at {path}"


def test_nothing_of_a_wrong_object_is_in_the_traceback_s_causes() -> None:
    with pytest.raises(InvalidObject) as caught:
        parse(KeySet, raw(environment=CANARY, target={"name": "web"}))
    assert caught.value.__cause__ is None
    assert CANARY not in str(caught.value)
