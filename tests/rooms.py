"""A home whose pictures are read by a classifier that breaks and mends on demand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from vire_edge.alerts import AlertEngine
from vire_edge.config import CameraConfig, Config, ModelConfig
from vire_edge.daemon.analysis import Analysis
from vire_edge.domain import (
    AbsenceRule,
    ActiveHours,
    BoundingBox,
    CameraState,
    CameraStatus,
    Detection,
    EmotionScores,
    Frame,
    Instant,
    Severity,
)
from vire_edge.errors import ModelError
from vire_edge.pipeline import Pipeline

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ONLINE = CameraState("hall", CameraStatus.ONLINE, NOON, "")
PAUSED = CameraState("hall", CameraStatus.DISABLED, NOON, "paused")
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

    def find(self, gray: NDArray[np.uint8], *, now: float) -> Sequence[Detection]:
        assert now > 0
        return [Detection(BoundingBox(40, 40, 120, 120))] if gray.any() else []

    def reset(self) -> None:
        """Remembers nothing."""


class Moody:
    """Reads every face as the same, unless it is broken: then it fails as a damaged model does."""

    broken = False

    def classify(self, faces: NDArray[np.uint8]) -> Sequence[EmotionScores]:
        if self.broken:
            raise ModelError("vire.onnx does not run")
        return [EmotionScores((1 / 7,) * 7) for _ in faces]


class Room:
    """An analysis whose classifier breaks and mends on demand, behind a camera in the hall and one in the attic."""

    def __init__(self) -> None:
        self.now = 0.0
        self.classifiers: list[Moody] = []
        self.engine = AlertEngine([NOBODY], ["hall", "attic"], zone=UTC)
        self.analysis = Analysis(self._build(), self._build)

    def _build(self) -> Pipeline:
        self.classifiers.append(Moody())
        each_frame = ModelConfig(interval_seconds=0)
        config = Config(cameras=[CameraConfig(name="hall"), CameraConfig(name="attic")], model=each_frame)
        return Pipeline(config, new_search=OneFace, classifier=self.classifiers[-1], engine=self.engine)

    @property
    def instant(self) -> Instant:
        return Instant(self.now, NOON + timedelta(seconds=self.now))

    def look(self, frames: int = 1, image: NDArray[np.uint8] = PICTURE, *, camera: str = "hall") -> list[bool]:
        analysed = []
        for _ in range(frames):
            self.now += 0.1
            frame = Frame(camera, image, self.instant.utc, self.now)
            analysed.append(self.analysis.process(frame, now=self.now) is not None)
        return analysed
