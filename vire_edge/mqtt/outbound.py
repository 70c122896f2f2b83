"""What goes to the broker: the newest of each state, answers, and alerts until they are acknowledged.

A window of at most ten unacknowledged messages. States and alerts go out in the order in which they
came; only while a backlog of alerts is worked off do they take turns, so that it does not hide
the birth. An answer to a command waits for neither. An alert that nobody hears stays, for whoever
subscribes later.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from vire_edge.alert_queue import AlertQueue, Queued
from vire_edge.domain import Instant, Message
from vire_edge.mqtt.hearing import PROBE_SECONDS, REFUSED, UNDELIVERABLE, Hearing
from vire_edge.mqtt.link import Accepted, Acknowledgement, Link
from vire_edge.mqtt.refusals import Refusals
from vire_edge.mqtt.states import State, States

WINDOW = 10
"""Messages that may be unacknowledged at a time: what a crash of the broker may make us repeat."""
BACKLOG = 2 * WINDOW
"""With more alerts than this still to be sent, states take every other place."""
MAX_ANSWERS = 64
"""Answers kept for a connection that broke before they went out."""
_OVERHEAD_BYTES = 64
"""Header and properties of a PUBLISH, generously."""


class AlertStore(Protocol):
    """Keeps alerts until they are acknowledged, whichever connection sends them. Safe between threads."""

    def __len__(self) -> int: ...

    @property
    def last_number(self) -> int:
        """The number of the newest alert."""

    def after(self, number: int, *, now: float) -> Queued | None:
        """The first alert behind `number` that has not expired; 0 begins at the front."""

    def acknowledge(self, numbers: Iterable[int]) -> int:
        """Forget what was delivered; how many of them were still kept."""

    def give_up(self, number: int) -> None:
        """Forget an alert that can never be delivered, and count it."""


@dataclass(frozen=True, slots=True)
class _Answer:
    queued: Queued


_Outgoing = Message | _Answer | Queued
"""A state, an answer or an alert."""


class Outbound:
    """Messages on their way. `put` and `news` may be called from any thread, the rest by the connection's own."""

    def __init__(self, alerts: AlertStore, *, probe_seconds: float = PROBE_SECONDS) -> None:
        """Begin with what the store holds.

        Args:
            alerts: keeps the alerts.
            probe_seconds: how often to try whether somebody has subscribed, and whether a refusal has ended.
        """
        self.delivered = 0
        """Alerts that the broker took for a subscriber, or took without saying for whom."""
        self._alerts = alerts
        self._answers = AlertQueue(MAX_ANSWERS)
        self._hearing = Hearing(probe_seconds)
        self._states = States(probe_seconds)
        self._refusals = Refusals()
        self._in_flight: dict[int, _Outgoing] = {}
        self._cursor = 0
        self._answered = 0
        self._window = WINDOW
        self._maximum_bytes: int | None = None
        self._state_next = True

    @property
    def queued(self) -> int:
        """Alerts and answers that the broker has not acknowledged."""
        return len(self._alerts) + len(self._answers)

    @property
    def refusal(self) -> str:
        """What the broker does not take, and the remedy; empty while it takes everything."""
        return self._refusals.text

    @property
    def unheard(self) -> int:
        """Alerts that wait for somebody to subscribe."""
        return len(self._alerts) if self._hearing.nobody else 0

    def put(self, message: Message, *, now: Instant, correlation_data: bytes | None = None) -> None:
        """Take a message: a retained one replaces the last of its topic, answers queue up."""
        if message.retain:
            self._states.put(message, after=self._alerts.last_number)
        else:
            self._answers.append([message], now=now, correlation_data=correlation_data)

    def news(self) -> None:
        """There are new alerts in the store."""
        self._hearing.news()

    def connected(self, accepted: Accepted) -> None:
        """A new connection stands: everything unacknowledged goes out again, in order."""
        self._cursor = self._answered = 0
        self._window = min(WINDOW, accepted.receive_maximum)
        self._maximum_bytes = accepted.maximum_packet_bytes
        self._state_next = True
        self._hearing.connected()
        self._refusals.connected()

    def disconnected(self) -> None:
        """The connection is gone: what was in flight waits again, states only if there is no newer one."""
        self._states.put_back(self._states_in_flight)
        self._in_flight.clear()

    def idle(self, now: float) -> bool:
        """Whether nothing is in flight and nothing can be sent; what nobody hears may wait all the same."""
        waits = self._in_flight or self._states or self._next_answer(now) or self._next_alert(now)
        return not waits

    def forget(self, topic: str) -> None:
        """Drop a state that has not been sent yet, or was not taken."""
        self._states.forget(topic)

    def send(self, link: Link, now: float) -> None:
        """Fill the window; `now` in monotonic seconds."""
        self._states.retry(now)
        while len(self._in_flight) < self._window and (outgoing := self._next(now)) is not None:
            if isinstance(outgoing, Message):
                number = link.publish(outgoing, expiry_seconds=outgoing.expiry_seconds)
            else:
                queued = outgoing.queued if isinstance(outgoing, _Answer) else outgoing
                left = None if queued.expires_at is None else max(1, math.ceil(queued.expires_at - now))
                number = link.publish(queued.message, expiry_seconds=left, correlation_data=queued.correlation_data)
            self._in_flight[number] = outgoing

    def acknowledged(self, answers: Iterable[Acknowledgement]) -> None:
        """Learn what became of messages; what was delivered is forgotten all at once."""
        delivered = []
        for answer in answers:
            outgoing = self._in_flight.pop(answer.number, None)
            if outgoing is None:
                continue
            if answer.code >= REFUSED:
                self._refusals.refused(_topic(outgoing), answer.code, answer.name)
            else:
                self._refusals.taken(_topic(outgoing))
            if isinstance(outgoing, _Answer):
                self._answers.acknowledge([outgoing.queued.number])
            elif isinstance(outgoing, Queued):
                if answer.code in UNDELIVERABLE:
                    self._alerts.give_up(outgoing.number)
                elif self._hearing.learn(answer.code):
                    delivered.append(outgoing.number)
                else:
                    self._cursor = 0  # the oldest asks again
            elif answer.code >= REFUSED and answer.code not in UNDELIVERABLE:
                self._keep_refused(outgoing)
        if delivered:
            self.delivered += self._alerts.acknowledge(delivered)

    def _next(self, now: float) -> _Outgoing | None:
        if (answer := self._next_answer(now)) is not None:
            self._answered = answer.queued.number
            return answer
        alert, state = self._next_alert(now), self._next_state()
        if alert is not None and (state is None or self._goes_first(alert, state)):
            if not self._hearing.may_send(in_flight=len(self._alerts_in_flight), now=now):
                return None  # and what came after it waits, too: the first answer is on its way
            self._hearing.sent(now)
            self._cursor = alert.number
            self._state_next = True
            return alert
        if state is None:
            return None
        self._state_next = False
        return self._states.take(state.message.topic)

    def _keep_refused(self, state: Message) -> None:
        if all(newer.topic != state.topic for newer in self._states_in_flight):
            self._states.refuse(state)

    def _goes_first(self, alert: Queued, state: State) -> bool:
        if len(self._alerts) - len(self._alerts_in_flight) > BACKLOG:
            return not self._state_next
        return alert.number <= state.after

    def _next_state(self) -> State | None:
        while (state := self._states.first()) is not None and not self._fits(state.message):
            self._states.forget(state.message.topic)
        return state

    def _next_answer(self, now: float) -> _Answer | None:
        while (queued := self._answers.after(self._answered, now=now)) is not None:
            if self._fits(queued.message):
                return _Answer(queued)
            self._answers.give_up(queued.number)
        return None

    def _next_alert(self, now: float) -> Queued | None:
        """The next alert that can go out, now or as soon as the first one of this connection is answered."""
        in_flight = self._alerts_in_flight
        if not self._hearing.unknown and not self._hearing.may_send(in_flight=len(in_flight), now=now):
            return None
        cursor = self._cursor
        while (queued := self._alerts.after(cursor, now=now)) is not None:
            cursor = queued.number
            if not self._fits(queued.message):
                # Sent all the same it would end the connection, at each reconnect anew.
                self._alerts.give_up(queued.number)
            elif queued.number not in in_flight:
                return queued
        return None

    @property
    def _alerts_in_flight(self) -> set[int]:
        return {outgoing.number for outgoing in self._in_flight.values() if isinstance(outgoing, Queued)}

    @property
    def _states_in_flight(self) -> list[Message]:
        return [outgoing for outgoing in self._in_flight.values() if isinstance(outgoing, Message)]

    def _fits(self, message: Message) -> bool:
        size = len(message.topic.encode()) + len(message.payload) + _OVERHEAD_BYTES
        if self._maximum_bytes is None or size <= self._maximum_bytes:
            return True
        self._refusals.too_large(message.topic, size, self._maximum_bytes)
        return False


def _topic(outgoing: _Outgoing) -> str:
    if isinstance(outgoing, _Answer):
        outgoing = outgoing.queued
    return outgoing.topic if isinstance(outgoing, Message) else outgoing.message.topic
