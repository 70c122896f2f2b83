"""Chosen weights → a calibrated, measured and exported model, and the figures and plots beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import TrainingError
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import KerasModel
from vire_edge.training.data.cleaning import repeats_of
from vire_edge.training.data.dataset import Faces
from vire_edge.training.data.material import Material
from vire_edge.training.evaluation.confusion import confusion_csv
from vire_edge.training.evaluation.metrics import Metrics, fit_temperature, measure, tempered
from vire_edge.training.evaluation.reading import load_network, predict
from vire_edge.training.export import Provenance, export
from vire_edge.training.progress import OnEvent, Stage
from vire_edge.training.report import plots
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import TrainSettings, stored_settings

SPLITS = ("public_test", "public_test_without_repeats")
"""Keys of `metrics.json`: all of PublicTest, and without the images that repeat a training image."""
OWN_SPLITS = ("own_faces", "own_faces_without_repeats")
"""The same of a user's own faces, where they come alone; beside FER2013 only the first, of those set aside."""


def evaluation_keys(metrics: dict[str, Any]) -> tuple[str, str]:
    """Under which keys of `metrics.json` the evaluation's figures stand, all and without repeats."""
    return SPLITS if SPLITS[0] in metrics else OWN_SPLITS


def measure_on(network: KerasModel, temperature: float, faces: Faces) -> Metrics:
    """Figures of a network on faces, its answers calibrated."""
    return measure(tempered(predict(network, faces.images), temperature), faces.labels)


def finish(
    run: RunDirectory, settings: TrainSettings, material: Material, *, epoch: int, on_event: OnEvent
) -> dict[str, Any]:
    """Calibrate, measure and export the run's chosen weights.

    Args:
        run: its directory, with chosen weights and data digests.
        settings: the run's.
        material: its held-out faces fit the temperature; the evaluation and own faces set aside are measured on.
        epoch: the chosen one, from 1, unless the weights tell it: a kill may have left newer ones than the checkpoint.
        on_event: told of the stages.

    Returns:
        What `metrics.json` holds.
    """
    recipe = settings.effective_recipe
    network = build(settings.architecture, Plan(recipe.initializer, recipe.dropout))
    weights, of_epoch = run.load_weights()
    network.set_weights(weights)
    run.save_model(run.keras_model, network)

    on_event(Stage("calibrating and measuring"))
    held_out, evaluation = material.held_out, material.evaluation
    of_held_out = predict(network, held_out.images)
    temperature = fit_temperature(of_held_out, held_out.labels)
    metrics = {
        "epoch": of_epoch or epoch,
        "temperature": temperature,
        "held_out": measure(tempered(of_held_out, temperature), held_out.labels).as_dict(),
    }
    probabilities = tempered(predict(network, evaluation.images), temperature)
    pair = with_and_without_repeats(probabilities, evaluation, material.training)
    metrics |= {key: figures.as_dict() for key, figures in zip(_keys(settings), pair, strict=True)}
    if material.own is not None:
        metrics[OWN_SPLITS[0]] = measure_on(network, temperature, material.own).as_dict()
    if run.before.exists():
        metrics["before"] = run.read_json(run.before)
    run.write_json(run.metrics, metrics)
    on_event(Stage("exporting"))
    _export(run, settings, network, metrics, run.onnx_model)
    leave_plots(run, metrics)
    return metrics


def _keys(settings: TrainSettings) -> tuple[str, str]:
    return OWN_SPLITS if settings.data is None else SPLITS


def read_before(network: KerasModel, settings: TrainSettings, material: Material) -> dict[str, Any]:
    """What a network reads that a run goes on from: accuracy and macro-F1, by the keys of `metrics.json`."""
    faces = {_keys(settings)[0]: material.evaluation} | ({} if material.own is None else {OWN_SPLITS[0]: material.own})
    figures = {name: measure_on(network, 1.0, chosen) for name, chosen in faces.items()}
    return {name: {"accuracy": value.accuracy, "macro_f1": value.macro_f1} for name, value in figures.items()}


def leave_plots(run: RunDirectory, metrics: dict[str, Any]) -> None:
    """Draw a run's epochs and confusion matrix into its directory, and write the matrix as CSV.

    Args:
        run: its directory, with the history.
        metrics: as in `metrics.json`.

    Raises:
        StorageError: a file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    counts = metrics[evaluation_keys(metrics)[0]]["confusion"]
    run.write_bytes(run.confusion, confusion_csv(counts).encode())
    run.write_bytes(run.confusion_plot, plots.png(plots.confusion(counts)))
    run.write_bytes(run.history_plot, plots.png(plots.epochs(run.read_history(), metrics["epoch"])))


def export_run(path: Path, out: Path) -> dict[str, Any]:
    """Write the chosen network of a finished run as a model file.

    Args:
        path: the run directory.
        out: the ONNX file.

    Returns:
        The run's figures, as in `metrics.json`.

    Raises:
        TrainingError: the directory holds no finished run.
        ModelError: the network is damaged, or the exported graph computes something else.
    """
    run = RunDirectory(path)
    settings = stored_settings(path)
    if not run.keras_model.exists():
        raise TrainingError(f"{path} is not finished; finish it with: vire-edge train --run {path} --resume")
    network = load_network(run.keras_model)
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
        metrics={
            name: {key: value for key, value in metrics[name].items() if key != "confusion"}
            for name in evaluation_keys(metrics)
        },
        training_command=settings.command,
    )
    export(network, out, temperature=metrics["temperature"], provenance=provenance)
