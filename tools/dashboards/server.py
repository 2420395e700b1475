"""The service as Prometheus sees it: seed 001's nine panels of server metrics, and what answers wait for."""

from __future__ import annotations

from tools.dashboards.panels import Dashboard, bars, commits, lines, prometheus_variables, row, rows, stacked, value
from tools.dashboards.queries import Prometheus, increase, of, quantile, quantiles, rate, total

REQUESTS = "flask_http_request_duration_seconds"
# Of the API: probes and paths that are no routes do not count.
API = 'route!~"none|/health|/liveness|/readiness"'
ALL = total(rate(f"{REQUESTS}_count", API))
# Both are sums. Seed 001's panel divided each series by itself, which is 1 for every status.
FAILED = Prometheus("(" + total(rate(f"{REQUESTS}_count", API, 'status=~"5.."')) + f" or vector(0)) / {ALL}", "5xx")
RECEIVED = total(of("sluice_events_total", 'status="received"'))
ENDED = total(of("sluice_events_total", 'status!="received"'))
# What kube-state-metrics tells has labels of its own.
DEPLOYMENT = '{namespace="$namespace", deployment="$job"}'
RESTARTS = (
    'kube_pod_container_status_restarts_total{namespace="$namespace", pod=~"$job-[a-z0-9]+-[a-z0-9]{5}", container="sluice"}'
)
READY = (
    Prometheus(f"kube_deployment_status_replicas_ready{DEPLOYMENT}", "ready"),
    Prometheus(f"kube_deployment_spec_replicas{DEPLOYMENT}", "wanted"),
)
SLOW = (("green", None), ("yellow", 0.5), ("red", 1.0))

AT_A_GLANCE = [
    value("Request rate", "Requests to the API, a second.", "reqps", Prometheus(ALL, "requests")),
    value(
        "95th percentile latency",
        "Of all requests to the API, as the pods measure it. A streamed batch takes as long as its client sends.",
        "s",
        Prometheus(quantile(0.95, REQUESTS, API), "p95"),
        steps=SLOW,
    ),
    value(
        "Error rate",
        "Share of the API's requests that end with 5xx, 503 too. The objective is 0.1 % over 30 days.",
        "percentunit",
        FAILED,
        steps=(("green", None), ("yellow", 0.001), ("red", 0.0144)),
    ).decimals(3),
    value(
        "Events ingested/s",
        "New events, stored or queued; what was sent again is a duplicate.",
        "ops",
        Prometheus(total(rate("sluice_accepted_events_total")), "events"),
    ),
    value(
        "Slowest of a hundred posts",
        "99th percentile of POST /api/v1/ingest.",
        "s",
        Prometheus(quantile(0.99, REQUESTS, 'route="/api/v1/ingest"'), "p99"),
        steps=SLOW,
    ),
    value(
        "Events unaccounted for",
        "received less created, duplicate, conflict, invalid, failed and queued: 0, but for what is counted this moment.",
        "none",
        Prometheus(f"{RECEIVED} - {ENDED}", "events"),
        steps=(("green", None), ("red", 1)),
    ),
    value(
        "Pods that answer a scrape",
        "None at all is the alert SluiceDown.",
        "none",
        Prometheus(f"count({of('up')} == 1) or vector(0)", "pods"),
        steps=(("red", None), ("green", 1)),
    ),
    value("Pods ready", "Needs kube-state-metrics.", "none", *READY),
]

EVENTS = [
    stacked(
        "Events by what became of them",
        "conflict and invalid are the clients' mistakes; failed means that they were told to send again.",
        "ops",
        Prometheus(total(rate("sluice_events_total", 'status!="received"'), "status"), "{{status}}"),
    ),
    stacked(
        "Events by format",
        "Everything that came in, stored or not.",
        "ops",
        Prometheus(total(rate("sluice_events_total", 'status="received"'), "format"), "{{format}}"),
    ),
]

KINDS = [
    stacked(
        "Ingestion rate by type",
        "New events, stored or queued.",
        "ops",
        Prometheus(total(rate("sluice_accepted_events_total"), "event_type"), "{{event_type}}"),
    ),
    stacked(
        "Validation errors rate",
        "Events that break a rule, by the rule: `reason` in the answer that their client got.",
        "ops",
        Prometheus(total(rate("sluice_invalid_events_total"), "reason") + " > 0", "{{reason}}"),
    ),
    bars(
        "Batch size distribution",
        "Commits in the time that is shown, by how many events they held: more than the bar before, up to its own number.",
        Prometheus(total(increase("sluice_batch_events_bucket", "$__range"), "le"), "{{le}}").buckets(),
    ),
]

REQUEST_LINES = [
    stacked(
        "Request rate by endpoint",
        "Of the API, by route.",
        "reqps",
        Prometheus(total(rate(f"{REQUESTS}_count", API), "route"), "{{route}}"),
    ),
    stacked(
        "Requests by answer",
        "Every request on the service port, probes too.",
        "reqps",
        Prometheus(total(rate("flask_http_request_total"), "status"), "{{status}}"),
    ),
    lines("Share of requests that fail", "Of the API's requests; probes do not count.", "percentunit", FAILED),
]

LATENCIES = [
    lines("Response time percentiles", "Of all requests to the API.", "s", *quantiles(REQUESTS, API)),
    lines(
        "Latency of single events",
        "POST /api/v1/ingest, as the pods measure it.",
        "s",
        *quantiles(REQUESTS, 'route="/api/v1/ingest"'),
    ),
    lines(
        "Latency by route, 95th percentile",
        "A streamed batch takes as long as its client sends.",
        "s",
        Prometheus(quantile(0.95, REQUESTS, API, by=("route",)), "{{route}}"),
    ),
]

DATABASE = commits("sluice", "As the pods measure it, network included.", "Single posts that come together share a commit.")

KEYS = [
    lines(
        "Key checks",
        "All but ok and forbidden are 401 and can be caused by strangers.",
        "ops",
        Prometheus(total(rate("sluice_auth_total"), "result") + " > 0", "{{result}}"),
    ),
    lines(
        "Refused by a rate limit",
        "Answered 429 with Retry-After.",
        "ops",
        Prometheus(total(rate("sluice_rate_limited_total"), "limit"), "{{limit}}"),
    ),
    lines(
        "Age of the key set",
        "Since the last worker of the pod loaded it. Empty without a key set.",
        "s",
        Prometheus(of("sluice_keyset_age_seconds"), "{{pod}}"),
    ),
]
KEY_SETS = rows(
    "Key set of each pod",
    "One revision on all pods, but for the seconds in which a new one arrives. Empty without a key set.",
    Prometheus(of("sluice_keyset_revision_info")).now(),
)

OTHERS = [
    lines(
        "Tasks by what was done to them",
        "Made, completed, changed and deleted through the API, a second.",
        "ops",
        Prometheus(total(rate("sluice_tasks_total"), "action"), "{{action}}"),
    ),
    lines(
        "Events erased",
        "By DELETE /api/v1/events and sluice erase.",
        "none",
        Prometheus(total(increase("sluice_erased_events_total")), "events"),
    ),
]

PODS = [
    lines(
        "Workers",
        "Processes of each pod; one more for a moment while one is replaced.",
        "none",
        Prometheus(of("sluice_workers"), "{{pod}}"),
    ).decimals(0),
    lines("Ready and wanted", "Needs kube-state-metrics.", "none", *READY).decimals(0),
    lines(
        "Container restarts",
        "In the hour before; needs kube-state-metrics.",
        "none",
        Prometheus(f"sum by (pod) (increase({RESTARTS}[1h]))", "{{pod}}"),
    ),
]

SERVER = Dashboard(
    file="server.json",
    uid="sluice",
    title="Sluice server metrics",
    about="Events in, answers out, and what they wait for.",
    variables=prometheus_variables("sluice_workers"),
    rows=[
        row("At a glance", AT_A_GLANCE),
        row("Events", EVENTS, KINDS),
        row("Requests", REQUEST_LINES, LATENCIES),
        row("Database", DATABASE),
        row("Keys", KEYS, [KEY_SETS]),
        row("Tasks and erasures", OTHERS),
        row("Pods", PODS),
    ],
)
