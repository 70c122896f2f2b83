"""A camera: pictures in threads of its own, the newest one for whoever asks, and a state that is always right.

    source → Reader (a thread, replaced when it fails or hangs) → FrameWatch → the newest Frame → take()

The supervising thread never calls into a driver, so it notices and replaces a reader that does not come back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from vire_edge.camera.health import FrameWatch, Verdict
from vire_edge.camera.pacing import Backoff, Rate, Timeline
from vire_edge.camera.reader import Reader
from vire_edge.camera.source import Image, Source
from vire_edge.camera.sources import source_for
from vire_edge.clock import read_clocks
from vire_edge.config import CameraConfig
from vire_edge.domain import CameraState, Frame, Instant

MAX_STUCK = 4
"""Readers left behind in a driver. With so many the fifth would hang too: wait for one to come back."""

_STEADY_SECONDS = 10.0
"""A source that worked for this long is tried again at once when it fails."""


class Camera:
    """One configured camera. All methods may be called from any thread."""

    def __init__(self, config: CameraConfig, *, wake: threading.Event, source: Source | None = None) -> None:
        """Describe the camera; nothing is opened.

        Args:
            config: its settings.
            wake: set at each new frame, at each change of state and at the end of a file.
            source: read instead of the configured source.

        Raises:
            CameraError: the configured source is of no kind that there is.
        """
        self.name = config.name
        self._config, self._wake = config, wake
        self._source = source_for(config) if source is None else source
        self._watch = FrameWatch(
            config.name,
            live=self._source.live,
            stall_seconds=config.stall_seconds,
            dark_seconds=config.dark_seconds,
            now=read_clocks(),
        )
        # Guards everything below; notified at each change that the supervisor or a waiting reader must see.
        self._changed = threading.Condition()
        self._timeline, self._rate = Timeline(config.fps), Rate(config.fps)
        self._backoff = Backoff()
        self._reader: Reader | None = None
        self._leaving: list[Reader] = []
        self._opened = 0
        self._retry_at = 0.0
        self._online_since: float | None = None
        self._newest: Frame | None = None
        self._mending = False
        self._stopping = self._paused = self._ended = False
        self._captured = self._dropped = self._reopened = 0
        self._supervisor = self._new_supervisor()
        self._log = structlog.get_logger().bind(camera=config.name)

    # --- for the consumer ---------------------------------------------------------------------

    def start(self) -> None:
        """Start capturing. A webcam or stream that is not there yet is waited for.

        Raises:
            CameraError: a file or folder is missing, or holds nothing that can be shown.
        """
        self._source.check()
        self._supervisor.start()

    def stop(self, timeout_seconds: float) -> None:
        """Close the source and end the threads; one that hangs in a driver is left behind after the deadline."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            self._stopping = True
            self._release("stopped")
            leaving = list(self._leaving)
        if self._supervisor.is_alive():
            self._supervisor.join(max(0.0, deadline - time.monotonic()))
        for reader in leaving:
            reader.join(max(0.0, deadline - time.monotonic()))
        if stuck := sum(reader.alive for reader in leaving):
            self._log.warning("camera threads left hanging in a driver", threads=stuck)

    def pause(self) -> None:
        """Close the device itself and discard what was not taken. Returns at once; the device follows."""
        with self._changed:
            if not self._stopping:
                self._paused = True
                self._release("paused")

    def resume(self) -> None:
        """Open the source again; a file begins anew."""
        with self._changed:
            if self._paused and not self._stopping:
                self._paused = False
                self._retry_at = 0.0
                self._update(self._watch_ended if self._ended else self._watch.opening)
                self._changed.notify_all()

    def restart(self) -> None:
        """Let go of the source and open it anew: for a camera that claims to be well and brings nothing."""
        with self._changed:
            if self._stopping or self._paused or self._ended:
                return
            self._update(lambda instant: self._watch.failed("begun anew", instant))
            self._retry_later(time.monotonic())
            if not self._supervisor.is_alive():
                self._supervisor = self._new_supervisor()
                self._supervisor.start()

    def set_rate(self, fps: float) -> None:
        """Hand over at most so many frames a second; one that is not due is not even decoded."""
        self._rate.fps = fps

    def take(self) -> Frame | None:
        """Return the newest frame that was not taken yet, or None. Never waits."""
        with self._changed:
            frame, self._newest = self._newest, None
            if frame is not None:
                self._changed.notify_all()
            return frame

    @property
    def alive(self) -> bool:
        """Whether the camera looks after its source; False before `start` and after `stop`."""
        return self._supervisor.is_alive()

    @property
    def live(self) -> bool:
        """Whether the source shows what happens now; a recording may rest in its gaps."""
        return self._source.live

    @property
    def state(self) -> CameraState:
        """Status, since when and why."""
        with self._changed:
            return self._watch.state

    @property
    def finished(self) -> bool:
        """Whether a file, folder or script that does not loop was read to its end and its last frame taken."""
        with self._changed:
            return self._ended and self._newest is None

    @property
    def frames_captured(self) -> int:
        """Frames handed over since the start."""
        with self._changed:
            return self._captured

    @property
    def frames_dropped(self) -> int:
        """Frames that a newer one replaced before they were taken."""
        with self._changed:
            return self._dropped

    @property
    def reopened(self) -> int:
        """How often pictures came back after a fault."""
        with self._changed:
            return self._reopened

    # --- in the reader's thread ---------------------------------------------------------------

    def _deliver(self, reader: Reader, image: Image, at: Instant, key_picture: bool) -> Verdict:
        with self._changed:
            while not reader.revoked and self._config.pace == "fast" and not self._source.live and self._newest:
                self._changed.wait()
            if reader.revoked:
                return Verdict.WITHHOLD
            before = self._watch.state
            verdict = self._watch.saw(image, at, key_picture=key_picture)
            self._announce(before)
            if verdict is Verdict.HAND_ON:
                if self._online_since is None:
                    self._online_since = time.monotonic()
                    self._reopened += self._mending
                    self._mending = False
                self._dropped += self._newest is not None
                self._captured += 1
                self._newest = Frame(self._config.name, image, at.utc, at.monotonic)
                self._wake.set()
            return verdict

    def _reader_ended(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # --- in the supervisor's thread -----------------------------------------------------------

    def _new_supervisor(self) -> threading.Thread:
        return threading.Thread(target=self._supervise, name=f"camera-{self.name}", daemon=True)

    def _supervise(self) -> None:
        with self._changed:
            while not self._stopping:
                self._changed.wait(self._step(time.monotonic()))

    def _step(self, now: float) -> float | None:
        """Do what is due; return the seconds until something may be due, None for only after a change."""
        self._leaving = [reader for reader in self._leaving if reader.alive]
        if self._paused or self._ended:
            return None
        if self._reader is None:
            return self._open(now)
        if not self._reader.alive:
            self._conclude(self._reader, now)
            return 0.0
        left = self._reader.seconds_left(now)
        if left > 0:
            return min(left, self._config.stall_seconds)  # the next call into the source may have less time
        patience = self._reader.patience_seconds
        self._update(lambda instant: self._watch.blocked(patience, instant))
        self._retry_later(now)
        return 0.0

    def _open(self, now: float) -> float | None:
        if now < self._retry_at:
            return self._retry_at - now
        # A reader on its way out still holds the device; one that hangs may hold it for ever.
        on_their_way = [left for reader in self._leaving if (left := reader.seconds_left(now)) > 0]
        if on_their_way:
            return min(on_their_way)
        if len(self._leaving) >= MAX_STUCK:
            return None  # the end of a reader wakes us
        self._opened += 1
        self._online_since = None
        self._reader = Reader(
            self._source,
            self._config,
            self._timeline,
            self._rate,
            number=self._opened,
            deliver=self._deliver,
            on_end=self._reader_ended,
        )
        self._reader.start()
        return 0.0

    def _conclude(self, reader: Reader, now: float) -> None:
        """The current reader ended by itself."""
        if reader.failure is not None:
            failure = reader.failure
            self._update(lambda instant: self._watch.failed(failure, instant))
        elif not self._source.live:
            self._ended = True
            self._reader = None
            self._update(self._watch_ended)
            self._wake.set()
            return
        self._retry_later(now)

    def _retry_later(self, now: float) -> None:
        """Leave the reader to itself and open the source anew after a pause."""
        if self._online_since is not None:
            self._mending = True
            if now - self._online_since >= _STEADY_SECONDS:
                self._backoff.reset()
        self._dismiss()
        self._retry_at = now + self._backoff.next_seconds()

    # --- anywhere, under the lock -------------------------------------------------------------

    def _dismiss(self) -> None:
        if self._reader is not None:
            self._reader.revoke()
            self._leaving.append(self._reader)
            self._reader = None
        self._changed.notify_all()

    def _release(self, reason: str) -> None:
        self._dismiss()
        self._newest = None
        self._update(lambda instant: self._watch.disabled(reason, instant))

    def _watch_ended(self, now: Instant) -> None:
        self._watch.disabled("ended", now)

    def _update(self, change: Callable[[Instant], None]) -> None:
        before = self._watch.state
        change(read_clocks())
        self._announce(before)

    def _announce(self, before: CameraState) -> None:
        if self._watch.state != before:
            self._wake.set()
