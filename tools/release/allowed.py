"""What grype may find and the build still pass, from allowed.toml: each with a reason and an end. Prints grype's configuration.

What has expired is left out, so that the scan fails again; what runs for more than 90 days, or has no reason, is refused.
"""

from __future__ import annotations

import sys
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

LONGEST = timedelta(days=90)
FILE = Path(__file__).with_name("allowed.toml")


def configuration(text: str, today: date) -> str:
    """Raises SystemExit with every mistake."""
    entries: list[dict[str, Any]] = tomllib.loads(text).get("allowed", [])
    wrong = [mistake for entry in entries if (mistake := problem(entry, today))]
    if wrong:
        raise SystemExit("\n".join(wrong))
    names = [entry["vulnerability"] for entry in entries if entry["until"] >= today]
    return "ignore:\n" + "".join(f"  - vulnerability: {name}\n" for name in names) if names else "ignore: []\n"


def problem(entry: dict[str, Any], today: date) -> str | None:
    name = str(entry.get("vulnerability", "an entry without `vulnerability`"))
    if set(entry) != {"vulnerability", "reason", "until"} or not isinstance(entry["until"], date) or not entry["reason"]:
        return f"{name}: an entry has `vulnerability`, `reason` and `until` (a date), and nothing else"
    if entry["until"] > today + LONGEST:
        return f"{name}: `until` may be at most {LONGEST.days} days ahead"
    return None


if __name__ == "__main__":
    sys.stdout.write(configuration(FILE.read_text(), datetime.now(UTC).date()))
