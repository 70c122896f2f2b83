"""The pipeline as the daemon runs it: a frame on which it fails costs that frame, lasting failure is trouble."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from vire_edge.domain import CameraState, EpisodeEvent, Frame, Instant
from vire_edge.pipeline import Observation, Pipeline

TROUBLE_FRAMES = 3
"""So many failures in a row are no accident of one frame."""
STANDSTILL_SECONDS = 10.0
"""After this long without a frame that could be analysed the pipeline is built anew."""

log = structlog.get_logger()


class Analysis:
    """Analyses frames, whatever happens in between.

    Args:
        pipeline: the first one.
        build_anew: makes another over the same alert engine.
    """

    def __init__(self, pipeline: Pipeline, build_anew: Callable[[], Pipeline]) -> None:
        self._pipeline = pipeline
        self._build_anew = build_anew
        self._failures = 0
        self._failing_since: float | None = None

    @property
    def in_trouble(self) -> bool:
        """Whether faces cannot be judged now, for no fault of the camera."""
        return self._failures >= TROUBLE_FRAMES

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
            self._failures += 1
            if self._failing_since is None:
                self._failing_since = now
                log.exception("a frame could not be analysed", camera=frame.camera, reason=str(error))
            return None
        if self.in_trouble:
            log.info("frames are analysed again", camera=frame.camera, lost=self._failures)
        self._failures, self._failing_since = 0, None
        return observation

    def check_camera(self, state: CameraState, *, now: Instant) -> Sequence[EpisodeEvent]:
        """Take in a camera's state; while nothing can be judged, nobody is taken to be absent."""
        return self._pipeline.check_camera(state, judging=not self.in_trouble, now=now)

    def stop(self, *, now: Instant) -> Sequence[EpisodeEvent]:
        """End all open episodes, because nobody watches any more."""
        return self._pipeline.stop(now=now)

    def complaint(self, now: float) -> str:
        """What stands still, `now` in monotonic seconds; empty while frames are analysed or none come."""
        if self._failing_since is None or now - self._failing_since < STANDSTILL_SECONDS:
            return ""
        return f"has failed on {self._failures} frames in {now - self._failing_since:.0f} s"

    def restart(self) -> None:
        """Build the pipeline anew: the detector's files and the model are read again.

        Raises:
            ModelError: the model cannot be read any more.
        """
        self._failing_since = None
        self._pipeline = self._build_anew()
