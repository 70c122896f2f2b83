"""Chosen weights → a calibrated, measured and exported model, and the figures beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import TrainingError
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import KerasModel, load_keras
from vire_edge.training.cleaning import repeats_of
from vire_edge.training.dataset import Faces
from vire_edge.training.evaluate import Metrics, fit_temperature, measure, temper
from vire_edge.training.export import Provenance, export
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import TrainSettings, stored_settings

PREDICT_BATCH = 512
SPLITS = ("public_test", "public_test_without_repeats")
"""Keys of `metrics.json`: all of PublicTest, and without the images that repeat a training image."""


def predict(model: KerasModel, faces: Faces) -> NDArray[np.float32]:
    """Probabilities `[N, 7]` as the network gives them."""
    return np.asarray(model.predict(faces.images[..., None], batch_size=PREDICT_BATCH, verbose=0))


def finish(
    run: RunDirectory, settings: TrainSettings, *, held_out: Faces, evaluation: Faces, training: Faces, epoch: int
) -> dict[str, Any]:
    """Calibrate, measure and export the run's chosen weights.

    Args:
        run: its directory, with chosen weights and data digests.
        settings: the run's.
        held_out: fits the temperature.
        evaluation: is measured on.
        training: all training images, learnt from or not: what the evaluation may repeat.
        epoch: the chosen one, from 1.

    Returns:
        What `metrics.json` holds.
    """
    recipe = settings.effective_recipe
    network = build(settings.architecture, Plan(recipe.initializer, recipe.dropout))
    network.set_weights(run.load_weights())
    run.save_model(run.keras_model, network)

    of_held_out = predict(network, held_out)
    temperature = fit_temperature(of_held_out, held_out.labels)
    metrics = {
        "epoch": epoch,
        "temperature": temperature,
        "held_out": measure(_tempered(of_held_out, temperature), held_out.labels).as_dict(),
    }
    whole, fresh = with_and_without_repeats(_tempered(predict(network, evaluation), temperature), evaluation, training)
    metrics |= dict(zip(SPLITS, (whole.as_dict(), fresh.as_dict()), strict=True))
    run.write_json(run.metrics, metrics)
    _export(run, settings, network, metrics, run.onnx_model)
    return metrics


def export_run(path: Path, out: Path) -> dict[str, Any]:
    """Write the chosen network of a finished run as a model file.

    Args:
        path: the run directory.
        out: the ONNX file.

    Returns:
        The run's figures, as in `metrics.json`.

    Raises:
        TrainingError: the directory holds no finished run.
        ModelError: the exported graph computes something else.
    """
    run = RunDirectory(path)
    settings = stored_settings(path)
    if not run.keras_model.exists():
        raise TrainingError(f"{path} is not finished; finish it with: vire-edge train --run {path} --resume")
    network = load_keras().saving.load_model(run.keras_model)
    metrics: dict[str, Any] = run.read_json(run.metrics)
    _export(run, settings, network, metrics, out)
    return metrics


def with_and_without_repeats(
    probabilities: NDArray[np.floating[Any]], evaluation: Faces, training: Faces
) -> tuple[Metrics, Metrics]:
    """Figures on all of `evaluation`, and on its images that repeat none of `training`."""
    fresh = ~repeats_of(evaluation, training)
    return measure(probabilities, evaluation.labels), measure(probabilities[fresh], evaluation.labels[fresh])


def _export(
    run: RunDirectory, settings: TrainSettings, network: KerasModel, metrics: dict[str, Any], out: Path
) -> None:
    data = run.read_json(run.data)
    provenance = Provenance(
        architecture=settings.architecture,
        dataset_digest=data["dataset_digest"],
        split_digest=data["split_digest"],
        metrics={name: {key: value for key, value in metrics[name].items() if key != "confusion"} for name in SPLITS},
        training_command=settings.command,
    )
    export(network, out, temperature=metrics["temperature"], provenance=provenance)


def _tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    return temper(np.log(np.maximum(probabilities, 1e-12)), temperature)
