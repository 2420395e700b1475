"""Filters on the command line: NAME=VALUE, with the names and values that the shell completes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click
from click.shell_completion import CompletionItem

from sluice import events, filters
from sluice.client.reading import Parameters

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
NAMES = (*filters.TEXTS, *filters.CHOICES, *filters.NUMBERS, *filters.TIMES)


class FilterType(click.ParamType[tuple[str, str]]):
    """`source=checkout`, `properties.code=502`: (name, value), judged by the rules of the service."""

    name = "filter"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, text = value.partition("=")
        if not equals:
            self.fail(f"{value!r} is no filter; write NAME=VALUE, such as event_type=error or properties.code=502", param, ctx)
        found = filters.match(name, text)
        if isinstance(found, filters.BadParameter):
            self.fail(f"{found.parameter} {found.detail}", param, ctx)
        return name, text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        name, equals, _ = incomplete.partition("=")
        known = [f"{name}={value}" for value in filters.CHOICES.get(name, ())] if equals else [f"{each}=" for each in NAMES]
        return [CompletionItem(each) for each in known if each.startswith(incomplete)]


class MomentType(click.ParamType[str]):
    """`90s`, `15m`, `2h`, `7d` ago, or a time of RFC 3339."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            if found := re.fullmatch(r"(\d{1,6})([smhd])", value):
                return (datetime.now(UTC) - timedelta(**{UNITS[found[2]]: int(found[1])})).isoformat()
            events.instant(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write 15m, 2h or 7d, or RFC 3339 such as 2026-01-31T12:00:00Z", param, ctx)
        return value


def given(filters: tuple[tuple[str, str], ...], since: str | None = None, until: str | None = None) -> Parameters:
    """The query parameters of the filters."""
    times = [(name, value) for name, value in (("start_time", since), ("end_time", until)) if value is not None]
    return [*filters, *times]


argument = click.argument("filters", nargs=-1, type=FilterType(), metavar="[NAME=VALUE]...")
