"""``--webhook``: every event to a web server, of this machine unless said otherwise."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from typing import Literal
from urllib.parse import quote, urlsplit

from edgedet.errors import UsageError
from edgedet.watching.alert import AlertEvent
from edgedet.watching.outlets.courier import Failed

TIMEOUT = 5.0
"""Seconds for a request."""
FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0

Reach = Literal["this machine", "anywhere"]


class Webhook:
    """Sends every event as JSON in a POST request, until it is taken. It follows no redirection and uses no proxy.

    Args:
        url: ``http://`` or ``https://`` address.
        reach: ``this machine`` refuses every other host.

    Raises:
        UsageError: not such an address, or another machine's.
    """

    def __init__(self, url: str, reach: Reach = "this machine", *, timeout: float = TIMEOUT) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"the address {url!r} is not understood: {error}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(f"{url!r} is no address of a web server; expected http://127.0.0.1:PORT/PATH")
        # Python's own urlsplit drops tabs and line ends without a word.
        unsent = next((sign for sign in url if sign <= " " or sign in "#\x7f"), None) or next(
            (sign for sign in parts.path + parts.query if not sign.isascii()), None
        )
        if unsent is not None:
            raise UsageError(
                f"{unsent!r} cannot be sent in the address of a web server; percent-encode it: {quote(unsent)}"
            )
        if parts.username is not None:
            raise UsageError("a web server's address with a user's name in it is not supported; leave it out")
        if reach != "anywhere" and not is_this_machine(host):
            raise UsageError(
                f"{host} may be another machine, and events stay on this one; use 127.0.0.1, [::1] or localhost, "
                "or --webhook-anywhere to send them away"
            )
        self.name = f"web server {parts.scheme}://{parts.netloc}"
        self._host, self._port, self._secure = host, port, parts.scheme == "https"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout = timeout
        self._wait = FIRST_WAIT
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def deliver(self, event: AlertEvent) -> None:
        """Send it once. What the server does not want (4xx) is not sent again."""
        connection = self._connect()
        with self._lock:
            self._connection = connection
        began = time.monotonic()
        try:
            connection.request("POST", self._path, event.to_json(), {"Content-Type": "application/json"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            slow = isinstance(error, TimeoutError) or time.monotonic() - began >= self._timeout
            reason = f"gave no answer within {self._timeout:g} s" if slow else f"cannot be reached ({_why(error)})"
            raise Failed(reason, self._next_wait()) from error
        finally:
            with self._lock:
                self._connection = None
            connection.close()
        if status >= 500:
            raise Failed(f"answered {status}", self._next_wait())
        self._wait = FIRST_WAIT
        if status >= 300:
            raise Failed(f"answered {status}; the event is lost")

    def stop(self) -> None:
        """Break off the request."""
        with self._lock:
            if self._connection is not None and self._connection.sock is not None:
                # Closing alone does not wake up whoever waits for an answer.
                with contextlib.suppress(OSError):
                    self._connection.sock.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=self._timeout, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _next_wait(self) -> float:
        wait, self._wait = self._wait, min(self._wait * 2, LONGEST_WAIT)
        return wait


def is_this_machine(host: str) -> bool:
    """Whether a host's name can mean no other machine; no name server is asked.

    >>> [is_this_machine(host) for host in ("localhost", "127.0.0.1", "::1", "10.0.0.7", "localhost.example.org")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
