"""Finds the time that a log line or a JSON record carries, in the forms that programs write. Never a guess between two dates.

Numeric forms are read here; forms with names of months or zones by dateutil.
"""

from __future__ import annotations

import calendar
import functools
import itertools
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

from dateutil import parser

from sluice.events import Integral

# What an abbreviation means; RFC 5322 gives the American ones. None: it means several things, and nobody can say which.
HOURS = {
    "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2, "EEST": 3, "MSK": 3,
    "JST": 9, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "IST": None, "AST": None,
}  # fmt: skip
ZONES = {name: hours * 3600 for name, hours in HOURS.items() if hours is not None}
ABBREVIATION = rf"(?:{'|'.join(HOURS)})\b"
# RFC 3339, ISO 8601 and what most programs write: slashes, a space for the T, a comma for the point, no offset.
OFFSET = rf"(?: ?(?P<offset>Z|z|{ABBREVIATION}|[+-]\d\d:?\d\d\b(?!:)))?"
ISO = (
    r"(?P<date>\d{4}(?P<sign>[-/])\d\d(?P=sign)\d\d)(?:[Tt_\t]| {1,2})(?P<time>\d\d:\d\d(?::\d\d)?)(?:[.,](?P<fraction>\d{1,9}))?"
    + OFFSET + r"(?![\w:])"
)  # fmt: skip
BASIC_ISO = r"(?P<basic>\d{8}T\d{6})(?:[.,](?P<basic_fraction>\d{1,9}))?(?P<basic_offset>Z|[+-]\d{4})?\b"
EPOCH = r"(?P<epoch>\d{10}(?:\d{3}|\d{6}|\d{9})?(?:\.\d{1,9})?)(?=[\s\]:,|]|$)"
# What may stand before the time: a level, Ruby's letter, apt's `Start-Date: `, MySQL's `# Time: `, the protocol in a load
# balancer's log, RFC 5424's version, a bracket.
BEFORE = (
    r"(?:<\d{1,3}>(?:1 )?|[A-Z], |[\[(]?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE)[\])]?[:,]?\s+"
    r"(?:\[[^\]]{1,64}\]\s+)?"
    r"|#? ?[A-Z][A-Za-z -]{0,20}: +|(?:https?|h2|wss?|grpcs?|tls) )?[\[(]?"
)
MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? "
CLOCK = r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?"
# Dates with a month's name: syslog (no year), asctime, RFC 5322, java.util.logging, Tomcat, Redis, PostgreSQL's DateStyle.
NAMED = (
    rf"(?P<named>(?:{DAY})?(?:{MONTH} {{1,2}}\d{{1,2}}(?:,? \d{{4}},?)?|\d{{1,2}}[ /-]{MONTH}[ /-]\d{{4}}) {CLOCK}"
    rf"(?: [AP]M\b)?(?: (?P<named_zone>{ABBREVIATION}))?(?: \d{{4}}\b(?!:))?(?: [+-]\d{{4}}\b)?)"
)
ACCESS = r"(?P<access>\d{1,2}/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?:\.\d{1,9})?(?: [+-]\d{4})?)"
KLOG = r"[IWEF](?P<klog>\d{4} \d\d:\d\d:\d\d\.\d{1,9})\b"
AT_START = re.compile(rf"{BEFORE}(?:{ISO}|{BASIC_ISO}|{EPOCH}|(?:\d+:[A-Z] )?{NAMED}|{ACCESS}|{KLOG})", re.ASCII)
# Access logs have the client before the time, auditd and logfmt its name.
INSIDE = re.compile(
    rf"\[{ACCESS}\]|\baudit\((?P<audit>\d{{10}}\.\d{{3}}):"
    r'|(?:^|\s)(?:time|ts|timestamp|t|@timestamp|datetime)=(?:"(?P<quoted>[^"]{8,64})"|(?P<bare>\S{8,64}))',
    re.ASCII,
)
BELOW_HOUR = re.compile(r"(?<=\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?", re.ASCII)
YEAR = re.compile(r"(?<![\d.,])(?<! [+-])\d{4}\b(?!:)", re.ASCII)
SEARCHED = 512
# A service reads records of others: of one it tries so many fields, and of a text so many characters.
TRIED, LONGEST = 4, 100
TIME_FIELDS = (
    "timestamp", "@timestamp", "time", "__REALTIME_TIMESTAMP", "ts", "@t", "t", "datetime", "date", "eventTime", "event_time",
    "timeUnixNano", "start_time", "Timestamp", "asctime", "time_iso8601", "time_local", "timeMillis", "instant",
    "stageTimestamp", "record",
)  # fmt: skip
NUMBER = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
# Seconds since 1970 that are taken for a time: 2000 to 2100. A duration or a counter is no time.
EPOCHS = (946_684_800, 4_102_444_800)
DIRECTIVES = {
    "Y": r"\d{4}", "y": r"\d\d", "m": r"\d{1,2}", "d": r"\d{1,2}", "H": r"\d{1,2}", "I": r"\d{1,2}", "M": r"\d{1,2}",
    "S": r"\d{1,2}", "f": r"\d{1,9}", "z": r"(?:Z|[+-]\d\d:?\d\d)", "Z": r"[A-Za-z]{3,5}", "b": r"[^\W\d]+\.?", "B": r"[^\W\d]+",
    "a": r"[^\W\d]+\.?", "A": r"[^\W\d]+", "p": r"[AaPp][Mm]", "j": r"\d{1,3}", "%": "%",
}  # fmt: skip


HAS_YEAR = re.compile("(?<!%)(?:%%)*%[Yy]")


class Timestamps:
    """Reads times. `zone` is for those without offset, which with None are no times; `now` (aware) gives the year to those
    without one: the latest that fits.

    `field`: the name of the field that holds the time, dots for one inside another. `format`: how the time is written, as
    strptime takes it. With one of these nothing else is tried. Raises ValueError for a format that cannot be read.
    """

    def __init__(
        self, zone: tzinfo | None = UTC, *, now: datetime | None = None, field: str | None = None, format: str | None = None
    ) -> None:
        self._zone = zone
        self._now = now or datetime.now(UTC)
        self._field = field
        self._format = format
        self._pattern = pattern_of(format) if format else None
        self._named = re.compile(rf'(?:^|[\s,{{])"?{re.escape(field)}"?[=:] ?(?:"([^"]+)"|([^\s,}}]+))') if field else None

    def of_line(self, line: str) -> str | None:
        """The time of `line` as RFC 3339 in UTC; None when it has none, or one that is not of the calendar."""
        if self._named is not None:
            match = self._named.search(line)
            return self.of_value(match[1] or match[2]) if match else None
        if self._pattern is not None:
            return self._by_format(line)
        try:
            if match := AT_START.match(line):
                return self._read(match)
            if match := INSIDE.search(line[:SEARCHED]):
                return self._inside(match)
        except (ValueError, OverflowError):
            pass
        return None

    def of_record(self, record: Mapping[str, Any]) -> str | None:
        """The time of a JSON object: of the first of its usual fields that holds one."""
        if self._field is not None:
            return self.of_value(at_path(record, self._field))
        there = itertools.islice((name for name in TIME_FIELDS if name in record), TRIED)
        return next(filter(None, (self.of_value(record[name]) for name in there)), None)

    def of_value(self, value: object) -> str | None:
        """The time of a text, a number since 1970 (seconds to nanoseconds, by its size), MongoDB's `$date` or loguru's record."""
        try:
            match value:
                case str() if self._pattern is not None:
                    return self._by_format(value)
                case str() if NUMBER.fullmatch(value):
                    return from_epoch(value)
                case str():
                    match = AT_START.match(value[:LONGEST])
                    return self._read(match) if match else None
                case bool():
                    return None
                case int() | float() if abs(value) < 1e20:
                    return from_epoch(f"{Decimal(repr(value)):f}")
                case {"$date": inner} | Integral(sent=inner) | {"time": {"timestamp": inner}}:
                    return self.of_value(inner)
                case {"seconds": int(seconds), "nanos": int(nanos)} | {"epochSecond": int(seconds), "nanoOfSecond": int(nanos)}:
                    return from_epoch(f"{seconds}.{nanos:09d}")
        except (ValueError, OverflowError):
            pass
        return None

    def _read(self, match: re.Match[str]) -> str | None:
        part = match.groupdict()
        if part["date"]:
            moment = f"{part['date'].replace('/', '-')}T{part['time']}"
            return self._finish(datetime.fromisoformat(moment), part["fraction"], part["offset"])
        if part["basic"]:
            return self._finish(datetime.strptime(part["basic"], "%Y%m%dT%H%M%S"), part["basic_fraction"], part["basic_offset"])  # noqa: DTZ007 - the zone follows
        if part["epoch"]:
            return from_epoch(part["epoch"])
        if part["klog"]:
            month_and_day, clock = part["klog"].split()
            return self._by_name(f"{month_and_day[:2]}/{month_and_day[2:]} {clock}")
        if part["access"]:
            return self._by_name(part["access"].replace(":", " ", 1))
        return None if part["named_zone"] and part["named_zone"] not in ZONES else self._by_name(part["named"])

    def _inside(self, match: re.Match[str]) -> str | None:
        if match["access"]:
            return self._by_name(match["access"].replace(":", " ", 1))
        return from_epoch(match["audit"]) if match["audit"] else self.of_value(match["quoted"] or match["bare"])

    def _by_name(self, text: str) -> str | None:
        """A date with a month's name, or without a year: then the latest one that is not in the future."""
        below = BELOW_HOUR.search(text)
        if below is None:
            return None
        hour = parsed_hour(text[: below.start()] + ":00" + text[below.end() :])
        moment = hour.replace(minute=int(below[1]), second=int(below[2]))
        if YEAR.search(text):
            return self._finish(moment, below[3], None)
        for year in range(self._now.year + 1, self._now.year - 9, -1):
            if (moment.month, moment.day) == (2, 29) and not calendar.isleap(year):
                continue
            moment = moment.replace(year=year)
            aware = self._aware(moment)
            if aware is not None and aware <= self._now + timedelta(days=1):
                return self._finish(moment, below[3], None)
        return None

    def _by_format(self, text: str) -> str | None:
        if self._pattern is None or self._format is None:
            return None
        match = self._pattern.search(text)
        if match is None:
            return None
        # strptime takes six digits of a fraction.
        found = re.sub(r"(\.|,)(\d{6})\d{1,3}", r"\1\2", match[0]) if "%f" in self._format else match[0]
        try:
            moment = parsed(found, self._format)
            if not HAS_YEAR.search(self._format):
                return self._by_name(f"{moment:%b %d %H:%M:%S.%f}")
            return self._finish(moment, None, None)
        except (ValueError, OverflowError):
            return None

    def _finish(self, moment: datetime, fraction: str | None, offset: str | None) -> str | None:
        """In UTC; digits beyond microseconds are cut off, never rounded."""
        if fraction:
            moment = moment.replace(microsecond=int(fraction[:6].ljust(6, "0")))
        if offset:
            zone = zone_of(offset)
            if zone is None:
                return None
            moment = moment.replace(tzinfo=zone)
        aware = self._aware(moment)
        # RFC 3339 knows no offset with seconds, which local times of the 19th century have; UTC always has a form.
        return in_utc(aware) if aware is not None else None

    def _aware(self, moment: datetime) -> datetime | None:
        """None: nobody says in which zone it is."""
        if moment.tzinfo is not None:
            return moment
        return moment.replace(tzinfo=self._zone) if self._zone is not None else None


@functools.lru_cache(maxsize=1024)
def parsed_hour(text: str) -> datetime:
    """A date and an hour with a month's name; kept, because the lines of one hour share it. A year that is absent is 2000."""
    return parser.parse(text, default=datetime(2000, 1, 1), tzinfos=ZONES)  # noqa: DTZ001


def in_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def zone_of(offset: str) -> tzinfo | None:
    """+02:00, +0200, Z or a known abbreviation; raises ValueError for what no clock shows."""
    if offset in ("Z", "z"):
        return UTC
    if offset[0] not in "+-":
        return timezone(timedelta(seconds=ZONES[offset])) if offset in ZONES else None
    digits = offset[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if minutes > 59:
        raise ValueError(offset)
    return timezone((1 if offset[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


def from_epoch(number: str) -> str | None:
    """Seconds, milli-, micro- or nanoseconds since 1970, by the number of digits."""
    whole, _, fraction = number.partition(".")
    for digits in (0, 3, 6, 9):
        seconds = int(whole) // 10**digits
        if EPOCHS[0] <= seconds < EPOCHS[1]:
            below = (whole[len(whole) - digits :] if digits else "") + fraction
            return in_utc(datetime.fromtimestamp(seconds, UTC).replace(microsecond=int(below[:6].ljust(6, "0"))))
    return None


def pattern_of(format: str) -> re.Pattern[str]:
    """Finds in a line what `format` describes. Raises ValueError for an unknown directive or too few of them."""
    pattern = ""
    for literal, directive in re.findall(r"([^%]+)|%(.)?", format):
        if literal:
            pattern += re.sub(r"(?:\\\s)+|\s+", r"\\s+", re.escape(literal))
        elif directive not in DIRECTIVES:
            raise ValueError(f"%{directive} is not known; use {' '.join(f'%{each}' for each in DIRECTIVES)}")
        else:
            pattern += DIRECTIVES[directive]
    if not re.search("%[Hfj]|%I|%d", format):
        raise ValueError("it has neither day nor hour, as %d and %H have")
    try:
        parsed("", format)
    except re.error as error:
        raise ValueError("a directive is in it twice") from error
    except ValueError:
        pass
    return re.compile(pattern)


def parsed(text: str, format: str) -> datetime:
    """As strptime, and without a year in a leap year: strptime takes one that has no 29 February, and warns of it."""
    with_year = (text, format) if HAS_YEAR.search(format) else (f"2000 {text}", f"%Y {format}")
    return datetime.strptime(*with_year)  # noqa: DTZ007 - the zone follows


def at_path(record: Mapping[str, Any], path: str) -> object:
    """The value under `path`: a name as it is, or names with dots between."""
    if path in record:
        return record[path]
    value: object = record
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value
