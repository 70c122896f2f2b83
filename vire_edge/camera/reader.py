"""One life of an opened source: a thread that opens it, reads it at the right pace and closes it.

A thread that hangs inside a driver cannot be ended from outside. So the camera only revokes its reader and goes on
with a new one; the old one, when it comes back, sees that, releases its device and ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vire_edge.camera.health import Verdict
from vire_edge.camera.pacing import Rate, RateLimit, Timeline
from vire_edge.camera.source import Capture, Image, Source
from vire_edge.clock import read_clocks
from vire_edge.config import CameraConfig
from vire_edge.domain import Instant
from vire_edge.errors import CameraError

OPEN_SECONDS = 15.0
"""An open that has not come back by then never will: streams give up after 8 s, a web of name servers after 10 s."""
MAX_UNUSABLE = 5
"""Damaged pictures in a row that count as a failure; single ones happen on any USB cable."""

Deliver = Callable[["Reader", Image, Instant, bool], Verdict]
"""Takes a reader's picture, its time and whether a key picture came since the last; waits if none may be dropped."""


class Reader:
    """Reads one capture of a source until it ends, fails or is revoked."""

    def __init__(
        self,
        source: Source,
        config: CameraConfig,
        timeline: Timeline,
        rate: Rate,
        *,
        number: int,
        deliver: Deliver,
        on_end: Callable[[], None],
    ) -> None:
        """Prepare the thread.

        Args:
            source: opened in the thread.
            config: the camera's pace and patience.
            timeline: the media time that this camera's readers share.
            rate: looked at before each picture.
            number: counts the camera's readers, for the thread's name.
            deliver: called in the thread with each picture that is due.
            on_end: called in the thread as its last act.
        """
        self._source, self._config, self._timeline, self._rate = source, config, timeline, rate
        self._deliver, self._on_end = deliver, on_end
        self._revoked, self._ended = threading.Event(), threading.Event()
        self._deadline: float | None = None
        self._patience = OPEN_SECONDS
        self._thread = threading.Thread(target=self._run, name=f"camera-{config.name}-reader-{number}", daemon=True)
        self.failure: str | None = "reading ended unexpectedly; see the log"
        """Why the reader ended; None if the source came to its end or the reader was told to stop."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def revoke(self) -> None:
        """Tell the thread to close its source and end. Does not wait."""
        self._revoked.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_seconds)

    @property
    def revoked(self) -> bool:
        """Whether the reader was told to stop."""
        return self._revoked.is_set()

    @property
    def alive(self) -> bool:
        """Whether the thread has not let go of the source yet."""
        return not self._ended.is_set()

    @property
    def patience_seconds(self) -> float:
        """How long the call into the source that runs now may take."""
        return self._patience

    def seconds_left(self, now: float) -> float:
        """How long the source may still take to come back; below 0 it counts as stuck.

        Read by another thread without a lock: one attribute is read once, so the worst is an answer that is one call
        old.
        """
        deadline = self._deadline
        return self._config.stall_seconds if deadline is None else deadline - now

    @contextmanager
    def _inside(self, patience: float) -> Iterator[None]:
        """Mark that the thread is inside the source, so that the camera notices when it stays there."""
        self._patience = patience
        self._deadline = time.monotonic() + patience
        try:
            yield
        finally:
            self._deadline = None

    def _run(self) -> None:
        try:
            self._read_rounds()
            self.failure = None
        except CameraError as error:
            self.failure = str(error).removeprefix(f"camera '{self._config.name}': ")
        finally:
            self._ended.set()
            self._on_end()

    def _read_rounds(self) -> None:
        again, limit = True, RateLimit(self._rate.fps)
        while again and not self.revoked:
            with self._inside(max(OPEN_SECONDS, self._config.stall_seconds)):
                capture = self._source.open()
            try:
                if self._source.live:
                    self._read_live(capture, limit)
                else:
                    self._timeline.rewind()
                    played = self._read_media(capture, limit)
                    if not played and not self.revoked:
                        raise CameraError(f"camera '{self._config.name}': the source has no picture that can be read")
            finally:
                with self._inside(self._config.stall_seconds):
                    capture.close()
            again = self._config.loop and not self._source.live

    def _read_live(self, capture: Capture, limit: RateLimit) -> None:
        key_picture, unusable = False, 0
        while not self.revoked:
            with self._inside(self._config.stall_seconds):
                grabbed = capture.grab()
            now = read_clocks()
            if self.revoked:
                return
            if not grabbed:
                raise CameraError(f"camera '{self._config.name}': no more pictures; check its cable, power and network")
            key_picture |= capture.is_key_picture
            limit.change(self._rate.fps)
            if not limit.lets_through(now.monotonic):
                continue
            with self._inside(self._config.stall_seconds):
                image = capture.retrieve()
            if image is None:
                unusable += 1
                if unusable >= MAX_UNUSABLE:
                    raise CameraError(f"camera '{self._config.name}': sends damaged pictures; check its cable")
                continue
            unusable = 0
            if self._deliver(self, image, now, key_picture) is Verdict.REOPEN:
                return
            key_picture = False

    def _read_media(self, capture: Capture, limit: RateLimit) -> bool:
        """Play one round; return whether it had pictures, and not only damaged ones among those that were due."""
        real_time = self._config.pace == "real_time"
        any_picture = shown = damaged = False
        while not self.revoked:
            with self._inside(self._config.stall_seconds):
                grabbed = capture.grab()
            if not grabbed:
                break
            any_picture = True
            at = self._timeline.media_seconds(capture.position_seconds)
            limit.change(self._rate.fps)
            if not limit.lets_through(at):
                continue
            if real_time:
                wait = self._timeline.wait_seconds(at, read_clocks())
                if wait is None or self._revoked.wait(wait):
                    continue
            with self._inside(self._config.stall_seconds):
                image = capture.retrieve()
            if image is None or self.revoked:
                damaged = True
                continue  # a file's damaged picture is passed over
            shown = True
            now = read_clocks()
            self._deliver(self, image, now if real_time else self._timeline.instant(at, now), False)
        return shown or (any_picture and not damaged)
