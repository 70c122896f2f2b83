"""A pipeline that fails costs frames, is begun anew, and lets nobody be taken for absent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from vire_edge.alerts import AlertEngine
from vire_edge.config import CameraConfig, Config
from vire_edge.daemon.analysis import STANDSTILL_SECONDS, Analysis
from vire_edge.domain import (
    AbsenceRule,
    ActiveHours,
    BoundingBox,
    CameraState,
    CameraStatus,
    Detection,
    EmotionScores,
    EpisodeChange,
    Frame,
    Instant,
    Severity,
)
from vire_edge.errors import ModelError
from vire_edge.pipeline import Pipeline

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ONLINE = CameraState("hall", CameraStatus.ONLINE, NOON, "")
NOBODY = AbsenceRule(
    name="nobody",
    severity=Severity.WARNING,
    threshold=1.0,
    clear_threshold=0.5,
    hold_seconds=0.0,
    cooldown_seconds=0.0,
    absent_seconds=30.0,
    active_hours=ActiveHours(time(0), time(23, 59)),
)
PICTURE = np.kron(np.indices((24, 24)).sum(axis=0) % 2 * 255, np.ones((10, 10), np.uint8)).astype(np.uint8)


class OneFace:
    """Finds one face in each picture."""

    def detect(self, gray: NDArray[np.uint8]) -> Sequence[Detection]:
        return [Detection(BoundingBox(40, 40, 120, 120))] if gray.any() else []


class Moody:
    """Reads every face as the same, unless it is broken: then it fails as a damaged model does."""

    broken = False

    def classify(self, faces: NDArray[np.uint8]) -> Sequence[EmotionScores]:
        if self.broken:
            raise ModelError("vire.onnx does not run")
        return [EmotionScores((1 / 7,) * 7) for _ in faces]


class Room:
    """One camera before an analysis whose classifier breaks and mends on demand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.classifiers: list[Moody] = []
        self.engine = AlertEngine([NOBODY], ["hall"], zone=UTC)
        self.analysis = Analysis(self._build(), self._build)

    def _build(self) -> Pipeline:
        self.classifiers.append(Moody())
        config = Config(cameras=[CameraConfig(name="hall")])
        return Pipeline(config, detector=OneFace(), classifier=self.classifiers[-1], engine=self.engine)

    @property
    def instant(self) -> Instant:
        return Instant(self.now, NOON + timedelta(seconds=self.now))

    def look(self, frames: int = 1, image: NDArray[np.uint8] = PICTURE) -> list[bool]:
        analysed = []
        for _ in range(frames):
            self.now += 0.1
            frame = Frame("hall", image, self.instant.utc, self.now)
            analysed.append(self.analysis.process(frame, now=self.now) is not None)
        return analysed


def test_a_frame_that_fails_costs_that_frame_alone() -> None:
    room = Room()
    assert all(room.look(5))
    room.classifiers[0].broken = True
    assert room.look() == [False]
    assert not room.analysis.in_trouble
    room.classifiers[0].broken = False
    assert all(room.look(5))
    assert room.analysis.complaint(room.now) == ""


def test_lasting_failure_is_trouble_and_in_the_end_a_standstill() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look(3)
    assert room.analysis.in_trouble
    assert room.analysis.complaint(room.now) == ""
    room.look(round(STANDSTILL_SECONDS / 0.1) + 1)
    assert "has failed on 104 frames" in room.analysis.complaint(room.now)


def test_a_restart_builds_the_pipeline_anew_and_keeps_the_alerts() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look(200)
    room.analysis.restart()
    assert room.analysis.complaint(room.now) == ""
    assert all(room.look(5))
    assert len(room.classifiers) == 2
    assert not room.analysis.in_trouble


def test_nobody_is_absent_while_no_face_can_be_judged() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look(3)
    for _ in range(60):
        room.now += 1.0
        assert not room.analysis.check_camera(ONLINE, now=room.instant)
    room.classifiers[0].broken = False
    assert room.look(1, np.zeros_like(PICTURE)) == [True]
    assert not room.analysis.check_camera(ONLINE, now=room.instant)


def test_an_empty_room_is_still_noticed() -> None:
    room = Room()
    room.look(5)
    changes = []
    for _ in range(60):
        room.now += 1.0
        changes += [event.change for event in room.analysis.check_camera(ONLINE, now=room.instant)]
    assert changes == [EpisodeChange.STARTED]
