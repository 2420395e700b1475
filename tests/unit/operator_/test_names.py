"""Names that the operator gives and reads back."""

from __future__ import annotations

import pytest

from sluice_operator import api_types


def test_a_version_secret_s_name_is_read_back() -> None:
    assert api_types.version_of(api_types.version_secret("checkout", 12)) == ("checkout", 12)
    assert api_types.version_of("a-v1-v2") == ("a-v1", 2)


@pytest.mark.parametrize("name", ["checkout", "checkout-v0", "checkout-v01", "-v1", "checkout-v1234567890", "checkout-v1x"])
def test_other_names_are_no_version_secrets(name: str) -> None:
    assert api_types.version_of(name) is None


def test_the_contract_s_names_are_the_contract_s() -> None:
    assert api_types.published_secret("main") == "main-published"
    assert (api_types.KEYSET_TYPE, api_types.KEYSET_DATA) == ("sluice.dev/keyset", "keyset.json")
    assert (api_types.KEY_TYPE, api_types.KEY_DATA) == ("sluice.dev/api-key", "key")
    assert (api_types.LABEL_KEYSET, api_types.LABEL_API_KEY) == ("sluice.dev/keyset", "sluice.dev/apikey")
    assert (api_types.ROTATE, api_types.POD_REVISION) == ("sluice.dev/rotate", "sluice.dev/keyset-revision")
    assert api_types.API_VERSION == "sluice.dev/v1alpha1"
