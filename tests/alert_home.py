"""A home in made-up time: people before an engine's cameras, troubles, restarts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any

from vire_edge.alerts import AlertEngine
from vire_edge.domain import (
    EMOTIONS,
    AbsenceRule,
    ActiveHours,
    AlertRule,
    CameraRule,
    CameraStatus,
    DeviceRule,
    DeviceTrouble,
    Emotion,
    EmotionScores,
    EmotionState,
    Episode,
    EpisodeChange,
    EpisodeEvent,
    Instant,
    Severity,
    SpikeRule,
    SustainedRule,
)

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
STEP = 0.1
DISTRESS = frozenset({Emotion.SAD, Emotion.FEAR, Emotion.ANGRY})
STARTED, UPDATED, ENDED = EpisodeChange.STARTED, EpisodeChange.UPDATED, EpisodeChange.ENDED


def shared(**changes: Any) -> dict[str, Any]:
    return {
        "name": "rule",
        "severity": Severity.WARNING,
        "threshold": 0.8,
        "clear_threshold": 0.5,
        "hold_seconds": 3.0,
        "cooldown_seconds": 60.0,
    } | changes


def spike(**changes: Any) -> SpikeRule:
    return SpikeRule(**shared(emotions=frozenset({Emotion.FEAR}), **changes))


def sustained(**changes: Any) -> SustainedRule:
    settings = shared(threshold=0.6, clear_threshold=0.4, hold_seconds=0.0) | {
        "emotions": DISTRESS,
        "score": 0.5,
        "window_seconds": 60.0,
        "min_observed_seconds": 20.0,
    }
    return SustainedRule(**(settings | changes))


def absence(**changes: Any) -> AbsenceRule:
    settings = shared(threshold=1.0, clear_threshold=1.0, hold_seconds=0.0) | {
        "absent_seconds": 3600.0,
        "active_hours": ActiveHours(time(8), time(21)),
    }
    return AbsenceRule(**(settings | changes))


def camera_rule(**changes: Any) -> CameraRule:
    settings = shared(threshold=1.0, clear_threshold=1.0, hold_seconds=60.0) | {
        "statuses": frozenset({CameraStatus.RECONNECTING, CameraStatus.STALLED}),
        "active_hours": None,
    }
    return CameraRule(**(settings | changes))


def device_rule(trouble: DeviceTrouble = DeviceTrouble.STORAGE, **changes: Any) -> DeviceRule:
    return DeviceRule(**(shared(threshold=1.0, clear_threshold=1.0, hold_seconds=60.0, trouble=trouble) | changes))


def scores(emotion: Emotion, probability: float = 0.9) -> EmotionScores:
    rest = (1 - probability) / 6
    return EmotionScores(tuple(probability if other is emotion else rest for other in EMOTIONS))


class Home:
    """Plays people in front of an engine's cameras."""

    def __init__(self, *rules: AlertRule, cameras: tuple[str, ...] = ("hall",), start: datetime = NOON) -> None:
        self.rules = rules
        self.names = cameras
        self.ids = (f"id{number}" for number in itertools.count())
        self.engine = self.new_engine()
        self.start = start
        self.now = 0.0
        self.boot = 1000.0
        self.clock_jump = timedelta()
        self.events: list[tuple[float, EpisodeEvent]] = []
        for camera in cameras:
            self.engine.check_camera(camera, CameraStatus.ONLINE, now=self.instant)

    @property
    def instant(self) -> Instant:
        return Instant(self.boot + self.now, self.start + timedelta(seconds=self.now) + self.clock_jump)

    def new_engine(self) -> AlertEngine:
        return AlertEngine(self.rules, self.names, new_id=lambda: next(self.ids), zone=UTC)

    def restart(self, elapsed_seconds: float = 0.0) -> None:
        """Another process on another boot, whose monotonic clock has nothing to do with the last one's."""
        snapshot = self.engine.snapshot(self.instant)
        self.now += elapsed_seconds
        self.boot += 12_345.0
        self.engine = self.new_engine()
        self.record(self.engine.restore(snapshot, elapsed_seconds=elapsed_seconds, now=self.instant))

    def record(self, events: Iterable[EpisodeEvent]) -> None:
        self.events += [(round(self.now, 1), event) for event in events]

    def show(
        self,
        seconds: float,
        *people: tuple[int, EmotionScores],
        camera: str = "hall",
        observed: bool = True,
        remembered: frozenset[int] | None = None,
    ) -> None:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            states = [EmotionState(track, shown, self.now, STEP) for track, shown in people] if observed else []
            tracks = frozenset(track for track, _ in people) if remembered is None else remembered
            self.record(self.engine.observe(camera, states, seen=bool(people), remembered=tracks, now=self.instant))

    def cameras(self, seconds: float, **statuses: CameraStatus) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            for camera, status in statuses.items():
                self.record(self.engine.check_camera(camera, status, now=self.instant))

    def device(self, seconds: float, *troubles: DeviceTrouble) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            self.record(self.engine.check_device(frozenset(troubles), now=self.instant))

    @property
    def changes(self) -> list[tuple[float, EpisodeChange]]:
        return [(at, event.change) for at, event in self.events]


FEAR, HAPPY, SAD = scores(Emotion.FEAR), scores(Emotion.HAPPY), scores(Emotion.SAD)


def tell_one_story(home: Home) -> None:
    """What a caregiver's app may rely on: one open episode for each rule and camera, each event in its place."""
    told: dict[tuple[str, str | None], Episode] = {}
    for _, event in home.events:
        episode = event.episode
        key = (episode.rule, episode.camera)
        if event.change is STARTED:
            assert key not in told
            assert (episode.sequence, episode.duration_seconds) == (0, 0.0)
        else:
            before = told[key]
            assert (episode.alert_id, episode.sequence) == (before.alert_id, before.sequence + 1)
            assert episode.started_at == before.started_at
            assert episode.duration_seconds >= before.duration_seconds
        assert (episode.ended_at is not None) == (event.change is ENDED)
        if event.change is ENDED:
            del told[key]
        else:
            told[key] = episode
    assert {episode.alert_id for episode in told.values()} == {one.alert_id for one in home.engine.open_episodes}
