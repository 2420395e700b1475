"""`python -m tests.platform.emulator`: moto with our patches on a free port of loopback, which is the first line it prints.

It ends with its standard input, so that it never outlives its parent process, however that ended.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from tests.platform.emulator import ec2, iam, rds, s3, sqs
from tests.platform.emulator.eks import access, addons, associations, clusters, nodegroups, routes, tags, updates
from werkzeug.serving import make_server

# Imported for what they do to moto.
PATCHES = (access, addons, associations, clusters, ec2, iam, nodegroups, rds, routes, s3, sqs, tags, updates)


def main() -> None:
    threading.Thread(target=end_with_input, daemon=True).start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
