"""What a camera shows, told at the right moments: on change, at most once a second."""

from __future__ import annotations

from dataclasses import dataclass

from vire_edge.domain import EmotionState
from vire_edge.pipeline import Observation

MIN_INTERVAL_SECONDS = 1.0
"""A state is told at most this often."""
REFRESH_SECONDS = 10.0
"""With somebody in view it is told this often all the same: the seconds observed go on."""
SCORE_CHANGE = 0.05
"""A score that moved by less is no news."""


@dataclass(slots=True)
class Scene:
    """The last observation of one camera and what was told of it."""

    observation: Observation | None = None
    _told: tuple[tuple[EmotionState, ...], int] | None = None
    _told_at: float = float("-inf")

    def is_news(self, *, now: float) -> bool:
        """Whether the state has changed and enough time has passed; monotonic seconds."""
        if now - self._told_at < MIN_INTERVAL_SECONDS:
            return False
        if self._told is None:
            return True
        people, not_observed = self.current
        if people and now - self._told_at >= REFRESH_SECONDS:
            return True
        told_people, told_not_observed = self._told
        return not_observed != told_not_observed or _differ(people, told_people)

    @property
    def current(self) -> tuple[tuple[EmotionState, ...], int]:
        """Who is in view, and how many faces are not observed."""
        if self.observation is None:
            return (), 0
        return self.observation.people, self.observation.not_observed

    def clear(self) -> None:
        """Nobody can be seen any more."""
        self.observation = None

    def tell(self, *, now: float) -> tuple[tuple[EmotionState, ...], int]:
        """Return what is to be told, and remember that it was."""
        self._told, self._told_at = self.current, now
        return self._told


def _differ(people: tuple[EmotionState, ...], told: tuple[EmotionState, ...]) -> bool:
    if [person.track_id for person in people] != [person.track_id for person in told]:
        return True
    return any(
        person.scores.dominant != before.scores.dominant
        or max(
            abs(new - old) for new, old in zip(person.scores.probabilities, before.scores.probabilities, strict=True)
        )
        >= SCORE_CHANGE
        for person, before in zip(people, told, strict=True)
    )
