"""Readiness and signs of life for systemd (sd_notify(3)): datagrams to the socket that it names."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Tells systemd, where it asks (``Type=notify``); does nothing elsewhere."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        self._said = -float("inf")
        self.interval = _watchdog_seconds()
        """Seconds in which systemd wants a sign of life; None where it does not watch."""
        if self._address and hasattr(socket, "AF_UNIX"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # A full queue holds nothing up.
            self._socket.setblocking(False)

    def ready(self) -> None:
        """It works."""
        self._send("READY=1")

    def alive(self, status: str = "") -> None:
        """A sign of life, sent several times in each interval, with how it goes."""
        now = time.monotonic()
        if self._socket is not None and now - self._said >= min((self.interval or 20.0) / 4, 5.0):
            self._said = now
            self._send("WATCHDOG=1" + (f"\nSTATUS={status}" if status else ""))

    def stopping(self) -> None:
        """It ends."""
        self._send("STOPPING=1")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        # A @ stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            self._socket.sendto(text.encode(), address)
        except OSError:
            return


def _watchdog_seconds() -> float | None:
    text, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) == 0 or (process.isdigit() and int(process) != os.getpid()):
        return None
    return int(text) / 1e6
