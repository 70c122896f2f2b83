"""A model file's graph → what it costs: parameters and multiply-adds for one face. It is read, never run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vire_edge.training.backend import load_onnx

WEIGHED = ("Conv", "MatMul", "Gemm")
"""Nodes whose multiply-adds count: convolutions and dense layers, as for a Keras network."""
PASSED_THROUGH = ("DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity")
"""Nodes that stand between a weight and its layer and leave its number of values."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model costs."""

    parameters: int
    multiply_adds: int | None
    """For one face; None where the graph does not tell its shapes."""


def cost(content: bytes) -> Cost:
    """Count a model file's parameters and multiply-adds.

    Args:
        content: of a file that ONNX Runtime has opened.

    Raises:
        DependencyError: onnx is not installed.
    """
    onnx = load_onnx()
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content)).graph
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    # Shapes and axes are integers of 64 bits; weights never are.
    weights = [tensor for tensor in graph.initializer if tensor.data_type != onnx.TensorProto.INT64]
    parameters = sum(sizes[tensor.name] for tensor in weights if sizes[tensor.name] > 1)
    shapes = dict(_shapes(graph))
    total = 0
    for node in graph.node:
        if node.op_type in PASSED_THROUGH and node.input[0] in sizes:
            sizes[node.output[0]] = sizes[node.input[0]]
        elif node.op_type in WEIGHED and node.input[1] in sizes:
            shape = shapes.get(node.output[0])
            if shape is None:
                return Cost(parameters, None)
            places = shape[2:] if node.op_type == "Conv" else shape[1:-1]
            if None in places:
                return Cost(parameters, None)
            total += math.prod(places) * sizes[node.input[1]]
    return Cost(parameters, total)


def _shapes(graph: Any) -> Iterator[tuple[str, list[Any]]]:
    """Each tensor's name and sides; None for a side that is not known."""
    for value in (*graph.value_info, *graph.output):
        sides = value.type.tensor_type.shape.dim
        if sides:
            yield value.name, [side.dim_value or None for side in sides]
