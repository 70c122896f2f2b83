"""A model file's graph → what it costs: parameters and multiply-adds for one face, counted as for a Keras network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from vire_edge.domain import MODEL_INPUT
from vire_edge.preprocess import FACE_SIZE
from vire_edge.training.backend import load_onnx

WEIGHT_INPUT = {
    "Conv": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearMatMul": 3,
    "QGemm": 3,
}
"""The nodes that multiply and add, in floating point or quantized: which of their inputs holds the second factor."""
SCALED = ("DequantizeLinear", "QuantizeLinear")
"""Nodes whose further inputs are scales of what is quantized, and no parameters."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs."""

    parameters: int
    multiply_adds: int
    """For one face, of convolutions and matrix products; the rest is little."""


def cost(content: bytes) -> Cost:
    """Count a model file's parameters and multiply-adds.

    Args:
        content: of a file under the model contract that ONNX Runtime has opened.

    Raises:
        DependencyError: onnx is not installed.
    """
    onnx = load_onnx()
    model = onnx.load_from_string(content)
    nodes = [node for node in model.graph.node if node.op_type in WEIGHT_INPUT]
    shapes = _shapes(model, nodes)
    total = 0
    for node in nodes:
        first, second = shapes[node.input[0]], shapes[node.input[WEIGHT_INPUT[node.op_type]]]
        # Each output value sums up one filter, or one row.
        summed = math.prod(second[1:]) if "Conv" in node.op_type else first[-1]
        total += math.prod(shapes[node.output[0]]) * summed
    return Cost(_parameters(onnx, model.graph), total)


def _parameters(onnx: Any, graph: Any) -> int:
    scales = {name for node in graph.node if node.op_type in SCALED for name in node.input[1:]}
    # Shapes and axes are integers of 64 bits and single numbers are constants; weights are neither.
    sizes = (
        math.prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.name not in scales and tensor.data_type != onnx.TensorProto.INT64
    )
    return sum(size for size in sizes if size > 1)


def _shapes(model: Any, nodes: list[Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of what the nodes take and give, for one face; those that are computed are only known by computing."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes[MODEL_INPUT] = (1, FACE_SIZE, FACE_SIZE, 1)
    asked = [name for node in nodes for name in (*node.input, *node.output) if name and name not in shapes]
    names = list(dict.fromkeys(asked))
    if not names:
        return shapes  # asked for nothing, ONNX Runtime gives all
    given = {output.name for output in model.graph.output}
    for name in names:
        if name not in given:
            model.graph.output.add().name = name
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values = session.run(names, {MODEL_INPUT: np.zeros(shapes[MODEL_INPUT], np.uint8)})
    return shapes | {name: value.shape for name, value in zip(names, values, strict=True)}
