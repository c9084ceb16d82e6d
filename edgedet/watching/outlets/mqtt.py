"""``--mqtt``: every event to a topic of an MQTT broker, by Eclipse Paho."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from edgedet.errors import MissingDependencyError, UsageError
from edgedet.watching.alert import AlertEvent
from edgedet.watching.outlets.courier import MAX_WAITING, Say

PASSWORD_VARIABLE = "EDGEDET_MQTT_PASSWORD"
FIRST_WAIT, LONGEST_WAIT = 1, 2
"""Seconds between two attempts to connect, at first and at most: a broker that is back is found within three."""
KEEP_ALIVE = 10
CONNECT_SECONDS = 3.0


@dataclass(frozen=True)
class Address:
    """Address of a topic."""

    host: str
    port: int
    topic: str
    secure: bool
    user: str | None
    password: str | None

    @property
    def name(self) -> str:
        """For people, without a password."""
        return f"mqtt{'s' if self.secure else ''}://{self.host}:{self.port}/{self.topic}"


def parse_address(text: str) -> Address:
    """Read ``mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC``; ``mqtts://`` for TLS.

    Raises:
        UsageError: anything else.

    >>> parse_address("mqtt://localhost/home/alerts").name
    'mqtt://localhost:1883/home/alerts'
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"the broker's address is not understood: {error}") from None
    # What a web address calls a fragment is a sign of a topic here.
    topic = unquote(parts.path[1:]) + text[text.index("#") :] if "#" in text else unquote(parts.path[1:])
    if parts.scheme in ("mqtt", "mqtts") and "?" in text:
        raise UsageError("a broker's address has nothing after '?'; a '?' of the topic itself is written %3F")
    if parts.scheme not in ("mqtt", "mqtts") or not host or not topic:
        shown = text.rpartition("@")[2]
        raise UsageError(f"{shown!r} is no topic of a broker; expected mqtt://HOST/TOPIC")
    if any(sign in topic for sign in "+#\0") or len(topic.encode()) > 65535:
        raise UsageError(f"topic {topic!r} cannot be published to; expected one without + and #")
    return Address(
        host,
        port or (8883 if parts.scheme == "mqtts" else 1883),
        topic,
        parts.scheme == "mqtts",
        unquote(parts.username) if parts.username is not None else None,
        unquote(parts.password) if parts.password is not None else os.environ.get(PASSWORD_VARIABLE),
    )


class MqttTopic:
    """Publishes events with quality of service 1: each arrives once at least, also after an outage.

    The broker need not be there at the start. While it is away, events wait; of more than 1,000 the newest are
    lost, which is counted and told.

    Args:
        address: see :func:`parse_address`.
        say: told, in one sentence, when the broker goes and comes.

    Raises:
        UsageError: not an address.
        MissingDependencyError: paho-mqtt is not installed.
    """

    def __init__(self, address: str, say: Say, *, max_waiting: int = MAX_WAITING) -> None:
        parsed = parse_address(address)
        try:
            from paho.mqtt import client as mqtt
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingDependencyError(
                "--mqtt needs the package 'paho-mqtt', which is not installed: pip install 'edgedet[mqtt]'"
            ) from error
        self.name = parsed.name
        self._topic = parsed.topic
        self._say = say
        self._success = mqtt.MQTT_ERR_SUCCESS
        self._waiting_codes = (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_NO_CONN)
        self._changed = threading.Condition()
        self._unconfirmed = 0
        self._lost = 0
        self._connected: bool | None = None
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.max_queued_messages_set(max_waiting)
        client.reconnect_delay_set(FIRST_WAIT, LONGEST_WAIT)
        client.connect_timeout = CONNECT_SECONDS
        if parsed.user is not None:
            client.username_pw_set(parsed.user, parsed.password)
        if parsed.secure:
            client.tls_set()
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self._client = client
        client.connect_async(parsed.host, parsed.port, KEEP_ALIVE)
        client.loop_start()

    @property
    def unconfirmed(self) -> int:
        """Number of events that the broker has not confirmed yet."""
        return self._unconfirmed

    def send(self, event: AlertEvent) -> None:
        """Take an event; returns at once."""
        with self._changed:
            self._unconfirmed += 1
        message = self._client.publish(self._topic, event.to_json(), qos=1)
        if message.rc not in self._waiting_codes:
            with self._changed:
                self._unconfirmed -= 1
                self._lost += 1
            self._say(f"{self.name}: too many events are waiting for the broker; this one is lost")

    def close(self, seconds: float) -> int:
        """Wait at most so long for the broker to confirm what was sent; the number of events that it did not."""
        end = time.monotonic() + seconds
        with self._changed:
            while self._unconfirmed and (left := end - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.1))
            undelivered = self._unconfirmed + self._lost
        self._say = lambda text: None
        # Neither is waited for long: a broker may hold either up.
        ending = threading.Thread(target=self._leave, daemon=True)
        ending.start()
        ending.join(0.1 if undelivered else 1.0)
        return undelivered

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._went(f"refuses the connection: {reason}")
            return
        if self._connected is False:
            self._say(f"{self.name}: connected")
        self._connected = True

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        self._went("cannot be reached; trying again")

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._went("the connection broke off; trying again")

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._unconfirmed -= 1
            self._changed.notify_all()

    def _went(self, how: str) -> None:
        """Told once for each outage."""
        if self._connected is not False:
            self._connected = False
            self._say(f"{self.name}: {how}")
