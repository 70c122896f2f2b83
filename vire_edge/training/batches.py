"""Faces → batches, shuffled and augmented.

A function of seed, epoch and position only, so that a resumed run sees the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.training.augment import Augmentation, augment
from vire_edge.training.backend import load_keras
from vire_edge.training.dataset import Faces

Batch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]
"""Faces uint8 `[B, 48, 48, 1]`, one-hot labels `[B, 7]`, weights `[B]`."""


class Batches:
    """One epoch of batches; `epoch` says which."""

    def __init__(
        self, faces: Faces, *, batch_size: int, augmentation: Augmentation, class_weight_power: float, seed: int
    ) -> None:
        self._faces = faces
        self._batch_size = batch_size
        self._augmentation = augmentation
        self._weights = class_weights(faces.labels, class_weight_power)
        self._seed = seed
        self._epoch = -1
        self._order = np.arange(len(faces))
        self.epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch whose batches are given, from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._faces))

    def __len__(self) -> int:
        return (len(self._faces) + self._batch_size - 1) // self._batch_size

    def __getitem__(self, index: int) -> Batch:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        rng = np.random.default_rng((self._seed, self._epoch, index))
        labels = self._faces.labels[chosen]
        images = augment(self._faces.images[chosen], self._augmentation, rng)
        return images[..., None], np.eye(len(EMOTIONS), dtype=np.float32)[labels], self._weights[labels]


def class_weights(labels: NDArray[np.int64], power: float) -> NDArray[np.float32]:
    """Weight of each class, float32 `[7]`: its frequency to minus `power`, scaled so that the images' mean is 1."""
    counts = np.bincount(labels, minlength=len(EMOTIONS)).astype(np.float64)
    weights = np.maximum(counts, 1.0) ** -power
    return np.asarray(weights * (counts.sum() / (counts * weights).sum()), np.float32)


def as_py_dataset(batches: Batches) -> Any:
    """Wrap batches as a `keras.utils.PyDataset`, which every backend reads."""
    keras = load_keras()

    class Adapter(keras.utils.PyDataset):  # type: ignore[name-defined, misc]  # Keras ships no types
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> Batch:
            return batches[index]

    return Adapter()
