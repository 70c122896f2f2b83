"""All rules over all cameras: each observation → levels → triggers → episodes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo

from vire_edge.alerts.episodes import EpisodeKeeper, Firing
from vire_edge.alerts.trigger import Trigger
from vire_edge.alerts.window import ShareWindow
from vire_edge.domain import (
    ABSENT_SECONDS,
    TROUBLE_SECONDS,
    AbsenceRule,
    ActiveHours,
    AlertRule,
    CameraRule,
    CameraStatus,
    EmotionState,
    EndReason,
    Episode,
    EpisodeEvent,
    Instant,
    SpikeRule,
    SustainedRule,
)


def _trigger(rule: AlertRule) -> Trigger:
    return Trigger(threshold=rule.threshold, clear_threshold=rule.clear_threshold, hold_seconds=rule.hold_seconds)


UNOBSERVED_SECONDS = 30.0
"""A face that fired and then could not be judged for this long speaks for nothing any more."""
RECOVERY_SECONDS = 10.0
"""A camera that comes back for less than this, as with a loose cable, has not come back."""


@dataclass(slots=True)
class _Subject:
    """One face under one rule."""

    trigger: Trigger
    window: ShareWindow | None
    last_judged: float
    firing: Firing = field(default_factory=lambda: Firing(0.0))


class _FaceRule:
    """A sustained or spike rule on one camera: a trigger for each face, so that two people never add up to one."""

    def __init__(self, rule: SustainedRule | SpikeRule, keeper: EpisodeKeeper) -> None:
        self._rule = rule
        self.keeper = keeper
        self._subjects: dict[int, _Subject] = {}

    def observe(
        self, states: Sequence[EmotionState], remembered: frozenset[int], now: Instant, gone: EndReason
    ) -> list[EpisodeEvent]:
        vanished = [self._subjects.pop(track_id) for track_id in list(self._subjects) if track_id not in remembered]
        reason = gone if any(subject.trigger.firing for subject in vanished) else EndReason.CLEARED
        for subject in self._subjects.values():
            subject.firing = replace(subject.firing, interval_seconds=0.0)
            if subject.trigger.firing and now.monotonic - subject.last_judged > UNOBSERVED_SECONDS:
                subject.trigger = _trigger(self._rule)
                reason = EndReason.NOT_OBSERVED
        for state in states:
            self._judge(state, now.monotonic)
        firing = [subject.firing for subject in self._subjects.values() if subject.trigger.firing]
        if not firing:
            return self.keeper.update(None, now=now, end_reason=reason)
        strongest = max(firing, key=lambda one: one.level)
        together = replace(
            strongest,
            track_ids=tuple(sorted(track_id for one in firing for track_id in one.track_ids)),
            interval_seconds=max(one.interval_seconds for one in firing),
            spoken_seconds=max((one.spoken_seconds for one in firing if one.interval_seconds), default=0.0),
        )
        return self.keeper.update(together, now=now)

    def _judge(self, state: EmotionState, now: float) -> None:
        subject = self._subjects.get(state.track_id)
        if subject is None:
            window = ShareWindow(self._rule.window_seconds) if isinstance(self._rule, SustainedRule) else None
            subject = self._subjects[state.track_id] = _Subject(_trigger(self._rule), window, now)
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


class _Stopwatch:
    """Time between two looks; several cameras' frames need not come in the order of their times."""

    def __init__(self) -> None:
        self._latest: float | None = None

    def lap(self, now: float) -> float:
        """Return the seconds since the latest moment so far; 0 for an earlier one."""
        elapsed = 0.0 if self._latest is None else max(0.0, now - self._latest)
        self._latest = now if self._latest is None else max(now, self._latest)
        return elapsed


class _AbsenceRule:
    """An absence rule over its cameras: counts active time, with a working camera, in which nobody was seen."""

    def __init__(self, rule: AbsenceRule, keeper: EpisodeKeeper) -> None:
        self.rule = rule
        self.keeper = keeper
        self._trigger = _trigger(rule)
        self._stopwatch = _Stopwatch()
        self._absent_seconds = 0.0

    def update(self, *, seen: bool, watching: bool, active: bool, now: Instant) -> list[EpisodeEvent]:
        elapsed = self._stopwatch.lap(now.monotonic)
        if seen:
            self._absent_seconds = 0.0
        elif watching and active:
            self._absent_seconds += elapsed
        level = min(1.0, self._absent_seconds / self.rule.absent_seconds)
        if not self._trigger.update(level, interval_seconds=elapsed, now=now.monotonic):
            return self.keeper.update(None, now=now)
        interval = elapsed if self._trigger.still_holds(level) else 0.0
        evidence = {ABSENT_SECONDS: self._absent_seconds}
        firing = Firing(level, evidence, interval_seconds=interval, spoken_seconds=self._trigger.spoken_seconds)
        return self.keeper.update(firing, now=now)


class _CameraRule:
    """A camera rule on one camera."""

    def __init__(self, rule: CameraRule, keeper: EpisodeKeeper) -> None:
        self._rule = rule
        self.keeper = keeper
        self._trigger = _trigger(rule)
        self._stopwatch = _Stopwatch()
        self._trouble_seconds = 0.0
        self._good_seconds = RECOVERY_SECONDS

    def update(
        self, status: CameraStatus, *, active: Callable[[ActiveHours], bool], now: Instant
    ) -> list[EpisodeEvent]:
        elapsed = self._stopwatch.lap(now.monotonic)
        hours = self._rule.active_hours
        bad = status in self._rule.statuses and (hours is None or active(hours))
        self._good_seconds = 0.0 if bad else self._good_seconds + elapsed
        in_trouble = bad or self._good_seconds < RECOVERY_SECONDS
        self._trouble_seconds = self._trouble_seconds + elapsed if in_trouble else 0.0
        if status is CameraStatus.DISABLED:  # on purpose: over at once, without a hold
            self._trigger, self._good_seconds = _trigger(self._rule), RECOVERY_SECONDS
            return self.keeper.update(None, now=now, end_reason=EndReason.CAMERA_DISABLED)
        # Too short a recovery neither adds to the trouble nor ends it.
        level = 1.0 if bad else None if in_trouble else 0.0
        if not self._trigger.update(level, interval_seconds=elapsed, now=now.monotonic):
            return self.keeper.update(None, now=now)
        firing = Firing(
            1.0,
            {TROUBLE_SECONDS: self._trouble_seconds},
            interval_seconds=elapsed if bad else 0.0,
            spoken_seconds=self._trigger.spoken_seconds,
        )
        return self.keeper.update(firing, now=now)


class AlertEngine:
    """Turns what is observed into episodes.

    Args:
        rules: the alert rules.
        cameras: the names of all cameras.
        new_id: makes the id of an episode.
        zone: the time zone of active hours; None for the device's own.
    """

    def __init__(
        self,
        rules: Iterable[AlertRule],
        cameras: Sequence[str],
        *,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        zone: tzinfo | None = None,
    ) -> None:
        self._zone = zone
        self._status = dict.fromkeys(cameras, CameraStatus.RECONNECTING)
        self._faces: dict[str, list[_FaceRule]] = {camera: [] for camera in cameras}
        self._cameras: dict[str, list[_CameraRule]] = {camera: [] for camera in cameras}
        self._absences: list[_AbsenceRule] = []
        self._keepers: list[EpisodeKeeper] = []
        for rule in rules:
            if isinstance(rule, AbsenceRule):
                keeper = EpisodeKeeper(rule, None, new_id)
                self._absences.append(_AbsenceRule(rule, keeper))
                self._keepers.append(keeper)
                continue
            for camera in filter(rule.watches, cameras):
                keeper = EpisodeKeeper(rule, camera, new_id)
                self._keepers.append(keeper)
                if isinstance(rule, CameraRule):
                    self._cameras[camera].append(_CameraRule(rule, keeper))
                elif isinstance(rule, SustainedRule | SpikeRule):
                    self._faces[camera].append(_FaceRule(rule, keeper))

    def observe(
        self, camera: str, states: Sequence[EmotionState], *, seen: bool, remembered: frozenset[int], now: Instant
    ) -> list[EpisodeEvent]:
        """Take in one frame's faces.

        Args:
            camera: where they were seen.
            states: those whose emotion was judged in this frame.
            seen: whether the frame shows anybody, judged or not.
            remembered: ids of all tracks that may still go on; an episode outlasts a short absence.
            now: the frame's time.
        """
        events = [
            event
            for rule in self._faces[camera]
            for event in rule.observe(states, remembered, now, EndReason.OUT_OF_VIEW)
        ]
        return [*events, *self._update_absences(camera, seen=seen, now=now)]

    def check_camera(self, camera: str, status: CameraStatus, *, now: Instant) -> list[EpisodeEvent]:
        """Take in a camera's status; call it about once a second, frames or not."""
        self._status[camera] = status
        events = [
            event
            for rule in self._cameras[camera]
            for event in rule.update(status, active=lambda hours: self._is_active(hours, now), now=now)
        ]
        return [*events, *self._update_absences(camera, seen=False, now=now)]

    def release(self, camera: str, reason: EndReason, *, now: Instant) -> list[EpisodeEvent]:
        """Forget a camera's faces and end what they had raised."""
        return [event for rule in self._faces[camera] for event in rule.observe((), frozenset(), now, reason)]

    def acknowledge(self, alert_id: str, *, now: Instant) -> Episode | None:
        """Note that a caregiver has seen an alert; None if it is not open."""
        for keeper in self._keepers:
            if keeper.episode is not None and keeper.episode.alert_id == alert_id:
                keeper.acknowledge(now)
                return keeper.episode
        return None

    def stop(self, *, now: Instant) -> list[EpisodeEvent]:
        """End all open episodes, because nobody watches any more."""
        return [
            event
            for keeper in self._keepers
            if keeper.episode is not None
            for event in keeper.update(None, now=now, end_reason=EndReason.STOPPED)
        ]

    @property
    def open_episodes(self) -> tuple[Episode, ...]:
        """The open episodes, the oldest first."""
        episodes = (keeper.episode for keeper in self._keepers if keeper.episode is not None)
        return tuple(sorted(episodes, key=lambda episode: episode.started_at))

    def _update_absences(self, camera: str, *, seen: bool, now: Instant) -> list[EpisodeEvent]:
        return [
            event
            for absence in self._absences
            if absence.rule.watches(camera)
            for event in absence.update(
                seen=seen,
                watching=any(
                    status is CameraStatus.ONLINE for name, status in self._status.items() if absence.rule.watches(name)
                ),
                active=self._is_active(absence.rule.active_hours, now),
                now=now,
            )
        ]

    def _is_active(self, hours: ActiveHours, now: Instant) -> bool:
        return hours.contain(now.utc.astimezone(self._zone).time())
