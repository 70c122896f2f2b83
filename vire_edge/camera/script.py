"""What the synthetic actor plays: who shows which expression for how long. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vire_edge.domain import Emotion

MORPH_SECONDS = 0.5
"""A change of expression, of coming and of going takes this long, centred on the border between two steps."""


@dataclass(frozen=True, slots=True)
class Step:
    """One expression for some time."""

    seconds: float
    expression: Emotion | None
    """None: the person is away."""

    def __post_init__(self) -> None:
        if not self.seconds >= MORPH_SECONDS:
            raise ValueError(f"a step lasts at least the {MORPH_SECONDS} s of a morph, got {self.seconds}")


@dataclass(frozen=True, slots=True)
class Look:
    """How one person looks at one moment."""

    weights: Mapping[Emotion, float]
    """Expression → its share in the face; they sum to 1. Empty while the person is away."""
    presence: float
    """0 away, 1 there, in between while coming or going."""


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of one or several people, who stand side by side."""

    people: tuple[tuple[Step, ...], ...]

    def __post_init__(self) -> None:
        if not self.people or not all(self.people):
            raise ValueError("a script needs at least one person, and each person at least one step")

    @classmethod
    def solo(cls, *steps: tuple[float, Emotion | None]) -> Script:
        """Return a script for one person from (seconds, expression) pairs."""
        return cls((tuple(Step(*step) for step in steps),))

    @property
    def seconds(self) -> float:
        """How long it lasts: until the last person's last step is over."""
        return max(sum(step.seconds for step in steps) for steps in self.people)

    def expression(self, person: int, seconds: float) -> Emotion | None:
        """Return what a person is told to show; None while away and after the last step.

        Args:
            person: index from the left.
            seconds: since the script's beginning.
        """
        for step in self.people[person]:
            if seconds < step.seconds:
                return step.expression
            seconds -= step.seconds
        return None

    def look(self, person: int, seconds: float) -> Look:
        """Return how a person looks, morphs included.

        Args:
            person: index from the left.
            seconds: since the script's beginning.
        """
        here = self.expression(person, seconds)
        near = _nearest_border(self.people[person], seconds)
        if near is None:
            return Look({here: 1.0} if here else {}, 1.0 if here else 0.0)
        border, before, after = near
        progress = _ease((seconds - border) / MORPH_SECONDS + 0.5)
        if before is None or after is None:
            shown = before or after
            presence = 0.0 if shown is None else progress if before is None else 1 - progress
            return Look({shown: 1.0} if shown else {}, presence)
        return Look({before: 1.0} if before is after else {before: 1 - progress, after: progress}, 1.0)


def _nearest_border(steps: tuple[Step, ...], seconds: float) -> tuple[float, Emotion | None, Emotion | None] | None:
    """Return the border whose morph covers `seconds`, and the expressions before and after it."""
    border = 0.0
    expressions = [None, *(step.expression for step in steps), None]
    for index in range(len(steps) + 1):
        if abs(seconds - border) < MORPH_SECONDS / 2:
            return border, expressions[index], expressions[index + 1]
        if index < len(steps):
            border += steps[index].seconds
    return None


def _ease(progress: float) -> float:
    """0..1 → 0..1, slow at both ends."""
    progress = min(max(progress, 0.0), 1.0)
    return progress * progress * (3 - 2 * progress)


DEMO_SCRIPT = Script.solo(
    (5.0, Emotion.NEUTRAL),
    (6.0, Emotion.HAPPY),
    # Fourteen seconds of distress that changes its face, as it does: sustained over the group, no single emotion.
    (5.0, Emotion.SAD),
    (4.0, Emotion.ANGRY),
    (5.0, Emotion.SAD),
    (6.0, Emotion.NEUTRAL),
    (5.0, Emotion.SURPRISE),
    (4.0, Emotion.NEUTRAL),
    (6.0, None),
    (6.0, Emotion.HAPPY),
)
"""What the actor plays by default, 52 s: calm, joy, distress, a start, an empty room, joy."""
