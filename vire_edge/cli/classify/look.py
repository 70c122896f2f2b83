"""Pictures and videos → the faces in them, through the daemon's own stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from vire_edge.alerts import AlertEngine
from vire_edge.camera.media import PICTURE_SUFFIXES, VideoFile
from vire_edge.camera.source import Image, as_image
from vire_edge.config import CameraConfig, Config
from vire_edge.domain import BoundingBox, Detection, EmotionScores, FaceView, Frame
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.errors import CameraError
from vire_edge.faces import HaarFaceDetector
from vire_edge.pipeline import Observation, Pipeline
from vire_edge.preprocess import crop_face, to_gray
from vire_edge.quality import Flaw, find_flaw
from vire_edge.searching import EveryFrameSearch

_VIDEO = "video"
_USUAL_FPS = 25.0


@dataclass(frozen=True, slots=True)
class Face:
    """One face as it was read; either `scores` or `flaw` says how that went, and neither that it is still unknown."""

    box: BoundingBox
    view: FaceView
    scores: EmotionScores | None
    """Smoothed over time in a video."""
    flaw: Flaw | None
    track_id: int | None = None
    """The same face over time; None in a picture."""
    interval_seconds: float = 0.0
    """How much observed time this reading stands for."""


@dataclass(frozen=True, slots=True)
class View:
    """One picture, or one frame of a video."""

    image: Image
    faces: tuple[Face, ...]
    frame: int | None = None
    """Counts a video's frames from 0."""
    seconds: float | None = None
    """Media time in a video."""


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of their names.

    Raises:
        CameraError: there are none, or the folder cannot be read.
    """
    try:
        pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    except OSError as error:
        raise CameraError(f"{folder} cannot be read ({(error.strerror or str(error)).lower()})") from error
    if not pictures:
        endings = ", ".join(sorted(PICTURE_SUFFIXES))
        raise CameraError(f"the folder {folder} has no pictures ({endings}); name a video itself")
    return pictures


class Looker:
    """Looks at one file after the other."""

    def __init__(self, config: Config) -> None:
        """Load cascade and model.

        Args:
            config: the daemon's settings.

        Raises:
            ModelError: the model is missing, damaged or breaks the contract.
        """
        self._config = config
        self._detector = HaarFaceDetector(config.faces)
        self._classifier = OnnxEmotionClassifier(
            config.model.path, precision=config.model.precision, threads=config.model.threads
        )

    @staticmethod
    def is_video(path: Path) -> bool:
        """Whether a file is taken for a video; whatever is no picture by its name is."""
        return path.suffix.lower() not in PICTURE_SUFFIXES

    def check(self, path: Path) -> None:
        """Find out early what cannot be looked at.

        Raises:
            CameraError: the file is missing, not readable or no video.
        """
        try:
            with path.open("rb"):
                pass
        except FileNotFoundError as error:
            raise CameraError(f"{path} does not exist; name a picture, a video or a folder of pictures") from error
        except OSError as error:
            raise CameraError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})") from error
        if self.is_video(path):
            try:
                VideoFile(_VIDEO, path).check()
            except CameraError as error:
                raise CameraError(f"{path} is no picture or video that OpenCV can read") from error

    def look_at_picture(self, path: Path) -> View:
        """Find and read the faces of one picture.

        Raises:
            CameraError: the picture is damaged.
        """
        try:
            image = as_image(cv2.imread(str(path), cv2.IMREAD_COLOR))
        except cv2.error:
            image = None
        if image is None:
            raise CameraError(f"{path} is no picture that OpenCV can read; save it as JPEG or PNG")
        gray = to_gray(image)
        detections = self._detector.detect(gray)
        crops = [crop_face(gray, detection.box) for detection in detections]
        flaws = [
            find_flaw(crop, detection.box, self._config.quality)
            for crop, detection in zip(crops, detections, strict=True)
        ]
        fit = [crop for crop, flaw in zip(crops, flaws, strict=True) if flaw is None]
        scores = iter(self._classifier.classify(np.stack(fit)) if fit else [])
        return View(image, tuple(self._face(*found, scores) for found in zip(detections, flaws, strict=True)))

    def watch_video(self, path: Path) -> Iterator[View]:
        """Follow the faces of a video, frame by frame.

        Raises:
            CameraError: the video is damaged.
        """
        each_frame = self._config.model.model_copy(update={"interval_seconds": 0.0})
        config = self._config.model_copy(update={"cameras": [CameraConfig(name=_VIDEO)], "model": each_frame})
        engine = AlertEngine([], [_VIDEO])
        pipeline = Pipeline(
            config,
            new_search=lambda: EveryFrameSearch(self._detector),
            classifier=self._classifier,
            engine=engine,
        )
        began = datetime.now(UTC)
        capture = VideoFile(_VIDEO, path, color=True).open()
        try:
            number = -1
            while capture.grab():
                number += 1
                seconds = capture.position_seconds
                image = capture.retrieve()
                if image is None:
                    continue
                frame = Frame(_VIDEO, image, began + timedelta(seconds=seconds), seconds)
                yield View(image, _faces(pipeline.process(frame)), number, seconds)
        finally:
            capture.close()

    def frames_per_second(self, path: Path) -> float:
        """Return a video's mean frame rate, from its time stamps rather than from what it claims."""
        capture = VideoFile(_VIDEO, path).open()
        frames = 0
        try:
            while capture.grab():
                frames += 1
            seconds = capture.position_seconds
        finally:
            capture.close()
        return (frames - 1) / seconds if seconds > 0 else _USUAL_FPS

    @staticmethod
    def _face(detection: Detection, flaw: Flaw | None, scores: Iterator[EmotionScores]) -> Face:
        return Face(detection.box, detection.view, next(scores) if flaw is None else None, flaw)


def _faces(observation: Observation) -> tuple[Face, ...]:
    """The confirmed faces of one frame with what is known of them."""
    states = {state.track_id: state for state in observation.people}
    flaws = {track.track_id: flaw for track, flaw in observation.flaws}
    faces = []
    for track in observation.tracks:
        flaw, state = flaws.get(track.track_id), states.get(track.track_id)
        scores = state.scores if state is not None and flaw is None else None
        interval = state.interval_seconds if state is not None and flaw is None else 0.0
        faces.append(Face(track.box, track.view, scores, flaw, track.track_id, interval))
    return tuple(faces)
