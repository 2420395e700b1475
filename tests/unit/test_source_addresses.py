"""Which addresses a pull may connect to."""

from __future__ import annotations

import pytest

from sluice.sources import addresses, fetch, pages
from sluice.sources.failures import Failed

PRIVATE = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 192.0.2.1 192.168.0.1 198.18.0.1 224.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1::
fe80::1%eth0 fd00:ec2::254 ff02::1
168.63.129.16 ::ffff:168.63.129.16 64:ff9b::a83f:8110 192.0.0.8 192.0.0.192 64:ff9b::c000:c0 192.88.99.1 240.0.0.1 fec0::1
fec0::a83f:8110 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 ::8.8.8.8 100::1 100:0:0:1::1 2001::1 2001:0:808:808:: 2001:2::1 2001:db8::1
2002:808:808:: 3fff::1 5f00::1 4000::1 ff0e::1
"""
PUBLIC = "8.8.8.8 93.184.215.14 168.63.129.15 192.0.1.1 2606:4700::1111 2a00:1450::1 64:ff9b::808:808 ::ffff:8.8.8.8"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_an_address_of_ours_is_not_public(address: str) -> None:
    assert not addresses.is_public(address)
    with pytest.raises(addresses.Refused):
        addresses.checked(["8.8.8.8", address], allow_private=False)
    assert addresses.checked([address], allow_private=True) == [address]


@pytest.mark.parametrize("address", PUBLIC.split())
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert addresses.checked([address], allow_private=False) == [address]


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://x/?page=2>; rel="next"', "https://x/?page=2"),
        ("<https://x/?a,b;c>; rel=next", "https://x/?a,b;c"),
        ('<a>; rel="prev", <b>; rel="last NEXT"', "b"),
        ('<a>; title="<z>; rel=next"; rel="prev"', None),
        ('<a>; rel="nextish"', None),
        ('</\xc3\xa4>; rel="next"', "/ä"),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_next_page_of_a_link_header_is_found(header: str, target: str | None) -> None:
    assert pages.link_next(header) == target


def test_query_parameters_take_the_place_of_those_that_are_there() -> None:
    assert pages.with_parameters("http://x/a?page=1&q=%26+b", {"page": 2, "size": 5}) == "http://x/a?q=%26+b&page=2&size=5"


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/b#part", "https://x.example/b"),
        ("#part", "https://x.example/a/?q=1"),
        ("b c?d=e f#g h", "https://x.example/a/b%20c?d=e%20f"),
        (" b ", "https://x.example/a/b"),
        ("/ä?ö=%20%zz", "https://x.example/%C3%A4?%C3%B6=%20%zz"),
        (pages.header_text("/\xc3\xa4\xe4"), "https://x.example/%C3%A4%E4"),
        ("?a[0]={b}&c=d+e/f;g", "https://x.example/a/?a[0]={b}&c=d+e/f;g"),
        ("//y.example/\0", "https://y.example/%00"),
        ("https://xä.example/", None),
        ("https://u:p@y.example/", None),
        ("ftp://y.example/", None),
        ("https://[::1/", None),
        ("/\ud800", None),
    ],
)
def test_a_reference_is_followed_as_browsers_do(reference: str, url: str | None) -> None:
    if url is not None:
        assert fetch.followed("https://x.example/a/?q=1", reference) == url
    else:
        with pytest.raises(Failed, match="no plain"):
            fetch.followed("https://x.example/a/?q=1", reference)
