"""What a search may choose, as published, and what was found: values → `Recipe`. Pure: no Optuna, no files."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from vire_edge.training.data.augment import NONE, PUBLISHED, Augmentation
from vire_edge.training.recipes import PRESETS, Recipe

LEARNING_RATES = (1e-4, 1e-2)
"""Lowest and highest; drawn evenly over the logarithm."""
BATCH_SIZES = (8, 16, 32, 64, 128)
EPOCHS = (25, 50, 100, 150)
INITIALIZERS = ("glorot_uniform", "he_normal", "lecun_normal")
DROPOUT = 0.25
"""For a network that no preset names: the publication's."""
HELD_OUT = 0.1
"""Share of Training that trials are compared on. Twice that of a run: a search chooses more often, so it needs a
steadier figure."""


class Scenario(enum.StrEnum):
    """The publication searched twice."""

    PLAIN = "1"
    AUGMENTED = "2"

    @property
    def augmentation(self) -> Augmentation:
        """How faces are changed while a trial learns."""
        return NONE if self is Scenario.PLAIN else PUBLISHED

    @property
    def preset(self) -> str:
        """The preset of `vire-edge train` that learns the same way."""
        return f"paper-{self}"


@dataclass(frozen=True, slots=True)
class Values:
    """One point of the space."""

    learning_rate: float
    batch_size: int
    epochs: int
    initializer: str

    @classmethod
    def published(cls, architecture: str, scenario: Scenario) -> Values | None:
        """What the publication's search found, or None for an architecture that it does not have."""
        recipe = PRESETS[scenario.preset].get(architecture)
        if recipe is None:
            return None
        return cls(recipe.learning_rate, recipe.batch_size, recipe.epochs, recipe.initializer)

    def recipe(self, architecture: str, scenario: Scenario) -> Recipe:
        """How a trial learns: Adam and a constant rate, as in the presets of the publication.

        Repeats are left out, because a copy of a held-out face among those learnt from would flatter whatever learns
        by heart. The last epoch counts, not the best: else the number of epochs would not be worth searching.
        """
        paper, best = PRESETS[scenario.preset].get(architecture), PRESETS["best"].get(architecture)
        known = paper or best
        return Recipe(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            epochs=self.epochs,
            initializer=self.initializer,
            dropout=DROPOUT if known is None else known.dropout,
            augmentation=scenario.augmentation,
            clean=True,
            held_out=HELD_OUT,
        )

    @property
    def options(self) -> str:
        """The same as options of `vire-edge train`."""
        return (
            f"--learning-rate {self.learning_rate:.6g} --batch-size {self.batch_size} --epochs {self.epochs} "
            f"--initializer {self.initializer}"
        )


def epochs_within(limit: int | None) -> tuple[int, ...]:
    """The numbers of epochs to choose from: the published ones, none above `limit`."""
    return tuple(sorted({epochs if limit is None else min(epochs, limit) for epochs in EPOCHS}))


def suggest(trial: Any, limit: int | None) -> Values:
    """Let an Optuna trial choose a point; a trial that repeats another one gets its point again."""
    return Values(
        learning_rate=trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
        batch_size=trial.suggest_categorical("batch_size", BATCH_SIZES),
        epochs=trial.suggest_categorical("epochs", epochs_within(limit)),
        initializer=trial.suggest_categorical("initializer", INITIALIZERS),
    )
