"""Faces where and when they can have come, moved or gone, instead of everywhere in each frame.

A face can appear only where the picture changes. So what changed is searched, a few times a second at most and
coarsely; whatever looks like a face there is looked at closely before it counts. A face that is known is followed by
its picture and shown to the cascade again every now and then. In a still, empty room nothing is searched but, rarely,
everything: against changes too small to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import BoundingBox, Detection
from vire_edge.searching.changes import Changes
from vire_edge.searching.detector import FaceDetector
from vire_edge.searching.patch import Patch

SEARCH_SECONDS = 0.4
"""Between two searches of what changed: a face that appears is found within half a second."""
SEARCH_ALL_SECONDS = 5.0
"""Between two searches of everything, should anything have changed unseen."""
VERIFY_SECONDS = 0.4
"""For so long a face is followed by its picture before the cascade must find it again."""
VERIFY_STILL_SECONDS = 2.0
"""The same while not a cell around the face changes."""
TRUSTED_AFTER = 3
"""Frames in which the cascade must find a new face before it is followed by its picture: a false hit rarely lasts."""
NEAR, FAR = 0.25, 0.75
"""How far a face is looked for, in widths of its box; far where it was not found near."""
AROUND = 1.6
"""Changes within so many widths of a known face are its own."""
SAME_FACE_IOU = 0.3
_EARLY = 0.9
"""A share of an interval that counts as the whole: frames come on a grid, and the next one would be late."""


@dataclass(slots=True)
class _Face:
    """A face that is known."""

    seen: Detection
    verified_at: float
    hits: int = 1
    """Frames in a row in which the cascade found it."""
    patch: Patch | None = None
    disturbed: bool = False
    """Whether anything around it has changed since the cascade found it."""

    @property
    def trusted(self) -> bool:
        return self.hits >= TRUSTED_AFTER


class ScheduledSearch:
    """Finds the faces of one camera's frames, which come in the order of time.

    Args:
        detector: looks at pictures.
        max_faces: more than these, the largest, are not followed.
    """

    def __init__(self, detector: FaceDetector, *, max_faces: int) -> None:
        self._detector = detector
        self._max_faces = max_faces
        self._faces: list[_Face] = []
        self._changes: Changes | None = None
        self._searched_at = self._searched_all_at = float("-inf")

    def find(self, gray: NDArray[np.uint8], *, now: float) -> list[Detection]:
        """Return the faces of the next frame, the largest first.

        Args:
            gray: uint8 `[height, width]`.
            now: the frame's time, monotonic seconds.
        """
        if self._changes is None or self._changes.shape != gray.shape:
            self.reset()
            self._changes = Changes(gray.shape)
        self._changes.take(gray)
        self._faces = _without_doubles([face for face in self._faces if self._keep(face, gray, self._changes, now)])
        if region := self._due(self._changes, now):
            self._search(gray, region, now)
            self._changes.searched()
        self._faces.sort(key=lambda face: -face.seen.box.area)
        del self._faces[self._max_faces :]
        return [face.seen for face in self._faces]

    def reset(self) -> None:
        """Forget everything: what comes after an interruption may be another picture."""
        self._faces, self._changes = [], None
        self._searched_at = self._searched_all_at = float("-inf")

    def _keep(self, face: _Face, gray: NDArray[np.uint8], changes: Changes, now: float) -> bool:
        """Bring a known face up to this frame; False if it is not there any more."""
        face.disturbed |= changes.touch(_around(face.seen.box))
        if face.trusted and self._follow(face, gray, now):
            return True
        found = self._detector.look(gray, face.seen, reach=NEAR, sure=not face.trusted)
        if found is None and face.trusted:
            found = self._detector.look(gray, face.seen, reach=FAR, sure=False)
        if found is None:
            changes.search_again(_around(face.seen.box))
            return False
        face.seen, face.verified_at, face.hits, face.disturbed = found, now, face.hits + 1, False
        face.patch = Patch.cut(gray, found.box)
        return True

    def _follow(self, face: _Face, gray: NDArray[np.uint8], now: float) -> bool:
        """Go with the face's picture, as long as the cascade needs not be asked."""
        unverified = now - face.verified_at
        if not face.disturbed:
            return unverified < _EARLY * VERIFY_STILL_SECONDS
        if face.patch is None or unverified >= _EARLY * VERIFY_SECONDS:
            return False
        box = face.patch.find(gray, face.seen.box)
        if box is None:
            return False
        face.seen = Detection(box, face.seen.view)
        return True

    def _due(self, changes: Changes, now: float) -> BoundingBox | None:
        """Return what is to be searched in this frame."""
        if now - self._searched_all_at >= SEARCH_ALL_SECONDS:
            self._searched_all_at = now
            changes.search_again()
        elif now - self._searched_at < _EARLY * SEARCH_SECONDS:
            return None
        return changes.unsearched(apart_from=[_around(face.seen.box) for face in self._faces])

    def _search(self, gray: NDArray[np.uint8], region: BoundingBox, now: float) -> None:
        self._searched_at = now
        for proposed in self._detector.propose(gray, region):
            if any(proposed.box.iou(face.seen.box) >= SAME_FACE_IOU for face in self._faces):
                continue
            found = self._detector.look(gray, proposed, reach=NEAR, sure=True)
            if found is not None:
                face = _Face(found, now, patch=Patch.cut(gray, found.box))
                self._faces = _without_doubles([*self._faces, face])


def _around(box: BoundingBox) -> BoundingBox:
    return box.grown(round(box.width * (AROUND - 1) / 2))


def _without_doubles(faces: Sequence[_Face]) -> list[_Face]:
    """Two that ended on one face are one; the one that is known for longer stays."""
    kept: list[_Face] = []
    for face in faces:
        if all(face.seen.box.iou(other.seen.box) < SAME_FACE_IOU for other in kept):
            kept.append(face)
    return kept
