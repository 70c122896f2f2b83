"""Trained model files → what a network that learns may imitate (distillation, Hinton et al. 2015).

A teacher's doubt tells more of a face than its label: which other expressions it resembles.
One teacher answers with the mean of a face and its mirror image: a smile is one from either side. Several answer with
their mean, as an ensemble, and see the face and its mirror image by turns, which costs half as much.
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
        views = (faces, np.ascontiguousarray(faces[:, :, ::-1]))
        looks = [(models[which % len(models)], views[which % 2]) for which in range(max(2, len(models)))]
        return np.asarray(np.mean([model(view) for model, view in looks], axis=0), np.float32)

    return answer
