"""The emulator as a process of its own, for the patches must not reach the moto of other tests."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Any

import boto3
from tests.conftest import ROOT

REGION = "eu-central-1"
# moto's only account, and the one of envs/*.tfvars.
ACCOUNT = "123456789012"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class Emulator:
    """AWS on loopback; a context manager. What is in it ends with it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Emulator:
        # Without them moto knows no `arn:aws:iam::aws:policy/...`; it reads the variable when it is imported.
        environment = {"PATH": os.environ["PATH"], "MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "AWS_DEFAULT_REGION": REGION}
        command = [sys.executable, "-m", "tests.platform.emulator"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        assert port, "the emulator ended before it told its port"
        # The address, never `localhost`: for a name S3 clients put the bucket in front of it.
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            # Ends the server by the end of its input, and closes the pipes.
            self._process.communicate(timeout=30)

    @property
    def environment(self) -> dict[str, str]:
        """What makes any AWS client talk to the emulator and to nothing else."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}

    def client(self, service: str) -> Any:
        """A boto3 client of the emulator."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
