"""A real InfluxDB 1.13 built from Go modules, on a free port in a folder of its own, which tests may kill and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.certificates import Authority
from tests.integration.waiting import until
from tools import binaries
from tools.ports import free_port

ORG, TOKEN = "sluice", "owner:canary-of-influxdb"
CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
index-version = "tsi1"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
auth-enabled = true
flux-enabled = true
log-enabled = false
{https}
[monitor]
store-enabled = false
[logging]
level = "warn"
suppress-logo = true
"""


HTTPS = """https-enabled = true
https-certificate = "{folder}/certificate.pem"
https-private-key = "{folder}/key.pem"
"""


class Influxdb:
    """A context manager. Raises tools.Missing where it is not built. `url` has no slash at its end; TOKEN may do everything."""

    def __init__(self, authority: Authority | None = None) -> None:
        """With an `authority` it speaks TLS, as localhost."""
        self._program = binaries.path("influxd")
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-influx-", dir="/dev/shm"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}" if authority is None else f"https://localhost:{self.port}"
        if authority is not None:
            for name, text in zip(("certificate", "key"), authority.sign("localhost"), strict=True):
                (self.folder / f"{name}.pem").touch(0o600)
                (self.folder / f"{name}.pem").write_text(text)
        https = HTTPS.format(folder=self.folder) if authority is not None else ""
        config = CONFIG.format(folder=self.folder, port=self.port, rpc=free_port(), https=https)
        # The tests' own requests do not judge the certificate.
        self._http = httpx.Client(verify=False, trust_env=False, timeout=30, headers={"Authorization": f"Token {TOKEN}"})
        (self.folder / "influxdb.conf").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "-config", self.folder / "influxdb.conf"],
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            until(self._answers, 60, "InfluxDB starts")
        except AssertionError as error:
            raise AssertionError((self.folder / "output").read_text()[-2_000:]) from error

    def kill(self) -> None:
        """kill -9; what is on its disk stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Influxdb:
        try:
            self.start()
            user, password = TOKEN.split(":")
            self.say(f"CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._http.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The name of a bucket in a new database."""
        name = f"t{uuid.uuid4().hex}"
        self.say(f"CREATE DATABASE {name}")
        return f"{name}/autogen"

    def say(self, statement: str) -> list[dict[str, Any]]:
        """The series that a statement of InfluxQL gives: the other language of 1.x, which our code never speaks."""
        answer = self._http.post(f"{self.url}/query", params={"q": statement})
        (result,) = answer.raise_for_status().json()["results"]
        assert "error" not in result, result
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    def rows(self, bucket: str, what: str = "*", measurement: str = "logs") -> list[dict[str, Any]]:
        """Points as they are stored, one dict each."""
        database, policy = bucket.split("/")
        found = self.say(f'SELECT {what} FROM "{database}"."{policy}"."{measurement}"')
        return [dict(zip(series["columns"], row, strict=True)) for series in found for row in series["values"]]

    def write(self, bucket: str, *lines: str) -> None:
        """As another program does."""
        params = {"bucket": bucket, "org": ORG, "precision": "ns"}
        self._http.post(f"{self.url}/api/v2/write", params=params, content="\n".join(lines)).raise_for_status()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "InfluxDB ended by itself"
        with contextlib.suppress(httpx.TransportError):
            return self._http.get(f"{self.url}/health").status_code == 200
        return False
