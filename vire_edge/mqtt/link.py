"""One connection to the broker, from CONNECT to its end, over paho. Used by a single thread.

A fresh paho client for each connection: what it would remember in memory across reconnects (and
resend without a limit) is kept by its user instead. Its callbacks only put things into deques,
because an exception in one would end the thread while `is_connected()` stays true.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from vire_edge.config import MqttConfig
from vire_edge.domain import Message
from vire_edge.mqtt import failures
from vire_edge.mqtt.bell import Bell
from vire_edge.mqtt.events import MqttVersion
from vire_edge.mqtt.failures import LinkError

MAX_INCOMING_BYTES = 65_536
"""What an MQTT 5 broker may send us in one packet; commands are far smaller."""
_TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker's answer to CONNECT."""

    version: MqttVersion
    receive_maximum: int
    """How many unacknowledged messages the broker takes at a time."""
    maximum_packet_bytes: int | None
    """The largest packet that it takes; None for no limit."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The broker's answer to one published message."""

    number: int
    """What `publish` returned."""
    code: int
    """MQTT 5 reason code: 0 taken, 16 taken and nobody is subscribed, 128 and above refused. Always 0 under 3.1.1."""
    name: str


class Link:
    """A connection that is opened once."""

    def __init__(
        self,
        config: MqttConfig,
        *,
        client_id: str,
        version: MqttVersion,
        context: ssl.SSLContext | None,
        will: Message | None = None,
    ) -> None:
        """Prepare a connection.

        Args:
            config: where the broker is and how to log in; `host` must be set.
            client_id: our name at the broker, the only one with it.
            version: the protocol to speak.
            context: for TLS; None for a plain connection.
            will: what the broker publishes when the connection ends without a DISCONNECT.
        """
        self.received: deque[paho.MQTTMessage] = deque()
        self.acknowledged: deque[Acknowledgement] = deque()
        self.subscribed: deque[tuple[int, str]] = deque()
        """Reason code (0 to 2 granted, 128 and above refused) and its name for each filter subscribed to."""
        self._config = config
        self._client_id = client_id
        self._version = version
        self._accepted: Accepted | None = None
        self._ended: tuple[int, str] | None = None
        self._refused: tuple[int, str] | None = None
        self._detail = ""
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if version is MqttVersion.V5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if version is MqttVersion.V5 else True,
            # Otherwise paho tries MQTT 3.1, of the year 2010, behind our back.
            reconnect_on_failure=False,
        )
        # The window is its user's; paho would queue what exceeds its own.
        self._client.max_inflight_messages = 0
        if config.username is not None:
            password = None if config.password is None else config.password.get_secret_value()
            self._client.username_pw_set(config.username, password)
        if context is not None:
            self._client.tls_set_context(context)
        if will is not None:
            self._client.will_set(will.topic, will.payload, will.qos, will.retain)
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_log = self._on_log

    def open(self, *, timeout_seconds: float, cancelled: Callable[[], bool] = lambda: False) -> Accepted:
        """Connect and wait for the broker's answer.

        Sessions are clean and end with the connection: a command that was sent while the device
        was away must not be carried out hours later, and what we owe the broker we keep ourselves.

        Args:
            timeout_seconds: for the transport, and once more for the answer.
            cancelled: asked twice a second whether to give up.

        Raises:
            LinkError: unreachable, not trusted, refused or no answer.
        """
        self._client.connect_timeout = timeout_seconds
        config = self._config
        clean: dict[str, Any] = {}
        if self._version is MqttVersion.V5:
            properties = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0
            properties.MaximumPacketSize = MAX_INCOMING_BYTES
            clean = {"clean_start": True, "properties": properties}
        try:
            self._client.connect(config.host or "", config.effective_port, config.keepalive_seconds, **clean)
        except (OSError, UnicodeError) as error:
            raise LinkError(failures.from_os_error(error, config)) from error
        deadline = time.monotonic() + timeout_seconds
        while self._accepted is None:
            if time.monotonic() >= deadline or cancelled():
                self.abandon()
                raise LinkError(failures.from_silence(config, self._detail, closed=False))
            self.pump(min(_TICK_SECONDS, max(0.0, deadline - time.monotonic())))
        return self._accepted

    def pump(self, timeout_seconds: float, bell: Bell | None = None) -> None:
        """Wait for the network or the bell, then read and write what there is.

        Raises:
            LinkError: the connection has ended.
        """
        transport = self._client.socket()
        if transport is None:
            raise LinkError(self._failure())
        # TLS may hold decrypted bytes that the kernel no longer knows of.
        pending = isinstance(transport, ssl.SSLSocket) and transport.pending() > 0
        readable, writable = self._wait(transport.fileno(), 0.0 if pending else timeout_seconds, bell)
        if readable or pending:
            self._client.loop_read()
        if writable and self._client.socket() is not None:
            self._client.loop_write()
        self._client.loop_misc()
        if self._ended is not None or self._client.socket() is None:
            raise LinkError(self._failure())

    def publish(
        self, message: Message, *, expiry_seconds: int | None = None, correlation_data: bytes | None = None
    ) -> int:
        """Send a message.

        Args:
            message: what to send.
            expiry_seconds: how long the broker may keep it for a subscriber who is away (MQTT 5).
            correlation_data: what an answer carries back to the one who asked (MQTT 5).

        Returns:
            The number under which it is acknowledged.
        """
        properties: Properties | None = None
        if self._version is MqttVersion.V5 and (expiry_seconds is not None or correlation_data is not None):
            properties = _properties(PacketTypes.PUBLISH)
            if expiry_seconds is not None:
                properties.MessageExpiryInterval = expiry_seconds
            if correlation_data is not None:
                properties.CorrelationData = correlation_data
        return self._client.publish(
            message.topic, message.payload, message.qos, message.retain, properties=properties
        ).mid

    def subscribe(self, topic_filter: str, *, retain_as_published: bool = False) -> None:
        """Ask for messages, at least once.

        Args:
            topic_filter: which.
            retain_as_published: see whether the sender wanted a message kept even when it arrives live (MQTT 5);
                otherwise the retain flag tells a message that the broker had kept from one that is new.
        """
        if self._version is MqttVersion.V5:
            self._client.subscribe(topic_filter, options=SubscribeOptions(qos=1, retainAsPublished=retain_as_published))
        else:
            self._client.subscribe(topic_filter, qos=1)

    def close(self, *, timeout_seconds: float) -> None:
        """Say goodbye, so that the broker keeps the last will to itself."""
        self._client.disconnect()
        deadline = time.monotonic() + timeout_seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                self.pump(min(_TICK_SECONDS, left))
        except LinkError:
            return  # that is what was asked for
        self.abandon()

    def abandon(self) -> None:
        """Drop the connection without a word: the broker publishes the last will."""
        transport = self._client.socket()
        if transport is not None:
            transport.close()

    def _wait(self, transport: int, timeout_seconds: float, bell: Bell | None) -> tuple[bool, bool]:
        poll = select.poll()
        poll.register(transport, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        if bell is not None:
            poll.register(bell.fileno(), select.POLLIN)
        # Rounded up, or the last millisecond would be spent spinning.
        events = dict(poll.poll(int(timeout_seconds * 1000) + 1 if timeout_seconds > 0 else 0))
        if bell is not None and bell.fileno() in events:
            bell.silence()
        happened = events.get(transport, 0)
        # An error or a hang-up is read like data: paho then finds out which.
        return bool(happened & ~select.POLLOUT), bool(happened & select.POLLOUT)

    def _failure(self) -> failures.Failure:
        if self._refused is not None:
            return failures.from_refusal(*self._refused, self._config, self._client_id)
        if self._accepted is None:
            return failures.from_silence(self._config, self._detail, closed=True)
        code, name = self._ended or (0, "")
        return failures.from_end(code, name, self._detail, self._config, self._client_id)

    def _on_socket_open(self, _client: paho.Client, _userdata: Any, transport: Any) -> None:
        # An alert is smaller than a segment; waiting for more costs 40 ms for each.
        transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(
        self,
        _client: paho.Client,
        _userdata: Any,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refused = (reason.value, str(reason))
            return
        limits = {} if properties is None else vars(properties)
        self._accepted = Accepted(
            version=self._version,
            receive_maximum=int(limits.get("ReceiveMaximum", 65_535)),
            maximum_packet_bytes=limits.get("MaximumPacketSize"),
        )

    def _on_disconnect(
        self,
        _client: paho.Client,
        _userdata: Any,
        flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._ended = (reason.value, str(reason)) if flags.is_disconnect_packet_from_server else (0, "")

    def _on_publish(
        self, _client: paho.Client, _userdata: Any, number: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self.acknowledged.append(Acknowledgement(number, reason.value, str(reason)))

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, _number: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        self.subscribed.extend((reason.value, str(reason)) for reason in reasons)

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        self.received.append(message)

    def _on_log(self, _client: paho.Client, _userdata: Any, level: int, text: str) -> None:
        # paho swallows the transport's exceptions; its log line is the only trace of them.
        if level == LogLevel.MQTT_LOG_ERR:
            self._detail = text.partition(": ")[2] or text


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # the one part of paho without annotations
