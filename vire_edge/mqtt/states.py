"""Retained messages on their way to the broker: of each topic the newest, in the order in which they came.

What the broker refuses is sent again from time to time, until a newer one takes its place: a right
may be given back, and nobody tells. No clock, no I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from vire_edge.domain import Message


@dataclass(frozen=True, slots=True)
class State:
    """A retained message that waits."""

    message: Message
    after: int
    """The number of the last alert that came before it."""


class States:
    """The newest of each topic. Safe between threads."""

    def __init__(self, retry_seconds: float) -> None:
        """Begin without any.

        Args:
            retry_seconds: how often what was refused is sent again.
        """
        self._retry_seconds = retry_seconds
        self._next_retry = 0.0
        self._lock = threading.Lock()
        self._waiting: dict[str, State] = {}
        self._refused: dict[str, Message] = {}

    def __len__(self) -> int:
        """How many wait to be sent; what was refused does not until its time has come."""
        return len(self._waiting)

    def put(self, message: Message, *, after: int) -> None:
        """Take a new one, in place of the last of its topic; `after` is the number of the newest alert."""
        with self._lock:
            self._forget(message.topic)
            self._waiting[message.topic] = State(message, after)

    def put_back(self, messages: Iterable[Message]) -> None:
        """Take back what was sent and not answered, in the order in which it was sent."""
        newest = {message.topic: message for message in messages}
        with self._lock:
            self._put_back(newest)

    def refuse(self, message: Message) -> None:
        """Keep what the broker has refused, the newest of its topic that was sent; not if a newer one waits."""
        with self._lock:
            if message.topic not in self._waiting:
                self._refused[message.topic] = message

    def retry(self, now: float) -> None:
        """Send again what was refused, if it is time; `now` in monotonic seconds."""
        if now < self._next_retry:
            return
        self._next_retry = now + self._retry_seconds
        with self._lock:
            self._put_back(self._refused)
            self._refused.clear()

    def first(self) -> State | None:
        """The one that waits for the longest."""
        with self._lock:
            return next(iter(self._waiting.values()), None)

    def take(self, topic: str) -> Message:
        """Take out the one of a topic that waits, perhaps newer than when it was looked at."""
        with self._lock:
            return self._waiting.pop(topic).message

    def forget(self, topic: str) -> None:
        """Drop what was not sent or not taken."""
        with self._lock:
            self._forget(topic)

    def _forget(self, topic: str) -> None:
        self._waiting.pop(topic, None)
        self._refused.pop(topic, None)

    def _put_back(self, messages: dict[str, Message]) -> None:
        for topic, message in messages.items():
            self._waiting.setdefault(topic, State(message, after=0))
