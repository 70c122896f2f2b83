"""Alerts on their way to the broker: in order, bounded, kept until they are acknowledged.

In memory. The connection asks only for what comes after a number, and tells what was
acknowledged, so that a store on disk can stand in its place.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from vire_edge.domain import Message


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits for the broker."""

    number: int
    """Its place in the order; above 0 and rising."""
    message: Message
    expires_at: float | None
    """Monotonic seconds; None for never."""
    correlation_data: bytes | None


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
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """How many were given up since the start."""
        return self._dropped

    def append(self, message: Message, *, now: float, correlation_data: bytes | None = None) -> int:
        """Queue a message; when the queue is full the expired go, else the mildest and of those the oldest.

        Args:
            message: what to send; `expiry_seconds` counts from now.
            now: monotonic seconds.
            correlation_data: what an answer carries back to the one who asked.

        Returns:
            Its number.
        """
        expires_at = None if message.expiry_seconds is None else now + message.expiry_seconds
        with self._lock:
            if len(self._waiting) >= self._capacity:
                self._drop_expired(now)
            self._last_number += 1
            self._waiting[self._last_number] = Queued(self._last_number, message, expires_at, correlation_data)
            if len(self._waiting) > self._capacity:
                self._drop(min(self._waiting.values(), key=_worth).number)
            return self._last_number

    def after(self, number: int, *, now: float) -> Queued | None:
        """The first message behind `number` that has not expired; 0 begins at the front."""
        found: Queued | None = None
        expired: list[int] = []
        with self._lock:
            # Only what is in flight stands before `number`, so this ends after a few steps.
            for queued in self._waiting.values():
                if queued.number <= number:
                    continue
                if queued.expires_at is None or queued.expires_at > now:
                    found = queued
                    break
                expired.append(queued.number)
            for gone in expired:
                self._drop(gone)
        return found

    def acknowledge(self, number: int) -> bool:
        """Forget a message that the broker has taken; False when it had been given up before."""
        with self._lock:
            return self._waiting.pop(number, None) is not None

    def give_up(self, number: int) -> None:
        """Forget a message that can never be delivered, and count it."""
        with self._lock:
            if number in self._waiting:
                self._drop(number)

    def _drop_expired(self, now: float) -> None:
        for queued in list(self._waiting.values()):
            if queued.expires_at is not None and queued.expires_at <= now:
                self._drop(queued.number)

    def _drop(self, number: int) -> None:
        del self._waiting[number]
        self._dropped += 1


def _worth(queued: Queued) -> tuple[int, int]:
    """What is dropped first stands first: answers, then alerts by severity, each by age."""
    severity = queued.message.severity
    return (-1 if severity is None else severity.rank, queued.number)
