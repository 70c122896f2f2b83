"""Hysteresis and hold: one subject's level over time → firing or not."""

from __future__ import annotations


class Trigger:
    """Fires once the level was at `threshold` for `hold_seconds`, until it was under `clear_threshold` as long.

    Only observed time counts: a subject that is not seen neither comes nearer to firing nor to clearing.
    """

    def __init__(self, *, threshold: float, clear_threshold: float, hold_seconds: float) -> None:
        self._threshold = threshold
        self._clear_threshold = clear_threshold
        self._hold_seconds = hold_seconds
        self._held_seconds: float | None = None
        """For how long the level has been on the other side; None when it is not."""
        self.firing = False

    def update(self, level: float | None, *, interval_seconds: float | None) -> bool:
        """Take in a level.

        Args:
            level: the rule's measure, 0..1; None when nothing can be concluded, which changes nothing.
            interval_seconds: the observed time since the last level; None after a gap, which breaks a hold.

        Returns:
            Whether the trigger fires now.
        """
        if level is None:
            self._held_seconds = None
            return self.firing
        beyond = level < self._clear_threshold if self.firing else level >= self._threshold
        if not beyond:
            self._held_seconds = None
        elif self._held_seconds is None or interval_seconds is None:
            self._held_seconds = 0.0
        else:
            self._held_seconds += interval_seconds
        # Tolerates the rounding of many small intervals.
        if self._held_seconds is not None and self._held_seconds >= self._hold_seconds - 1e-6:
            self.firing = not self.firing
            self._held_seconds = None
        return self.firing
