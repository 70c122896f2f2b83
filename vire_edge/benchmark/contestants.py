"""Those that look at the same frames: our pipeline as configured, the naive one, and other packages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import cv2

from vire_edge.alerts import AlertEngine
from vire_edge.benchmark.agreement import Sight
from vire_edge.benchmark.scenes import CAMERA, Shot
from vire_edge.benchmark.stages import Stages
from vire_edge.config import CameraConfig, Config
from vire_edge.domain import Frame
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.faces import HaarFaceDetector
from vire_edge.pipeline import Pipeline
from vire_edge.searching import build_search

OURS, EACH_READ, NAIVE = "ours", "ours, each frame read", "naive"
"""As configured; the same search, but each face read in each frame; and neither a schedule nor a pause."""
SEARCH, READ = "search", "read emotions"
"""Stages that both pipelines have."""
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
"""Media time needs a beginning, and the same one each time."""


class Contestant(Protocol):
    """Something that looks at frames."""

    name: str

    def look(self, shot: Shot, camera: str = CAMERA) -> Sight:
        """See who is in a picture."""

    def take_stages(self) -> dict[str, float]:
        """Return what the last picture's stages took: name → milliseconds."""


class PipelineContestant:
    """A pipeline as the daemon builds it, with its parts watched."""

    def __init__(self, name: str, config: Config) -> None:
        """Load cascades and model.

        Args:
            name: what the report calls it.
            config: `cameras` are those whose frames it will see.

        Raises:
            ModelError: the model is missing, damaged or breaks the contract.
        """
        self.name = name
        self._stages = Stages()
        classifier = OnnxEmotionClassifier(
            config.model.path, precision=config.model.precision, threads=config.model.threads
        )
        self.model = classifier.path.name
        self._pipeline = Pipeline(
            config,
            new_search=lambda: self._stages.watch(
                build_search(config.faces, self._stages.watch(HaarFaceDetector(config.faces))), name=SEARCH
            ),
            classifier=self._stages.watch(classifier, name=READ),
            engine=AlertEngine([alert.to_rule() for alert in config.alerts], [one.name for one in config.cameras]),
        )

    def look(self, shot: Shot, camera: str = CAMERA) -> Sight:
        """See who is in a picture."""
        frame = Frame(camera, shot.image, _BEGAN + timedelta(seconds=shot.seconds), shot.seconds)
        seen = self._pipeline.process(frame)
        return Sight(
            shot.seconds, tuple(face.box for face in seen.faces), tuple(person.scores for person in seen.people)
        )

    def take_stages(self) -> dict[str, float]:
        """Return what the last picture's stages took: name → milliseconds."""
        return self._stages.take()


@dataclass(frozen=True, slots=True)
class Rivals:
    """Configurations that differ in what is compared and in nothing else."""

    ours: Config
    each_read: Config
    naive: Config


def rivals(config: Config, cameras: Sequence[str] = (CAMERA,)) -> Rivals:
    """Return the given configuration, on one thread, and those without its pauses.

    Args:
        config: the user's.
        cameras: names of those whose frames will be looked at.
    """
    ours = config.model_copy(
        update={
            "cameras": [CameraConfig(name=name) for name in cameras],
            "model": config.model.model_copy(update={"threads": 1}),
        }
    )
    each_read = ours.model_copy(update={"model": ours.model.model_copy(update={"interval_seconds": 0.0})})
    naive = ours.model_copy(
        update={
            "faces": config.faces.model_copy(update={"search": "every_frame"}),
            "model": ours.model.model_copy(update={"path": None, "precision": "float32", "interval_seconds": 0.0}),
        }
    )
    return Rivals(ours, each_read, naive)


def use_one_thread() -> None:
    """Keep OpenCV, and TensorFlow unless it is loaded, to one thread here; ONNX Runtime is told for each model."""
    cv2.setNumThreads(1)
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
