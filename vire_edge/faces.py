"""Grayscale image → faces, with OpenCV's Haar cascades (Viola and Jones 2001)."""

from __future__ import annotations

from pathlib import Path

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from vire_edge.config import FacesConfig
from vire_edge.domain import BoundingBox, Detection, FaceView
from vire_edge.errors import DependencyError

FRONTAL_CASCADE = "haarcascade_frontalface_default.xml"
"""The cascade that FER2013 was cut with."""
PROFILE_CASCADE = "haarcascade_profileface.xml"
"""Knows faces that look to the image's left; the mirrored image shows it the others."""
SAME_FACE_IOU = 0.3
"""Boxes of two cascades that overlap more than this are one face."""


class HaarFaceDetector:
    """Searches a whole image for frontal faces and, as an option, for profiles to both sides."""

    def __init__(self, config: FacesConfig) -> None:
        self._config = config
        self._frontal = _load(FRONTAL_CASCADE)
        self._profile = _load(PROFILE_CASCADE) if config.profile else None

    def detect(self, gray: NDArray[np.uint8]) -> list[Detection]:
        """Find faces.

        Args:
            gray: uint8 `[height, width]`.

        Returns:
            One detection for each face, boxes in pixels of `gray`, the largest first.
        """
        scale = min(1.0, self._config.search_width / gray.shape[1])
        if min(gray.shape) * scale < self._config.min_size_pixels:
            return []  # no face fits in
        searched = gray if scale == 1.0 else cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found = [Detection(box) for box in self._search(self._frontal, searched)]
        if self._profile is not None:
            sides = [
                *(Detection(box, FaceView.LEFT_PROFILE) for box in self._search(self._profile, searched)),
                *(
                    Detection(_mirror(box, searched.shape[1]), FaceView.RIGHT_PROFILE)
                    for box in self._search(self._profile, cv2.flip(searched, 1))
                ),
            ]
            for side in sides:
                if all(side.box.iou(other.box) < SAME_FACE_IOU for other in found):
                    found.append(side)
        if scale != 1.0:
            found = [Detection(_scale(detection.box, 1 / scale), detection.view) for detection in found]
        return sorted(found, key=lambda detection: -detection.box.area)

    def _search(self, cascade: cv2.CascadeClassifier, gray: cv2.typing.MatLike) -> list[BoundingBox]:
        boxes = cascade.detectMultiScale(
            gray,
            scaleFactor=self._config.scale_factor,
            minNeighbors=self._config.min_neighbors,
            minSize=(self._config.min_size_pixels, self._config.min_size_pixels),
        )
        return [BoundingBox(*(int(value) for value in box)) for box in boxes]


def _load(name: str) -> cv2.CascadeClassifier:
    path = Path(cv2.data.haarcascades) / name
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise DependencyError(f"face cascade {path} is missing or damaged; reinstall opencv-python 4")
    return cascade


def _mirror(box: BoundingBox, image_width: int) -> BoundingBox:
    return BoundingBox(image_width - box.x - box.width, box.y, box.width, box.height)


def _scale(box: BoundingBox, factor: float) -> BoundingBox:
    return BoundingBox(*(round(value * factor) for value in (box.x, box.y, box.width, box.height)))
