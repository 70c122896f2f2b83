"""Plain scenes in which an expression is looked for and read, as the daemon would: the cascade, its box, the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS, BoundingBox
from vire_edge.errors import DependencyError
from vire_edge.preprocess import crop_face

SIDE = 192
"""Side of a picture in pixels."""
MEAN_GRAY = 128.0
"""Of the background, and the mean of a picture; FER2013's training faces have 135."""
SIDES = range(120, 241, 12)
"""Sizes in pixels at which a picture is pasted."""

Picture = NDArray[np.float32]
Read = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
"""Faces uint8 `[N, 48, 48]` → probabilities `[N, 7]`."""


class FrontalCascade:
    """Finds the one face in a picture, with the cascade that FER2013 was cut with."""

    def __init__(self) -> None:
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise DependencyError(f"face cascade {path} is missing or damaged; reinstall opencv-python 4")

    def largest(self, gray: NDArray[np.uint8], smallest_side: int = 48) -> BoundingBox | None:
        """The largest face in uint8 `[height, width]`, or None."""
        boxes = self._cascade.detectMultiScale(
            gray, scaleFactor=1.1, minNeighbors=5, minSize=(smallest_side, smallest_side)
        )
        if not len(boxes):
            return None
        return BoundingBox(*(int(value) for value in max(boxes, key=lambda box: box[2])))


def scene(
    picture: NDArray[np.uint8], side: int, x: int, y: int, *, width: int = 640, height: int = 480
) -> NDArray[np.uint8]:
    """Paste a picture with a soft elliptical edge on a plain gray background.

    Args:
        picture: uint8 `[192, 192]`.
        side: the pasted size in pixels.
        x: left edge in the scene.
        y: top edge in the scene.
        width: of the scene.
        height: of the scene.

    Returns:
        uint8 `[height, width]`.
    """
    canvas = np.full((height, width), MEAN_GRAY, np.float32)
    face = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if side < SIDE else cv2.INTER_CUBIC)
    mask = soft_ellipse(side)
    area = canvas[y : y + side, x : x + side]
    area += (face.astype(np.float32) - area) * mask
    return np.rint(canvas).astype(np.uint8)


def soft_ellipse(side: int) -> Picture:
    """Mask `[side, side]`, 1 inside an upright ellipse that fills the square and 0 outside, soft between."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    radius = np.sqrt((axis[None, :] / 0.94) ** 2 + axis[:, None] ** 2)
    return np.asarray(np.clip((1.0 - radius) / 0.12, 0, 1), np.float32)


def check(picture: NDArray[np.uint8], read: Read, cascade: FrontalCascade) -> tuple[float, NDArray[np.floating[Any]]]:
    """Look for a picture in scenes of several sizes and places, and read it there.

    Returns:
        The share of scenes in which the cascade finds it, and the probabilities `[found, 7]`.
    """
    crops: list[NDArray[np.uint8]] = []
    for number, side in enumerate(SIDES):
        gray = scene(picture, side, 150 + 7 * number, 100 + 3 * number)
        box = cascade.largest(gray)
        if box is not None:
            crops.append(crop_face(gray, box))
    if not crops:
        return 0.0, np.zeros((0, len(EMOTIONS)))
    return len(crops) / len(SIDES), read(np.stack(crops))
