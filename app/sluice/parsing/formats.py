"""The registry: every format that an endpoint takes as one whole body. (NDJSON comes as a stream: sluice.parsing.ndjson.)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from sluice.events import Rules
from sluice.metrics import Format as Label
from sluice.parsing import batches, legacy
from sluice.parsing.batches import Item


class Format(msgspec.Struct, frozen=True):
    """`label`: in metrics. `parse`: a body, how many items it may hold, the rules and the time, to items; raises BadRequest.

    `single`: the body is one event, so that one that cannot be parsed counts as one invalid event.
    `json_only`: a Content-Type that says something else is refused; else it is not looked at.
    """

    label: Label
    parse: Callable[[bytes, int, Rules, datetime], Sequence[Item]]
    single: bool = True
    json_only: bool = True


EVENT = Format("event", lambda body, *_: [batches.one(body)])
BATCH = Format("batch", lambda body, max_items, *_: batches.many(body, max_items), single=False)
# Clients of the seeds send these with any Content-Type.
ERROR_REPORT = Format(
    "error_report", lambda body, _, rules, *__: [legacy.error_report(body, rules.max_event_bytes)], json_only=False
)
LOG = Format("log", lambda body, _, rules, now: legacy.logs(body, now, rules), json_only=False)
