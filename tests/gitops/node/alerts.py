"""Keeps what Argo CD's notifications send: `python alerts.py FILE`, a document on each line. Runs in the sandbox's network."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

PORT = 19099
URL = f"http://127.0.0.1:{PORT}/alerts"


class Alerts(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Path(sys.argv[1]).open("ab") as file:
            file.write(body.strip() + b"\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", PORT), Alerts).serve_forever()
