"""Where a face is, in one picture and over time; never whose it is."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A rectangle in pixels, measured from the image's top left."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Square pixels."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return self.x + self.width / 2, self.y + self.height / 2

    def grown(self, margin: int) -> BoundingBox:
        """Return the box with so many pixels more on each side."""
        return BoundingBox(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)

    def clipped(self, width: int, height: int) -> BoundingBox:
        """Return the part inside an image of this size; nothing of it left gives an area of 0."""
        left, top = min(max(self.x, 0), width), min(max(self.y, 0), height)
        right, bottom = min(max(self.x + self.width, left), width), min(max(self.y + self.height, top), height)
        return BoundingBox(left, top, right - left, bottom - top)

    def around(self, *others: BoundingBox) -> BoundingBox:
        """Return the smallest box that holds this one and others."""
        boxes = (self, *others)
        left, top = min(box.x for box in boxes), min(box.y for box in boxes)
        right, bottom = max(box.x + box.width for box in boxes), max(box.y + box.height for box in boxes)
        return BoundingBox(left, top, right - left, bottom - top)

    def iou(self, other: BoundingBox) -> float:
        """Intersection over union with `other`, 0..1."""
        overlap_width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        overlap_height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if overlap_width <= 0 or overlap_height <= 0:
            return 0.0
        overlap = overlap_width * overlap_height
        return overlap / (self.area + other.area - overlap)


class FaceView(enum.StrEnum):
    """From which side a face is seen."""

    FRONTAL = "frontal"
    LEFT_PROFILE = "left_profile"
    RIGHT_PROFILE = "right_profile"


@dataclass(frozen=True, slots=True)
class Detection:
    """One face in one frame."""

    box: BoundingBox
    view: FaceView = FaceView.FRONTAL


@dataclass(frozen=True, slots=True)
class Track:
    """The same face over time on one camera; never an identity."""

    track_id: int
    camera: str
    box: BoundingBox
    view: FaceView
    first_seen: float
    """Monotonic seconds."""
    last_seen: float
    """Monotonic seconds; older than the newest frame while the face is lost."""
