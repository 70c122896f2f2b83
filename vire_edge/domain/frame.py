"""A moment, a picture, and what its camera is doing."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks.

    Durations are measured on `monotonic`, so that a clock set forward or back neither fires
    nor suppresses a rule; `utc` is what people are told.
    """

    monotonic: float
    """Seconds since an arbitrary start; never runs backwards."""
    utc: datetime
    """Aware, UTC."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from one camera."""

    camera: str
    image: NDArray[np.uint8]
    """`[height, width, 3]` BGR, or `[height, width]` gray."""
    captured_at: datetime
    """Aware, UTC."""
    monotonic: float
    """Seconds on the clock that durations are measured on; media time for a file read faster than it plays."""

    @property
    def instant(self) -> Instant:
        """When the frame was captured."""
        return Instant(self.monotonic, self.captured_at)


class CameraStatus(enum.StrEnum):
    """What a camera is doing."""

    ONLINE = "online"
    RECONNECTING = "reconnecting"
    STALLED = "stalled"
    DARK = "dark"
    DISABLED = "disabled"


class Slowdown(enum.StrEnum):
    """Why fewer of a camera's frames are looked at than configured."""

    CPU_BUDGET = "cpu_budget"
    HEAT = "heat"
    THROTTLED = "throttled"
    """The firmware or the kernel has slowed the processor down."""
    AT_REST = "at_rest"
    """Nobody has been there for a while."""


OPENING = "opening"
"""The reason of a camera that is reconnecting because it has only begun to."""


@dataclass(frozen=True, slots=True)
class CameraState:
    """A camera's status, since when and why."""

    camera: str
    status: CameraStatus
    since: datetime
    reason: str = ""
