"""Time between two looks."""

from __future__ import annotations


class Stopwatch:
    """Measures from look to look; several cameras' frames need not come in the order of their times."""

    def __init__(self) -> None:
        self._latest: float | None = None

    def lap(self, now: float) -> float:
        """Return the seconds since the latest moment so far; 0 for an earlier one, and for the first."""
        elapsed = 0.0 if self._latest is None else max(0.0, now - self._latest)
        self._latest = now if self._latest is None else max(now, self._latest)
        return elapsed
