"""Frame → faces → tracks → emotions → states → episodes, for all cameras. Reads as the specification.

Owns the Protocols that the stages fulfil; does no I/O and reads no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vire_edge.alerts import AlertEngine
from vire_edge.config import Config, QualityConfig
from vire_edge.domain import (
    CameraState,
    CameraStatus,
    Detection,
    EmotionScores,
    EmotionState,
    EndReason,
    EpisodeEvent,
    Frame,
    Instant,
    Track,
)
from vire_edge.preprocess import crop_face, to_gray
from vire_edge.quality import Flaw, find_flaw
from vire_edge.smoothing import Smoother
from vire_edge.tracking import Tracker

LINGER_SECONDS = 2.0
"""A face that the detector misses for a moment is still in view."""
UNDECIDED_MARGIN = 0.2
"""A face whose most probable emotion leads by less wavers between two, and is read four times as often: which of them
comes first is then the same as if it were read in each frame in 99 % of seconds, instead of 94 %."""


class FaceSearch(Protocol):
    """Finds the faces of one camera's frames, grayscale uint8 `[height, width]`, in the order of time."""

    def find(self, gray: NDArray[np.uint8], *, now: float) -> Sequence[Detection]:
        """Return the faces in the frame of `now`, monotonic seconds, with their boxes in pixels of `gray`."""
        ...

    def reset(self) -> None:
        """Forget what was found: the camera was interrupted."""
        ...


class EmotionClassifier(Protocol):
    """Scores a batch of faces, uint8 `[N, 48, 48]`."""

    def classify(self, faces: NDArray[np.uint8]) -> Sequence[EmotionScores]:
        """Return N scores in the order of `faces`."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """What one frame showed."""

    camera: str
    at: Instant
    faces: tuple[Detection, ...]
    """What was found in this frame, whether it lasts or not."""
    tracks: tuple[Track, ...]
    """The confirmed faces in this frame."""
    people: tuple[EmotionState, ...]
    """Everybody in view whose emotion is known, the frame's own and those that it missed for a moment."""
    flaws: tuple[tuple[Track, Flaw], ...]
    """Faces of this frame that could not be judged."""
    not_observed: int
    """Faces in view without a known emotion."""
    events: tuple[EpisodeEvent, ...]


@dataclass(slots=True)
class _InView:
    """One face in view."""

    last_seen: float
    state: EmotionState | None = None
    last_judged: float = float("-inf")

    def is_due(self, interval_seconds: float, now: float) -> bool:
        """Whether its emotion is to be read again; a tenth early counts, because frames come on a grid of their own."""
        if self.state is not None and self.state.scores.margin < UNDECIDED_MARGIN:
            interval_seconds /= 4
        return now - self.last_judged >= 0.9 * interval_seconds


@dataclass(slots=True)
class _CameraStages:
    """What the pipeline keeps for one camera."""

    search: FaceSearch
    tracker: Tracker
    smoother: Smoother
    in_view: dict[int, _InView] = field(default_factory=dict)
    last_frame: Instant | None = None


class Pipeline:
    """All stages behind the cameras.

    Args:
        config: settings of the stages.
        new_search: makes what finds the faces of one camera.
        classifier: reads emotions.
        engine: knows the alert rules.
    """

    def __init__(
        self,
        config: Config,
        *,
        new_search: Callable[[], FaceSearch],
        classifier: EmotionClassifier,
        engine: AlertEngine,
    ) -> None:
        self._classifier = classifier
        self._read_interval = config.model.interval_seconds
        self._quality: QualityConfig = config.quality
        self._remember_seconds = config.tracking.remember_seconds
        self.engine = engine
        self._cameras = {
            camera.name: _CameraStages(
                new_search(),
                Tracker(
                    camera.name,
                    min_hits=config.tracking.min_hits,
                    min_iou=config.tracking.min_iou,
                    remember_seconds=config.tracking.remember_seconds,
                    max_distance=config.tracking.max_distance,
                ),
                Smoother(
                    time_constant_seconds=config.smoothing.time_constant_seconds,
                    max_gap_seconds=config.smoothing.max_gap_seconds,
                ),
            )
            for camera in config.cameras
        }

    def process(self, frame: Frame) -> Observation:
        """Take one frame through all stages."""
        stages = self._cameras[frame.camera]
        stages.last_frame, now = frame.instant, frame.monotonic
        gray = to_gray(frame.image)
        faces = stages.search.find(gray, now=now)
        tracks = stages.tracker.update(faces, now=now)
        for track in tracks:
            stages.in_view.setdefault(track.track_id, _InView(now)).last_seen = now
        due = [track for track in tracks if stages.in_view[track.track_id].is_due(self._read_interval, now)]
        judged, flaws = self._classify(gray, due)
        stages.smoother.keep(stages.tracker.remembered)
        states = [stages.smoother.update(track.track_id, scores, now=now) for track, scores in judged]
        people, not_observed = self._look_around(stages, states, now)
        events = self.engine.observe(
            frame.camera, states, seen=bool(tracks), remembered=stages.tracker.remembered, now=frame.instant
        )
        return Observation(
            frame.camera,
            frame.instant,
            faces=tuple(faces),
            tracks=tuple(tracks),
            people=people,
            flaws=tuple(flaws),
            not_observed=not_observed,
            events=tuple(events),
        )

    def check_camera(self, state: CameraState, *, judging: bool = True, now: Instant) -> list[EpisodeEvent]:
        """Take in a camera's state about once a second, frames or not; `judging` if its frames can be analysed."""
        stages = self._cameras[state.camera]
        now = _not_before(now, stages.last_frame)
        events = self.engine.check_camera(state.camera, state.status, judging=judging, now=now)
        if state.status is CameraStatus.DISABLED:
            return [*events, *self._forget(state.camera, stages, EndReason.CAMERA_DISABLED, now)]
        blind = state.status in {CameraStatus.RECONNECTING, CameraStatus.STALLED}
        since_frame = 0.0 if stages.last_frame is None else now.monotonic - stages.last_frame.monotonic
        if blind and since_frame > self._remember_seconds:
            return [*events, *self._forget(state.camera, stages, EndReason.OUT_OF_VIEW, now)]
        return events

    def stop(self, *, now: Instant) -> list[EpisodeEvent]:
        """End all open episodes, because nobody watches any more."""
        for stages in self._cameras.values():
            now = _not_before(now, stages.last_frame)
        return self.engine.stop(now=now)

    def _classify(
        self, gray: NDArray[np.uint8], tracks: Sequence[Track]
    ) -> tuple[list[tuple[Track, EmotionScores]], list[tuple[Track, Flaw]]]:
        """Score all faces that can be judged, in one batch."""
        fit: list[Track] = []
        faces: list[NDArray[np.uint8]] = []
        flaws: list[tuple[Track, Flaw]] = []
        for track in tracks:
            face = crop_face(gray, track.box)
            flaw = find_flaw(face, track.box, self._quality)
            if flaw is None:
                fit.append(track)
                faces.append(face)
            else:
                flaws.append((track, flaw))
        if not faces:
            return [], flaws
        return list(zip(fit, self._classifier.classify(np.stack(faces)), strict=True)), flaws

    def _look_around(
        self, stages: _CameraStages, states: Sequence[EmotionState], now: float
    ) -> tuple[tuple[EmotionState, ...], int]:
        """Who is in view, known and unknown."""
        for state in states:
            seen = stages.in_view[state.track_id]
            seen.state, seen.last_judged = state, now
        stages.in_view = {
            track_id: seen for track_id, seen in stages.in_view.items() if now - seen.last_seen <= LINGER_SECONDS
        }
        people = tuple(
            seen.state
            for seen in stages.in_view.values()
            if seen.state is not None and now - seen.last_judged <= LINGER_SECONDS
        )
        return people, len(stages.in_view) - len(people)

    def _forget(self, camera: str, stages: _CameraStages, reason: EndReason, now: Instant) -> list[EpisodeEvent]:
        stages.search.reset()
        stages.tracker.reset()
        stages.smoother.keep(())
        stages.in_view.clear()
        return self.engine.release(camera, reason, now=now)


def _not_before(now: Instant, last_frame: Instant | None) -> Instant:
    """The later of both: a recording that is read faster than it plays is ahead of the clock on the wall."""
    return last_frame if last_frame is not None and last_frame.monotonic > now.monotonic else now
