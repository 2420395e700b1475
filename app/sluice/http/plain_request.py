"""Which requests the fast path may serve: whole, plain `POST /api/v1/ingest`. Everything else is left to Flask.

Pure: bytes in, a decision out. The rule is an allow-list, because gunicorn's C parser accepts more than HTTP does (folded
lines, two Authorization headers, no Host): what the list does not name goes to the slow path, which decides as it always did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from sluice.metrics import SlowReason

try:
    from gunicorn_h1c import _parser_fast as h1c
except ImportError:  # it has no wheel: without a compiler there is no fast path
    h1c = None

REQUEST_LINE = b"POST /api/v1/ingest HTTP/1."
PATH = b"/api/v1/ingest"
MAX_HEAD = 8 << 10
MAX_BODY = 16 << 10

# Header name -> its name in WSGI; each at most once.
USED = {
    b"authorization": "HTTP_AUTHORIZATION",
    b"connection": "HTTP_CONNECTION",
    b"content-length": "CONTENT_LENGTH",
    b"content-type": "CONTENT_TYPE",
    b"host": "HTTP_HOST",
    b"traceparent": "HTTP_TRACEPARENT",
    b"x-api-key": "HTTP_X_API_KEY",
    b"x-request-id": "HTTP_X_REQUEST_ID",
}
# What clients, proxies and tracers add and nothing here reads; tests/unit/test_plain_request.py holds the captures.
IGNORED = frozenset(
    b"""
    accept accept-charset accept-encoding accept-language cache-control dnt from keep-alive pragma priority referer user-agent
    sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc
    forwarded via x-forwarded-by x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix
    x-forwarded-proto x-forwarded-scheme x-forwarded-server x-forwarded-ssl x-forwarded-tls-client-cert
    x-forwarded-tls-client-cert-info x-forwarded-uri x-forwarded-method x-original-forwarded-for x-original-host x-real-ip
    x-scheme x-client-ip true-client-ip x-correlation-id x-request-start
    http2-settings upgrade
    x-amzn-mtls-clientcert x-amzn-mtls-clientcert-issuer x-amzn-mtls-clientcert-leaf x-amzn-mtls-clientcert-serial-number
    x-amzn-mtls-clientcert-subject x-amzn-mtls-clientcert-validity x-amzn-oidc-accesstoken x-amzn-oidc-data
    x-amzn-oidc-identity x-amzn-trace-id x-amzn-tls-version x-amzn-tls-cipher-suite x-amz-cf-id
    x-cloud-trace-context x-azure-ref x-azure-clientip
    cdn-loop cf-connecting-ip cf-ipcountry cf-ray cf-visitor cf-warp-tag-id
    x-envoy-attempt-count x-envoy-decorator-operation x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-internal
    x-envoy-original-path x-envoy-peer-metadata x-envoy-peer-metadata-id
    tracestate baggage b3 x-b3-flags x-b3-parentspanid x-b3-sampled x-b3-spanid x-b3-traceid uber-trace-id sentry-trace
    x-datadog-origin x-datadog-parent-id x-datadog-sampling-priority x-datadog-tags x-datadog-trace-id
    elastic-apm-traceparent newrelic x-ot-span-context
    """.split()
)
SLOW: dict[bytes, SlowReason] = {
    b"content-encoding": "content_encoding",
    b"expect": "expect",
    b"idempotency-key": "idempotency_key",
    b"origin": "origin",
    b"transfer-encoding": "transfer_encoding",
}
State = Literal["on", "off", "no_parser"]
NAMES = {**USED, **dict.fromkeys(IGNORED, "")}

HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
JSON_TYPES = frozenset(("application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"))
# Value of `Connection` -> whether the connection is kept. The third is an offer of HTTP/2 that gunicorn does not take.
CONNECTION = {"keep-alive": True, "close": False, "upgrade, http2-settings": True}


def state(wanted: bool) -> State:
    """Whether there is a fast path here, and why not. `wanted`: FAST_PATH."""
    return "off" if not wanted else "on" if h1c is not None else "no_parser"


class Plain(msgspec.Struct, gc=False):
    """A request that can be served from its bytes alone.

    `headers`: by their names in WSGI, Latin-1; `keep_alive`: whether the connection can serve another; `size`: its bytes.
    """

    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    size: int


def parse(data: bytes, max_body: int) -> Plain | SlowReason | None:
    """The request that `data` begins with, why it is not plain, or None: more has to come before that can be said."""
    if not data.startswith(REQUEST_LINE):
        return None if REQUEST_LINE.startswith(data) else "other_request"
    end = data.find(b"\r\n\r\n", 0, MAX_HEAD) + 4
    if end < 4:
        return None if len(data) < MAX_HEAD else "long_head"
    try:
        request = h1c.parse_request(data)
    except (ValueError, h1c.IncompleteError):
        return "malformed"
    # A bare LF may end a head for the parser before ours does. The path is what REQUEST_LINE says, unless it goes on there.
    if request.consumed != end or request.path != PATH:
        return "malformed"
    headers = headers_of(request.asgi_headers)
    if isinstance(headers, str):
        return headers
    keep_alive = CONNECTION.get(headers.get("HTTP_CONNECTION", "keep-alive").lower())
    if keep_alive is None or (request.minor_version == 0 and headers.get("HTTP_CONNECTION") != "close"):
        return "connection"
    length = headers["CONTENT_LENGTH"]
    # isascii: isdigit is also true for the digits of other scripts, and for superscripts.
    if not (len(length) <= 7 and length.isascii() and length.isdigit() and 0 < int(length) <= max_body):
        return "content_length"
    size = end + int(length)
    return None if len(data) < size else Plain(headers, data[end:size], keep_alive, size)


def headers_of(given: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | SlowReason:
    """The headers that are used by their names in WSGI, or the first reason why they are not plain."""
    headers: dict[str, str] = {}
    for name, value in given:
        known = NAMES.get(name)
        if known is None:
            return SLOW.get(name, "unknown_header")
        if known:
            if known in headers:
                return "repeated_header"
            headers[known] = value.decode("latin-1")
    if "CONTENT_LENGTH" not in headers:
        return "content_length"
    if not HOST.fullmatch(headers.get("HTTP_HOST", "")):
        return "host"
    if headers.get("CONTENT_TYPE", "").lower() not in JSON_TYPES:
        return "content_type"
    return headers
