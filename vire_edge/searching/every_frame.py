"""The plain search: everywhere, in each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import Detection
from vire_edge.searching.detector import FaceDetector


class EveryFrameSearch:
    """What a schedule saves is measured against this."""

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector

    def find(self, gray: NDArray[np.uint8], *, now: float) -> Sequence[Detection]:  # noqa: ARG002 - no schedule
        """Return all faces in the image."""
        return self._detector.detect(gray)

    def reset(self) -> None:
        """Nothing is remembered."""
