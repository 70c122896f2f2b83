"""Scores over real time → the state of each track. Pure: time is passed in.

Each observation is weighted by the time that it stands for, not counted, so that an uneven frame
rate changes nothing; a gap counts as not observed.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from vire_edge.domain import EmotionScores, EmotionState


@dataclass(slots=True)
class _Smoothed:
    probabilities: tuple[float, ...]
    observed_seconds: float
    last_observed: float


class Smoother:
    """The smoothed scores of one camera's tracks: an exponential average over observed time.

    Args:
        time_constant_seconds: after this time a new expression has 1 - 1/e of the weight.
        max_gap_seconds: a longer time between two observations is not observed; the observation
            after it counts for nothing but itself.
    """

    def __init__(self, *, time_constant_seconds: float, max_gap_seconds: float) -> None:
        self._time_constant_seconds = time_constant_seconds
        self._max_gap_seconds = max_gap_seconds
        self._tracks: dict[int, _Smoothed] = {}

    def update(self, track_id: int, scores: EmotionScores, *, now: float) -> EmotionState:
        """Take in one observation of one track.

        Args:
            track_id: the track.
            scores: what the classifier read.
            now: the frame's time, monotonic seconds; an earlier one than the last counts as the last.

        Returns:
            The track's state; its scores lie between the earlier ones and `scores`.
        """
        smoothed = self._tracks.get(track_id)
        if smoothed is None:
            self._tracks[track_id] = _Smoothed(scores.probabilities, 0.0, now)
            return EmotionState(track_id, scores, 0.0, 0.0)
        elapsed = max(0.0, now - smoothed.last_observed)
        # Over a gap the old scores lose weight as time goes by, but no time is counted as observed.
        interval = elapsed if elapsed <= self._max_gap_seconds else 0.0
        weight = 1.0 - math.exp(-elapsed / self._time_constant_seconds)
        probabilities = tuple(
            old + weight * (new - old) for old, new in zip(smoothed.probabilities, scores.probabilities, strict=True)
        )
        observed_seconds = smoothed.observed_seconds + interval
        self._tracks[track_id] = _Smoothed(probabilities, observed_seconds, max(now, smoothed.last_observed))
        return EmotionState(track_id, EmotionScores(probabilities), observed_seconds, interval)

    def keep(self, track_ids: Collection[int]) -> None:
        """Forget all tracks but these."""
        self._tracks = {track_id: state for track_id, state in self._tracks.items() if track_id in track_ids}
