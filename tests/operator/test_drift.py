"""What others do to our objects: put back, with the same key, within seconds."""

from __future__ import annotations

import base64
import json

import pytest
from tests.cluster.kube import kind
from tests.integration.waiting import until
from tests.operator.hindrances import HINDRANCES, Hindrance
from tests.operator.operators import Operator
from tests.operator.stand import KEYSET, Stand

pytestmark = pytest.mark.timeout(120)
PUBLISHED = f"{KEYSET}-published"


@pytest.fixture
def key(stand_: Stand, operator: Operator) -> str:
    """One that is handed out and acknowledged."""
    name = stand_.key()
    stand_.active(name)
    stand_.settled()
    return name


def test_a_client_secret_that_was_deleted_comes_back_with_the_same_key(stand_: Stand, key: str) -> None:
    before = stand_.plaintext(key)
    stand_.space.kubectl("delete", "secret", key)
    until(lambda: key in stand_.secrets(), what="it is back")
    assert stand_.plaintext(key) == before


def test_a_client_secret_that_was_edited_has_the_same_key_again(stand_: Stand, key: str) -> None:
    before = stand_.plaintext(key)
    stand_.patch("secret", key, {"data": {"key": base64.b64encode(b"mine").decode()}})
    until(lambda: stand_.plaintext(key) == before, what="it has the same key")


def test_a_version_secret_that_was_deleted_comes_back_with_the_same_key(stand_: Stand, key: str) -> None:
    before = stand_.plaintext(key)
    stand_.space.kubectl("delete", "secret", f"{key}-v1")
    until(lambda: f"{key}-v1" in stand_.secrets(), what="it is back")
    assert stand_.plaintext(f"{key}-v1") == before


def test_without_any_plaintext_left_a_new_version_follows_and_the_old_one_goes_on(
    stand_: Stand, operator: Operator, key: str
) -> None:
    """While it runs, it is too quick for anybody to delete both."""
    before = stand_.plaintext(key)
    operator.stop()
    stand_.space.kubectl("delete", "secret", key, f"{key}-v1")
    operator.start()
    stand_.active(key, 2)
    assert stand_.plaintext(key) != before
    assert set(stand_.answers(before)) == {200}


def test_labels_and_owner_come_back(stand_: Stand, key: str) -> None:
    def whole() -> bool:
        metadata = stand_.secrets()[key]["metadata"]
        return bool(metadata.get("ownerReferences")) and metadata.get("labels", {}).get("sluice.dev/keyset") == KEYSET

    stand_.patch("secret", key, {"metadata": {"labels": None, "ownerReferences": None}})
    until(whole, what="labels and owner are back")


def test_a_key_set_that_was_tampered_with_is_written_again(stand_: Stand, key: str) -> None:
    before = stand_.secrets()[PUBLISHED]["data"]["keyset.json"]
    document = json.loads(base64.b64decode(before))
    document["entries"] = []
    stand_.patch("secret", PUBLISHED, {"data": {"keyset.json": base64.b64encode(json.dumps(document).encode()).decode()}})
    until(lambda: len(stand_.of_key(key)) == 1, what="it is written again")
    plain = stand_.plaintext(key)
    until(lambda: set(stand_.answers(plain)) == {200}, what="every Pod has it")


def test_a_key_set_that_was_deleted_is_written_again(stand_: Stand, key: str) -> None:
    stand_.space.kubectl("delete", "secret", PUBLISHED)
    until(lambda: PUBLISHED in stand_.secrets() and len(stand_.of_key(key)) == 1, what="it is written again")


def test_somebody_elses_secret_is_left_alone_and_reported(stand_: Stand, operator: Operator) -> None:
    theirs = kind("v1", "Secret", "theirs", stringData={"password": "theirs"})
    stand_.space.apply(theirs)
    name = stand_.key(delivery={"secretName": "theirs"})
    stand_.until_condition(name, "Degraded", "SecretNotOwned")
    stand_.space.kubectl("delete", "secret", "theirs")
    stand_.active(name)


@pytest.mark.parametrize("hindrance", HINDRANCES.values(), ids=["right", "quota"])
def test_what_keeps_it_from_its_work_is_reported_and_made_up_for_without_help(
    stand_: Stand, key: str, hindrance: Hindrance
) -> None:
    assert stand_.status(key)
    with hindrance(stand_.space):
        name = stand_.key()
        stand_.until_condition(KEYSET, "Degraded", "Forbidden", 30, "keyset")
    stand_.active(name, seconds=60)
    stand_.until_condition(KEYSET, "Degraded", "AsExpected", 60, "keyset")
