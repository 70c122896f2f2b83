"""What is wrong with the device itself, for the rules of kind `device`."""

from __future__ import annotations

from pathlib import Path

from vire_edge.daemon.analysis import Analysis
from vire_edge.daemon.ports import Outbox, Publisher
from vire_edge.domain import DeviceTrouble

UNHEARD_SECONDS = 300.0
"""For so long nobody may be subscribed while alerts wait: an app that is being updated is back by then."""
LINGER_SECONDS = 300.0
"""A loss is a moment; for this long after it the device is in trouble, so that a rule's hold can see it."""


class TroubleWatch:
    """Looks at analysis, outbox and connection."""

    def __init__(self, analysis: Analysis, outbox: Outbox, publisher: Publisher) -> None:
        self._analysis = analysis
        self._outbox = outbox
        self._publisher = publisher
        self._losses = 0
        self._lost_at = float("-inf")
        self._set_aside: Path | None = None
        self._set_aside_at = float("-inf")
        self._unheard_since: float | None = None

    def look(self, now: float) -> frozenset[DeviceTrouble]:
        """Return what is wrong at `now`, monotonic seconds."""
        found = {
            DeviceTrouble.MODEL: self._analysis.in_trouble,
            DeviceTrouble.STORAGE: bool(self._outbox.trouble) or self._was_damaged(now),
            DeviceTrouble.DELIVERY: self._loses_alerts(now) or self._nobody_hears(now),
        }
        return frozenset(trouble for trouble, present in found.items() if present)

    def _loses_alerts(self, now: float) -> bool:
        losses = self._outbox.dropped
        if losses > self._losses:
            self._losses, self._lost_at = losses, now
        return now - self._lost_at < LINGER_SECONDS

    def _was_damaged(self, now: float) -> bool:
        if self._outbox.set_aside != self._set_aside:
            self._set_aside, self._set_aside_at = self._outbox.set_aside, now
        return now - self._set_aside_at < LINGER_SECONDS

    def _nobody_hears(self, now: float) -> bool:
        if not self._publisher.stats().unheard:
            self._unheard_since = None
        elif self._unheard_since is None:
            self._unheard_since = now
        return self._unheard_since is not None and now - self._unheard_since >= UNHEARD_SECONDS
