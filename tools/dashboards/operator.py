"""The operator: keys, the pods that take them, and who looks after both."""

from __future__ import annotations

from tools.dashboards.panels import Dashboard, lines, prometheus_variables, row, rows, stacked, value
from tools.dashboards.queries import Prometheus, increase, of, quantile, rate, total

# A scrape does not let what is scraped name itself.
KEY_SET = ("exported_namespace", "keyset")
NAMED = "{{exported_namespace}}/{{keyset}}"
LAGGING = "sluice_operator_keyset_lagging_pods"


def percentiles(metric: str) -> tuple[Prometheus, Prometheus]:
    return Prometheus(quantile(0.5, metric), "median"), Prometheus(quantile(0.95, metric), "95th percentile")


AT_A_GLANCE = [
    value("Leads", "How many pods hold the Lease: one.", "none", Prometheus(total(of("sluice_operator_leader")))),
    value("Pods without the newest keys", "Rotations wait for them.", "none", Prometheus(f"{total(of(LAGGING))} or vector(0)")),
    value(
        "Degraded",
        "ApiKeys and KeySets that somebody should look at.",
        "none",
        Prometheus("count(" + of("sluice_operator_condition", 'type="Degraded"') + ") or vector(0)"),
    ),
    value(
        "Expire within 30 days",
        "Keys that are refused then, unless their date is moved.",
        "none",
        Prometheus(f"count({of('sluice_operator_key_expiry_timestamp_seconds')} - time() < 30 * 86400) or vector(0)"),
    ),
    value(
        "Rotations in a day",
        "Versions that were handed out in place of older ones.",
        "none",
        Prometheus(f"{total(increase('sluice_operator_rotations_total', '1d'))} or vector(0)"),
    ),
    value(
        "Calls that are refused",
        "Verbs and resources that the API server forbids.",
        "none",
        Prometheus(f"count({of('sluice_operator_forbidden')} == 1) or vector(0)"),
    ),
]

KEYS = [
    stacked(
        "Versions that are accepted",
        "Of all keys of a key set; an overlap has two of a key.",
        "none",
        Prometheus(total(of("sluice_operator_key_versions_live"), *KEY_SET), NAMED),
    ),
    stacked(
        "Pods without the newest keys",
        "By key set. More than a few seconds means that something holds them.",
        "none",
        Prometheus(total(of(LAGGING), *KEY_SET), NAMED),
    ),
    stacked(
        "Rotations",
        "By what asked for them, in an hour.",
        "none",
        Prometheus(total(increase("sluice_operator_rotations_total", "1h"), "reason"), "{{reason}}"),
    ),
]

REACHED = [
    lines(
        "A key set reaches every pod",
        "From when it was published until the last pod reported it.",
        "s",
        *percentiles("sluice_operator_keyset_converge_seconds"),
    ),
    lines(
        "Steps of a rotation",
        "95th percentile. Staged counts from when the rotation was due, Retired from the end of the version, "
        "the others from when it was made.",
        "s",
        Prometheus(quantile(0.95, "sluice_operator_rotation_duration_seconds", by=("step",)), "{{step}}"),
    ),
    lines(
        "A revocation reaches every pod",
        "From when it was published until the last pod reported it.",
        "s",
        percentiles("sluice_operator_revocation_seconds")[1],
    ),
]

CONDITIONS = [
    rows(
        "What is not as it should be",
        "Conditions of ApiKeys and KeySets, with their reason.",
        Prometheus(of("sluice_operator_condition")).now(),
    ),
    stacked(
        "Repairs",
        "Objects that somebody else changed or deleted, and that were brought back; in an hour.",
        "none",
        Prometheus(total(increase("sluice_operator_drift_repairs_total", "1h"), "kind"), "{{kind}}"),
    ),
]

CALLS = [
    lines(
        "Since a watch was last heard",
        "Above 150 s the operator restarts itself.",
        "s",
        Prometheus(
            "max by (exported_namespace, resource) (" + of("sluice_operator_watch_last_event_age_seconds") + ")",
            "{{exported_namespace}} {{resource}}",
        ),
    ),
    stacked(
        "Calls of the API server",
        "By verb and answer, a second.",
        "reqps",
        Prometheus(total(rate("sluice_operator_api_requests_total"), "verb", "code"), "{{verb}} {{code}}"),
    ),
    stacked(
        "Looks at a key set",
        "By how they ended, a second.",
        "ops",
        Prometheus(total(rate("sluice_operator_reconcile_total"), "result"), "{{result}}"),
    ),
]

PROCESS = [
    lines("Time of a look", "With all that followed from it.", "s", *percentiles("sluice_operator_reconcile_duration_seconds")),
    lines(
        "Waiting to be looked at",
        "Key sets that should be looked at now.",
        "none",
        Prometheus(total(of("sluice_operator_queue_depth")), "key sets"),
    ),
    lines("Pods that answer a scrape", "Of the operator.", "none", Prometheus(f"count({of('up')} == 1) or vector(0)", "pods")),
]

OPERATOR = Dashboard(
    file="operator.json",
    uid="sluice-operator",
    title="Sluice operator",
    about="API keys, the pods that take them, and who looks after both.",
    variables=prometheus_variables("sluice_operator_leader"),
    rows=[row("At a glance", AT_A_GLANCE), row("Keys", KEYS, REACHED, CONDITIONS), row("The operator", CALLS, PROCESS)],
)
