"""A live source that fails on command: what cables, drivers and sensors do to a camera."""

from __future__ import annotations

import enum
import itertools
import threading
from types import TracebackType
from typing import Self

import numpy as np

from vire_edge.camera import Image
from vire_edge.errors import CameraError

LONGEST_HANG_SECONDS = 60.0


class Fault(enum.Enum):
    """What is wrong with the camera."""

    NONE = enum.auto()
    UNPLUGGED = enum.auto()
    """Reading fails, and opening too."""
    BLOCKED = enum.auto()
    """Reading does not come back."""
    OPEN_BLOCKED = enum.auto()
    """Opening does not come back."""
    FROZEN = enum.auto()
    """The same picture again and again, opened anew or not."""
    FROZEN_UNTIL_OPENED = enum.auto()
    """The same picture again and again until it is opened anew."""
    BLACK = enum.auto()
    GARBAGE = enum.auto()
    """Pictures that cannot be decoded."""


class FakeCamera:
    """Thread-safe: a test sets `fault` and `size` while a camera reads. As a context it lets go of all that hang."""

    live = True

    def __init__(self, *, fps: float = 100.0, size: tuple[int, int] = (48, 64)) -> None:
        self.fault = Fault.NONE
        self.size = size
        self.fps = fps
        self.opened = 0
        self.open_now = 0
        self._count = itertools.count(1)
        self._lock = threading.Lock()
        self._unblocked = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.unblock()

    def unblock(self) -> None:
        """Let every call that hangs come back."""
        self.fault = Fault.NONE
        self._unblocked.set()

    def hang(self) -> None:
        self._unblocked.wait(LONGEST_HANG_SECONDS)

    def check(self) -> None:
        """A missing camera may be plugged in later."""

    def open(self) -> FakeCapture:
        if self.fault is Fault.UNPLUGGED:
            raise CameraError("camera 'hall': /dev/video9 does not exist; plug it in")
        if self.fault is Fault.OPEN_BLOCKED:
            self.hang()
        with self._lock:
            self.opened += 1
            self.open_now += 1
        return FakeCapture(self)

    def closed(self) -> None:
        with self._lock:
            self.open_now -= 1

    def picture(self, number: int) -> Image:
        """A gray room with a different pixel in each picture, as a sensor's noise makes it."""
        picture = np.full((*self.size, 3), 128, np.uint8)
        picture[1, 1] = number % 200
        picture[1, 2] = number // 200 % 200
        return picture

    def next_number(self) -> int:
        return next(self._count)


class FakeCapture:
    """One opening of the fake."""

    position_seconds = 0.0
    is_key_picture = True

    def __init__(self, camera: FakeCamera) -> None:
        self._camera = camera
        self._opened_as = camera.opened
        self._frozen_as: int | None = None
        self._pause = threading.Event()

    def grab(self) -> bool:
        if self._camera.fault is Fault.BLOCKED:
            self._camera.hang()
            return False
        self._pause.wait(1 / self._camera.fps)
        return self._camera.fault is not Fault.UNPLUGGED

    def retrieve(self) -> Image | None:
        match self._camera.fault:
            case Fault.GARBAGE:
                return None
            case Fault.BLACK:
                return np.zeros((*self._camera.size, 3), np.uint8)
            case Fault.FROZEN:
                return self._camera.picture(0)
            case Fault.FROZEN_UNTIL_OPENED:
                if self._frozen_as is None:
                    self._frozen_as = self._camera.next_number() if self._opened_as == 1 else -1
                if self._frozen_as > 0:
                    return self._camera.picture(self._frozen_as)
        return self._camera.picture(self._camera.next_number())

    def close(self) -> None:
        self._camera.closed()
