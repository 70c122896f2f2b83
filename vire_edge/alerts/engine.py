"""All rules over all cameras: each observation → levels → triggers → episodes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from typing import TypeAlias

from vire_edge.alerts.absence_alarm import AbsenceAlarm
from vire_edge.alerts.episodes import EpisodeKeeper, end
from vire_edge.alerts.face_alarm import FaceAlarm
from vire_edge.alerts.memory import AbsenceMemory, AlarmMemory, EngineMemory, FaceMemory, TroubleMemory
from vire_edge.alerts.trouble_alarm import TroubleAlarm
from vire_edge.domain import (
    AbsenceRule,
    ActiveHours,
    AlertRule,
    CameraRule,
    CameraStatus,
    DeviceRule,
    DeviceTrouble,
    EmotionState,
    EndReason,
    Episode,
    EpisodeEvent,
    Instant,
    SpikeRule,
    SustainedRule,
)

Alarm: TypeAlias = FaceAlarm | AbsenceAlarm | TroubleAlarm[CameraRule] | TroubleAlarm[DeviceRule]


class AlertEngine:
    """Turns what is observed into episodes.

    Args:
        rules: the alert rules, each with a name of its own.
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
        self._watching = dict.fromkeys(cameras, False)
        self._faces: dict[str, list[FaceAlarm]] = {camera: [] for camera in cameras}
        self._cameras: dict[str, list[TroubleAlarm[CameraRule]]] = {camera: [] for camera in cameras}
        self._absences: list[AbsenceAlarm] = []
        self._device: list[TroubleAlarm[DeviceRule]] = []
        self._alarms: list[Alarm] = []
        for rule in rules:
            if isinstance(rule, AbsenceRule):
                absence = AbsenceAlarm(rule, EpisodeKeeper(rule, None, new_id))
                self._absences.append(absence)
                self._alarms.append(absence)
            elif isinstance(rule, DeviceRule):
                device = TroubleAlarm(rule, EpisodeKeeper(rule, None, new_id))
                self._device.append(device)
                self._alarms.append(device)
            else:
                for camera in filter(rule.watches, cameras):
                    self._watch(camera, rule, EpisodeKeeper(rule, camera, new_id))

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
        events = [event for alarm in self._faces[camera] for event in alarm.observe(states, remembered, now=now)]
        return [*events, *self._update_absences(camera, seen=seen, now=now)]

    def check_camera(
        self, camera: str, status: CameraStatus, *, judging: bool = True, now: Instant
    ) -> list[EpisodeEvent]:
        """Take in a camera's status; call it about once a second, frames or not.

        Args:
            camera: which one.
            status: what it is doing.
            judging: whether its frames can be analysed; while they cannot, nobody is taken for absent.
            now: the moment.
        """
        self._watching[camera] = judging and status is CameraStatus.ONLINE
        events = [event for alarm in self._faces[camera] for event in alarm.wait(now=now)]
        for alarm in self._cameras[camera]:
            if status is CameraStatus.DISABLED:  # on purpose
                events += alarm.end(EndReason.CAMERA_DISABLED, now=now)
            else:
                hours = alarm.rule.active_hours
                active = hours is None or self._is_active(hours, now)
                events += alarm.update(bad=active and status in alarm.rule.statuses, now=now)
        return [*events, *self._update_absences(camera, seen=False, now=now)]

    def check_device(self, troubles: frozenset[DeviceTrouble], *, now: Instant) -> list[EpisodeEvent]:
        """Take in what is wrong with the device itself; call it about once a second."""
        return [event for alarm in self._device for event in alarm.update(bad=alarm.rule.trouble in troubles, now=now)]

    def release(self, camera: str, reason: EndReason, *, now: Instant) -> list[EpisodeEvent]:
        """Forget a camera's faces and end what they had raised."""
        return [event for alarm in self._faces[camera] for event in alarm.end(reason, now=now)]

    def acknowledge(self, alert_id: str, *, now: Instant) -> Episode | None:
        """Note that a caregiver has seen an alert; None if it is not open."""
        for alarm in self._alarms:
            if alarm.keeper.episode is not None and alarm.keeper.episode.alert_id == alert_id:
                alarm.keeper.acknowledge(now)
                return alarm.keeper.episode
        return None

    def stop(self, *, now: Instant) -> list[EpisodeEvent]:
        """End all open episodes, because nobody watches any more."""
        return [event for alarm in self._alarms for event in alarm.end(EndReason.STOPPED, now=now)]

    @property
    def open_episodes(self) -> tuple[Episode, ...]:
        """The open episodes, the oldest first."""
        keepers = sorted((alarm.keeper for alarm in self._alarms), key=lambda keeper: keeper.opened)
        return tuple(keeper.episode for keeper in keepers if keeper.episode is not None)

    def snapshot(self, now: Instant) -> str:
        """Return what must survive a restart, as JSON: open episodes, cooldowns, what they kept silent, holds."""
        return EngineMemory(alarms=[alarm.remember(now.monotonic) for alarm in self._alarms]).model_dump_json()

    def restore(self, text: str, *, elapsed_seconds: float, now: Instant) -> list[EpisodeEvent]:
        """Go on where another engine left off; call it before anything is observed.

        An open episode stays open and goes on in its sequence. One whose rule or camera is configured no longer
        ends here, as does one on a face when the device was away for long. Where only the trackers begin anew,
        restore the engine from its own snapshot: then new faces may carry on what the old ones have raised.

        Args:
            text: what `snapshot` returned.
            elapsed_seconds: how long ago.
            now: the moment.

        Raises:
            ValueError: the text cannot be read; then nothing is restored.
        """
        alarms = {(alarm.keeper.rule.name, alarm.keeper.camera): alarm for alarm in self._alarms}
        return [
            event
            for memory in EngineMemory.parse(text).alarms
            for event in _restore(alarms.get((memory.rule, memory.camera)), memory, elapsed_seconds, now)
        ]

    def _watch(self, camera: str, rule: AlertRule, keeper: EpisodeKeeper) -> None:
        """Let a rule work on one camera."""
        if isinstance(rule, CameraRule):
            trouble = TroubleAlarm(rule, keeper)
            self._cameras[camera].append(trouble)
            self._alarms.append(trouble)
        elif isinstance(rule, SustainedRule | SpikeRule):
            face = FaceAlarm(rule, keeper)
            self._faces[camera].append(face)
            self._alarms.append(face)

    def _update_absences(self, camera: str, *, seen: bool, now: Instant) -> list[EpisodeEvent]:
        return [
            event
            for absence in self._absences
            if absence.rule.watches(camera)
            for event in absence.update(
                seen=seen,
                watching=any(watching for name, watching in self._watching.items() if absence.rule.watches(name)),
                active=self._is_active(absence.rule.active_hours, now),
                now=now,
            )
        ]

    def _is_active(self, hours: ActiveHours, now: Instant) -> bool:
        return hours.contain(now.utc.astimezone(self._zone).time())


def _restore(alarm: Alarm | None, memory: AlarmMemory, elapsed_seconds: float, now: Instant) -> list[EpisodeEvent]:
    match alarm, memory:
        case FaceAlarm(), FaceMemory():
            return alarm.restore(memory, elapsed_seconds=elapsed_seconds, now=now)
        case AbsenceAlarm(), AbsenceMemory():
            alarm.restore(memory, elapsed_seconds=elapsed_seconds, now=now)
        case TroubleAlarm(), TroubleMemory():
            alarm.restore(memory, elapsed_seconds=elapsed_seconds, now=now)
        case _ if memory.keeper.episode is not None:  # nobody watches for it any more
            duration = memory.keeper.open_seconds + elapsed_seconds
            return [end(memory.keeper.episode, EndReason.STOPPED, duration_seconds=duration, now=now)]
    return []
