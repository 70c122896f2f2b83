"""Absence rules: active time, with a working camera, in which nobody was seen."""

from __future__ import annotations

from vire_edge.alerts.episodes import EpisodeKeeper, Firing
from vire_edge.alerts.memory import AbsenceMemory
from vire_edge.alerts.stopwatch import Stopwatch
from vire_edge.alerts.trigger import Trigger
from vire_edge.domain import ABSENT_SECONDS, AbsenceRule, EndReason, EpisodeEvent, Instant

LOOK_AGAIN_SECONDS = 10.0
"""After an end on purpose, for how long nobody must be seen until the same hours are told again."""


class AbsenceAlarm:
    """An absence rule over its cameras."""

    def __init__(self, rule: AbsenceRule, keeper: EpisodeKeeper) -> None:
        self._trigger = Trigger.of(rule)
        self._stopwatch = Stopwatch()
        self._absent_seconds = 0.0
        self.rule = rule
        self.keeper = keeper

    def update(self, *, seen: bool, watching: bool, active: bool, now: Instant) -> list[EpisodeEvent]:
        """Take in what one camera shows.

        Args:
            seen: whether it shows anybody.
            watching: whether any of the rule's cameras works.
            active: whether the active hours are.
            now: the moment.
        """
        elapsed = self._stopwatch.lap(now.monotonic)
        counted = elapsed if watching and active and not seen else 0.0
        self._absent_seconds = 0.0 if seen else self._absent_seconds + counted
        share = min(1.0, self._absent_seconds / self.rule.absent_seconds)
        # That the hours are full, as they may be from the start after a restart, speaks only while a camera watches.
        level = share if counted or share < 1.0 else None
        if not self._trigger.update(level, interval_seconds=counted, now=now.monotonic):
            return self.keeper.update(None, now=now)
        interval = counted if self._trigger.still_holds(level) else 0.0
        evidence = {ABSENT_SECONDS: self._absent_seconds}
        firing = Firing(share, evidence, interval_seconds=interval, spoken_seconds=self._trigger.spoken_seconds)
        return self.keeper.update(firing, now=now)

    def end(self, reason: EndReason, *, now: Instant) -> list[EpisodeEvent]:
        """End what is open; the hours are still counted on, but for the last few seconds.

        Whoever comes home and begins the device anew may be in front of the camera before it has seen them.
        """
        self._absent_seconds = min(self._absent_seconds, max(0.0, self.rule.absent_seconds - LOOK_AGAIN_SECONDS))
        self._trigger = Trigger.of(self.rule)
        return self.keeper.update(None, now=now, end_reason=reason)

    def remember(self, now: float) -> AbsenceMemory:
        """What `restore` needs, at monotonic seconds `now`."""
        return AbsenceMemory(
            rule=self.rule.name,
            camera=self.keeper.camera,
            keeper=self.keeper.remember(now),
            trigger=self._trigger.remember(now),
            absent_seconds=self._absent_seconds,
        )

    def restore(self, memory: AbsenceMemory, *, elapsed_seconds: float, now: Instant) -> None:
        """Go on where another one left off; in the `elapsed_seconds` since then no camera was watching."""
        self.keeper.restore(memory.keeper, elapsed_seconds=elapsed_seconds, now=now.monotonic)
        self._trigger.restore(memory.trigger, now.monotonic)
        self._absent_seconds = memory.absent_seconds
        self._stopwatch.lap(now.monotonic)
