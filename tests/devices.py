"""The device's end of the connection: alerts in a store of their own, and a wire that shows what it sends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from brokers import Wire

from vire_edge.alert_queue import AlertQueue
from vire_edge.clock import read_clocks
from vire_edge.config import MqttConfig
from vire_edge.domain import Message
from vire_edge.mqtt import MqttConnection
from vire_edge.outbox import Outbox


class Device(MqttConnection):
    """A connection, with its alerts in memory if it is given no other store."""

    def __init__(
        self,
        config: MqttConfig,
        *,
        will: Callable[[], Message],
        alerts: AlertQueue | Outbox | None = None,
        **settings: Any,
    ) -> None:
        self.alerts = AlertQueue(config.max_queued_alerts) if alerts is None else alerts
        super().__init__(config, will=will, wake=threading.Event(), alerts=self.alerts, **settings)

    def alert(self, message: Message) -> None:
        """Keep an alert, and let it go out."""
        self.alerts.append([message], now=read_clocks())
        self.deliver()


class WatchedWire(Wire):
    """A wire that shows what its clients send, and loses it where it is told to."""

    def __init__(self, target_port: int) -> None:
        self.sent = bytearray()
        self.loses = False
        super().__init__(target_port)

    def count(self, topic: str) -> int:
        """How many messages went out on topics that begin like this."""
        return bytes(self.sent).count(topic.encode())

    def _pass(self, data: bytes, source: socket.socket, sink: socket.socket) -> None:
        if source in self._clients:
            self.sent += data
            if self.loses:
                return
        super()._pass(data, source, sink)
