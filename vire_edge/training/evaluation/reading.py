"""A model file or a run directory, and faces → what the model reads in them, and what it costs. Nothing is judged here.

An ONNX file gives calibrated probabilities by itself. A Keras file gives the network's raw ones; beside the figures
of a run it is a run's network, and that run's temperature is applied.
"""

from __future__ import annotations

import statistics
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS, MODEL_INPUT, MODEL_METADATA_PREFIX, MODEL_OUTPUT
from vire_edge.errors import ModelError, TrainingError
from vire_edge.preprocess import FACE_SIZE
from vire_edge.training.architectures import multiply_adds
from vire_edge.training.backend import KerasModel, load_keras
from vire_edge.training.evaluation.graph import cost
from vire_edge.training.evaluation.metrics import tempered
from vire_edge.training.export import run_file
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import stored_settings

KERAS_SUFFIX = ".keras"
PREDICT_BATCH = 512
WARM_UPS, TIMED = 30, 400
"""Faces read one by one before and while the time is taken."""
REMEDY = "give an .onnx file that vire-edge exported, a run's model.keras, or a run directory"
START_REMEDY = "give models/vire.keras, or a run's model.keras"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one model reads in the faces of a split."""

    name: str
    """As it was asked for."""
    probabilities: NDArray[np.floating[Any]]
    """`[N, 7]`, rows sum to 1."""
    architecture: str
    calibration: str
    """Where the probabilities were made honest, for people."""
    parameters: int
    multiply_adds: int
    """For one face."""
    command: str | None
    """That trained it, where the model says so."""
    run: Path | None
    """The run directory that it was named by, or stands in."""
    milliseconds: float | None = None
    """For one face on one thread, median; None where no time was taken."""


def read_faces(path: Path, images: NDArray[np.uint8], *, timed: bool = False) -> Reading:
    """Let a model read faces.

    Args:
        path: an ONNX file, a Keras file, or a run directory, whose exported model is taken.
        images: uint8 `[N, 48, 48]`, N at least 1.
        timed: also take the time for a face on one thread; of ONNX files only.

    Raises:
        ModelError: the file is missing or no model of faces and these seven classes.
        TrainingError: the directory is no run, or one without a model yet.
        DependencyError: the extra `train` is not installed.
    """
    folder = path if path.is_dir() else path.parent
    file = model_file(path)
    run = folder if RunDirectory(folder).settings.exists() else None
    if file.suffix == KERAS_SUFFIX:
        # Any other network in the folder has a temperature of its own, which nobody knows.
        own = file.name == RunDirectory(folder).keras_model.name
        reading = _read_keras(file, str(path), run if own else None, images)
    else:
        reading = _read_onnx(file, str(path), run, images, timed=timed)
    shape = reading.probabilities.shape
    if shape != (len(images), len(EMOTIONS)) or not np.allclose(reading.probabilities.sum(axis=1), 1, atol=1e-3):
        raise ModelError(f"{file} gives no probabilities of {len(EMOTIONS)} classes; {REMEDY}")
    return reading


def model_file(path: Path) -> Path:
    """The file of a model that is named by itself or by its run directory.

    Raises:
        ModelError: there is no such file.
        TrainingError: the directory is no run, or one without a model yet.
    """
    if not path.is_dir():
        if not path.exists():
            raise ModelError(f"{path} does not exist; {REMEDY}")
        return path
    run = RunDirectory(path)
    stored_settings(path)
    for file in (run.onnx_model, run.keras_model):
        if file.exists():
            return file
    raise TrainingError(f"{path} is not finished; finish it with: vire-edge train --run {path} --resume")


def milliseconds_per_face(path: Path, images: NDArray[np.uint8]) -> float:
    """The median time in which a model file reads one face, on one thread.

    Args:
        path: an ONNX file under the model contract.
        images: uint8 `[N, 48, 48]`; they are read one by one, over and over.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    seconds = []
    for index in range(WARM_UPS + TIMED):
        face = images[index % len(images)][None, ..., None]
        started = time.perf_counter()
        session.run([MODEL_OUTPUT], {MODEL_INPUT: face})
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[WARM_UPS:]) * 1000


def predict(network: KerasModel, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities `[N, 7]` of uint8 faces `[N, 48, 48]`, as the network gives them."""
    return np.asarray(network.predict(images[..., None], batch_size=PREDICT_BATCH, verbose=0))


def load_network(path: Path, remedy: str = REMEDY) -> KerasModel:
    """Load a Keras file that reads faces.

    Args:
        path: the file.
        remedy: what an error advises.

    Raises:
        ModelError: it is missing, damaged, or takes or gives something else.
        DependencyError: Keras is not installed.
    """
    try:
        network = load_keras().saving.load_model(path, compile=False)
        shapes = (tuple(network.input_shape[1:]), tuple(network.output_shape[1:]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{path} is no Keras network of faces ({reason}); {remedy}") from error
    if shapes != ((FACE_SIZE, FACE_SIZE, 1), (len(EMOTIONS),)):
        raise ModelError(f"{path} takes {shapes[0]} and gives {shapes[1]}, not (48, 48, 1) and (7,); {remedy}")
    return network


def check_start(path: Path) -> None:
    """Make sure that there is a file to go on from, without the seconds that loading Keras takes.

    Raises:
        ModelError: it is missing or no Keras file.
    """
    if path.suffix != KERAS_SUFFIX:
        raise ModelError(f"{path} is no Keras file to go on from; {START_REMEDY}")
    if not path.is_file():
        raise ModelError(f"{path} does not exist; {START_REMEDY}")


def load_start(path: Path, architecture: str) -> KerasModel:
    """Load a Keras file to go on from.

    Raises:
        ModelError: it is missing or damaged, or holds another architecture.
        DependencyError: Keras is not installed.
    """
    check_start(path)
    network = load_network(path, START_REMEDY)
    if network.name != architecture:
        raise ModelError(
            f'{path} holds a network "{network.name}", not "{architecture}"; '
            f"give another file, or --arch {network.name}"
        )
    return network


def _read_onnx(file: Path, name: str, run: Path | None, images: NDArray[np.uint8], *, timed: bool) -> Reading:
    probabilities = run_file(file, images)
    content = file.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    labels = metadata.get(f"{MODEL_METADATA_PREFIX}labels")
    if labels != ",".join(EMOTIONS):
        raise ModelError(f'{file} has the labels "{labels}", not "{",".join(EMOTIONS)}"; {REMEDY}')
    told = metadata.get(f"{MODEL_METADATA_PREFIX}temperature")
    try:
        temperature = f", temperature {float(told):.3f}" if told else ""
    except ValueError as error:
        raise ModelError(f'{file} has the temperature "{told}", which is no number; {REMEDY}') from error
    costs = cost(content)
    return Reading(
        name=name,
        probabilities=probabilities,
        architecture=metadata.get(f"{MODEL_METADATA_PREFIX}architecture", "unknown"),
        calibration=f"in the graph{temperature}",
        parameters=costs.parameters,
        multiply_adds=costs.multiply_adds,
        command=metadata.get(f"{MODEL_METADATA_PREFIX}training_command"),
        run=run,
        milliseconds=milliseconds_per_face(file, images) if timed else None,
    )


def _read_keras(file: Path, name: str, run: Path | None, images: NDArray[np.uint8]) -> Reading:
    network = load_network(file)
    probabilities: NDArray[np.floating[Any]] = predict(network, images)
    calibration, command = "none: raw probabilities", None
    if run is not None:
        command = stored_settings(run).command
        metrics = RunDirectory(run).metrics
        if metrics.exists():
            temperature = float(RunDirectory(run).read_json(metrics)["temperature"])
            probabilities = tempered(probabilities, temperature)
            calibration = f"temperature {temperature:.3f} of its run"
    return Reading(
        name=name,
        probabilities=probabilities,
        architecture=network.name,
        calibration=calibration,
        parameters=network.count_params(),
        multiply_adds=multiply_adds(network),
        command=command,
        run=run,
    )
