"""A real InfluxDB 1.13 built from Go modules."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import Any

import httpx
from tests.certificates import Authority
from tests.servers import Server
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


class Influxdb(Server):
    """Raises tools.Missing where it is not built. `url` has no slash at its end; TOKEN may do everything."""

    def __init__(self, authority: Authority | None = None) -> None:
        """With an `authority` it speaks TLS, as localhost."""
        program = binaries.path("influxd")
        super().__init__()
        self.command = [program, "-config", self.folder / "influxdb.conf"]
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
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

    def prepare(self) -> None:
        user, password = TOKEN.split(":")
        self.say(f"CREATE USER {user} WITH PASSWORD '{password}' WITH ALL PRIVILEGES")

    def remove(self) -> None:
        self._http.close()
        super().remove()

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

    def answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._http.get(f"{self.url}/health").status_code == 200
        return False
