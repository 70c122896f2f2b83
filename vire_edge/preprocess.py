"""Frame and bounding box → the model's 48×48 grayscale face. One function for training, evaluation and the edge.

FER2013 was cut with OpenCV's frontal-face cascade, whose box covers 0.98 of a training
image's side: so the crop is the Haar box itself, without a margin.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import BoundingBox

FACE_SIZE = 48
"""Side of the model's input in pixels (FER2013's)."""


def to_gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grayscale view or copy of an image.

    Args:
        image: uint8 `[height, width]` gray, or `[height, width, 3]` in OpenCV's BGR order.

    Returns:
        uint8 `[height, width]`.
    """
    if image.ndim == 2:
        return image
    gray: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return gray


def crop_face(gray: NDArray[np.uint8], box: BoundingBox | None = None) -> NDArray[np.uint8]:
    """Cut a face and bring it to the model's size.

    Args:
        gray: uint8 `[height, width]`.
        box: the face in pixels; what lies outside the image repeats its edge. The whole
            image when omitted, as for training data that is already cut.

    Returns:
        uint8 `[48, 48]`. A 48×48 input without a box comes back unchanged.

    Raises:
        ValueError: the box does not touch the image.
    """
    if box is not None:
        height, width = gray.shape
        left, top = max(box.x, 0), max(box.y, 0)
        right, bottom = min(box.x + box.width, width), min(box.y + box.height, height)
        if left >= right or top >= bottom:
            raise ValueError(f"{box} lies outside the {width}×{height} image")
        margins = (top - box.y, box.y + box.height - bottom, left - box.x, box.x + box.width - right)
        gray = gray[top:bottom, left:right]
        if any(margins):
            gray = cv2.copyMakeBorder(gray, *margins, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    if gray.shape == (FACE_SIZE, FACE_SIZE):
        return gray
    # INTER_AREA averages what a smaller image leaves out; enlarging wants a smooth kernel instead.
    shrinking = gray.shape[0] > FACE_SIZE
    resized: NDArray[Any] = cv2.resize(
        gray, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    )
    return resized
