"""Rules on faces: a trigger for each face, so that two people never add up to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vire_edge.alerts.episodes import EpisodeKeeper, Firing
from vire_edge.alerts.memory import FaceMemory
from vire_edge.alerts.trigger import Trigger
from vire_edge.alerts.window import ShareWindow
from vire_edge.domain import EmotionState, EndReason, EpisodeEvent, Instant, SpikeRule, SustainedRule

UNOBSERVED_SECONDS = 30.0
"""A face that fired and then could not be judged for this long speaks for nothing any more."""


@dataclass(slots=True)
class _Subject:
    """One face under one rule."""

    trigger: Trigger
    window: ShareWindow | None
    last_judged: float
    firing: Firing = field(default_factory=lambda: Firing(0.0))


class FaceAlarm:
    """A sustained or spike rule on one camera."""

    def __init__(self, rule: SustainedRule | SpikeRule, keeper: EpisodeKeeper) -> None:
        self._rule = rule
        self._subjects: dict[int, _Subject] = {}
        self._grace_until: float | None = None
        """Until when, monotonic seconds, what fired before a restart waits for a face to carry it on."""
        self.keeper = keeper

    def observe(
        self, states: Sequence[EmotionState], remembered: frozenset[int], *, now: Instant
    ) -> list[EpisodeEvent]:
        """Take in the faces that were judged in one frame; those not `remembered` are gone."""
        vanished = [self._subjects.pop(track_id) for track_id in list(self._subjects) if track_id not in remembered]
        reason = EndReason.OUT_OF_VIEW if any(subject.trigger.firing for subject in vanished) else EndReason.CLEARED
        for subject in self._subjects.values():
            subject.firing = replace(subject.firing, interval_seconds=0.0)
            if subject.trigger.firing and now.monotonic - subject.last_judged > UNOBSERVED_SECONDS:
                subject.trigger = Trigger.of(self._rule)
                reason = EndReason.NOT_OBSERVED
        for state in states:
            self._judge(state, now.monotonic)
        firing = [subject.firing for subject in self._subjects.values() if subject.trigger.firing]
        if not firing and self._grace_until is not None:
            return self.wait(now=now)
        if not firing:
            return self.keeper.update(None, now=now, end_reason=reason)
        self._grace_until = None
        strongest = max(firing, key=lambda one: one.level)
        together = replace(
            strongest,
            track_ids=tuple(sorted(track_id for one in firing for track_id in one.track_ids)),
            interval_seconds=max(one.interval_seconds for one in firing),
            spoken_seconds=max((one.spoken_seconds for one in firing if one.interval_seconds), default=0.0),
        )
        return self.keeper.update(together, now=now)

    def wait(self, *, now: Instant) -> list[EpisodeEvent]:
        """End what fired before a restart once its grace is over; call it about once a second, frames or not."""
        if self._grace_until is None or now.monotonic < self._grace_until:
            return []
        self._grace_until = None
        events = self.keeper.update(None, now=now, end_reason=EndReason.NOT_OBSERVED)
        if events:  # whoever shows it a moment too late to carry it on must not be kept silent
            self.keeper.lift_cooldown()
        return events

    def end(self, reason: EndReason, *, now: Instant) -> list[EpisodeEvent]:
        """Forget the faces and end what they had raised."""
        self._subjects.clear()
        self._grace_until = None
        return self.keeper.update(None, now=now, end_reason=reason)

    def remember(self, now: float) -> FaceMemory:
        """What `restore` needs, at monotonic seconds `now`."""
        return FaceMemory(rule=self._rule.name, camera=self.keeper.camera, keeper=self.keeper.remember(now))

    def restore(self, memory: FaceMemory, *, elapsed_seconds: float, now: Instant) -> list[EpisodeEvent]:
        """Go on where another one left off, `elapsed_seconds` ago.

        What fired then waits for a face that fires now, and is carried on by it without a new start: first for
        as long as a face may go unjudged, then for as long as the rule takes to fire. All time counts, so that
        nothing stays open behind a camera that never opens. If the device was away for longer than that and than
        a cooldown keeps anything silent, a face that fires is news, and what fired before is over.
        """
        self._subjects.clear()
        self.keeper.restore(memory.keeper, elapsed_seconds=elapsed_seconds, now=now.monotonic)
        if not self.keeper.firing:
            return []
        to_fire = self._rule.hold_seconds
        if isinstance(self._rule, SustainedRule):
            to_fire += self._rule.min_observed_seconds
        grace = to_fire + UNOBSERVED_SECONDS
        if elapsed_seconds > max(grace, self._rule.cooldown_seconds):
            return self.end(EndReason.STOPPED, now=now)
        self._grace_until = now.monotonic + grace
        return []

    def _judge(self, state: EmotionState, now: float) -> None:
        subject = self._subjects.get(state.track_id)
        if subject is None:
            window = ShareWindow(self._rule.window_seconds) if isinstance(self._rule, SustainedRule) else None
            subject = self._subjects[state.track_id] = _Subject(Trigger.of(self._rule), window, now)
        subject.last_judged = now
        score = state.scores.share(self._rule.emotions)
        level: float | None = score
        if isinstance(self._rule, SustainedRule) and subject.window is not None:
            shown = score >= self._rule.score
            subject.window.add(shown=shown, interval_seconds=state.interval_seconds, now=now)
            level = subject.window.share(min_observed_seconds=self._rule.min_observed_seconds)
        subject.trigger.update(level, interval_seconds=state.interval_seconds or None, now=now)
        evidence = {emotion.value: state.scores[emotion] for emotion in sorted(self._rule.emotions)}
        interval = state.interval_seconds if subject.trigger.still_holds(level) else 0.0
        subject.firing = Firing(level or 0.0, evidence, (state.track_id,), interval, subject.trigger.spoken_seconds)
