"""The way to the broker, and how to begin it anew when it stands still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue

from vire_edge.domain import Message
from vire_edge.mqtt import ConnectionStats, MqttConnection, MqttEvent

STANDSTILL_SECONDS = 300.0
"""The connection's thread waits for names to resolve, over several name servers and search domains: three minutes at
most."""


class Delivery:
    """A connection to the broker that can be replaced by a fresh one. What is not acknowledged stays in the outbox."""

    def __init__(self, connect: Callable[[SimpleQueue[MqttEvent] | None], MqttConnection]) -> None:
        """Prepare the first connection.

        Args:
            connect: makes a connection that is not started yet; it goes on with the events of an earlier one.
        """
        self._connect = connect
        self._connection = connect(None)
        self._delivered = self._reconnects = 0
        """By the connections before this one."""

    @property
    def events(self) -> SimpleQueue[MqttEvent]:
        """What happened, in order."""
        return self._connection.events

    def start(self) -> None:
        """Begin to connect; a broker that is away comes later.

        Raises:
            ConfigError: a TLS file is missing or broken.
        """
        self._connection.start()

    def stop(self, final: Message | None, *, timeout_seconds: float) -> bool:
        """Deliver what is queued and `final` as far as time allows; without `final` the last will speaks."""
        return self._connection.stop(final, timeout_seconds=timeout_seconds)

    def publish(self, message: Message, *, correlation_data: bytes | None = None) -> None:
        """Hand over a message, with what its question carried; never blocks."""
        self._connection.publish(message, correlation_data=correlation_data)

    def deliver(self) -> None:
        """Look into the outbox now."""
        self._connection.deliver()

    def stats(self) -> ConnectionStats:
        """What was done so far, by all connections."""
        stats = self._connection.stats()
        return replace(
            stats, delivered=self._delivered + stats.delivered, reconnects=self._reconnects + stats.reconnects
        )

    def complaint(self, now: float) -> str:
        """What stands still, `now` in monotonic seconds; empty while the thread moves, connected or not."""
        if not self._connection.alive:
            return "has ended"
        silent = now - self._connection.last_progress
        return f"has not moved for {silent:.0f} s" if silent > STANDSTILL_SECONDS else ""

    def restart(self) -> None:
        """Leave the connection to itself, whatever its thread is doing, and begin another.

        Raises:
            ConfigError: a TLS file is missing or broken.
        """
        stats = self.stats()
        self._delivered, self._reconnects = stats.delivered, stats.reconnects + 1
        self._connection.stop(None, timeout_seconds=0.0)
        self._connection = self._connect(self._connection.events)
        self._connection.start()
