"""Origins (RFC 6454) whose pages may call the service: `scheme://host[:port]`, with `*.` before the host its subdomains."""

from __future__ import annotations

import re

ANY = "*"
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
ORIGIN = re.compile(
    rf"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<sub>\*\.)?(?P<host>{LABEL}(?:\.{LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?"
)
# A browser leaves these out.
DEFAULT_PORTS = {"http": "80", "https": "443"}


def parse(text: str) -> str:
    """One origin as a browser writes it, or `*`; raises ValueError."""
    if text == ANY:
        return text
    match = ORIGIN.fullmatch(text.lower())
    if match is None or (match["port"] and not 1 <= int(match["port"]) <= 65_535):
        raise ValueError(
            f"lists {text[:100]!r}, which is no origin: write scheme://host[:port] without a path, such as https://app.example.com,"
            " https://*.example.com for all subdomains, or * for all origins"
        )
    port = match["port"]
    written = "" if port is None or DEFAULT_PORTS.get(match["scheme"]) == str(int(port)) else f":{int(port)}"
    return f"{match['scheme']}://{match['sub'] or ''}{match['host']}{written}"


def pattern(origin: str) -> re.Pattern[str] | str:
    """What an Origin header is matched against from its start to its end; `*` as it is."""
    if origin == ANY:
        return origin
    scheme, _, place = origin.partition("://")
    subdomains, host = rf"(?:{LABEL}\.)+" if place.startswith("*.") else "", place.removeprefix("*.")
    return re.compile(rf"{re.escape(scheme)}://{subdomains}{re.escape(host)}\Z", re.IGNORECASE)
