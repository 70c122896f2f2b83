"""The pipeline as the daemon runs it: a frame on which it fails costs that frame, lasting failure is trouble."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from vire_edge.domain import CameraState, CameraStatus, EpisodeEvent, Frame, Instant
from vire_edge.pipeline import Observation, Pipeline

TROUBLE_FRAMES = 3
"""So many failures in a row are no accident of one frame."""
STANDSTILL_SECONDS = 10.0
"""After this long in which frames came and none could be analysed, the pipeline is built anew."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Failure:
    """One camera's frames that could not be analysed, without one in between that could."""

    since: float
    last: float
    frames: int = 1


class Analysis:
    """Analyses frames, whatever happens in between.

    Args:
        pipeline: the first one.
        build_anew: makes another over the same alert engine.
    """

    def __init__(self, pipeline: Pipeline, build_anew: Callable[[], Pipeline]) -> None:
        self._pipeline = pipeline
        self._build_anew = build_anew
        self._failures: dict[str, _Failure] = {}
        self._succeeded_at = float("-inf")

    @property
    def in_trouble(self) -> bool:
        """Whether some camera's faces cannot be judged now, for no fault of the camera."""
        return any(map(self._is_blind, self._failures))

    def process(self, frame: Frame, *, now: float) -> Observation | None:
        """Analyse a frame; None where that failed.

        Args:
            frame: the newest of its camera.
            now: monotonic seconds.
        """
        try:
            observation = self._pipeline.process(frame)
        except Exception as error:
            # The supervisor's broad catch: OpenCV, ONNX Runtime and a mistake of ours fail in their own ways, and
            # none of them may leave a home without its alerts.
            failure = self._failures.get(frame.camera)
            if failure is None:
                self._failures[frame.camera] = _Failure(now, now)
                log.exception("a frame could not be analysed", camera=frame.camera, reason=str(error))
            else:
                failure.last, failure.frames = now, failure.frames + 1
            return None
        if self._is_blind(frame.camera):
            log.info("frames are analysed again", camera=frame.camera, lost=self._failures[frame.camera].frames)
        self._failures.pop(frame.camera, None)
        self._succeeded_at = now
        return observation

    def check_camera(self, state: CameraState, *, now: Instant) -> Sequence[EpisodeEvent]:
        """Take in a camera's state; while nothing can be judged, nobody is taken to be absent."""
        if state.status not in {CameraStatus.ONLINE, CameraStatus.DARK}:
            self._failures.pop(state.camera, None)  # no frames, no failure
        return self._pipeline.check_camera(state, judging=not self._is_blind(state.camera), now=now)

    def stop(self, *, now: Instant) -> Sequence[EpisodeEvent]:
        """End all open episodes, because nobody watches any more."""
        return self._pipeline.stop(now=now)

    def complaint(self, now: float) -> str:
        """What stands still, `now` in monotonic seconds; empty while any frame is analysed, or none come."""
        recent = [failure for failure in self._failures.values() if now - failure.last < STANDSTILL_SECONDS]
        if not recent or now - max(self._succeeded_at, min(one.since for one in recent)) < STANDSTILL_SECONDS:
            return ""
        frames, seconds = sum(one.frames for one in recent), now - min(one.since for one in recent)
        return f"has failed on {frames} frames in {seconds:.0f} s" if self.in_trouble else ""

    def restart(self) -> None:
        """Build the pipeline anew: the detector's files and the model are read again.

        Raises:
            ModelError: the model cannot be read any more.
        """
        for failure in self._failures.values():
            failure.since = failure.last
        self._pipeline = self._build_anew()

    def _is_blind(self, camera: str) -> bool:
        failure = self._failures.get(camera)
        return failure is not None and failure.frames >= TROUBLE_FRAMES
