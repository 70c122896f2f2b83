"""Faces where and when they can have come, moved or gone, instead of everywhere in each frame.

A face can appear only where the picture changes. So what changed is searched, a few times a second at most and
coarsely; whatever may be a face there is looked at closely before it counts. A face that is known is followed by
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

SEARCH_SECONDS, FIRST_SEARCH_SECONDS = 0.4, 0.2
"""Between two searches of what changed; the second for the first second after a calm: who enters is found at once."""
CALM_SECONDS = 1.0
"""Without a change for this long the scene is calm."""
SEARCH_ALL_SECONDS, SEARCH_ALL_STILL_SECONDS = 10.0, 30.0
"""Between two thorough searches of everything, should a face have escaped; the second while nothing changes at all."""
VERIFY_SECONDS = 0.4
"""For so long a face is followed by its picture before the cascade must find it again."""
VERIFY_STILL_SECONDS = 2.0
"""The same while nothing around the face changes."""
TRUSTED_HITS = 5
"""Frames in which the cascade must find a new face before it is followed by its picture: a false hit rarely lasts."""
LOST_SECONDS = 0.5
"""For so long a face that the cascade has not found, or not found again, is looked for in each frame."""
NEAR, FAR = 0.25, 0.75
"""How far a face is looked for, in widths of its box; far where it was just now and is not near."""
AROUND = 0.3
"""What changes within so many widths of a known face's box is its own doing."""
SAME_FACE_IOU = 0.3
_EARLY = 0.9
"""A share of an interval that counts as the whole: frames come on a grid, and the next one would be late."""


@dataclass(slots=True)
class _Face:
    """Something that is or may be a face."""

    seen: Detection
    found_at: float
    """When the cascade found it last, or proposed it; monotonic seconds."""
    hits: int = 0
    """How often in succession the cascade found it."""
    confirmed: bool = False
    """Whether the cascade has found it at all; then it is expected back when it turns away for a moment."""
    disturbed: bool = True
    """Whether anything around it has changed since the cascade looked at it."""
    patch: Patch | None = None
    """What it looked like then."""

    @property
    def in_view(self) -> bool:
        """Whether the cascade found it when it was asked last."""
        return self.hits > 0

    @property
    def trusted(self) -> bool:
        return self.hits >= TRUSTED_HITS

    @property
    def surroundings(self) -> BoundingBox:
        return self.seen.box.grown(round(AROUND * self.seen.box.width))


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
        self._searched_at = self._searched_all_at = self._changed_at = self._stirred_at = float("-inf")
        self._still = self._again = False

    def find(self, gray: NDArray[np.uint8], *, now: float) -> list[Detection]:
        """Return the faces of the next frame, the largest first.

        Args:
            gray: uint8 `[height, width]`.
            now: the frame's time, monotonic seconds.
        """
        if self._changes is None or self._changes.shape != gray.shape:
            self.reset()
            self._changes = Changes(gray.shape)
        changes = self._changes
        changes.take(gray)
        self._still &= not changes.any
        for face in self._faces:
            face.disturbed |= changes.touch(face.surroundings)
            self._bring_up(face, gray, now)
        self._forget(changes, now)
        if now - self._searched_all_at >= (SEARCH_ALL_STILL_SECONDS if self._still else SEARCH_ALL_SECONDS):
            self._search_all(gray, now)
        elif changed := self._due(changes, now):
            self._search(gray, changed, now)
            changes.searched()
        self._limit()
        return [face.seen for face in self._faces if face.in_view]

    def reset(self) -> None:
        """Forget everything: what comes after an interruption may be another picture."""
        self._faces, self._changes, self._still = [], None, False
        self._searched_at = self._searched_all_at = self._changed_at = self._stirred_at = float("-inf")

    def _bring_up(self, face: _Face, gray: NDArray[np.uint8], now: float) -> None:
        """Bring a face up to this frame."""
        if self._stands(face, now) or self._follow(face, gray, now):
            return
        found = self._detector.look(gray, face.seen, reach=NEAR, known=face.confirmed)
        if found is None and face.trusted:
            found = self._detector.look(gray, face.seen, reach=FAR, known=True)
        face.disturbed = False
        face.hits = face.hits + 1 if found is not None else 0
        if found is not None:
            face.confirmed = True
            face.seen, face.found_at, face.patch = found, now, Patch.cut(gray, found.box)

    def _stands(self, face: _Face, now: float) -> bool:
        """Whether it is where it was, because nothing has changed around it."""
        verified = now - face.found_at < _EARLY * VERIFY_STILL_SECONDS
        return face.trusted and verified and not face.disturbed

    def _follow(self, face: _Face, gray: NDArray[np.uint8], now: float) -> bool:
        """Go with the face's picture, while the cascade need not be asked."""
        recent = now - face.found_at < _EARLY * VERIFY_SECONDS
        if face.patch is None or not (face.trusted and recent):
            return False
        box = face.patch.find(gray, face.seen.box)
        if box is None:
            return False
        face.seen = Detection(box, face.seen.view)
        return True

    def _forget(self, changes: Changes, now: float) -> None:
        """Leave out what was lost for too long, to be searched like anything else, and one of two on one face."""
        kept: list[_Face] = []
        for face in self._faces:
            if not face.in_view and now - face.found_at >= LOST_SECONDS:
                changes.search_again(face.surroundings)
            elif all(face.seen.box.iou(other.seen.box) < SAME_FACE_IOU for other in kept):
                kept.append(face)
        self._faces = kept

    def _due(self, changes: Changes, now: float) -> Sequence[BoundingBox]:
        """Return what is to be searched in this frame."""
        if changes.any:
            if now - self._changed_at >= CALM_SECONDS:
                self._stirred_at = now
            self._changed_at = now
        first = now - self._stirred_at < CALM_SECONDS
        if now - self._searched_at < _EARLY * (FIRST_SEARCH_SECONDS if first else SEARCH_SECONDS):
            return []
        return changes.unsearched(apart_from=[face.surroundings for face in self._faces])

    def _search_all(self, gray: NDArray[np.uint8], now: float) -> None:
        """Search everything as thoroughly as without a schedule: whatever a coarse search has missed is found now."""
        self._searched_at = self._searched_all_at = now
        self._still = True
        for found in self._detector.detect(gray):
            same = [face for face in self._faces if found.box.iou(face.seen.box) >= SAME_FACE_IOU]
            if not any(face.in_view for face in same):
                self._faces = [face for face in self._faces if face not in same]
                self._faces.append(_Face(found, now, hits=1, confirmed=True, patch=Patch.cut(gray, found.box)))

    def _search(self, gray: NDArray[np.uint8], changed: Sequence[BoundingBox], now: float) -> None:
        self._searched_at, self._again = now, not self._again
        for proposed in self._detector.propose(gray, changed, again=self._again):
            if all(proposed.box.iou(face.seen.box) < SAME_FACE_IOU for face in self._faces):
                face = _Face(proposed, now)
                self._bring_up(face, gray, now)
                self._faces.append(face)

    def _limit(self) -> None:
        self._faces.sort(key=lambda face: (face.in_view, face.seen.box.area), reverse=True)
        del self._faces[self._max_faces :]
