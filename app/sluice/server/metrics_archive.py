"""The sum of all workers' metrics, those that live and those that are gone.

In multi-process mode (PROMETHEUS_MULTIPROC_DIR, set by `serve`) prometheus_client keeps each worker's values in files
named `<type>_<pid>.db`. https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from sluice import values

FILE = re.compile(r"(?P<kind>[a-z]+)(?:_[a-z]+)?_(?P<pid>\d+)\.db")


class Archive:
    """Keeps the values of workers that are gone, in one file a type, so that neither files nor series pile up.

    Only the parent uses it: one lock keeps a scrape from seeing a file twice, or not at all.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def sweep(self) -> None:
        """Merge the files of dead processes."""
        with self._lock:
            gone: dict[str, list[Path]] = defaultdict(list)
            for path in self._directory.iterdir():
                named = FILE.fullmatch(path.name)
                if named and not values.exists(int(named["pid"])):
                    gone[named["kind"]].append(path)
            for kind, paths in gone.items():
                self._merge(kind, paths)

    def exposition(self, extra: Iterable[Collector] = ()) -> bytes:
        """All workers' metrics and those of `extra` collectors, as Prometheus text."""
        registry = CollectorRegistry()
        for collector in (Sum(self._directory), *extra):
            registry.register(collector)
        with self._lock:
            return generate_latest(registry)

    def _merge(self, kind: str, paths: list[Path]) -> None:
        # A gauge of a dead process says nothing; counters and histograms go on counting.
        if kind != "gauge":
            archive = self._directory / f"{kind}_archive.db"
            write(archive, total([archive, *paths]))
        for path in paths:
            path.unlink()


class Sum(Collector):
    """The sum over all files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[object]:  # type: ignore[override]
        # A file without content was made this very moment, or by a process that died while it did.
        paths = [str(path) for path in self._directory.glob("*.db") if path.stat().st_size]
        return MultiProcessCollector.merge(paths, accumulate=True)  # type: ignore[no-any-return,no-untyped-call]


def total(paths: Iterable[Path]) -> dict[str, float]:
    """The values of several files of one type, added up by their key."""
    sums: dict[str, float] = defaultdict(float)
    for path in paths:
        # FileNotFoundError: there is no archive yet. struct.error: the process died before it wrote anything.
        with contextlib.suppress(FileNotFoundError, struct.error):
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
                sums[key] += value
    return sums


def write(path: Path, values: dict[str, float]) -> None:
    """Put a file with `values` in the place of `path`, in one step."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    file = MmapedDict(str(new))  # type: ignore[no-untyped-call]
    for key, value in values.items():
        file.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]
    os.replace(new, path)
