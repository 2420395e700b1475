"""What gunicorn refuses before our application sees it, as problem details (RFC 9457): what limit was met, without a word of the
client's. Written against gunicorn 27.0: workers/base.py handle_error.
"""

from __future__ import annotations

import socket
from typing import Any

from gunicorn import util
from gunicorn.http import errors as gunicorn

from sluice import errors
from sluice.http import problems

# Classes, status, title, reason (metrics.REFUSALS has the same), detail.
TABLE = (
    (
        (gunicorn.LimitRequestLine,),
        (414, "URI Too Long", "request_line_too_long", "the request line may have {line} bytes, its URL included"),
    ),
    (
        (gunicorn.LimitRequestHeaders,),
        (
            431,
            "Request Header Fields Too Large",
            "headers_too_large",
            "a request may have {fields} header fields of {size} bytes",
        ),
    ),
    ((gunicorn.ExpectationFailed,), (417, "Expectation Failed", "expectation", "Expect may be 100-continue and nothing else")),
    (
        (gunicorn.UnsupportedTransferCoding,),
        (400, "Bad Request", "transfer_coding", "Transfer-Encoding may be chunked and nothing else; use Content-Encoding"),
    ),
    (
        (gunicorn.InvalidHTTPVersion, gunicorn.InvalidH2CPreface),
        (400, "Bad Request", "http_version", "this port speaks HTTP/1.1 and HTTP/1.0, without TLS"),
    ),
    (
        # The parser in C does not tell which of the two it was.
        (
            gunicorn.InvalidRequestLine,
            gunicorn.InvalidRequestMethod,
            gunicorn.InvalidHeader,
            gunicorn.InvalidHeaderName,
            gunicorn.ObsoleteFolding,
        ),
        (400, "Bad Request", "malformed", "the request line or a header field is not as RFC 9112 says, or two fields contradict"),
    ),
    ((gunicorn.ParseException,), (400, "Bad Request", "framing", "the body is not framed as RFC 9112 says")),
)


def of(error: gunicorn.ParseException, cfg: Any) -> errors.ApiError:
    """The response to what gunicorn's parser raised; `cfg` has its limits."""
    status, title, reason, detail = next(found for kinds, found in TABLE if isinstance(error, kinds))
    limits = {"line": cfg.limit_request_line, "fields": cfg.limit_request_fields, "size": cfg.limit_request_field_size}
    refusal = errors.ApiError(detail.format_map(limits), error="invalid_request", reason=reason)
    refusal.status, refusal.title = status, title
    return refusal


def send(sock: socket.socket, refusal: errors.ApiError, request_id: str) -> None:
    body = problems.document(refusal, request_id)
    head = (
        f"HTTP/1.1 {refusal.status} {refusal.title}\r\nConnection: close\r\nContent-Type: {problems.PROBLEM}\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode() + body)
