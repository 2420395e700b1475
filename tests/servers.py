"""Servers of other programs, each on a free port in a folder of its own, which tests may kill, freeze and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from tests.integration.waiting import until
from tools.ports import free_port

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Server:
    """A context manager. `command` and `environment` are set by derived classes before it starts."""

    START_SECONDS: ClassVar[float] = 60

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sluice-test-", dir=MEMORY))
        self.port = free_port()
        self.command: Sequence[str | Path] = ()
        self.environment: Mapping[str, str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
            self.prepare()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def start(self) -> None:
        """Return when it answers."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            until(self._up, self.START_SECONDS, f"{type(self).__name__} answers")
        except AssertionError as error:
            raise AssertionError((self.folder / "output").read_text()[-2_000:]) from error

    def kill(self) -> None:
        """kill -9 of its whole session; what is on its disk stays."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        assert self._process is not None
        # Its whole session: of RabbitMQ the process is a script.
        os.killpg(self._process.pid, signal.SIGSTOP)
        # Until it stands: a thread of it may be busy with the last request.
        os.waitpid(self._process.pid, os.WUNTRACED)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self) -> None:
        """Once, when it answers for the first time."""

    def answers(self) -> bool:
        raise NotImplementedError

    def _up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "it ended by itself"
        return self.answers()
