"""ALLOWED_ORIGINS: which pages may call the service, and which are let in by no mistake."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice import origins

WRITTEN = {
    "https://app.example.com": "https://app.example.com",
    "HTTPS://App.Example.com:443": "https://app.example.com",
    "http://localhost:3000": "http://localhost:3000",
    "http://a.example:0080": "http://a.example",
    "https://*.example.com": "https://*.example.com",
    "https://*.example.com:8443": "https://*.example.com:8443",
    "http://[::1]:5173": "http://[::1]:5173",
    "capacitor://localhost": "capacitor://localhost",
    "*": "*",
}
REFUSED = [
    "app.example.com",
    "https://app.example.com/",
    "https://app.example.com/path",
    "https://app.example.com?x",
    "https://user:pass@app.example.com",
    "https://",
    "https://*",
    "https://*example.com",
    "https://a.*.example.com",
    "https://.example.com",
    "https://a..example.com",
    "https://app.example.com:0",
    "https://app.example.com:65536",
    "https://app.example.com:x",
    "https://.*",
    "https://(a|b).example.com",
    "https://m\u00fcller.example",
    "null",
    "",
    "https://a.example https://b.example",
    "https://a.example\n",
]


@pytest.mark.parametrize(("text", "origin"), WRITTEN.items(), ids=WRITTEN)
def test_an_origin_is_written_as_a_browser_writes_it(text: str, origin: str) -> None:
    assert origins.parse(text) == origin


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_origin_is_refused_with_the_form_that_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"write scheme://host\[:port\]"):
        origins.parse(text)


def lets_in(allowed: str, origin: str) -> bool:
    pattern = origins.pattern(origins.parse(allowed))
    return isinstance(pattern, re.Pattern) and pattern.match(origin) is not None


@pytest.mark.parametrize("origin", ["https://a.example.com", "https://a.b.example.com", "HTTPS://A.Example.COM"])
def test_an_asterisk_stands_for_subdomains(origin: str) -> None:
    assert lets_in("https://*.example.com", origin)


STRANGERS = [
    "https://example.com",
    "https://xexample.com",
    "https://xexample.com.evil.net",
    "https://a.example.com.evil.net",
    "https://a.exampleXcom",
    "http://a.example.com",
    "https://a.example.com:8443",
    "https://evil.net/.example.com",
    "https://evil.net#.example.com",
    "https://.example.com",
    "https://a.example.com\n",
    "null",
]


@pytest.mark.parametrize("origin", STRANGERS)
def test_an_asterisk_stands_for_nothing_else(origin: str) -> None:
    assert not lets_in("https://*.example.com", origin)


@given(st.text())
def test_a_plain_origin_lets_in_itself_alone(text: str) -> None:
    assert lets_in("https://a.example.com", text) == (text.lower() == "https://a.example.com")
    assert not lets_in("https://a.example.com", f"https://a.example.com{text}") or not text
