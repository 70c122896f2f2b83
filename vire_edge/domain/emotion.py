"""Emotions, their probabilities, and the contract of the model that gives them."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Emotion(enum.StrEnum):
    """The six basic emotions of Ekman and neutral, in FER2013's order: the model's contract."""

    ANGRY = "angry"
    DISGUST = "disgust"
    FEAR = "fear"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"


EMOTIONS: tuple[Emotion, ...] = tuple(Emotion)
"""All emotions in the model's order."""


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """A probability for each emotion; they sum to 1."""

    probabilities: tuple[float, ...]
    """Seven values in 0..1, in the order of `EMOTIONS`."""

    def __post_init__(self) -> None:
        if len(self.probabilities) != len(EMOTIONS):
            raise ValueError(f"{len(EMOTIONS)} probabilities expected, got {len(self.probabilities)}")

    def __getitem__(self, emotion: Emotion) -> float:
        return self.probabilities[EMOTIONS.index(emotion)]

    @property
    def dominant(self) -> Emotion:
        """The most probable emotion."""
        return EMOTIONS[max(range(len(EMOTIONS)), key=self.probabilities.__getitem__)]

    @property
    def margin(self) -> float:
        """By how much the most probable emotion leads the next, 0..1."""
        second, first = sorted(self.probabilities)[-2:]
        return first - second

    def share(self, emotions: frozenset[Emotion]) -> float:
        """The probability that one of `emotions` is shown, 0..1."""
        return min(1.0, sum(self[emotion] for emotion in emotions))

    def as_dict(self) -> dict[Emotion, float]:
        """Emotion → probability."""
        return dict(zip(EMOTIONS, self.probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class EmotionState:
    """The smoothed scores of one track after one more observation."""

    track_id: int
    scores: EmotionScores
    observed_seconds: float
    """For how long this face has been observed in all, gaps left out."""
    interval_seconds: float
    """How much this observation added to `observed_seconds`."""


MODEL_CONTRACT_VERSION = "1"
"""What the model file's input, output and metadata mean; a file of another version is refused."""
MODEL_INPUT = "face"
"""uint8 `[N, 48, 48, 1]`."""
MODEL_OUTPUT = "probabilities"
"""float32 `[N, 7]`, calibrated, in the order of `EMOTIONS`."""
MODEL_METADATA_PREFIX = "vire."
"""Before each metadata key of the model file: `vire.contract`, `vire.labels`, …"""
