"""A real RabbitMQ of Debian's package, on free ports in a folder of its own, which tests may kill, stop and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
from tests.certificates import Authority
from tests.integration.waiting import until
from tools.ports import free_port

# Not /usr/sbin's, which change to the package's own user and folders.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
# Seconds; 5 on an idle machine, and most of a minute where other tests take its cores.
START_SECONDS = 150
CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.certfile = {folder}/certificate.pem
ssl_options.keyfile = {folder}/key.pem
ssl_options.cacertfile = {folder}/authority.pem
log.file.level = warning
disk_free_limit.absolute = 1MB
"""


class Broker:
    """One node. Its epmd is its own too, on another port than the machine's, and ends with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-mq-", dir="/dev/shm"))
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        tls_port, authority = free_port(), Authority()
        self.authority = self.folder / "authority.pem"
        self.tls_url = f"amqps://guest:guest@localhost:{tls_port}/"
        certificate, key = authority.sign("localhost")
        for name, text in (("authority", authority.certificate), ("certificate", certificate), ("key", key)):
            (self.folder / f"{name}.pem").write_text(text)
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(port=self.port, tls_port=tls_port, folder=self.folder))
        (self.folder / "plugins").write_text("[].")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # A name that this machine resolves whatever its host is called.
            "RABBITMQ_NODENAME": f"sluice{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAMS / "rabbitmq-server"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            until(self._answers, START_SECONDS, "RabbitMQ starts")
        except AssertionError as error:
            raise AssertionError((self.folder / "output").read_text()[-2_000:]) from error

    def kill(self) -> None:
        """kill -9 of everything but epmd; what is on its disk stays."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def remove(self) -> None:
        self.kill()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "epmd" and process.environ().get("HOME") == str(self.folder):
                    process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` says."""
        command = [str(PROGRAMS / "rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, timeout=START_SECONDS, check=False)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, said
        return said

    def alarm(self, *, on: bool) -> None:
        """The disk alarm: every connection that publishes is blocked."""
        alarm = "{resource_limit, disk, node()}"
        self.control("eval", f"rabbit_alarm:set_alarm({{{alarm}, []}})." if on else f"rabbit_alarm:clear_alarm({alarm}).")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "RabbitMQ ended by itself"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"AMQP\0\0\x09\x01")
            return connection.recv(1) == b"\x01"
        return False
