"""Models side by side on the same faces: figures with intervals, with and without repeats, and the lead of each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.training.data.cleaning import repeats_of
from vire_edge.training.data.dataset import Split
from vire_edge.training.evaluation.intervals import Difference, Intervals, compare, intervals
from vire_edge.training.evaluation.measured import Measured
from vire_edge.training.evaluation.metrics import Bin, Metrics, measure, reliability
from vire_edge.training.evaluation.reading import Reading


@dataclass(frozen=True, slots=True)
class Figures:
    """A model's figures on one set of images."""

    metrics: Metrics
    intervals: Intervals

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the metrics, and the intervals under a key of their own."""
        return self.metrics.as_dict() | {"intervals": asdict(self.intervals)}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model among those that are compared."""

    reading: Reading
    whole: Figures
    """On all images of the split."""
    fresh: Figures | None
    """Without the images that repeat a training image; None where that leaves none, or no training images are known."""
    bins: tuple[Bin, ...]
    """For the reliability diagram, all images."""
    lead: Difference | None
    """Over the first model, all images; None for the first itself."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All models that were measured on the same faces."""

    measured: Measured
    class_counts: dict[str, tuple[int, ...]]
    """Images of each class in the training split, where there is another one, and in the faces measured on."""
    evaluations: tuple[Evaluation, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what was measured on, and of each model in order its figures, cost, and lead over the first."""
        return {
            "measured_on": self.measured.name,
            "dataset_digest": self.measured.digest,
            "class_counts": self.class_counts,
            "notes": self.measured.notes,
            "models": [self._entry(evaluation) for evaluation in self.evaluations],
        }

    def _entry(self, evaluation: Evaluation) -> dict[str, Any]:
        reading, key = evaluation.reading, self.measured.key
        return {
            "name": reading.name,
            key: evaluation.whole.as_dict(),
            f"{key}_without_repeats": evaluation.fresh and evaluation.fresh.as_dict(),
            "reliability": [asdict(place) for place in evaluation.bins],
            "architecture": reading.architecture,
            "calibration": reading.calibration,
            "parameters": reading.parameters,
            "multiply_adds": reading.multiply_adds,
            "milliseconds": reading.milliseconds,
            "training_command": reading.command,
            "lead_over_first": evaluation.lead and asdict(evaluation.lead),
        }


def figures(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> Figures:
    """Measure, and say how far chance may move it.

    Args:
        probabilities: `[N, 7]`, rows sum to 1.
        labels: `[N]`, 0..6; N at least 1.
    """
    metrics = measure(probabilities, labels)
    return Figures(metrics, intervals(np.array(metrics.confusion)))


def compared(readings: list[Reading], measured: Measured) -> Comparison:
    """Judge what models read in faces.

    Args:
        readings: of the faces measured on, in their order; the first one is what the others are compared with.
        measured: these faces, and the training images that some of them may repeat.
    """
    faces, training = measured.faces, measured.training
    fresh = np.zeros(len(faces), bool) if training is None else ~repeats_of(faces, training)
    first = readings[0].probabilities.argmax(axis=1)
    evaluations = tuple(
        Evaluation(
            reading=reading,
            whole=figures(reading.probabilities, faces.labels),
            fresh=figures(reading.probabilities[fresh], faces.labels[fresh]) if fresh.any() else None,
            bins=reliability(reading.probabilities, faces.labels),
            lead=None if number == 0 else compare(faces.labels, reading.probabilities.argmax(axis=1), first),
        )
        for number, reading in enumerate(readings)
    )
    shown = {} if training is None else {str(Split.TRAINING): training}
    return Comparison(
        measured=measured,
        class_counts={
            name: tuple(np.bincount(some.labels, minlength=len(EMOTIONS)).tolist())
            for name, some in (shown | {measured.name: faces}).items()
        },
        evaluations=evaluations,
    )
