"""What the servers of the tests stand on: a port of loopback while it is needed, and a handler that is quiet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Quiet(BaseHTTPRequestHandler):
    """Writes no log, and a client that hangs up is no fault."""

    def log_message(self, *arguments: Any) -> None:
        """Silent."""

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, ValueError, OSError):
            return


@contextmanager
def listening(server: HTTPServer) -> Iterator[str]:
    """The server's address, while it answers."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
