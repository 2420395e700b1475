"""What the text of a setting may be: parsers for `env.setting`, each of which raises ValueError with what is wrong and the fix.
And what several parts ask of a host, of TLS, or of a process.

No message repeats a part of a value that may be a secret.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sluice.env import Parser

ANONYMOUS_CHOICES = ("/", "/log")
# As Go writes durations (time.ParseDuration): 30s, 5m, 1h30m.
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
MAX_DATABASE_NAME = 63
SOURCE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
SOURCE_NAME_RULE = "must be 1 to 63 of a-z, 0-9, - and _, and begin and end with a letter or digit"


def seconds(low: float, high: float) -> Parser:
    """A parser of seconds from `low` to `high`, a fraction allowed."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text) or not low <= float(text) <= high:
            raise ValueError(f"must be seconds from {low:g} to {high:g}")
        return float(text)

    return parse


def duration(low: float, high: float) -> Parser:
    """A parser of durations in Go's form, from `low` to `high` seconds."""

    def parse(text: str) -> float:
        seconds = sum(float(number) * UNITS[unit] for number, unit in DURATION.findall(text))
        if not re.fullmatch(f"(?:{DURATION.pattern})+", text) or not low <= seconds <= high:
            raise ValueError(f"must be a duration such as 30s, 5m or 1h30m, from {low:g} to {high:,.10g} seconds")
        return seconds

    return parse


def http_url(text: str) -> str:
    """An absolute http(s) URL. No message repeats it: its query may hold a secret."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("must be a URL such as https://api.example.com/items, percent-encoded")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must be a URL without user, password and #fragment; a login goes into a header of SOURCES_FILE")
    return text


def shaped(pattern: str | re.Pattern[str], rule: str) -> Parser:
    """A parser of text that the whole `pattern` matches; `rule` says so in words."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(rule)
        return text

    return parse


source_name = shaped(SOURCE_NAME, SOURCE_NAME_RULE)


def words(text: str) -> tuple[str, ...]:
    """A list, separated by commas or (in a file) by lines; empty parts are dropped."""
    return tuple(part.strip() for part in re.split(r"[,\n]", text) if part.strip())


def paths(text: str) -> tuple[str, ...]:
    """A comma-separated list out of the paths that may be opened without a key."""
    found = words(text)
    if not set(found) <= set(ANONYMOUS_CHOICES):
        raise ValueError(f"may list only {' and '.join(ANONYMOUS_CHOICES)}")
    return found


def path(text: str) -> Path:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("must be a path without line ends or other control characters")
    return Path(text)


def encoded_url(text: str, *, spaces: bool = False) -> str:
    """A URL whose %XX are text in UTF-8, so that every reader of it finds the same user and password.

    No message here or below repeats a part of it: what looks like a host may be half a password.
    """
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00|[\x00-\x1f\x7f]", text) or (" " in text and not spaces):
        raise ValueError("has a % without two hex digits, a space or a control character; write it as %XX, a % as %25")
    try:
        unquote(text, errors="strict")
    except UnicodeError:
        raise ValueError("has a % with two hex digits that are no text in UTF-8; write a % of user or password as %25") from None
    return text


def postgresql_url(text: str) -> str:
    """A URL that libpq reads as it was meant."""
    scheme, _, rest = text.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ValueError("must be a postgresql:// URL")
    encoded_url(text, spaces=True)
    url = re.fullmatch(r"(?:[^@/]*@)?(?P<hosts>[^@/?]*)(?:/[^@?]*)?(?:\?(?P<query>[^@]*))?", rest)
    if url is None:
        raise ValueError("has an @ or a / too many; in user, password and name write @ as %40, / as %2F and ? as %3F")
    for host in url["hosts"].split(","):
        place = re.fullmatch(r"(?:\[[^\[\]]+\]|[^:\[\]]*)(?::(\d{0,5}))?", host)
        if place is None or not 0 < int(place[1] or 1) < 65536:
            raise ValueError("has a port that is no number from 1 to 65535; in user and password write / as %2F and @ as %40")
    if url["query"] and not all(part.count("=") == 1 for part in url["query"].split("&")):
        raise ValueError("has a ? whose parameters are not name=value; in user and password write ? as %3F")
    return text


def redis_url(text: str) -> str:
    """A URL that redis-py reads as it was meant."""
    encoded_url(text)
    if text.count("@") > 1:
        raise ValueError("must write a character of user or password such as @, %, / or a space as %XX")
    try:
        place = urlsplit(text)
        known = place.scheme == "unix" or (place.scheme in ("redis", "rediss") and place.hostname and place.port != 0)
    except ValueError:
        known = False
    if not known or place.fragment or place.query or (place.scheme != "unix" and not re.fullmatch(r"(/\d{0,4})?", place.path)):
        raise ValueError("must be redis://[user:password@]host[:port][/number], with #, ? and / of a password as %23, %3F, %2F")
    return text


def queue_url(text: str) -> str:
    """A URL of RabbitMQ, or `sqs://region/prefix` with the parameter `endpoint`."""
    if not text.startswith("sqs:"):
        return amqp_url(text)
    sound = re.fullmatch(r"sqs://[a-z]{2,}(?:-[a-z0-9]+)+(?:/[A-Za-z0-9_-]{0,60})?(?:\?endpoint=([^#&]+))?", encoded_url(text))
    if not sound:
        raise ValueError("must be sqs://region/prefix: a region of AWS, and what the names of the queues begin with")
    if sound[1]:
        http_url(unquote(sound[1]))
    return text


def amqp_url(text: str) -> str:
    """A URL of RabbitMQ: `amqp://user:password@host:port/vhost`, of whose parameters `cacertfile` and `heartbeat` are taken."""
    encoded_url(text)
    try:
        url = urlsplit(text)
        sound = bool(url.hostname) and url.port != 0 and "/" not in url.path[1:] and not url.fragment
    except ValueError:  # its text may quote a password
        sound = False
    if not sound or url.scheme not in ("amqp", "amqps") or text.count("@") > 1:
        raise ValueError("must be amqp[s]://user:password@host:port/vhost; in user, password and vhost write / as %2F, @ as %40")
    given = dict(parse_qsl(url.query, keep_blank_values=True))
    if not set(given) <= {"cacertfile", "heartbeat"} or not re.fullmatch(r"[1-9]\d{0,3}", given.get("heartbeat", "60")):
        raise ValueError("takes the parameters cacertfile (a path) and heartbeat (seconds, 1 to 9999)")
    return text


def mongodb_uri(text: str) -> str:
    """A URI that pymongo reads as it was meant, and that asks for no less than a majority with journal.

    Which options there are, and their values, the driver judges (stores.mongodb.connection).
    """
    encoded_url(text)
    url = re.fullmatch(r"mongodb(?:\+srv)?://(?:[^@/?#]*@)?([^@/?#]+)(?:/([^@/?#]*))?(?:\?([^@?#]*))?", text)
    places = [re.fullmatch(r"(?:\[[^\[\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?", host) for host in url[1].split(",")] if url else [None]
    if url is None or not all(place and 0 < int(place[1] or 1) < 65536 for place in places):
        raise ValueError(
            "must be mongodb[+srv]://user:password@host:port/database; in user and password write / as %2F, @ as %40"
        )
    if text.startswith("mongodb+srv:") and not re.fullmatch(r"[^:,]*[A-Za-z][^:,]*", url[1]):
        raise ValueError(
            "must have one host without a port after mongodb+srv://, a name under which the servers are found by DNS"
        )
    if re.search(r'[/\\. "$*<>:|?]', unquote(url[2] or "")) or len((url[2] or "").encode()) > MAX_DATABASE_NAME:
        raise ValueError('must name a database of 1 to 63 characters, without dots, spaces and / \\ " $ * < > : | ?')
    if url[3] and not all(part.count("=") == 1 for part in url[3].split("&")):
        raise ValueError("must have options of the form name=value; in user and password write ? as %3F")
    for name, value in parse_qsl(url[3] or "", keep_blank_values=True):
        if value != {"w": "majority", "journal": "true", "j": "true"}.get(name.lower(), value):
            raise ValueError("must not ask for less than w=majority and journal=true: a 2xx says that an event is kept")
    return text


# A name of a DynamoDB table, or of a pull source: which of them, and so what else holds, STORAGE_TYPE says.
table_name = shaped(r"[A-Za-z0-9_.-]{1,255}", "must be 1 to 255 of A-Z, a-z, 0-9, _, - and .")
token = shaped(
    r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?",
    "must be 1 to 1024 characters of ASCII, no control character and no space at its ends",
)
influxdb_name = shaped(
    r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}", "must be 1 to 255 characters without line ends or other control characters"
)
region = shaped(r"[a-z]{2,}(-[a-z0-9]+)+", "must be a region of AWS, such as eu-central-1")


def host_name(text: str) -> str:
    if re.search(r"://|@|\s|^[^/:]+:\d+$", text) and not text.startswith("/"):
        raise ValueError(
            "must be a host name, an address or a socket folder; the port goes into DB_PORT, a URL into DATABASE_URL"
        )
    return text


def password_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not have a NUL character")
    return text


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only; a socket folder counts."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_part(host: str) -> str:
    """A host as it stands in a URL: a socket folder is quoted, an IPv6 address bracketed."""
    return f"[{quote(host, safe=':')}]" if ":" in host else quote(host, safe="")


def exists(pid: int) -> bool:
    """Whether there is a process `pid` (a dead one that its parent has not fetched yet counts)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def client_tls(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS that trusts what this machine trusts, or only `ca_file`, which the library at hand is to load. With every Python alike:
    the defaults of 3.13 and later refuse a CA whose certificates lack key identifiers, as those of EKS and many a private one do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is None:
        context.load_default_certs()
    return context
