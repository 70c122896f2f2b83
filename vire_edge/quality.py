"""Is a face fit to be judged? One that is too small, too blurred or too dark is not observed, never guessed at."""

from __future__ import annotations

import enum

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.config import QualityConfig
from vire_edge.domain import BoundingBox


class Flaw(enum.StrEnum):
    """Why a face is not judged."""

    TOO_SMALL = "too small"
    TOO_DARK = "too dark"
    TOO_FLAT = "too little contrast"
    TOO_BLURRED = "too blurred"


def find_flaw(face: NDArray[np.uint8], box: BoundingBox, limits: QualityConfig) -> Flaw | None:
    """Look at a face before the classifier does.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000). For scale: the median of FER2013's
    training images is 1,393, of the faces in compressed 480×270 footage 100 to 280.

    Args:
        face: the crop, uint8 `[48, 48]`.
        box: where it was in the frame, pixels.
        limits: what is asked of it.

    Returns:
        The first flaw found; None if the face can be judged.
    """
    if box.width < limits.min_size_pixels:
        return Flaw.TOO_SMALL
    mean, deviation = cv2.meanStdDev(face)
    if mean[0, 0] < limits.min_brightness:
        return Flaw.TOO_DARK
    if deviation[0, 0] < limits.min_contrast:
        return Flaw.TOO_FLAT
    _, laplacian_deviation = cv2.meanStdDev(cv2.Laplacian(face, cv2.CV_32F))
    return Flaw.TOO_BLURRED if laplacian_deviation[0, 0] ** 2 < limits.min_sharpness else None
