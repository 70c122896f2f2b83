"""What goes to the broker: the newest of each state, and alerts until they are acknowledged.

A window of at most ten unacknowledged messages. They go out in the order in which they came; only
while a backlog of alerts is worked off do states and alerts take turns, so that it does not hide
the birth.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import structlog

from vire_edge.domain import Message
from vire_edge.mqtt.alert_queue import AlertQueue, Queued
from vire_edge.mqtt.link import Accepted, Acknowledgement, Link

WINDOW = 10
"""Messages that may be unacknowledged at a time: what a crash of the broker may make us repeat."""
BACKLOG = 2 * WINDOW
"""With more alerts than this still to be sent, states take every other place."""
_NO_SUBSCRIBERS = 16
_REFUSED = 128
_OVERHEAD_BYTES = 64
"""Header and properties of a PUBLISH, generously."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _State:
    message: Message
    after: int
    """The number of the last alert that came before it."""


class Outbound:
    """Messages on their way. `put` may be called from any thread, the rest by the connection's own."""

    def __init__(self, max_queued: int) -> None:
        """Make it empty.

        Args:
            max_queued: alerts and answers kept for a broker that is away.
        """
        self.delivered = 0
        """Alerts and answers that the broker took."""
        self.unheard = 0
        """Of those: nobody was subscribed."""
        self.refusal = ""
        """What the broker does not let us publish, and the remedy; empty while it takes everything."""
        self._max_queued = max_queued
        self._alerts = AlertQueue(max_queued)
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}
        self._in_flight: dict[int, Queued | Message] = {}
        self._last_number = 0
        self._cursor = 0
        self._window = WINDOW
        self._maximum_bytes: int | None = None
        self._state_next = True
        self._overflowing = False

    @property
    def queued(self) -> int:
        """Alerts and answers that the broker has not acknowledged."""
        return len(self._alerts)

    @property
    def in_flight(self) -> int:
        """Messages of any kind that were sent and not acknowledged."""
        return len(self._in_flight)

    @property
    def dropped(self) -> int:
        """Alerts and answers given up."""
        return self._alerts.dropped

    def put(self, message: Message, *, now: float, correlation_data: bytes | None = None) -> None:
        """Take a message: retained ones replace the last of their topic, others queue up."""
        if message.retain:
            with self._lock:
                self._states.pop(message.topic, None)
                self._states[message.topic] = _State(message, after=self._last_number)
            return
        before = self._alerts.dropped
        self._last_number = self._alerts.append(message, now=now, correlation_data=correlation_data)
        if self._alerts.dropped > before and not self._overflowing:
            self._overflowing = True
            log.warning("alert_queue_full", kept=self._max_queued, remedy="bring the broker back; the oldest go first")

    def connected(self, accepted: Accepted) -> None:
        """A new connection stands: everything unacknowledged goes out again, in order."""
        self._cursor = 0
        self._window = min(WINDOW, accepted.receive_maximum)
        self._maximum_bytes = accepted.maximum_packet_bytes
        self._state_next = True
        self.refusal = ""

    def disconnected(self) -> None:
        """The connection is gone: what was in flight waits again, states only if there is no newer one."""
        with self._lock:
            for outgoing in self._in_flight.values():
                if isinstance(outgoing, Message):
                    self._states.setdefault(outgoing.topic, _State(outgoing, after=0))
        self._in_flight.clear()

    def idle(self, now: float) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self._in_flight and not self._states and self._alerts.after(self._cursor, now=now) is None

    def forget(self, topic: str) -> None:
        """Drop a state that has not been sent yet."""
        with self._lock:
            self._states.pop(topic, None)

    def send(self, link: Link, now: float) -> None:
        """Fill the window."""
        while len(self._in_flight) < self._window and (outgoing := self._next(now)) is not None:
            if isinstance(outgoing, Message):
                self._in_flight[link.publish(outgoing, expiry_seconds=outgoing.expiry_seconds)] = outgoing
                continue
            left = None if outgoing.expires_at is None else max(1, math.ceil(outgoing.expires_at - now))
            number = link.publish(outgoing.message, expiry_seconds=left, correlation_data=outgoing.correlation_data)
            self._in_flight[number] = outgoing

    def acknowledged(self, answer: Acknowledgement) -> None:
        """Learn what became of a message."""
        outgoing = self._in_flight.pop(answer.number, None)
        if outgoing is None:
            return
        if answer.code >= _REFUSED:
            # An alert stays queued: the next connection may find the right restored.
            topic = outgoing.topic if isinstance(outgoing, Message) else outgoing.message.topic
            self._refused(topic, answer.name)
        elif isinstance(outgoing, Queued) and self._alerts.acknowledge(outgoing.number):
            self.delivered += outgoing.message.severity is not None
            self.unheard += answer.code == _NO_SUBSCRIBERS
            self._overflowing = self._overflowing and len(self._alerts) > 0

    def _next(self, now: float) -> Queued | Message | None:
        alert, state = self._next_alert(now), self._next_state()
        if alert is not None and (state is None or self._goes_first(alert, state)):
            self._cursor = alert.number
            self._state_next = True
            return alert
        if state is None:
            return None
        self._state_next = False
        with self._lock:
            # Perhaps a newer one by now.
            return self._states.pop(state.message.topic).message

    def _goes_first(self, alert: Queued, state: _State) -> bool:
        if self._last_number - self._cursor > BACKLOG:
            return not self._state_next
        return alert.number <= state.after

    def _next_state(self) -> _State | None:
        with self._lock:
            for topic, state in list(self._states.items()):
                if self._fits(state.message):
                    return state
                del self._states[topic]
        return None

    def _next_alert(self, now: float) -> Queued | None:
        while (queued := self._alerts.after(self._cursor, now=now)) is not None:
            if self._fits(queued.message):
                return queued
            # Sent all the same it would end the connection, at each reconnect anew.
            self._alerts.give_up(queued.number)
        return None

    def _fits(self, message: Message) -> bool:
        size = len(message.topic.encode()) + len(message.payload) + _OVERHEAD_BYTES
        if self._maximum_bytes is None or size <= self._maximum_bytes:
            return True
        self._refused(message.topic, f"{size} bytes, it takes {self._maximum_bytes}")
        return False

    def _refused(self, topic: str, why: str) -> None:
        text = f'the broker does not take messages on "{topic}" ({why}); allow this user to publish there'
        if text != self.refusal:
            self.refusal = text
            log.warning("message_refused", reason=text)
