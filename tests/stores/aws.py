"""DynamoDB and SQS by moto as a process: `python -m tests.stores.aws` prints its port and ends with its standard input."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from tests.conftest import ROOT
from werkzeug.serving import make_server

REGION, ACCOUNT = "eu-central-1", "123456789012"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Aws:
    """A context manager; `url` is the endpoint of every service."""

    def __enter__(self) -> Aws:
        pipe = subprocess.PIPE
        environment = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": REGION}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.aws"], cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
        )


class Serial(DomainDispatcherApplication):
    """moto looks at a condition and writes in two steps: DynamoDB's one step is one request at a time here."""

    one_at_a_time = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if "DynamoDB" not in environ.get("HTTP_X_AMZ_TARGET", ""):
            return super().__call__(environ, start_response)
        with self.one_at_a_time:
            return super().__call__(environ, start_response)


class Handler(MotoRequestHandler):
    # Connections are kept, as AWS keeps them.
    protocol_version = "HTTP/1.1"


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, Serial(create_backend_app), threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
