"""Run directories as training leaves them, without the hours: real files, around the shipped network."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from fer2013_samples import HEADER, patterns, row

from vire_edge.emotions import shipped_model_path
from vire_edge.training.evaluation.metrics import measure
from vire_edge.training.finish import SPLITS
from vire_edge.training.rundir import EpochRecord, RunDirectory
from vire_edge.training.settings import TrainSettings

TEMPERATURE = 1.7
REPEATS = 4
"""Images of `csv_with_repeats`' PublicTest that also stand in its Training."""


def csv_with_repeats(folder: Path) -> Path:
    """14 training images, and 21 to measure on, 4 of which repeat training images."""
    training, labels = patterns(1, 2)
    evaluation, other = patterns(2, 3)
    evaluation[:REPEATS] = training[:REPEATS]
    rows = [(label, image, "Training") for label, image in zip(labels, training, strict=True)]
    rows += [(label, image, "PublicTest") for label, image in zip(other, evaluation, strict=True)]
    path = folder / "fer2013.csv"
    path.write_text("\n".join([HEADER, *(row(*values) for values in rows)]) + "\n")
    return path


def finished_run(folder: Path, data: Path, *, seed: int = 1, epochs: int = 3) -> Path:
    """A run of `cnn` whose model is the shipped one; its figures are made up, but fit each other."""
    run = RunDirectory(folder)
    run.create()
    run.write_json(run.settings, TrainSettings(data, folder, seed=seed).as_json())
    run.write_json(run.environment, {"backend": "tensorflow", "keras": "3.15.1"})
    run.write_json(run.data, {"dataset_digest": "d" * 64, "split_digest": "e" * 64, "learnt": 10, "held_out": 4})
    run.write_history(
        [
            EpochRecord(epoch, 0.00014123456, 2 / epoch, 0.2 * epoch, 2.2 / epoch, 0.18 * epoch, 1.5)
            for epoch in range(1, epochs + 1)
        ]
    )
    labels = np.repeat(np.arange(7), 3)
    rng = np.random.default_rng(seed)
    figures: dict[str, Any] = {
        name: measure(rng.dirichlet(np.ones(7), len(labels)) * 0.5 + 0.5 * np.eye(7)[labels], labels).as_dict()
        for name in ("held_out", *SPLITS)
    }
    run.write_json(run.metrics, {"epoch": epochs, "temperature": TEMPERATURE, **figures})
    shutil.copy(shipped_model_path(), run.onnx_model)
    return folder


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines()))
