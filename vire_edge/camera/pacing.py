"""When a picture is due: the rate limit, a file's timeline, the pauses between attempts. Pure: time passed in."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from vire_edge.domain import Instant


@dataclass(slots=True)
class Rate:
    """What is asked of a camera's readers, one after the other; any thread may set it."""

    fps: float
    """Pictures a second."""


class RateLimit:
    """Lets through at most so many pictures a second."""

    def __init__(self, fps: float) -> None:
        """Start with the first picture due.

        Args:
            fps: pictures a second.
        """
        self._interval = 1.0 / fps
        self._due: float | None = None
        self._passed = 0.0

    def change(self, fps: float) -> None:
        """Let through another number of pictures a second from the next one on; it is due by the new interval.

        Args:
            fps: pictures a second; the present ones change nothing.
        """
        interval = 1.0 / fps
        if interval != self._interval and self._due is not None:
            # A picture that came late must not bring the next one forward by what two rates differ.
            self._due = max(self._due + interval - self._interval, self._passed + interval)
        self._interval = interval

    def lets_through(self, at: float) -> bool:
        """Whether the picture of second `at` is due.

        A tenth of the interval early counts as due: a camera that runs at just this rate jitters by some
        milliseconds, and half of its pictures would be lost otherwise. The grid stays, so the mean holds.
        """
        if self._due is None or at >= self._due + self._interval:
            self._due = at  # the first one, or one after a gap: the grid begins anew
        elif at < self._due - 0.1 * self._interval:
            return False
        self._due += self._interval
        self._passed = at
        return True


class Timeline:
    """Where the media time of a file lies on the real clock; goes on over loops and reopening, never backwards."""

    _LATEST_SECONDS = 1.0
    """A file that decodes slower than it plays is played slower from here on, rather than never shown."""

    def __init__(self, fps: float) -> None:
        """Start with the first picture.

        Args:
            fps: a loop's first picture comes one interval of this after the last one.
        """
        self._interval = 1.0 / fps
        self._start: Instant | None = None
        self._base = 0.0
        self._last = 0.0

    def rewind(self) -> None:
        """The source begins again at its position 0."""
        if self._start is not None:
            self._base = self._last + self._interval

    def media_seconds(self, position: float) -> float:
        """Turn a position in this round of the file into media time over all rounds."""
        self._last = self._base + position
        return self._last

    def instant(self, media_seconds: float, now: Instant) -> Instant:
        """Return when media time `media_seconds` is on the real clock; the first call ties it to `now`."""
        if self._start is None:
            offset = media_seconds
            self._start = Instant(now.monotonic - offset, now.utc - timedelta(seconds=offset))
        return Instant(
            self._start.monotonic + media_seconds,
            self._start.utc + timedelta(seconds=media_seconds),
        )

    def wait_seconds(self, media_seconds: float, now: Instant) -> float | None:
        """How long to wait before the picture is shown in real time; None if its time is over."""
        wait = self.instant(media_seconds, now).monotonic - now.monotonic
        if wait < -self._LATEST_SECONDS:
            self._start = None
            return self.wait_seconds(media_seconds, now)
        return None if wait < -self._interval else max(wait, 0.0)


class Backoff:
    """The growing pause between two attempts to open a source."""

    _FIRST_SECONDS = 0.5
    _LONGEST_SECONDS = 8.0
    """With the second or two that opening takes, a camera is back within ten of its return."""

    def __init__(self) -> None:
        """Start short."""
        self._pause = self._FIRST_SECONDS

    def next_seconds(self) -> float:
        """Return the next pause. Jitter shortens it by up to a third, so that several cameras do not knock at once."""
        pause, self._pause = self._pause, min(2 * self._pause, self._LONGEST_SECONDS)
        return pause * random.uniform(0.67, 1.0)  # noqa: S311 - spreads attempts, guards nothing

    def reset(self) -> None:
        """The source works again."""
        self._pause = self._FIRST_SECONDS
