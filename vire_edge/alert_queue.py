"""Messages that wait for the broker: in order, bounded, kept until they are acknowledged. No clock, no I/O.

When it is full the expired go first, then the mildest severity and of those the oldest. So an
`ended` may outlive its `started`: each event tells the whole episode, and an episode that seems
to have ended before it began misleads nobody, while one that never seems to end does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from vire_edge.domain import Instant, Message

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits for the broker."""

    number: int
    """Its place in the order; above 0 and rising."""
    message: Message
    since: float
    """Since when it waits, in monotonic seconds; before the boot for what an earlier one left behind."""
    correlation_data: bytes | None = None
    """What an answer carries back to the one who asked."""

    @property
    def expires_at(self) -> float | None:
        """Monotonic seconds; None for never."""
        return None if self.message.expiry_seconds is None else self.since + self.message.expiry_seconds

    def has_expired(self, now: float) -> bool:
        """Whether nobody wants it any more at `now`, monotonic seconds."""
        expires_at = self.expires_at
        return expires_at is not None and expires_at <= now


class AlertQueue:
    """Messages in order until each is acknowledged. Safe between threads."""

    def __init__(self, capacity: int) -> None:
        """Make an empty queue.

        Args:
            capacity: how many messages it keeps.
        """
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: dict[int, Queued] = {}
        self._last_number = 0
        self._overflowing = False
        self._expired = 0
        self._evicted = 0
        self._given_up = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def last_number(self) -> int:
        """The number of the newest message; 0 before the first."""
        return self._last_number

    @property
    def expired(self) -> int:
        """How many waited until nobody wanted them any more."""
        return self._expired

    @property
    def evicted(self) -> int:
        """How many had to go because the queue was full."""
        return self._evicted

    @property
    def dropped(self) -> int:
        """How many were not delivered: expired, evicted, or given up as undeliverable."""
        return self._expired + self._evicted + self._given_up

    @property
    def waiting(self) -> list[Queued]:
        """All of them, in order."""
        with self._lock:
            return list(self._waiting.values())

    def append(self, messages: Sequence[Message], *, now: Instant, correlation_data: bytes | None = None) -> None:
        """Queue messages.

        Args:
            messages: what to send, in this order; `expiry_seconds` counts from now.
            now: the present moment.
            correlation_data: what an answer carries back to the one who asked.
        """
        with self._lock:
            self._insert(self._number(messages, now, correlation_data), now.monotonic)

    def number(self, messages: Sequence[Message], *, now: Instant) -> list[Queued]:
        """Give messages their places in the order, without queueing them yet."""
        with self._lock:
            return self._number(messages, now, None)

    def insert(self, numbered: Iterable[Queued], *, now: float) -> None:
        """Queue what has a number already, all of them above those that wait."""
        with self._lock:
            self._insert(numbered, now)

    def continue_after(self, number: int) -> None:
        """Give no number up to this one."""
        with self._lock:
            self._last_number = max(self._last_number, number)

    def after(self, number: int, *, now: float) -> Queued | None:
        """The first message behind `number` that has not expired; 0 begins at the front."""
        found: Queued | None = None
        expired: list[int] = []
        with self._lock:
            # Only what is in flight stands before `number`, so this ends after a few steps.
            for queued in self._waiting.values():
                if queued.number <= number:
                    continue
                if not queued.has_expired(now):
                    found = queued
                    break
                expired.append(queued.number)
            for gone in expired:
                self._expire(gone)
        return found

    def acknowledge(self, numbers: Iterable[int]) -> int:
        """Forget what the broker has taken; how many of them had not been given up before."""
        with self._lock:
            known = sum(self._waiting.pop(number, None) is not None for number in numbers)
            self._overflowing = self._overflowing and len(self._waiting) > 0
            return known

    def give_up(self, number: int) -> None:
        """Forget a message that can never be delivered, and count it."""
        with self._lock:
            self._given_up += self._waiting.pop(number, None) is not None

    def expire(self, *, now: float) -> None:
        """Forget what has expired."""
        with self._lock:
            self._expire_all(now)

    def _number(self, messages: Sequence[Message], now: Instant, correlation_data: bytes | None) -> list[Queued]:
        first = self._last_number + 1
        self._last_number += len(messages)
        return [
            Queued(first + place, message, now.monotonic, correlation_data) for place, message in enumerate(messages)
        ]

    def _insert(self, numbered: Iterable[Queued], now: float) -> None:
        for queued in numbered:
            if len(self._waiting) >= self._capacity:
                self._expire_all(now)
            self._waiting[queued.number] = queued
            self._last_number = max(self._last_number, queued.number)
            if len(self._waiting) > self._capacity:
                self._evict()

    def _evict(self) -> None:
        del self._waiting[min(self._waiting.values(), key=_worth).number]
        self._evicted += 1
        if not self._overflowing:
            self._overflowing = True
            log.warning(
                "alert_queue_full",
                kept=self._capacity,
                remedy="bring the broker back, or subscribe to the alerts; the mildest and oldest go first",
            )

    def _expire_all(self, now: float) -> None:
        for queued in list(self._waiting.values()):
            if queued.has_expired(now):
                self._expire(queued.number)

    def _expire(self, number: int) -> None:
        del self._waiting[number]
        self._expired += 1


def _worth(queued: Queued) -> tuple[int, int]:
    """What is dropped first stands first: what is no alert, then alerts by severity, each by age."""
    severity = queued.message.severity
    return (-1 if severity is None else severity.rank, queued.number)
