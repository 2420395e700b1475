"""Where a pull may connect to: no address of this machine, its network or its cloud, unless the source allows that.

What is judged is the address that is then connected to, so a name that changes between the two gains nothing (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

# RFC 6052: an IPv4 address behind a translator is in the last 32 bits.
NAT64 = ipaddress.ip_network("64:ff9b::/96")
# The same for networks of one's own (RFC 8215), and IPv4 addresses in a form that is obsolete (RFC 4291 section 2.5.5.1).
NOT_PUBLIC = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("::/96"))
Resolve = Callable[[str, int], list[str]]


class Refused(Exception):
    """A name has an address that a pull may not connect to."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host name; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def checked(addresses: list[str], *, allow_private: bool) -> list[str]:
    """`addresses`; raises Refused when one of them is not public: a name that has both kinds is no accident."""
    if not allow_private and not all(map(is_public, addresses)):
        raise Refused
    return addresses


def is_public(text: str) -> bool:
    """Whether an address is one of the Internet's: by IANA's registries of special purpose, and inside of what carries IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if any(address in network for network in NOT_PUBLIC):
            return False
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast
