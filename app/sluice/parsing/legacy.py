"""What the clients of seeds 000 and 004 send, as events."""

from __future__ import annotations

from typing import Any

import msgspec

from sluice import events
from sluice.events import Event, Name
from sluice.parsing import batches


class ErrorReport(msgspec.Struct):
    """Seed 000's error report; fields beside these are not read."""

    service: Name
    endpoint: Name
    error: str = ""
    traceback: str = ""


decode_report = msgspec.json.Decoder(ErrorReport).decode
decode_document = msgspec.json.Decoder(dict[str, Any], float_hook=events.number).decode


def error_report(body: bytes) -> Event:
    """An error event: `source` is the service, `event_name` the endpoint, everything stays in `properties`."""
    try:
        report = decode_report(body)
    except batches.NOT_JSON as error:
        raise batches.refused(body, events.explain(error)) from error
    return Event(event_type="error", event_name=report.endpoint, source=report.service, properties=msgspec.structs.asdict(report))


def log_object(body: bytes) -> Event:
    """A log event whose `properties` equal the posted object."""
    try:
        document = decode_document(body)
    except batches.NOT_JSON as error:
        raise batches.refused(body, events.explain(error)) from error
    return Event(event_type="log", event_name="log", properties=document)
