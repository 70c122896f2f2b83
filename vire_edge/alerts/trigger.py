"""Hysteresis and hold: one subject's level over time → firing or not."""

from __future__ import annotations

from vire_edge.alerts.memory import TriggerMemory
from vire_edge.domain import AlertRule


class Trigger:
    """Fires once the level was at `threshold` for `hold_seconds`, until it was under `clear_threshold` as long.

    To fire takes observed time without a gap; to clear takes any observations, however sparse: an
    episode needs evidence, its end only the lack of it.
    """

    def __init__(self, *, threshold: float, clear_threshold: float, hold_seconds: float) -> None:
        self._threshold = threshold
        self._clear_threshold = clear_threshold
        self._hold_seconds = hold_seconds
        self._held_seconds: float | None = None
        """For how long the level has been at the threshold; None while it is not."""
        self._clear_since: float | None = None
        """Since when the level has been under the clear threshold, monotonic seconds; None while it is not."""
        self.firing = False
        self.spoken_seconds = 0.0
        """For how long observed levels have spoken for the episode, without one in between that did not."""

    @classmethod
    def of(cls, rule: AlertRule) -> Trigger:
        """A trigger with the rule's thresholds and hold."""
        return cls(threshold=rule.threshold, clear_threshold=rule.clear_threshold, hold_seconds=rule.hold_seconds)

    def update(self, level: float | None, *, interval_seconds: float | None, now: float) -> bool:
        """Take in a level.

        Args:
            level: the rule's measure, 0..1; None when nothing can be concluded, which changes nothing.
            interval_seconds: the observed time since the last level; None after a gap, which breaks a hold.
            now: monotonic seconds.

        Returns:
            Whether the trigger fires now.
        """
        if level is None:
            return self.firing
        if self.firing:
            self._clear(level, interval_seconds, now)
        else:
            self._rise(level, interval_seconds)
        return self.firing

    def still_holds(self, level: float | None) -> bool:
        """Whether `level` speaks for the episode that is open."""
        return self.firing and level is not None and level >= self._clear_threshold

    def remember(self, now: float) -> TriggerMemory:
        """What `restore` needs."""
        clear_seconds = None if self._clear_since is None else max(0.0, now - self._clear_since)
        return TriggerMemory(
            firing=self.firing,
            held_seconds=self._held_seconds,
            clear_seconds=clear_seconds,
            spoken_seconds=self.spoken_seconds,
        )

    def restore(self, memory: TriggerMemory, now: float) -> None:
        """Go on where another trigger left off; the time in between counts for nothing."""
        self.firing, self.spoken_seconds = memory.firing, memory.spoken_seconds
        self._held_seconds = memory.held_seconds
        self._clear_since = None if memory.clear_seconds is None else now - memory.clear_seconds

    def _rise(self, level: float, interval_seconds: float | None) -> None:
        if level < self._threshold:
            self._held_seconds = None
            return
        gap = self._held_seconds is None or interval_seconds is None
        self._held_seconds = 0.0 if gap else (self._held_seconds or 0.0) + (interval_seconds or 0.0)
        if self._held_seconds >= self._hold_seconds - 1e-6:  # tolerates the rounding of many small intervals
            self.firing, self.spoken_seconds, self._held_seconds = True, self._held_seconds, None

    def _clear(self, level: float, interval_seconds: float | None, now: float) -> None:
        if level >= self._clear_threshold:
            self._clear_since = None
            self.spoken_seconds += interval_seconds or 0.0
            return
        self.spoken_seconds = 0.0
        if self._clear_since is None:
            self._clear_since = now
        if now - self._clear_since >= self._hold_seconds - 1e-6:
            self.firing, self._clear_since = False, None
