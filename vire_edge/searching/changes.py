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
MIN_CHANGE = 4.0
"""Gray levels of 255 by which a cell and those next to it must differ on average. Each averages the noise of 64 pixels:
that of a dim room with a deviation of 10 levels makes two pictures differ by 1.4, and with nine cells by 1.4 ± 0.35."""
BESIDE = np.ones((3, 3), np.uint8)
"""A cell and those next to it."""
NEIGHBORHOOD = 7
"""Cells across over which the light is taken away: a cloud, a lamp and the camera's own exposure change no face."""
SEARCHES = 2
"""So often is searched what changed: a coarse search misses a face now and then, which might not move again."""
MIN_CELLS = 10
"""Fewer cells are a speck, one cell and those next to it: the smallest face would change many more."""


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
    """The cells of one camera's picture: how they looked last, and how often they have yet to be searched."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """Begin with everything to be searched.

        Args:
            shape: (height, width) of the pictures in pixels.
        """
        self._grid = _Grid.over(shape)
        self._known: NDArray[np.float32] | None = None
        self._changed = np.ones((self._grid.rows, self._grid.columns), np.bool_)
        self._searches_due = np.full(self._changed.shape, SEARCHES, np.uint8)

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
        changed = np.asarray(cv2.blur(cv2.absdiff(cells, self._known), BESIDE.shape)) >= MIN_CHANGE
        self._changed = changed
        if changed.any():
            # All that took part is known anew: a rest just under the limit would count again with each noise.
            np.copyto(self._known, cells, where=cv2.dilate(changed.astype(np.uint8), BESIDE).astype(np.bool_))
            self._searches_due[changed] = SEARCHES

    @property
    def any(self) -> bool:
        """Whether anything changed in the last picture."""
        return bool(self._changed.any())

    def touch(self, box: BoundingBox) -> bool:
        """Whether the last picture changed inside a box in pixels."""
        return bool(self._changed[self._grid.cells(box)].any())

    def unsearched(self, apart_from: Iterable[BoundingBox]) -> list[BoundingBox]:
        """Return the parts in pixels that are to be searched; `apart_from` is looked after."""
        if not self._searches_due.any():
            return []
        cells = np.minimum(self._searches_due, 1)
        for box in apart_from:
            cells[self._grid.cells(box)] = 0
        joined = cv2.dilate(cells, BESIDE)
        _, labels, areas, _ = cv2.connectedComponentsWithStats(joined)
        changed = np.bincount(labels[cells > 0], minlength=len(areas))
        return [
            self._grid.pixels(*(int(side) for side in areas[label, :4]))
            for label in range(1, len(areas))
            if changed[label] >= MIN_CELLS
        ]

    def searched(self) -> None:
        """Everything has been searched once as it looks now."""
        self._searches_due -= self._searches_due > 0

    def search_again(self, box: BoundingBox) -> None:
        """Have a box in pixels searched once more."""
        due = self._searches_due[self._grid.cells(box)]
        np.maximum(due, 1, out=due)
