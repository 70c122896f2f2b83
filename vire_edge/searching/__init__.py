"""Where and when faces are looked for: everywhere in each frame, or only where one can have come, moved or gone."""

from __future__ import annotations

from vire_edge.config import FacesConfig
from vire_edge.faces import HaarFaceDetector
from vire_edge.searching.detector import FaceDetector
from vire_edge.searching.every_frame import EveryFrameSearch
from vire_edge.searching.scheduled import ScheduledSearch

__all__ = ["EveryFrameSearch", "FaceDetector", "ScheduledSearch", "build_search"]


def build_search(config: FacesConfig, detector: FaceDetector | None = None) -> EveryFrameSearch | ScheduledSearch:
    """Return the configured search for the frames of one camera.

    Args:
        config: which one.
        detector: looks at pictures; the Haar cascades if left out.

    Raises:
        DependencyError: OpenCV's cascades are missing or damaged.
    """
    detector = HaarFaceDetector(config) if detector is None else detector
    if config.search == "every_frame":
        return EveryFrameSearch(detector)
    return ScheduledSearch(detector, max_faces=config.max_faces)
