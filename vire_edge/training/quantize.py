"""A model file → the same network in 8-bit integers, calibrated anew.

Convolutions and dense layers compute in int8; scaling, logits, temperature and softmax stay float32. The contract is
the same, so the edge runs either file. Ranges and temperature come from held-out Training faces, never PublicTest.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import MODEL_INPUT, MODEL_METADATA_PREFIX, MODEL_OUTPUT
from vire_edge.errors import ModelError
from vire_edge.training.backend import load_onnx
from vire_edge.training.data.dataset import Faces
from vire_edge.training.evaluation.metrics import fit_temperature
from vire_edge.training.export import run_bytes

CALIBRATION_FACES = 512
"""More change nothing; the histograms of all layers for so many faces are made in seconds."""
BATCH = 64
QUANTIZED = ("Conv", "MatMul", "Gemm", "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat")
"""Nodes that become integer: those that cost time, and those between them, so that nothing is converted to and fro."""


def quantize(content: bytes, held_out: Faces) -> bytes:
    """Make the int8 variant of a model.

    Weights are 7-bit numbers, for each output channel apart: an x86 processor without VNNI adds two products of 8-bit
    numbers in 16 bits, which would overflow. Ranges leave out the one value in a hundred thousand that is farthest out.

    Args:
        content: a model file under the contract.
        held_out: Training faces that were not learnt from.

    Returns:
        A model file under the same contract, its temperature fitted anew.

    Raises:
        ModelError: the graph has no softmax at its end.
        DependencyError: onnx is not installed.
    """
    onnx = load_onnx()
    quantization = _quantization()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, ready, out = (Path(folder) / name for name in ("float32.onnx", "ready.onnx", "int8.onnx"))
        source.write_bytes(content)
        # Folds batch norm into the convolutions, without which there would be floats between them.
        quantization.shape_inference.quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(out),
            _calibration(held_out),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_tail(onnx.load(ready).graph),
            calibrate_method=quantization.CalibrationMethod.Percentile,
        )
        graph = onnx.load(out)
    graph.doc_string = "Reads the emotion in a 48×48 gray face, in 8-bit integers. See models/README.md."
    rough = run_bytes(graph.SerializeToString(), held_out.images[..., None])
    correction = fit_temperature(rough, held_out.labels)
    _insert_temperature(graph.graph, correction)
    properties = _metadata(content)
    temperature = float(properties.get(f"{MODEL_METADATA_PREFIX}temperature", "1")) * correction
    properties |= {
        f"{MODEL_METADATA_PREFIX}temperature": f"{temperature:.6f}",
        f"{MODEL_METADATA_PREFIX}created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        f"{MODEL_METADATA_PREFIX}quantization": (
            f"int8 weights for each channel, uint8 activations, ranges of {_calibrating(held_out)} "
            "held-out Training faces"
        ),
    }
    onnx.helper.set_model_props(graph, properties)
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString())


def with_metrics(content: bytes, metrics: dict[str, Any]) -> bytes:
    """The same model with its own figures in the metadata instead of those of the one it was made from."""
    onnx = load_onnx()
    graph = onnx.load_from_string(content)
    onnx.helper.set_model_props(graph, _metadata(content) | {f"{MODEL_METADATA_PREFIX}metrics": json.dumps(metrics)})
    return bytes(graph.SerializeToString())


def _calibrating(faces: Faces) -> int:
    """How many of the faces give the ranges: the quantizer takes nothing but batches of one size."""
    count = min(len(faces), CALIBRATION_FACES)
    return count - count % BATCH if count > BATCH else count


def _calibration(faces: Faces) -> Any:
    """The reader that the quantizer asks for faces."""
    quantization = _quantization()
    chosen = faces.images[np.random.default_rng(0).permutation(len(faces))[: _calibrating(faces)], ..., None]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined, misc]  # ships no types
        def __init__(self) -> None:
            self._batches = iter([{MODEL_INPUT: chosen[i : i + BATCH]} for i in range(0, len(chosen), BATCH)])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self._batches, None)

    return Reader()


def _quantization() -> Any:
    """ONNX Runtime's quantizer, which needs onnx."""
    load_onnx()
    from onnxruntime import quantization  # noqa: PLC0415
    from onnxruntime.quantization import shape_inference  # noqa: F401, PLC0415  # not loaded by the package

    return quantization


def _tail(graph: Any) -> list[str]:
    """Names of the nodes from the logits' layer on."""
    makers = {name: node for node in graph.node for name in node.output}
    names, wanted = [], MODEL_OUTPUT
    while (node := makers.get(wanted)) is not None:
        names.append(node.name)
        if node.op_type in ("Gemm", "MatMul"):
            return names
        wanted = next((name for name in node.input if name in makers), "")
    raise ModelError("the model's graph does not end in a dense layer and a softmax; export it with: vire-edge export")


def _insert_temperature(graph: Any, temperature: float) -> None:
    """Divide what goes into the last softmax by the temperature."""
    onnx = load_onnx()
    softmax = next((node for node in graph.node if MODEL_OUTPUT in node.output and node.op_type == "Softmax"), None)
    if softmax is None:
        raise ModelError("the model's graph does not end in a softmax; export it with: vire-edge export")
    factor = onnx.numpy_helper.from_array(np.array(1 / temperature, np.float32), "int8_temperature")
    graph.initializer.append(factor)
    scale = onnx.helper.make_node("Mul", [softmax.input[0], factor.name], ["int8_tempered"], name="int8_temperature")
    softmax.input[0] = "int8_tempered"
    graph.node.insert(list(graph.node).index(softmax), scale)


def _metadata(content: bytes) -> dict[str, str]:
    return {entry.key: entry.value for entry in load_onnx().load_from_string(content).metadata_props}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer prints its progress, and recommends through the root logger what is done already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
