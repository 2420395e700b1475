"""The console's pages on a full table, and what each takes of the server's time."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from urllib.parse import urlencode

from tests.bench import load, rows, servers
from tests.bench.lines import Line
from tests.bench.servers import Service

from sluice.stores.postgresql.embedded import Owned

# A week of events of all types, with errors, levels and sources, more of them by day than by night.
FILL = """
INSERT INTO sluice.events (event_id, id, "timestamp", event_type, event_name, properties, device_info, user_id, source, priority,
    key_id, content, created_at)
SELECT gen_random_uuid()::text, 10000 + n, at,
    (array['log', 'log', 'behavioral', 'telemetry', 'observability', 'error', 'performance', 'record'])[1 + n % 8], 'line',
    jsonb_build_object('level', (array['info', 'info', 'warning', 'error'])[1 + n % 4], 'note', repeat('n', 100)), '{{}}',
    'user-' || n % 10000, 'service-' || n % 20, 'normal', 'bench', sha256(n::text::bytea), at
FROM generate_series(1, {count}) AS n CROSS JOIN LATERAL (
    SELECT now() - interval '7 days' * (1 - n::float8 / {count}) + interval '4 hours' * sin(n::float8 / {count} * 14 * pi()) AS at
) AS its WHERE at <= now() ORDER BY at
"""
FIRST = "/console/"
# Every page that reads what grows.
OTHERS = (
    "/console/?range=24h&by=status",
    "/console/?range=7d&by=event_type",
    "/console/?range=7d&by=source",
    "/console/events",
    "/console/events?event_type=error",
    "/console/errors",
    "/console/keys",
    "/console/about",
)


class Browser:
    """A session of the console, by one kept connection."""

    def __init__(self, service: Service) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", "/console/sign-in", urlencode({"key": service.key}), form)
        answer = self._connection.getresponse()
        answer.read()
        self._cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]

    def get(self, path: str) -> float:
        """Milliseconds until the page is there."""
        start = time.perf_counter()
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: HTTP {answer.status}")
        return (time.perf_counter() - start) * 1000


def console(server: Owned, rounds: int, scale: float) -> Iterator[Line]:
    """Pages of the console on 1 M events of a week."""
    servers.empty(server)
    count = int(1_000_000 * scale)
    servers.execute(server, FILL.format(count=count))
    servers.execute(server, "VACUUM ANALYZE sluice.events")
    with servers.service(server, "complete") as service:
        load.post_all(service, rows.half_errors(4, 1_000), "application/json")
        browser = Browser(service)
        for path in (FIRST, *OTHERS):
            browser.get(path)
            times = [browser.get(path) for _ in range(10 * rounds)]
            shown = f"{statistics.median(times):.0f} ms, slowest of {len(times)} {max(times):.0f} ms"
            bar = 200 if path == FIRST else 2_000
            met = max(times) <= bar
            yield Line(f"page {path} of {count:,} events", shown, "-", max(times) / bar, f"<= {bar} ms", met)
