"""Faults of which the soak tells how soon each is told or repaired, and that nothing was done twice."""

from __future__ import annotations

import json
import statistics

from tests.cluster.kube import Document
from tests.integration.waiting import until
from tests.operator import crashes, stand
from tests.operator.figures import Figure, bounded, timed
from tests.operator.hindrances import HINDRANCES
from tests.operator.place import Place
from tests.operator.processes import Proxy
from tests.operator.stand import KEYSET

TOLD_SECONDS, MADE_SECONDS, NOTICED_SECONDS, GONE_SECONDS = 10, 3, 30, 60
HOUR = 3600
KEYS = 10


def hindered(at: Place) -> list[Figure]:
    """What keeps the operator from its work: how soon it is told, and made up for once it is over."""
    at.operator()
    figures = []
    for what, hindrance in HINDRANCES.items():
        at.stand.until_condition(KEYSET, "Degraded", "AsExpected", 120, "keyset")
        with hindrance(at.stand.space):
            name = at.stand.key()
            told = timed(lambda: at.stand.until_condition(KEYSET, "Degraded", "Forbidden", 60, "keyset"))
        made = timed(lambda name=name: at.stand.active(name, seconds=120))  # type: ignore[misc]
        figures += [
            bounded(f"{what}: told by a condition", told, TOLD_SECONDS),
            bounded("and made up for once it was over", made),
        ]
    return figures


def skewed(at: Place) -> list[Figure]:
    """The clock of the operator's node is an hour ahead, and an hour behind; then it is right again."""
    figures = []
    for ahead in (HOUR, -HOUR):
        wrong = at.operator(ahead=ahead)
        told = timed(lambda: at.stand.until_condition(KEYSET, "Degraded", "ClockSkewed", 60, "keyset"))
        made = timed(lambda: at.stand.active(at.stand.key()))
        wrong.stop()
        right = at.operator()
        fixed = timed(lambda: at.stand.until_condition(KEYSET, "Degraded", "AsExpected", 60, "keyset"))
        right.stop()
        what = f"clock {ahead / HOUR:+.0f} h"
        figures += [
            bounded(f"{what}: told by a condition once it leads", told, TOLD_SECONDS),
            bounded("a key is made and handed out meanwhile", made, MADE_SECONDS),
            bounded("and once the clock is right it says so", fixed, TOLD_SECONDS),
        ]
    return figures


def crashed(at: Place) -> list[Figure]:
    """Each write of a rotation is lost in each way, one rotation after the other."""
    proxy = Proxy()
    operator = at.operator(server=proxy.server)
    writes = crashes.writes_of_a_rotation(at.stand, proxy)
    times = []
    for how in crashes.HOWS:
        for number in range(1, writes + 1):
            name = at.stand.key()
            at.stand.active(name)
            at.stand.settled()
            times.append(timed(lambda: crashes.lose(at.stand, operator, proxy, name, number, how)))  # noqa: B023 - called at once
            proxy.tell("reset")
            at.stand.settled()
            crashes.judge(at.stand, name)
    operator.kill()
    proxy.stop()
    took = f"the operator's end included median {statistics.median(times):.1f} s, longest {max(times):.1f} s"
    return [
        Figure(
            f"each of the {writes} writes of a rotation lost: before it, after it, its answer",
            f"{len(times)} of {3 * writes} ended with the same two versions; {took}",
            "all",
        )
    ]


def doubled(at: Place) -> list[Figure]:
    """Two operators that both think they lead."""
    operators = [at.operator(LEASE_NAME=name) for name in ("one", "two")]
    names = [at.stand.key() for _ in range(KEYS)]
    for name in names:
        at.stand.active(name, seconds=60)
    crashes.rotate_all(at.stand, names)
    for name in names:
        crashes.judge(at.stand, name)
    assert all(operator.running for operator in operators)
    return [Figure(f"two operators at once rotate {KEYS} keys", "one rotation each, no third version", "the same")]


def renewed(at: Place) -> list[Figure]:
    """The kinds are changed while the operator watches them."""
    at.operator()
    with_column = [
        widened(json.loads(at.stand.space.cluster.kubectl("get", "crd", each, "--output=json"))) for each in stand.KINDS
    ]
    at.stand.space.apply(*with_column)
    made = timed(lambda: at.stand.active(at.stand.key()))
    stand.install_crds(at.stand.space.cluster)
    again = timed(lambda: at.stand.active(at.stand.key()))
    return [
        bounded("CRDs updated: the next key is handed out", made, MADE_SECONDS),
        bounded("and put back: the next one", again, MADE_SECONDS),
    ]


def widened(crd: Document) -> Document:
    """With one more column."""
    for version in crd["spec"]["versions"]:
        version["additionalPrinterColumns"].append({"name": "Generation", "type": "integer", "jsonPath": ".metadata.generation"})
    metadata = {"name": crd["metadata"]["name"]}
    return {"apiVersion": crd["apiVersion"], "kind": crd["kind"], "metadata": metadata, "spec": crd["spec"]}


def forsaken(at: Place) -> list[Figure]:
    """One of two namespaces is deleted with its keys, and comes back."""
    with stand.beside(at.stand) as other:
        operator = at.operator(WATCH_NAMESPACES=f"{at.stand.space.name},{other.space.name}")
        for _ in range(KEYS):
            other.active(other.key())
        cluster = at.stand.space.cluster
        gone = timed(lambda: cluster.kubectl("delete", "namespace", other.space.name, f"--timeout={GONE_SECONDS}s"))
        ended = timed(lambda: until(lambda: not operator.running, GONE_SECONDS, "it notices"))
        led = timed(lambda: operator.start().leads())
        at.stand.active(at.stand.key())
        cluster.kubectl("create", "namespace", other.space.name)
        stand.prepare(other.space, at.stand.space)
        name = other.key()
        taken = timed(lambda: until(lambda: not operator.running, GONE_SECONDS, "it takes the namespace in"))
        operator.start().leads()
        other.active(name)
    return [
        bounded(f"one of two namespaces deleted with {KEYS} keys: it is gone", gone, GONE_SECONDS),
        bounded("until the operator noticed, and ended", ended, NOTICED_SECONDS),
        bounded("and until a new process led, in the namespaces that are left", led),
        bounded("the namespace and its Role are back: noticed, so that a new process takes it in", taken, NOTICED_SECONDS),
    ]
