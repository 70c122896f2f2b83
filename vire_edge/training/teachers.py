"""Trained model files → what a network that learns may imitate (distillation, Hinton et al. 2015).

A teacher's doubt tells more of a face than its label: which other expressions it resembles.
Several teachers answer with their mean, as an ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vire_edge.training.export import Reader, open_model


def ensemble(paths: Sequence[Path]) -> Reader | None:
    """The mean answer of the model files, or None where there are none.

    Raises:
        ModelError: a file is missing or no model of this contract.
    """
    if not paths:
        return None
    models = [open_model(path) for path in paths]

    def answer(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(np.mean([model(faces) for model in models], axis=0), np.float32)

    return answer
