"""A finished run's model file → its int8 variant, and both measured side by side: accuracy, size, speed."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vire_edge.domain import MODEL_INPUT, MODEL_OUTPUT
from vire_edge.errors import ModelError, TrainingError
from vire_edge.training.data.dataset import Faces
from vire_edge.training.data.material import Material, gather
from vire_edge.training.evaluation.metrics import Metrics, measure
from vire_edge.training.export import run_bytes, write_model
from vire_edge.training.finish import evaluation_keys, with_and_without_repeats
from vire_edge.training.progress import OnEvent, Stage
from vire_edge.training.quantize import quantize, with_metrics
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import stored_settings

ROUNDS = 300
WARM_UP = 20
"""The first rounds fill caches and don't count."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two models that are compared."""

    held_out: Metrics
    """On Training faces that were not learnt from, but that gave ranges and temperature."""
    evaluation: Metrics
    """On the evaluation split, which gave nothing."""
    fresh: Metrics
    """The same without the images that repeat a training image."""
    size: int
    """Bytes."""
    median_ms: float
    """For one face on one thread."""
    least_ms: float
    """The same, least disturbed by whatever else runs."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A network in float32 and in int8, measured in the same minute."""

    float32: Side
    int8: Side
    largest_difference: float
    """Between the probabilities of the two, over the evaluation's faces."""
    agreement: float
    """Share of the evaluation's faces that both read alike."""


def export_int8(
    run: Path, model: Path, out: Path, *, data: Path | None = None, on_event: OnEvent = lambda _: None
) -> Comparison:
    """Write the int8 variant of a run's model.

    Args:
        run: the directory of a finished run.
        model: its model file in float32.
        out: the file to write.
        data: where the run's FER2013 is now; where it was when omitted.
        on_event: told of the stages.

    Raises:
        TrainingError: the directory holds no run, or the data is not the run's.
        DatasetError: the data is missing or broken.
        ModelError: the file is missing, or no graph that can be quantized.
        StorageError: the file cannot be written.
    """
    settings, directory = stored_settings(run), RunDirectory(run)
    on_event(Stage("reading the run's data"))
    material = gather(settings if data is None else replace(settings, data=data))
    if material.ready.split_digest != directory.read_json(directory.data)["split_digest"]:
        raise TrainingError(f"{run} learnt from other images than these; name its file with --data")
    try:
        float32 = model.read_bytes()
    except OSError as error:
        raise ModelError(f"{model} cannot be read ({error.strerror}); export it with: vire-edge export") from error
    on_event(Stage("quantizing"))
    int8 = quantize(float32, material.held_out)
    on_event(Stage("measuring both"))
    comparison = compare(float32, int8, material)
    measured = zip(
        evaluation_keys(directory.read_json(directory.metrics)),
        (comparison.int8.evaluation, comparison.int8.fresh),
        strict=True,
    )
    metrics = {
        name: {key: value for key, value in figures.as_dict().items() if key != "confusion"}
        for name, figures in measured
    }
    write_model(out, with_metrics(int8, metrics))
    return comparison


def compare(float32: bytes, int8: bytes, material: Material) -> Comparison:
    """Measure both on the same faces, and their speed in turns, so that what else runs disturbs both alike."""
    evaluation = material.evaluation
    read = [run_bytes(content, evaluation.images[..., None]) for content in (float32, int8)]
    taken = _milliseconds((float32, int8), evaluation.images[:1])
    sides = [
        _side(content, probabilities, times, material)
        for content, probabilities, times in zip((float32, int8), read, taken, strict=True)
    ]
    return Comparison(
        float32=sides[0],
        int8=sides[1],
        largest_difference=float(np.abs(read[0] - read[1]).max()),
        agreement=float((read[0].argmax(axis=1) == read[1].argmax(axis=1)).mean()),
    )


def _side(content: bytes, probabilities: NDArray[np.float32], times: list[float], material: Material) -> Side:
    held_out: Faces = material.held_out
    whole, fresh = with_and_without_repeats(probabilities, material.evaluation, material.training)
    return Side(
        held_out=measure(run_bytes(content, held_out.images[..., None]), held_out.labels),
        evaluation=whole,
        fresh=fresh,
        size=len(content),
        median_ms=float(np.median(times)),
        least_ms=min(times),
    )


def _milliseconds(contents: tuple[bytes, ...], face: NDArray[np.uint8]) -> list[list[float]]:
    """For one face on one thread, in turns."""
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]) for content in contents
    ]
    taken: list[list[float]] = [[] for _ in contents]
    feed = {MODEL_INPUT: face[..., None]}
    for turn in range(WARM_UP + ROUNDS):
        for session, times in zip(sessions, taken, strict=True):
            started = time.perf_counter()
            session.run([MODEL_OUTPUT], feed)
            if turn >= WARM_UP:
                times.append(1000 * (time.perf_counter() - started))
    return taken
