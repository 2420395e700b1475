"""A real RabbitMQ of Debian's package."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import psutil
from tests.certificates import Authority
from tests.servers import Server
from tools.ports import free_port

# Not /usr/sbin's, which change to the package's own user and folders.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.certfile = {folder}/certificate.pem
ssl_options.keyfile = {folder}/key.pem
ssl_options.cacertfile = {folder}/authority.pem
log.file.level = warning
disk_free_limit.absolute = 1MB
"""


class Broker(Server):
    """One node. Its epmd is its own too, on another port than the machine's, and ends with it: `kill` leaves it."""

    # 5 on an idle machine, and most of a minute where other tests take its cores.
    START_SECONDS = 150

    def __init__(self) -> None:
        super().__init__()
        self.command = [PROGRAMS / "rabbitmq-server"]
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        tls_port, authority = free_port(), Authority()
        self.authority = self.folder / "authority.pem"
        self.tls_url = f"amqps://guest:guest@localhost:{tls_port}/"
        certificate, key = authority.sign("localhost")
        for name, text in (("authority", authority.certificate), ("certificate", certificate), ("key", key)):
            (self.folder / f"{name}.pem").write_text(text)
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(port=self.port, tls_port=tls_port, folder=self.folder))
        (self.folder / "plugins").write_text("[].")
        self.environment = {
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

    def remove(self) -> None:
        super().remove()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "epmd" and process.environ().get("HOME") == str(self.folder):
                    process.kill()

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` says."""
        command = [str(PROGRAMS / "rabbitmqctl"), "--quiet", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=self.START_SECONDS, check=False)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, said
        return said

    def alarm(self, *, on: bool) -> None:
        """The disk alarm: every connection that publishes is blocked."""
        alarm = "{resource_limit, disk, node()}"
        self.control("eval", f"rabbit_alarm:set_alarm({{{alarm}, []}})." if on else f"rabbit_alarm:clear_alarm({alarm}).")

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"AMQP\0\0\x09\x01")
            return connection.recv(1) == b"\x01"
        return False
