"""Where a picture has changed since faces were looked for there: a face can only have come or gone there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import BoundingBox

CELLS_ACROSS = 80
"""The picture is compared as so many cells in each row; the smallest face covers five by five of them."""
MIN_CHANGE = 5.0
"""Gray levels of 255 by which a cell must differ. It averages the noise of 64 pixels: that of a dim room with a
deviation of 10 levels to little more than 1."""
NEIGHBORHOOD = 7
"""Cells across over which the light is taken away: a cloud, a lamp and the camera's own exposure change no face."""
GAP_CELLS = 3
"""Changes that are no farther apart are searched together."""
MIN_CELLS = 3
"""Fewer cells are a speck: the smallest face would change many more."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Cells of a picture of one size."""

    shape: tuple[int, int]
    columns: int
    rows: int

    @classmethod
    def over(cls, shape: tuple[int, int]) -> _Grid:
        height, width = shape
        columns = min(CELLS_ACROSS, width)
        return cls(shape, columns, max(1, round(height * columns / width)))

    def reduce(self, gray: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what each cell differs from its neighborhood by, `[rows, columns]`."""
        while gray.shape[1] >= 4 * self.columns and gray.shape[0] >= 4 * self.rows:
            # Halving averages exactly and has a path of its own in OpenCV: twice as fast as going there at once.
            half = (gray.shape[1] // 2, gray.shape[0] // 2)
            gray = np.asarray(cv2.resize(gray, half, interpolation=cv2.INTER_AREA), np.uint8)
        cells = cv2.resize(gray, (self.columns, self.rows), interpolation=cv2.INTER_AREA).astype(np.float32)
        return cells - np.asarray(cv2.blur(cells, (NEIGHBORHOOD, NEIGHBORHOOD)), np.float32)

    def cells(self, box: BoundingBox) -> tuple[slice, slice]:
        """Return the rows and columns that a box in pixels touches."""
        height, width = self.shape
        inside, x, y = box.clipped(width, height), self.columns / width, self.rows / height
        bottom, right = math.ceil((inside.y + inside.height) * y), math.ceil((inside.x + inside.width) * x)
        return slice(int(inside.y * y), bottom), slice(int(inside.x * x), right)

    def pixels(self, left: int, top: int, columns: int, rows: int) -> BoundingBox:
        """Return the box in pixels that covers a box of cells."""
        height, width = self.shape
        x, y = width / self.columns, height / self.rows
        x0, y0 = int(left * x), int(top * y)
        return BoundingBox(x0, y0, math.ceil((left + columns) * x) - x0, math.ceil((top + rows) * y) - y0)


class Changes:
    """The cells of one camera's picture: how they looked last, and which have yet to be searched."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Begin with everything to be searched.

        Args:
            shape: (height, width) of the pictures in pixels.
        """
        self._grid = _Grid.over(shape)
        self._known: NDArray[np.float32] | None = None
        self._changed = np.ones((self._grid.rows, self._grid.columns), np.bool_)
        self._unsearched = self._changed.copy()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the pictures in pixels."""
        return self._grid.shape

    def take(self, gray: NDArray[np.uint8]) -> None:
        """Compare a picture with what was seen before; a change that creeps adds up until it counts."""
        cells = self._grid.reduce(gray)
        if self._known is None:
            self._known = cells
            return
        self._changed = np.abs(cells - self._known) >= MIN_CHANGE
        if self._changed.any():
            self._known[self._changed] = cells[self._changed]
            self._unsearched |= self._changed

    @property
    def any(self) -> bool:
        """Whether anything changed in the last picture."""
        return bool(self._changed.any())

    def touch(self, box: BoundingBox) -> bool:
        """Whether the last picture changed inside a box in pixels."""
        return bool(self._changed[self._grid.cells(box)].any())

    def unsearched(self, apart_from: Iterable[BoundingBox]) -> list[BoundingBox]:
        """Return the parts in pixels that are to be searched; `apart_from` is looked after."""
        if not self._unsearched.any():
            return []
        cells = self._unsearched.astype(np.uint8)
        for box in apart_from:
            cells[self._grid.cells(box)] = 0
        joined = cv2.dilate(cells, np.ones((GAP_CELLS, GAP_CELLS), np.uint8))
        _, labels, areas, _ = cv2.connectedComponentsWithStats(joined)
        changed = np.bincount(labels[cells > 0], minlength=len(areas))
        return [
            self._grid.pixels(*(int(side) for side in areas[label, :4]))
            for label in range(1, len(areas))
            if changed[label] >= MIN_CELLS
        ]

    def searched(self) -> None:
        """Everything has been searched as it looks now."""
        self._unsearched[:] = False

    def search_again(self, box: BoundingBox | None = None) -> None:
        """Have a box in pixels searched again, or everything."""
        self._unsearched[... if box is None else self._grid.cells(box)] = True
