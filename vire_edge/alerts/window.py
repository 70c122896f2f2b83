"""The share of the observed time, within a window, in which something was shown."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BUCKETS = 240
"""A window is kept in this many parts, whatever its length and the frame rate: a quarter of a second of a minute."""


@dataclass(slots=True)
class _Bucket:
    start: float
    observed_seconds: float = 0.0
    shown_seconds: float = 0.0


class ShareWindow:
    """Observations of the last `window_seconds`."""

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._buckets: deque[_Bucket] = deque()
        self._observed_seconds = 0.0
        self._shown_seconds = 0.0

    def add(self, *, shown: bool, interval_seconds: float, now: float) -> None:
        """Count an interval of observation that ends now; what has left the window is forgotten."""
        while self._buckets and self._buckets[0].start < now - self._window_seconds:
            old = self._buckets.popleft()
            self._observed_seconds -= old.observed_seconds
            self._shown_seconds -= old.shown_seconds
        if not self._buckets:
            self._observed_seconds = self._shown_seconds = 0.0  # rounding errors do not add up over weeks
        if not self._buckets or now - self._buckets[-1].start >= self._window_seconds / BUCKETS:
            self._buckets.append(_Bucket(now))
        bucket = self._buckets[-1]
        bucket.observed_seconds += interval_seconds
        self._observed_seconds += interval_seconds
        if shown:
            bucket.shown_seconds += interval_seconds
            self._shown_seconds += interval_seconds

    def share(self, *, min_observed_seconds: float) -> float | None:
        """The share, 0..1; None while less than `min_observed_seconds` were observed."""
        if self._observed_seconds <= 0 or self._observed_seconds < min_observed_seconds:
            return None
        return min(1.0, max(0.0, self._shown_seconds / self._observed_seconds))
