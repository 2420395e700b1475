"""What each alert of the chart is for, as series that set it off and series that must not. promtool plays them.

Values are written as https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/ says: `0+5x3` is 0 5 10 15.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from tests.chart.render import NAMESPACE

# What the chart calls a release named `blue`, and the settings of the render that these cases are for.
NAME = "blue-sluice"
WORKERS = 2

Series = dict[str, str]
WHERE = {"namespace": NAMESPACE, "job": NAME}
DEPLOYMENT = {"namespace": NAMESPACE, "deployment": NAME}
PULLER = {"namespace": NAMESPACE, "job": f"{NAME}-puller"}
WORKER = {"namespace": NAMESPACE, "job": f"{NAME}-worker"}
OPERATOR = {"namespace": NAMESPACE, "job": f"{NAME}-operator"}
# An ApiKey or KeySet, in a namespace that the operator watches beside the release's.
OBJECT = {"exported_namespace": "shop", "name": "web"}


@dataclass(frozen=True)
class Case:
    """At `at` the alert fires on each of `fires` with `labels` (beside its severity), and on none of `quiet`.

    At `early` it does not yet fire on the first of `fires`: too new. `step`: time from one value of a series to the next;
    `every`: from one look at the rules to the next.
    """

    fires: tuple[Series, ...]
    quiet: tuple[Series, ...]
    at: str
    labels: dict[str, str]
    early: str | None = None
    step: str = "1m"
    every: str = "1m"


def selector(metric: str, labels: dict[str, str]) -> str:
    return f"{metric}{{{', '.join(f'{name}={json.dumps(value)}' for name, value in labels.items())}}}"


def series(metric: str, values: str, labels: dict[str, str]) -> Series:
    return {selector(metric, labels): values}


def pod(metric: str, values: str, pod: str = "a", **labels: str) -> Series:
    """A series of a pod of the release."""
    return series(metric, values, {**WHERE, "pod": pod, **labels})


def ready(values: str, wanted: str) -> Series:
    return {
        **series("kube_deployment_status_replicas_ready", values, DEPLOYMENT),
        **series("kube_deployment_spec_replicas", wanted, DEPLOYMENT),
    }


def restarts(values: str, pod: str = f"{NAME}-7d9f8c6b5-x2x4z", container: str = "sluice") -> Series:
    labels = {"namespace": NAMESPACE, "pod": pod, "container": container}
    return series("kube_pod_container_status_restarts_total", values, labels)


def migration(failed: str, succeeded: str, job: str = f"{NAME}-migrate-1a2b3c4d") -> Series:
    labels = {"namespace": NAMESPACE, "job_name": job}
    return {
        **series("kube_job_status_failed", failed, {**labels, "reason": "BackoffLimitExceeded"}),
        **series("kube_job_status_succeeded", succeeded, labels),
    }


def requests(*shares: tuple[int, float], many: int = 10_000, route: str = "/api/v1/ingest") -> Series:
    """`many` requests to a route each step, of which this share ends with 503, for so many steps; one after the other."""
    good, bad, values = 0, 0, (["0"], ["0"])
    for steps, share in shares:
        failed = round(many * share)
        values[0].append(f"{good + many - failed}+{many - failed}x{steps - 1}")
        values[1].append(f"{bad + failed}+{failed}x{steps - 1}")
        good, bad = good + steps * (many - failed), bad + steps * failed
    count = "flask_http_request_duration_seconds_count"
    return {
        **pod(count, " ".join(values[0]), method="POST", route=route, status="201"),
        **pod(count, " ".join(values[1]), method="POST", route=route, status="503"),
    }


def few_requests(failures: int, every: int, steps: int) -> Series:
    """One request each step that goes well; at the end, every so many steps, one that fails."""
    count = "flask_http_request_duration_seconds_count"
    bad = [f"0x{steps - failures * every - 1}", *(f"{number}x{every - 1}" for number in range(failures)), str(failures)]
    return {
        **pod(count, f"0+1x{steps}", method="POST", route="/api/v1/ingest", status="201"),
        **pod(count, " ".join(bad), method="POST", route="/api/v1/ingest", status="503"),
    }


def histogram(metric: str, bounds: tuple[str, str, str], shares: tuple[int, int, int], **labels: str) -> Series:
    """A hundred observations a minute, so many of them below each bound and above the one before."""
    found: Series = {}
    for bound, below in zip((*bounds, "+Inf"), (*accumulate(shares), 100), strict=True):
        found |= pod(metric, f"0+{below}x60", le=bound, **labels)
    return found


def latencies(fast: int, fair: int, slow: int, route: str = "/api/v1/ingest") -> Series:
    """Shares in percent of up to 0.1, 1 and 2.5 s."""
    labels = {"method": "POST", "route": route, "status": "201"}
    return histogram("flask_http_request_duration_seconds_bucket", ("0.1", "1.0", "2.5"), (fast, fair, slow), **labels)


def commits(fast: int, fair: int, slow: int) -> Series:
    """Shares in percent of up to 0.05, 0.5 and 1 s."""
    return histogram("sluice_commit_seconds_bucket", ("0.05", "0.5", "1.0"), (fast, fair, slow))


def events(**counts: str) -> Series:
    """Events of format batch by what became of them."""
    found: Series = {}
    for status, values in counts.items():
        found |= pod("sluice_events_total", values, format="batch", status=status)
    return found


def keyset(*revisions: str | None) -> Series:
    """Pods, each with the revision that its workers have loaded; None: they have none, or differ."""
    found: Series = {}
    for number, revision in enumerate(revisions):
        found |= pod("sluice_workers", "2x60", f"p{number}")
        if revision:
            found |= pod("sluice_keyset_revision_info", "1x60", f"p{number}", revision=revision)
    return found


def checks(ok: str, **results: str) -> Series:
    found = pod("sluice_auth_total", ok, result="ok")
    for result, values in results.items():
        found |= pod("sluice_auth_total", values, result=result)
    return found


def limited(values: str, **results: str) -> Series:
    return {**checks("0+100x60", **results), **pod("sluice_rate_limited_total", values, limit="events")}


def ages(*values: str) -> Series:
    found: Series = {}
    for number, value in enumerate(values):
        found |= pod("sluice_keyset_age_seconds", value, f"p{number}")
    return found


def operator(metric: str, values: str, **labels: str) -> Series:
    """A series of the operator's one pod."""
    return series(f"sluice_operator_{metric}", values, {**OPERATOR, "pod": "o", **labels})


def pulled(age: str, interval: str = "300x40", pod: str = "a") -> Series:
    """What a pod tells of the source `orders`."""
    labels = {**PULLER, "pod": pod, "source": "orders"}
    return {
        **series("sluice_pull_last_success_age_seconds", age, labels),
        **series("sluice_pull_interval_seconds", interval, labels),
    }


def queue(metric: str, values: str, pod: str = "a", **labels: str) -> Series:
    """A series of one worker's pod; each asks the broker for the depth itself."""
    return series(f"sluice_queue_{metric}", values, {**WORKER, "pod": pod, **labels})


def watch(values: str, resource: str = "secrets") -> Series:
    return operator("watch_last_event_age_seconds", values, exported_namespace="shop", resource=resource)


def looks(ok: str, failed: str) -> Series:
    """At key sets, by how they ended."""
    return {**operator("reconcile_total", ok, result="ok"), **operator("reconcile_total", failed, result="failed")}


def lagging(values: str) -> Series:
    return operator("keyset_lagging_pods", values, exported_namespace="shop", keyset="web")


def condition(type_: str, reason: str, values: str = "1x120", kind: str = "ApiKey") -> Series:
    """It is there as long as the condition is not as it should be."""
    return operator("condition", values, kind=kind, type=type_, reason=reason, **OBJECT)


def moment(metric: str, values: str) -> Series:
    """A time of an ApiKey, in seconds; promtool's clock begins at 0."""
    return operator(metric, values, **OBJECT)


def refused_keys(values: str, rotations: str) -> Series:
    """Keys that the service refuses, beside what the operator rotates."""
    return {**checks("0+600x180", unknown=values), **operator("rotations_total", rotations, reason="Rotated")}


DAY = 86400
CASES = {
    "SluiceDown": Case(
        fires=({}, pod("up", "1 0x10")),
        quiet=({**pod("up", "1x10"), **pod("up", "0x10", "b")}, pod("up", "0 0 1x10")),
        at="4m",
        early="1m",
        labels=WHERE,
    ),
    "SluiceNoPodReady": Case(
        fires=(ready("1 0x10", "1x10"), ready("3 0x10", "3x10")),
        quiet=(ready("0x10", "0x10"), ready("1x10", "3x10")),
        at="4m",
        early="1m",
        labels=DEPLOYMENT,
    ),
    "SluicePodsNotReady": Case(
        fires=(ready("3 2x40", "3x40"),),
        quiet=(ready("3x40", "3x40"), ready("2x10 3 2x10", "3x40")),
        at="20m",
        early="15m",
        labels=DEPLOYMENT,
    ),
    "SluiceRestarts": Case(
        fires=(restarts("0x30 1x5 2x5 3x5 4x20"),),
        quiet=(
            restarts("0x30 1x30"),
            restarts("5x60"),
            restarts("0+1x60", container="proxy"),
            restarts("0+1x60", pod=f"{NAME}-2-7d9f8c6b5-x2x4z"),
        ),
        at="1h",
        labels={"namespace": NAMESPACE, "pod": f"{NAME}-7d9f8c6b5-x2x4z", "container": "sluice"},
    ),
    "SluiceMigrationFailed": Case(
        fires=(migration("0 0 1x10", "0x20"),),
        quiet=(migration("1x20", "0x4 1x20"), migration("0x20", "0x20"), migration("1x20", "0x20", job="other-migrate-1a2b3c4d")),
        at="10m",
        early="6m",
        labels={"namespace": NAMESPACE, "job_name": f"{NAME}-migrate-1a2b3c4d"},
    ),
    # 180 steps of 2 minutes are six hours.
    "SluiceErrorBudgetBurnsFast": Case(
        fires=(
            requests((155, 0), (25, 0.02)),  # only the hour is above its factor
            requests((154, 0.008), (26, 0.009)),  # only the six hours are
            few_requests(failures=12, every=2, steps=180),
        ),
        quiet=(
            requests((150, 0), (26, 0.03), (4, 0.005)),  # a hard hour, nearly over
            requests((178, 0), (2, 0.025)),  # a few minutes
            requests((60, 0.02), (120, 0.004)),  # six hard hours, nearly over
            requests((160, 0), (20, 0.009)),  # half an hour
            few_requests(failures=9, every=2, steps=180),
            {**requests((180, 0)), **requests((180, 0.5), route="/readiness")},
        ),
        at="6h",
        early="5h54m",
        labels=WHERE,
        step="2m",
        every="6m",
    ),
    # 144 steps of half an hour are three days.
    "SluiceErrorBudgetBurnsSlowly": Case(
        fires=(requests((144, 0.0015)), few_requests(failures=12, every=11, steps=144)),
        quiet=(
            requests((144, 0.0005)),
            requests((132, 0.004), (12, 0.0005)),  # over for six hours
            requests((132, 0), (12, 0.005)),  # new since six hours
            few_requests(failures=9, every=11, steps=144),
        ),
        at="72h",
        early="1h",
        labels=WHERE,
        step="30m",
        every="1h",
    ),
    "SluiceIngestSlow": Case(
        fires=(latencies(90, 8, 2),),
        quiet=(latencies(0, 100, 0), latencies(0, 0, 100, route="/api/v1/batch-ingest")),
        at="30m",
        early="10m",
        labels=WHERE,
    ),
    "SluiceEventsUnaccounted": Case(
        fires=(events(received="9 10x20", created="9x30"), events(received="9x30", created="9 10x20")),
        quiet=(
            events(received="0+6x30", created="0+1x30", duplicate="0+1x30", conflict="0+1x30", invalid="0+2x30", failed="0+1x30"),
            events(received="9x8 10 10 10x20", created="9x8 9 10 10x20"),  # a scrape in the middle of a request
            events(received="5x5 0x30", created="5x5 0x30"),  # restarted
        ),
        at="15m",
        early="10m",
        labels={**WHERE, "pod": "a", "format": "batch"},
    ),
    "SluiceEventsFailed": Case(
        fires=(events(failed="0+3x30"),),
        quiet=(events(failed="7x30", received="0+9x30", created="0+9x30"), events(failed="0x20 1x10")),
        at="22m",
        early="5m",
        labels={**WHERE, "format": "batch"},
    ),
    "SluiceCommitsSlow": Case(fires=(commits(90, 8, 2),), quiet=(commits(0, 100, 0),), at="30m", early="10m", labels=WHERE),
    "SluiceErrorRegressed": Case(
        fires=(pod("sluice_error_regressions_total", "4x5 5x10"), pod("sluice_error_regressions_total", "0x5 2x10")),
        quiet=(pod("sluice_error_regressions_total", "4x20"), pod("sluice_error_regressions_total", "_x5 7x20")),
        at="10m",
        early="4m",
        labels=WHERE,
    ),
    "SluiceErrorsUncounted": Case(
        fires=(pod("sluice_error_uncounted_age_seconds", "0+60x20"),),
        quiet=(pod("sluice_error_uncounted_age_seconds", "0 60 120 180 240 300 0x20"),),
        at="12m",
        early="9m",
        labels=WHERE,
    ),
    "SluiceWorkersMissing": Case(
        fires=(pod("sluice_workers", f"{WORKERS} {WORKERS - 1}x30"),),
        quiet=(pod("sluice_workers", f"{WORKERS}x30"), pod("sluice_workers", f"{WORKERS - 1}x8 {WORKERS + 1} {WORKERS - 1}x8")),
        at="15m",
        early="10m",
        labels={**WHERE, "pod": "a"},
    ),
    "SluiceKeysetDiffers": Case(
        fires=(keyset("one", "two"), keyset("one", None), keyset("one", "one", "two")),
        quiet=(keyset("one", "one"), keyset(None, None)),
        at="10m",
        early="4m",
        labels=WHERE,
    ),
    "SluiceKeysetOld": Case(
        fires=(ages(f"{91 * DAY}x5", f"{99 * DAY}x5"),), quiet=(ages(f"{99 * DAY}x5", f"{89 * DAY}x5"),), at="2m", labels=WHERE
    ),
    "SluiceKeysRefused": Case(
        fires=(checks("0+80x60", expired="0+20x60"),),
        quiet=(
            checks("0+95x60", expired="0+5x60"),
            checks("0+80x60", forbidden="0+20x60"),
            checks("0+80x60", unknown="0+20x10 200x50"),
        ),
        at="40m",
        early="15m",
        labels={**WHERE, "result": "expired"},
    ),
    "SluiceRateLimited": Case(
        fires=(limited("0+5x60"), limited("0+5x60", missing="0+900x60")),
        quiet=(limited("0+0.5x60"), limited("0+5x20 100x40")),
        at="40m",
        early="15m",
        labels={**WHERE, "limit": "events"},
    ),
    "SluicePullerDown": Case(
        fires=({}, series("up", "1 0x20", PULLER)),
        quiet=(series("up", "1x20", PULLER), series("up", "0x4 1 0x4", PULLER)),
        at="8m",
        early="4m",
        labels=PULLER,
    ),
    "SluicePullStale": Case(
        fires=(pulled("901x40"), pulled("60+60x40"), {**pulled("2000x40"), **pulled("3000x40", pod="b")}),
        quiet=(
            pulled("900x40"),
            pulled("2000x40", interval="3600x40"),
            {**pulled("2000x40"), **pulled("60x40", pod="b")},  # a pod that could not ask the database
            pulled("2000x8 10 2000x8"),
        ),
        at="35m",
        early="9m",
        labels={**PULLER, "source": "orders"},
    ),
    "SluiceWorkerDown": Case(
        fires=({}, series("up", "1 0x20", WORKER)),
        quiet=(series("up", "1x20", WORKER), series("up", "0x4 1 0x4", WORKER)),
        at="8m",
        early="4m",
        labels=WORKER,
    ),
    "SluiceQueueBehind": Case(
        fires=(
            queue("depth", "0 40x40", queue="logs"),
            {**queue("depth", "9x40", queue="logs"), **queue("depth", "8x40", "b", queue="logs")},
        ),
        quiet=(
            queue("depth", "900x10 0 900x10 0 900x10", queue="logs"),  # peaks that are worked off
            queue("depth", "0x40", queue="logs"),
            queue("depth", "40x40", queue="logs.dead"),
        ),
        at="35m",
        early="14m",
        labels=WORKER,
    ),
    "SluiceQueueOld": Case(
        fires=(
            queue("oldest_seconds", "0 301x20"),
            {**queue("oldest_seconds", "1x20"), **queue("oldest_seconds", "0+60x20", "b")},
        ),
        quiet=(queue("oldest_seconds", "299x20"), queue("oldest_seconds", "900x3 0 900x3 0 900x3 0 900x3")),
        at="14m",
        early="4m",
        labels=WORKER,
    ),
    "SluiceDeadLetters": Case(
        fires=(queue("depth", "0 1x20", queue="logs.dead"),),
        quiet=(
            queue("depth", "0x20", queue="logs.dead"),
            queue("depth", "5x20", queue="logs"),
            queue("depth", "1x3 0x20", queue="logs.dead"),
        ),
        at="8m",
        early="4m",
        labels=WORKER,
    ),
    "SluiceOperatorDown": Case(
        fires=({}, series("up", "1 0x20", OPERATOR)),
        quiet=(series("up", "1x20", OPERATOR), series("up", "0x4 1 0x4", OPERATOR)),
        at="8m",
        early="4m",
        labels=OPERATOR,
    ),
    "SluiceOperatorNoLeader": Case(
        fires=(operator("leader", "1 0x10"),),
        quiet=(
            {**operator("leader", "0x10"), **series("sluice_operator_leader", "1x10", {**OPERATOR, "pod": "p"})},
            operator("leader", "0 0 1x10"),
        ),
        at="4m",
        early="2m",
        labels=OPERATOR,
    ),
    "SluiceOperatorWatchStale": Case(
        fires=(watch("60+60x10"),),
        quiet=(watch("0 70 0 70 0 70 0 70"), watch("150x10")),
        at="4m",
        early="2m",
        labels={**OPERATOR, "exported_namespace": "shop", "resource": "secrets"},
    ),
    "SluiceOperatorForbidden": Case(
        fires=(operator("forbidden", "0 1x10", verb="patch", resource="secrets"),),
        quiet=(operator("forbidden", "0 1 0x10", verb="patch", resource="secrets"),),
        at="5m",
        early="2m",
        labels={**OPERATOR, "verb": "patch", "resource": "secrets"},
    ),
    "SluiceOperatorFailing": Case(
        fires=(looks("0x60", "0+1x60"), looks("0+1x60", "0+2x60")),
        quiet=(looks("0+2x60", "0+1x60"), looks("0x60", "0+1x10 10x50")),
        at="40m",
        early="14m",
        labels=OPERATOR,
    ),
    "SluiceKeysetLagging": Case(
        fires=(lagging("0 2x20"),),
        quiet=(lagging("0x20"), lagging("3 3 3 3 0 1 1 1")),
        at="7m",
        early="5m",
        labels={**OPERATOR, "exported_namespace": "shop", "keyset": "web"},
    ),
    "SluiceKeyDegraded": Case(
        fires=(condition("Degraded", "SecretNotOwned"),),
        quiet=(condition("Degraded", "SecretNotOwned", "1x10 stale"), condition("Expiring", "Within7Days")),
        at="20m",
        early="14m",
        labels={**OPERATOR, **OBJECT, "kind": "ApiKey", "reason": "SecretNotOwned"},
    ),
    "SluiceKeySetAside": Case(
        fires=(condition("Degraded", "NotPlanned"),),
        quiet=(condition("Degraded", "SecretNotOwned"), condition("Degraded", "KeysSetAside", kind="KeySet")),
        at="1m",
        labels={**OPERATOR, **OBJECT, "kind": "ApiKey", "reason": "NotPlanned"},
    ),
    "SluiceKeyNotReady": Case(
        fires=(condition("Ready", "Converging"),),
        quiet=(
            condition("Active", "Revoked"),
            condition("Degraded", "DigestTaken"),
            condition("Ready", "Lagging", kind="KeySet"),
        ),
        at="20m",
        early="14m",
        labels={**OPERATOR, **OBJECT, "reason": "Converging"},
    ),
    "SluiceKeyExpires": Case(
        fires=(moment("key_expiry_timestamp_seconds", f"{6 * DAY}x60"),),
        quiet=(moment("key_expiry_timestamp_seconds", f"{8 * DAY}x60"), moment("key_expiry_timestamp_seconds", "60x60")),
        at="10m",
        labels={**OPERATOR, **OBJECT},
    ),
    "SluiceKeyRotationLate": Case(
        fires=(moment("key_next_rotation_timestamp_seconds", "600x120"),),
        quiet=(moment("key_next_rotation_timestamp_seconds", "6000x120"),),
        at="90m",
        early="70m",
        labels={**OPERATOR, **OBJECT},
    ),
    "SluiceKeyPreviousInUse": Case(
        fires=(condition("PreviousInUse", "Used"),),
        quiet=(condition("PreviousInUse", "Used", "1x30 stale"),),
        at="70m",
        early="59m",
        labels={**OPERATOR, **OBJECT},
    ),
    # The first hour is as always: 6 refusals a minute are 0.1 a second.
    "SluiceKeysRefusedAfterRotation": Case(
        fires=(refused_keys("0+6x60 366+120x40", "0x62 1x60"), refused_keys("0x60 0+12x40", "0x62 1x60")),
        quiet=(
            refused_keys("0+6x60 366+120x40", "0x120"),
            refused_keys("0+6x60 366+24x40", "0x62 1x60"),
            refused_keys("0+120x100", "0x62 1x60"),
        ),
        at="75m",
        early="64m",
        labels=WHERE,
    ),
    "SluiceProbesNotProven": Case(
        fires=(condition("ProbesWired", "Findings", kind="KeySet"),),
        quiet=(condition("ProbesWired", "NotProven", "1x20 stale", kind="KeySet"),),
        at="40m",
        early="29m",
        labels={**OPERATOR, **OBJECT, "reason": "Findings"},
    ),
}
# A release that is well: none of the alerts fires.
WELL: Series = {
    **pod("up", "1x120"),
    **ready("2x120", "2x120"),
    **restarts("0x120"),
    **migration("0x120", "1x120"),
    **requests((120, 0)),
    **latencies(99, 1, 0),
    **commits(99, 1, 0),
    **events(received="0+10x120", created="0+9x120", duplicate="0+1x120"),
    **keyset("one", "one"),
    **ages("0+60x120", "0+60x120"),
    **checks("0+100x120", missing="0+1x120"),
    **pod("sluice_rate_limited_total", "0x120", limit="requests"),
    **series("up", "1x120", PULLER),
    **series("up", "1x120", WORKER),
    **pulled("0 60 120 180 240 0x120", "300x120"),
    **pod("sluice_error_regressions_total", "3x120"),
    **pod("sluice_error_uncounted_age_seconds", "0 2 4 0x120"),
    **series("up", "1x120", OPERATOR),
    **operator("leader", "1x120"),
    **operator("forbidden", "0x120", verb="patch", resource="secrets"),
    **watch("0 30 60 0x120"),
    **looks("0+1x120", "0x120"),
    **lagging("0x120"),
    **condition("Expiring", "Within30Days"),
    **moment("key_expiry_timestamp_seconds", f"{90 * DAY}x120"),
    **moment("key_next_rotation_timestamp_seconds", f"{9 * DAY}x120"),
    **operator("rotations_total", "0x30 1x90", reason="Rotated"),
}


def plays(alert: str, case: Case, labels: dict[str, str]) -> list[dict[str, Any]]:
    """Tests as promtool takes them; `labels` are those of the alert when it fires."""
    found = [played(given, case.step, [firing(alert, case.at, labels)]) for given in case.fires]
    if case.early:
        found[0]["promql_expr_test"].append(firing(alert, case.early, None))
    return found + [played(given, case.step, [firing(alert, case.at, None)]) for given in case.quiet]


def played(given: Series, step: str, expected: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = [{"series": name, "values": values} for name, values in given.items()]
    return {"interval": step, "input_series": inputs, "promql_expr_test": expected}


def firing(alert: str | None, at: str, labels: dict[str, str] | None) -> dict[str, Any]:
    """At `at`, `alert` (None: any) fires with `labels`, or (None) does not fire."""
    query = {"alertstate": "firing", **({"alertname": alert} if alert else {})}
    expected = [] if labels is None else [{"labels": selector("ALERTS", {**query, **labels}), "value": 1}]
    return {"expr": selector("ALERTS", query), "eval_time": at, "exp_samples": expected}
