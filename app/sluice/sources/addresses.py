"""Where a pull may connect to: no address of this machine, its network or its cloud, unless the source allows that.

What is judged is the address that is then connected to, so a name that changes between the two gains nothing (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

# RFC 6052: an IPv4 address behind a translator is in the last 32 bits.
NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that IANA gives to networks; what is outside is reserved, or for one site.
UNICAST = ipaddress.ip_network("2000::/3")
# What not every Python lists of IANA's registries of special purpose (in the first one are Oracle Cloud's metadata), tunnels of
# 6to4, and Azure's services for its machines, at an address that looks public.
NOT_PUBLIC = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "2001::/23", "2002::/16", "3fff::/20"))
)
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
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address.ipv4_mapped
        if inner is not None:
            return is_public(str(inner))
        if address not in UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)
