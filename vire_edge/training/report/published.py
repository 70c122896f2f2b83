"""What the publication VIRE reports, as data: the figures that ours stand beside. Nothing here is measured by us."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = (
    "the publication VIRE; its validation set is FER2013's PublicTest and PrivateTest together (7,178 images), "
    "which also chose its hyperparameters"
)
PRESETS = {"paper-1": "I", "paper-2": "II"}
"""The preset that repeats a scenario: I without augmentation, II with it."""


@dataclass(frozen=True, slots=True)
class Published:
    """One line of the publication's tables; accuracies are shares of 1, losses nats."""

    scenario: str
    architecture: str
    epochs: int
    training_loss: float
    validation_loss: float
    training_accuracy: float
    validation_accuracy: float


PUBLISHED = (
    Published("I", "alexnet", 50, 0.0466, 3.1725, 0.9846, 0.5786),
    Published("I", "densenet", 25, 0.2761, 2.1306, 0.8996, 0.5421),
    Published("I", "cnn", 50, 1.2139, 1.2749, 0.5493, 0.5297),
    Published("I", "cnn", 300, 1.0284, 1.2782, 0.6467, 0.5295),
    Published("II", "alexnet", 150, 0.2570, 2.1214, 0.9115, 0.6092),
    Published("II", "densenet", 150, 0.4944, 1.2913, 0.8163, 0.6443),
    Published("II", "cnn", 150, 1.2052, 1.0547, 0.5399, 0.6013),
)


def published_for(architecture: str, preset: str) -> Published | None:
    """The published line that a run stands beside.

    Args:
        architecture: the network's name.
        preset: a paper preset is compared with its own scenario, any other one with the architecture's best.

    Returns:
        The line with the highest accuracy, or None where the publication has no such network.
    """
    scenario = PRESETS.get(preset)
    lines = [line for line in PUBLISHED if line.architecture == architecture and scenario in (None, line.scenario)]
    return max(lines, key=lambda line: line.validation_accuracy, default=None)
