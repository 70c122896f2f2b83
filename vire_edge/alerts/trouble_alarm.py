"""Rules on trouble that comes and goes, a camera's or the device's own."""

from __future__ import annotations

from typing import Generic, TypeVar

from vire_edge.alerts.episodes import EpisodeKeeper, Firing
from vire_edge.alerts.memory import TroubleMemory
from vire_edge.alerts.stopwatch import Stopwatch
from vire_edge.alerts.trigger import Trigger
from vire_edge.domain import TROUBLE_SECONDS, CameraRule, DeviceRule, EndReason, EpisodeEvent, Instant

RECOVERY_SECONDS = 10.0
"""A camera that comes back for less than this, as with a loose cable, has not come back."""

R = TypeVar("R", bound=CameraRule | DeviceRule)


class TroubleAlarm(Generic[R]):
    """A camera rule on one camera, or a device rule."""

    def __init__(self, rule: R, keeper: EpisodeKeeper) -> None:
        self._trigger = Trigger.of(rule)
        self._stopwatch = Stopwatch()
        self._trouble_seconds = 0.0
        self._good_seconds = RECOVERY_SECONDS
        self.rule: R = rule
        self.keeper = keeper

    def update(self, *, bad: bool, now: Instant) -> list[EpisodeEvent]:
        """Take in whether the trouble is there now."""
        elapsed = self._stopwatch.lap(now.monotonic)
        self._good_seconds = 0.0 if bad else self._good_seconds + elapsed
        in_trouble = bad or self._good_seconds < RECOVERY_SECONDS
        self._trouble_seconds = self._trouble_seconds + elapsed if in_trouble else 0.0
        # Too short a recovery neither adds to the trouble nor ends it.
        level = 1.0 if bad else None if in_trouble else 0.0
        if not self._trigger.update(level, interval_seconds=elapsed, now=now.monotonic):
            return self.keeper.update(None, now=now)
        evidence = {TROUBLE_SECONDS: self._trouble_seconds}
        if isinstance(self.rule, DeviceRule):
            evidence[self.rule.trouble.value] = 1.0
        interval = elapsed if bad else 0.0
        firing = Firing(1.0, evidence, interval_seconds=interval, spoken_seconds=self._trigger.spoken_seconds)
        return self.keeper.update(firing, now=now)

    def end(self, reason: EndReason, *, now: Instant) -> list[EpisodeEvent]:
        """End what is open at once, without a hold, and begin anew."""
        self._stopwatch.lap(now.monotonic)
        self._trigger = Trigger.of(self.rule)
        self._trouble_seconds, self._good_seconds = 0.0, RECOVERY_SECONDS
        return self.keeper.update(None, now=now, end_reason=reason)

    def remember(self, now: float) -> TroubleMemory:
        """What `restore` needs, at monotonic seconds `now`."""
        return TroubleMemory(
            rule=self.rule.name,
            camera=self.keeper.camera,
            keeper=self.keeper.remember(now),
            trigger=self._trigger.remember(now),
            trouble_seconds=self._trouble_seconds,
            good_seconds=self._good_seconds,
        )

    def restore(self, memory: TroubleMemory, *, elapsed_seconds: float, now: Instant) -> None:
        """Go on where another one left off, `elapsed_seconds` ago, holds included.

        A camera that only opens after a restart is `reconnecting`: that carries on an episode of one that was
        away, and is no recovery of it; of one that was well it is a trouble far shorter than its hold. A daemon
        that is started again and again still gets to say that a camera is away.
        """
        self.keeper.restore(memory.keeper, elapsed_seconds=elapsed_seconds, now=now.monotonic)
        self._trigger.restore(memory.trigger, now.monotonic)
        self._trouble_seconds, self._good_seconds = memory.trouble_seconds, memory.good_seconds
        self._stopwatch.lap(now.monotonic)
