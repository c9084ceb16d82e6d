"""``--metrics PORT``: the figures on a port of this machine, for Prometheus to fetch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edgedet.errors import UsageError
from edgedet.service.metrics import CONTENT_TYPE

ADDRESS = "127.0.0.1"


class MetricsServer:
    """Answers ``GET /metrics`` on 127.0.0.1, and nothing else to nobody else.

    Args:
        port: to listen at; 0 for any that is free.
        text: what to answer; called by threads of its own.

    Raises:
        UsageError: the port cannot be had.
    """

    def __init__(self, port: int, text: Callable[[], str]) -> None:
        class Answer(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(404)
                    return
                body = text().encode()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        try:
            self._server = _Quiet((ADDRESS, port), Answer)
        except OSError as error:
            raise UsageError(
                f"--metrics cannot listen at {ADDRESS}:{port}: {error.strerror}; choose another port"
            ) from error
        self.port = int(self._server.server_address[1])
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="edgedet-metrics", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever breaks off the connection is nothing to tell."""
