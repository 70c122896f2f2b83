"""What a search asks of a face detector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import BoundingBox, Detection


class FaceDetector(Protocol):
    """Finds faces in grayscale images, uint8 `[height, width]`; boxes are in pixels of the image."""

    def detect(self, gray: NDArray[np.uint8]) -> Sequence[Detection]:
        """Return all faces in the image, the largest first: thorough, and dear."""

    def propose(self, gray: NDArray[np.uint8], changed: Sequence[BoundingBox], *, again: bool) -> Iterable[Detection]:
        """Return what may be a face in the parts that `changed`: cheap, and to be looked at closer.

        Args:
            gray: the image.
            changed: the parts, in pixels.
            again: find what the same search without it can miss.
        """

    def look(self, gray: NDArray[np.uint8], expected: Detection, *, reach: float, known: bool) -> Detection | None:
        """Return the face about where one is expected, if there is one.

        Args:
            gray: the image.
            expected: where, how large and from which side.
            reach: how far it may have moved, in widths of its box.
            known: whether it is certain that there was one.
        """
