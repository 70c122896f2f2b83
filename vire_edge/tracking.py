"""Detections over time → tracks. Pure: time is passed in, and a track is no identity.

Boxes are matched to the last ones by overlap, the best pair first. A face that was lost is taken
up again when it reappears nearby and nobody else could be meant: two people are never merged
on a guess.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vire_edge.domain import BoundingBox, Detection, Track

FORGET_UNCONFIRMED_SECONDS = 1.0
FORGET_UNCONFIRMED_FRAMES = 3
"""A hit that is not repeated within this time and in this many frames was no face."""
RECENT_FRAMES = 2
"""A track that was seen this many frames ago still goes before one that has been lost for longer."""
MAX_REACH = 3.0
"""A face that reappears farther away than this, in face widths, is not taken for the lost one however long it was."""


@dataclass(slots=True)
class _Candidate:
    """A track and what it takes to believe in it."""

    track: Track
    hits: int
    confirmed: bool
    missed_frames: int = 0


class Tracker:
    """The tracks of one camera.

    Args:
        camera: its name.
        min_hits: detections that confirm a track.
        min_iou: overlap with the last box that makes a detection the same face.
        remember_seconds: for how long a lost face may be taken up again.
        max_distance: how far it may then be, in face widths, for each second that it was lost; at least once,
            at most `MAX_REACH`.
    """

    def __init__(
        self, camera: str, *, min_hits: int, min_iou: float, remember_seconds: float, max_distance: float
    ) -> None:
        self._camera = camera
        self._min_hits = min_hits
        self._min_iou = min_iou
        self._remember_seconds = remember_seconds
        self._max_distance = max_distance
        self._candidates: list[_Candidate] = []
        self._ids = itertools.count(1)

    def update(self, detections: Sequence[Detection], *, now: float) -> list[Track]:
        """Take in one frame's faces.

        Args:
            detections: the faces of the frame.
            now: the frame's time, monotonic seconds.

        Returns:
            The confirmed tracks that this frame shows, oldest first.
        """
        self._forget(now)
        open_detections = list(detections)
        waiting = list(self._candidates)
        for candidate in waiting:
            candidate.missed_frames += 1
        # Whoever was just here goes first: the place where somebody was lost must not draw in a passer-by.
        recent = [candidate for candidate in waiting if candidate.missed_frames <= RECENT_FRAMES]
        for group in (recent, waiting):
            for candidate, detection in self._overlapping(group, open_detections):
                self._follow(candidate, detection, now, waiting, open_detections)
        for candidate, detection in self._reappeared(waiting, open_detections, now):
            self._follow(candidate, detection, now, waiting, open_detections)
        for detection in open_detections:
            track = Track(0, self._camera, detection.box, detection.view, first_seen=now, last_seen=now)
            self._candidates.append(self._confirm(_Candidate(track, hits=1, confirmed=False)))
        return sorted(
            (c.track for c in self._candidates if c.confirmed and c.track.last_seen == now),
            key=lambda track: track.track_id,
        )

    @property
    def remembered(self) -> frozenset[int]:
        """Ids of all confirmed tracks, in view or lost, that may still go on."""
        return frozenset(candidate.track.track_id for candidate in self._candidates if candidate.confirmed)

    def reset(self) -> None:
        """Forget everybody: what comes after an interruption is not known to be the same."""
        self._candidates.clear()

    def _overlapping(
        self, candidates: Iterable[_Candidate], detections: Iterable[Detection]
    ) -> list[tuple[_Candidate, Detection]]:
        """Pairs whose boxes overlap, the best first, each face once."""
        pairs = sorted(
            (
                (overlap, index, candidate, detection)
                for index, (candidate, detection) in enumerate(itertools.product(candidates, detections))
                if (overlap := candidate.track.box.iou(detection.box)) > 0 and overlap >= self._min_iou
            ),
            key=lambda pair: (-pair[0], pair[1]),
        )
        chosen: list[tuple[_Candidate, Detection]] = []
        for _, _, candidate, detection in pairs:
            if all(candidate is not taken and detection is not used for taken, used in chosen):
                chosen.append((candidate, detection))
        return chosen

    def _reappeared(
        self, waiting: Sequence[_Candidate], detections: Sequence[Detection], now: float
    ) -> list[tuple[_Candidate, Detection]]:
        """Pairs of a lost face and a new one where neither has another within reach."""
        reach = [
            (candidate, detection)
            for candidate in waiting
            for detection in detections
            if candidate.confirmed and self._within_reach(candidate.track, detection.box, now)
        ]
        return [
            (candidate, detection)
            for candidate, detection in reach
            if sum(other is candidate for other, _ in reach) == 1 and sum(other is detection for _, other in reach) == 1
        ]

    def _within_reach(self, track: Track, box: BoundingBox, now: float) -> bool:
        (x, y), (other_x, other_y) = track.box.center, box.center
        reach = min(MAX_REACH, self._max_distance * max(1.0, now - track.last_seen))
        allowed = reach * max(track.box.width, box.width)
        similar_size = 0.5 <= box.width / track.box.width <= 2.0
        return similar_size and math.hypot(x - other_x, y - other_y) <= allowed

    def _follow(
        self,
        candidate: _Candidate,
        detection: Detection,
        now: float,
        waiting: list[_Candidate],
        detections: list[Detection],
    ) -> None:
        waiting.remove(candidate)
        detections.remove(detection)
        candidate.track = replace(candidate.track, box=detection.box, view=detection.view, last_seen=now)
        candidate.hits += 1
        candidate.missed_frames = 0
        self._confirm(candidate)

    def _confirm(self, candidate: _Candidate) -> _Candidate:
        if not candidate.confirmed and candidate.hits >= self._min_hits:
            candidate.confirmed = True
            candidate.track = replace(candidate.track, track_id=next(self._ids))
        return candidate

    def _forget(self, now: float) -> None:
        self._candidates = [candidate for candidate in self._candidates if not self._is_forgotten(candidate, now)]

    def _is_forgotten(self, candidate: _Candidate, now: float) -> bool:
        lost_seconds = now - candidate.track.last_seen
        if candidate.confirmed:
            return lost_seconds > self._remember_seconds
        return lost_seconds > FORGET_UNCONFIRMED_SECONDS and candidate.missed_frames >= FORGET_UNCONFIRMED_FRAMES
