"""A face's picture, reduced, and where it is in the next frame: cheaper by far than asking the cascade again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import BoundingBox

SIDE = 24
"""Pixels across that a face is reduced to."""
REACH = 0.25
"""How far a face may have moved, in widths of its box."""
MIN_CORRELATION = 0.8
"""Normalized correlation under which it is not the same picture any more: turned away, covered or gone."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What the cascade took for a face."""

    pixels: NDArray[np.uint8]

    @classmethod
    def cut(cls, gray: NDArray[np.uint8], box: BoundingBox) -> Patch | None:
        """Cut a face out; None where its box is not whole inside the picture."""
        height, width = gray.shape
        if box.clipped(width, height) != box:
            return None
        face = gray[box.y : box.y + box.height, box.x : box.x + box.width]
        return cls(_reduce(face, SIDE, SIDE))

    def find(self, gray: NDArray[np.uint8], last: BoundingBox) -> BoundingBox | None:
        """Return where the face is now, at the same size, if it still looks like itself within `REACH`."""
        height, width = gray.shape
        area = last.grown(round(last.width * REACH)).clipped(width, height)
        scale = SIDE / last.width
        columns, rows = round(area.width * scale), round(area.height * scale)
        if columns < SIDE or rows < SIDE:
            return None
        around = _reduce(gray[area.y : area.y + area.height, area.x : area.x + area.width], columns, rows)
        correlations = np.asarray(cv2.matchTemplate(around, self.pixels, cv2.TM_CCOEFF_NORMED), np.float32)
        _, best, _, (column, row) = cv2.minMaxLoc(correlations)
        if best < MIN_CORRELATION:
            return None
        x, y = column + _peak(correlations[row], column), row + _peak(correlations[:, column], row)
        return BoundingBox(area.x + round(x / scale), area.y + round(y / scale), last.width, last.height)


def _peak(values: NDArray[np.float32], index: int) -> float:
    """How far beside the largest value the peak lies, of the parabola through it and its neighbours; -0.5 to 0.5."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, at, after = (float(value) for value in values[index - 1 : index + 2])
    bend = before - 2 * at + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0


def _reduce(gray: NDArray[np.uint8], columns: int, rows: int) -> NDArray[np.uint8]:
    # Averaging over all pixels tells hardly more, and takes four times as long for a large face.
    return np.asarray(cv2.resize(gray, (columns, rows), interpolation=cv2.INTER_LINEAR), np.uint8)
