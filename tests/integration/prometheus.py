"""A real Prometheus (Debian's, out of its package), and what it is asked."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.integration.waiting import until
from tools import apt
from tools.ports import free_port

# Labels and points (Unix time, value) of a series.
Series = tuple[dict[str, str], list[tuple[float, float]]]


class Prometheus:
    """`url` has no slash at its end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=20, trust_env=False)

    def now(self, expr: str) -> list[Series]:
        """The newest value of each series."""
        found = self._ask("/query", query=expr)["result"]
        return [(each["metric"], [(each["value"][0], float(each["value"][1]))]) for each in found]

    def over(self, expr: str, begin: float, end: float, step: float = 1) -> list[Series]:
        """Each series from `begin` to `end` (Unix time), with a value every `step` seconds."""
        found = self._ask("/query_range", query=expr, start=begin, end=end, step=step)["result"]
        return [(each["metric"], [(at, float(value)) for at, value in each["values"]]) for each in found]

    def values(self, label: str, series: str) -> list[str]:
        """The values that a label has in these series."""
        found: list[str] = self._ask(f"/label/{label}/values", **{"match[]": series})
        return found

    def _ask(self, path: str, **parameters: Any) -> Any:
        answer = self._client.get(path, params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get(f"{self.url}/-/ready").status_code == 200
        return False

    def close(self) -> None:
        self._client.close()


@contextlib.contextmanager
def running(folder: Path, configuration: dict[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus that keeps its data in `folder`; `configuration` as in prometheus.yml. Raises tools.Missing."""
    program = apt.program("prometheus", "prometheus")
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    words = [f"--web.listen-address={address}", f"--storage.tsdb.path={folder}/data", f"--config.file={file}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *words], stdout=log, stderr=log)
    try:
        with contextlib.closing(Prometheus(f"http://{address}")) as made:
            until(made.ready, 30, "Prometheus is ready")
            yield made
    finally:
        process.terminate()
        process.wait(30)
