"""Names that the operator gives and reads back."""

from __future__ import annotations

import pytest

from sluice_operator import names


def test_a_version_secret_s_name_is_read_back() -> None:
    assert names.version_of(names.version_secret("checkout", 12)) == ("checkout", 12)
    assert names.version_of("a-v1-v2") == ("a-v1", 2)


@pytest.mark.parametrize("name", ["checkout", "checkout-v0", "checkout-v01", "-v1", "checkout-v1234567890", "checkout-v1x"])
def test_other_names_are_no_version_secrets(name: str) -> None:
    assert names.version_of(name) is None


def test_the_contract_s_names_are_the_contract_s() -> None:
    assert names.published_secret("main") == "main-published"
    assert (names.KEYSET_TYPE, names.KEYSET_DATA) == ("sluice.dev/keyset", "keyset.json")
    assert (names.KEY_TYPE, names.KEY_DATA) == ("sluice.dev/api-key", "key")
    assert (names.LABEL_KEYSET, names.LABEL_API_KEY) == ("sluice.dev/keyset", "sluice.dev/apikey")
    assert (names.ROTATE, names.POD_REVISION) == ("sluice.dev/rotate", "sluice.dev/keyset-revision")
    assert names.API_VERSION == "sluice.dev/v1alpha1"
