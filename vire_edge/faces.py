"""Grayscale image → faces, with OpenCV's Haar cascades (Viola and Jones 2001)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
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


COARSE_SIDE = 34
"""Pixels to which a proposed face is reduced at the least, of the cascade's 24: the search is coarse, and cheap. Of 367
faces of FER2013 that the full search finds in pictures of a room it proposes 94 %, on the other grid 90 %, on one of
both 98.6 %: as many as the full search itself finds again when the noise is another."""
COARSE_STEP = 1.2
"""Step between the sizes of proposals; closer ones cost more and find no more."""
CLOSE_SIDES = (34, 72)
"""Pixels to which a face is reduced when it is looked at closely. OpenCV tries every second place of a picture up to
twice the cascade's 24 pixels, and every place beyond: the first is quick, the second as thorough as a whole search."""
NEW_SHARE, KNOWN_SHARE = 0.8, 0.5
"""Share of the hits that a whole search asks for, when a new or a known face is looked at closely: few sizes are
searched, so fewer of them can agree."""
SIZE_CHANGE = 1.25
"""A face that is looked for again is at most so much larger or smaller than expected."""


class HaarFaceDetector:
    """Finds frontal faces and, as an option, profiles to both sides."""

    def __init__(self, config: FacesConfig) -> None:
        self._config = config
        self._frontal = _load(FRONTAL_CASCADE)
        self._profile = _load(PROFILE_CASCADE) if config.profile else None

    def detect(self, gray: NDArray[np.uint8]) -> list[Detection]:
        """Find all faces in an image.

        Args:
            gray: uint8 `[height, width]`.

        Returns:
            One detection for each face, boxes in pixels of `gray`, the largest first.
        """
        scale = self._search_scale(gray)
        if min(gray.shape) * scale < self._config.min_size_pixels:
            return []  # no face fits in
        searched = gray
        if scale != 1.0:
            searched = np.asarray(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        smallest = self._config.min_size_pixels
        found: list[Detection] = []
        for view in self._views():
            for box in self._search(
                view, searched, self._config.scale_factor, self._config.min_neighbors, (smallest, 0)
            ):
                if all(box.iou(other.box) < SAME_FACE_IOU for other in found if other.view is not view):
                    found.append(Detection(box, view))
        if scale != 1.0:
            found = [Detection(_scale(detection.box, 1 / scale), detection.view) for detection in found]
        return sorted(found, key=lambda detection: -detection.box.area)

    def propose(self, gray: NDArray[np.uint8], changed: Sequence[BoundingBox], *, again: bool) -> Iterator[Detection]:
        """Find what may be a face in parts of an image that changed; coarsely, and one size after the other.

        Args:
            gray: uint8 `[height, width]`.
            changed: the parts, in pixels; a face reaches out of them by its own width at most.
            again: look on another grid of pixels than otherwise, because what one misses the other shows.

        Yields:
            Candidates, false ones among them, boxes in pixels of `gray`.
        """
        height, width = gray.shape
        size = self._smallest(gray) * (COARSE_STEP if again else 1.0)
        while size <= min(height, width):
            scale = min(1.0, COARSE_SIDE / size)
            smallest = round(size * scale)
            for area in _joined([part.grown(round(size)).clipped(width, height) for part in changed]):
                reduced = _cut(gray, area, scale)
                for view in self._views():
                    for box in self._search(view, reduced, COARSE_STEP, 1, (smallest, 2 * smallest)):
                        yield Detection(_place(box, area, scale), view)
            size *= 2

    def look(self, gray: NDArray[np.uint8], expected: Detection, *, reach: float, known: bool) -> Detection | None:
        """Find one face about where it is expected.

        Args:
            gray: uint8 `[height, width]`.
            expected: where, how large and from which side, pixels of `gray`.
            reach: how far it may have moved, in widths of its box.
            known: whether it is certain that there was one; fewer hits are enough then.

        Returns:
            The face that is nearest to what was expected, or None.
        """
        height, width = gray.shape
        side = expected.box.width
        area = expected.box.grown(round(side * reach)).clipped(width, height)
        smallest, largest = max(side / SIZE_CHANGE, self._smallest(gray)), side * SIZE_CHANGE
        neighbors = math.ceil((KNOWN_SHARE if known else NEW_SHARE) * self._config.min_neighbors)
        for close_side in CLOSE_SIDES:
            scale = min(1.0, close_side / side)
            picture, sides = _cut(gray, area, scale), (round(smallest * scale), math.ceil(largest * scale))
            for view in sorted(self._views(), key=lambda view: view is not expected.view):
                boxes = self._search(view, picture, self._config.scale_factor, neighbors, sides)
                found = [Detection(_place(box, area, scale), view) for box in boxes]
                if found:
                    return max(found, key=lambda one: one.box.iou(expected.box))
        return None

    def _views(self) -> Iterable[FaceView]:
        return tuple(FaceView) if self._profile is not None else (FaceView.FRONTAL,)

    def _search_scale(self, gray: NDArray[np.uint8]) -> float:
        return min(1.0, self._config.search_width / int(gray.shape[1]))

    def _smallest(self, gray: NDArray[np.uint8]) -> float:
        """Side in pixels of `gray` of the smallest face that is searched for."""
        return self._config.min_size_pixels / self._search_scale(gray)

    def _search(
        self,
        view: FaceView,
        gray: NDArray[np.uint8],
        step: float,
        neighbors: int,
        sides: tuple[int, int],
    ) -> list[BoundingBox]:
        """Run one cascade over faces with `sides` from the one to the other, in pixels of `gray`; 0 is no limit."""
        smallest, largest = sides
        cascade = self._frontal if view is FaceView.FRONTAL else self._profile
        if cascade is None or min(gray.shape) < smallest:
            return []
        mirrored = view is FaceView.RIGHT_PROFILE
        found = cascade.detectMultiScale(
            cv2.flip(gray, 1) if mirrored else gray,
            scaleFactor=step,
            minNeighbors=neighbors,
            minSize=(smallest, smallest),
            maxSize=(largest, largest),
        )
        boxes = [BoundingBox(*(int(value) for value in box)) for box in found]
        return [_mirror(box, gray.shape[1]) for box in boxes] if mirrored else boxes


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


def _cut(gray: NDArray[np.uint8], area: BoundingBox, scale: float) -> NDArray[np.uint8]:
    """Cut out a part of an image and reduce it, as roughly as OpenCV reduces inside a search."""
    part = gray[area.y : area.y + area.height, area.x : area.x + area.width]
    if scale == 1.0 or not part.size:
        return part
    size = (max(1, round(area.width * scale)), max(1, round(area.height * scale)))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _place(box: BoundingBox, area: BoundingBox, scale: float) -> BoundingBox:
    """Turn a box in a reduced part into pixels of the whole."""
    found = _scale(box, 1 / scale)
    return BoundingBox(area.x + found.x, area.y + found.y, found.width, found.height)


def _joined(parts: Iterable[BoundingBox]) -> list[BoundingBox]:
    """Boxes that overlap become the one around them."""
    joined: list[BoundingBox] = []
    for part in parts:
        box = part
        while overlapping := [other for other in joined if box.iou(other) > 0]:
            joined = [other for other in joined if other not in overlapping]
            box = box.around(*overlapping)
        joined.append(box)
    return joined
