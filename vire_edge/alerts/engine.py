"""All rules over all cameras: each observation → levels → triggers → episodes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Subject:
    """One face under one rule."""

    trigger: Trigger
    window: ShareWindow | None
    firing: Firing = field(default_factory=lambda: Firing(0.0))


class _FaceRule:
    """A sustained or spike rule on one camera: a trigger for each face, so that two people never add up."""

    def __init__(self, rule: SustainedRule | SpikeRule, keeper: EpisodeKeeper) -> None:
        self._rule = rule
        self.keeper = keeper
        self._subjects: dict[int, _Subject] = {}

    def observe(
        self, states: Sequence[EmotionState], remembered: frozenset[int], now: Instant, gone: EndReason
    ) -> list[EpisodeEvent]:
        vanished = [self._subjects.pop(track_id) for track_id in list(self._subjects) if track_id not in remembered]
        someone_left_while_firing = any(subject.trigger.firing for subject in vanished)
        for state in states:
            self._judge(state, now)
        firing = [subject.firing for subject in self._subjects.values() if subject.trigger.firing]
        reason = gone if someone_left_while_firing else EndReason.CLEARED
        if not firing:
            return self.keeper.update(None, now=now, end_reason=reason)
        strongest = max(firing, key=lambda one: one.level)
        everybody = tuple(sorted(track_id for one in firing for track_id in one.track_ids))
        return self.keeper.update(Firing(strongest.level, strongest.evidence, everybody), now=now)

    def _judge(self, state: EmotionState, now: Instant) -> None:
        subject = self._subjects.get(state.track_id)
        if subject is None:
            window = ShareWindow(self._rule.window_seconds) if isinstance(self._rule, SustainedRule) else None
            subject = self._subjects[state.track_id] = _Subject(_trigger(self._rule), window)
        score = state.scores.share(self._rule.emotions)
        level: float | None = score
        if isinstance(self._rule, SustainedRule) and subject.window is not None:
            shown = score >= self._rule.score
            subject.window.add(shown=shown, interval_seconds=state.interval_seconds, now=now.monotonic)
            level = subject.window.share(min_observed_seconds=self._rule.min_observed_seconds)
        subject.trigger.update(level, interval_seconds=state.interval_seconds or None)
        evidence = {emotion.value: state.scores[emotion] for emotion in sorted(self._rule.emotions)}
        subject.firing = Firing(0.0 if level is None else level, evidence, (state.track_id,))


class _AbsenceRule:
    """An absence rule over its cameras: counts active time, with a working camera, in which nobody was seen."""

    def __init__(self, rule: AbsenceRule, keeper: EpisodeKeeper) -> None:
        self.rule = rule
        self.keeper = keeper
        self._trigger = _trigger(rule)
        self._absent_seconds = 0.0
        self._last: float | None = None

    def update(self, *, seen: bool, watching: bool, active: bool, now: Instant) -> list[EpisodeEvent]:
        elapsed = 0.0 if self._last is None else max(0.0, now.monotonic - self._last)
        self._last = now.monotonic
        if seen:
            self._absent_seconds = 0.0
        elif watching and active:
            self._absent_seconds += elapsed
        level = min(1.0, self._absent_seconds / self.rule.absent_seconds)
        fires = self._trigger.update(level, interval_seconds=elapsed)
        evidence = {ABSENT_SECONDS: self._absent_seconds}
        return self.keeper.update(Firing(level, evidence) if fires else None, now=now)


class _CameraRule:
    """A camera rule on one camera."""

    def __init__(self, rule: CameraRule, keeper: EpisodeKeeper) -> None:
        self._rule = rule
        self.keeper = keeper
        self._trigger = _trigger(rule)
        self._last: float | None = None
        self._bad_seconds = 0.0

    def update(
        self, status: CameraStatus, *, active: Callable[[ActiveHours], bool], now: Instant
    ) -> list[EpisodeEvent]:
        elapsed = 0.0 if self._last is None else max(0.0, now.monotonic - self._last)
        self._last = now.monotonic
        hours = self._rule.active_hours
        bad = status in self._rule.statuses and (hours is None or active(hours))
        self._bad_seconds = self._bad_seconds + elapsed if bad else 0.0
        if status is CameraStatus.DISABLED:  # on purpose: over at once, without a hold
            self._trigger = _trigger(self._rule)
            return self.keeper.update(None, now=now, end_reason=EndReason.PAUSED)
        fires = self._trigger.update(float(bad), interval_seconds=elapsed)
        return self.keeper.update(Firing(1.0, {TROUBLE_SECONDS: self._bad_seconds}) if fires else None, now=now)


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
