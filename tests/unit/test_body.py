"""How a request's body is read, without sockets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sluice.server import body

SECTION = b"a:b\r\n" * 40_000 + b"\r\n"


def test_many_short_trailers_are_read_as_they_came_and_not_a_line_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn looks at all of them again with each read."""
    reads: list[bytes] = []
    read = body.Frames.read

    def counted(*given: Any, **more: Any) -> bytes:
        reads.append(read(*given, **more))
        return reads[-1]

    monkeypatch.setattr(body.Frames, "read", counted)
    left: list[bytes] = []
    source: Any = SimpleNamespace(read=lambda _size, _ahead: b"4\r\ntext\r\n0\r\n" + SECTION + b"next", unread=left.append)
    request: Any = SimpleNamespace(max_buffer_headers=1 << 20, parse_headers=lambda *_given, **_more: [])
    chunked = body.Chunked(request, source)
    assert (chunked.piece(), chunked.piece(), b"".join(left)) == (b"text", b"", b"next")
    assert len(reads) < 10
