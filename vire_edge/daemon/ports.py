"""What the daemon needs of a camera and of the way to the broker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from vire_edge.domain import CameraState, Frame, Instant, Message
from vire_edge.mqtt import ConnectionStats, MqttEvent


class Camera(Protocol):
    """A source of frames with a thread of its own."""

    @property
    def name(self) -> str:
        """As configured."""

    def start(self) -> None:
        """Begin to capture; a webcam or stream that is missing comes later."""

    def stop(self, timeout_seconds: float) -> None:
        """Close the device."""

    def pause(self) -> None:
        """Close the device for the sake of privacy; the status becomes `disabled`."""

    def resume(self) -> None:
        """Open it again."""

    def restart(self) -> None:
        """Let go of the device and open it anew."""

    def set_rate(self, fps: float) -> None:
        """Bring at most so many frames a second from now on."""

    def take(self) -> Frame | None:
        """Return the newest frame that was not taken yet."""

    @property
    def alive(self) -> bool:
        """Whether the camera looks after its source."""

    @property
    def live(self) -> bool:
        """Whether the source shows what happens now; a recording may rest in its gaps."""

    @property
    def state(self) -> CameraState:
        """What the camera is doing."""

    @property
    def finished(self) -> bool:
        """Whether a recording has been read to its end."""

    @property
    def frames_dropped(self) -> int:
        """Frames that a newer one replaced."""

    @property
    def reopened(self) -> int:
        """How often the device had to be opened again."""


class Recalled(Protocol):
    """What was remembered, and how long ago."""

    @property
    def value(self) -> str:
        """As it was given."""

    @property
    def elapsed_seconds(self) -> float:
        """Time since then, never negative; across a reboot only as right as the device's clock."""


class Memory(Protocol):
    """Keeps a few texts over a restart."""

    def remember(self, key: str, value: str, *, now: Instant) -> None:
        """Keep a text under a name, in place of an earlier one; a disk that fails is no error of the caller's."""

    def recall(self, key: str, *, now: Instant) -> Recalled | None:
        """Return what was kept under a name; None if nothing was."""


class Outbox(Memory, Protocol):
    """Keeps alerts until the broker has taken them; a disk that fails is no error of the caller's."""

    @property
    def expired(self) -> int:
        """Alerts that waited until nobody wanted them any more."""

    @property
    def evicted(self) -> int:
        """Alerts that had to go because there were too many."""

    @property
    def dropped(self) -> int:
        """Alerts that were not delivered, for whatever reason."""

    @property
    def trouble(self) -> str:
        """What is wrong with the disk, and the remedy; empty while all is well."""

    @property
    def set_aside(self) -> Path | None:
        """Where a damaged database was put since the start; None if none was found."""

    def append(self, messages: Sequence[Message], *, now: Instant, memory: Mapping[str, str] | None = None) -> None:
        """Keep alerts, and with them what the daemon has to remember of them: on disk at the return."""

    def tend(self, now: Instant) -> None:
        """Drop what has expired, and bring the disk up to date; to be called about once a second."""


class Publisher(Protocol):
    """Takes messages to the broker, and brings its events."""

    @property
    def events(self) -> SimpleQueue[MqttEvent]:
        """What happened, in order."""

    def start(self) -> None:
        """Begin to connect; a broker that is away comes later."""

    def stop(self, final: Message | None, *, timeout_seconds: float) -> bool:
        """Deliver what is queued and `final` as far as time allows; without `final` the last will speaks."""

    def publish(self, message: Message, *, correlation_data: bytes | None = None) -> None:
        """Hand over a message, with what its question carried; never blocks."""

    def deliver(self) -> None:
        """Look into the outbox now: something was appended to it."""

    def stats(self) -> ConnectionStats:
        """What was delivered so far."""
