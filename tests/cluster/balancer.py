"""A load balancer as AWS documents it, in one file: it learns of pods late, trusts them later, and lets them go late.

`python3 balancer.py --namespace N --selector L --register S --interval S --count N --deregister S [--blind-gates]`

A pod becomes a target `register` seconds after its containers are ready (controller and API of AWS take time), is `initial` until
/readiness answered 200 `count` times, `interval` apart, and only then gets requests. A pod that is being deleted goes on getting
requests for `deregister` seconds. Without a healthy target the answer is 503. As the AWS Load Balancer Controller does, it sets
the pods' condition GATE to whether the target is healthy; with `--blind-gates` it sets it at once, and pods are as they are where
nobody injects gates. Requests are passed on over new connections, and none is repeated.

Sources: ELB user guide, "Target groups" (health states, deregistration); AWS Load Balancer Controller, "Pod readiness gate".
It runs as a Pod (mounted from a ConfigMap, run by our image's Python), so it has the standard library only.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import ssl
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API = "https://kubernetes.default.svc"
GATE = "target-health.elbv2.k8s.aws/simulated"
PORT, TARGET_PORT = 8000, 8080
LOOK = 0.5
CONDITION_PATCH = "application/strategic-merge-patch+json"


@dataclass
class Target:
    """A pod; times are of time.monotonic()."""

    name: str
    address: str
    registered: float | None = None  # when it becomes a target
    gone: float | None = None  # when it gets nothing more
    checked: float = 0.0
    good: int = 0
    told: bool | None = None


class Balancer:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.targets: dict[str, Target] = {}
        self.turn = itertools.count()

    def next(self) -> Target | None:
        """The healthy target whose turn it is."""
        now = time.monotonic()
        healthy = [t for t in list(self.targets.values()) if t.good >= self.options.count and (t.gone is None or now < t.gone)]
        return healthy[next(self.turn) % len(healthy)] if healthy else None

    def follow(self) -> None:
        while True:
            try:
                self.look()
            except OSError as error:  # a pod that has gone meanwhile; the next look is soon
                print(f"look: {error!r}", flush=True)
            time.sleep(LOOK)

    def look(self) -> None:
        now = time.monotonic()
        query = urllib.parse.urlencode({"labelSelector": self.options.selector})
        pods = ask("GET", f"/api/v1/namespaces/{self.options.namespace}/pods?{query}")["items"]
        for pod in pods:
            self.see(pod, now)
        there = {pod["metadata"]["name"] for pod in pods}
        for name in self.targets.keys() - there:
            self.targets[name].gone = self.targets[name].gone or now
        for target in self.targets.values():
            self.judge(target, now)

    def see(self, pod: dict[str, Any], now: float) -> None:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        if "podIP" not in status:
            return
        target = self.targets.setdefault(name, Target(name, status["podIP"]))
        conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
        if target.registered is None and conditions.get("ContainersReady") == "True":
            target.registered = now + self.options.register
        if "deletionTimestamp" in pod["metadata"] and target.gone is None:
            target.gone = now + self.options.deregister

    def judge(self, target: Target, now: float) -> None:
        registered = target.registered is not None and now >= target.registered
        if (
            registered
            and target.gone is None
            and target.good < self.options.count
            and now - target.checked >= self.options.interval
        ):
            target.checked = now
            target.good = target.good + 1 if answers(target) else 0
            if target.good == self.options.count:
                print(f"{target.name} serves", flush=True)
        healthy = target.good >= self.options.count or (self.options.blind_gates and target.registered is not None)
        if healthy is not target.told and target.gone is None:
            self.tell(target, healthy)

    def tell(self, target: Target, healthy: bool) -> None:
        condition = {"type": GATE, "status": str(healthy)}
        path = f"/api/v1/namespaces/{self.options.namespace}/pods/{target.name}/status"
        ask("PATCH", path, {"status": {"conditions": [condition]}})
        target.told = healthy


def ask(method: str, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": CONDITION_PATCH}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, headers, method=method)
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as of EKS: no Authority Key Identifier
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        return json.load(answer)


def answers(target: Target) -> bool:
    connection = http.client.HTTPConnection(target.address, TARGET_PORT, timeout=2)
    try:
        connection.request("GET", "/readiness")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def handler(balancer: Balancer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            target = balancer.next()
            if target is None:
                self.reply(503, b"no healthy target")
                return
            connection = http.client.HTTPConnection(target.address, TARGET_PORT, timeout=15)
            try:
                headers = {name: text for name, text in self.headers.items() if name.lower() != "connection"}
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                self.reply(answer.status, answer.read())
            except OSError as error:
                self.reply(502, f"{target.name}: {error!r}".encode())
            finally:
                connection.close()

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status in (502, 503):
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a line for each request would be thousands."""

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--selector", required=True)
    for name in ("register", "interval", "deregister"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--blind-gates", action="store_true")
    balancer = Balancer(parser.parse_args())
    threading.Thread(target=balancer.follow, daemon=True).start()
    ThreadingHTTPServer(("", PORT), handler(balancer)).serve_forever()


if __name__ == "__main__":
    main()
