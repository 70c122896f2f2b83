"""What a model file may hold, checked before ONNX Runtime sees a byte of it.

ONNX Runtime runs whatever a file asks for: it reads other files, loads operators by name, and folds constants of any
size while it opens. Ours need none of that, so only what `vire-edge export` writes passes. What a graph costs, no
reading tells: see `trial`.
"""

from __future__ import annotations

import math

from vire_edge.emotions.wire import Record, RefusedError, count_varints, read_model

OPERATORS = frozenset(
    {
        "Add", "AveragePool", "Cast", "Concat", "Conv", "DequantizeLinear", "Gather", "Gemm", "GlobalAveragePool",
        "MatMul", "Max", "MaxPool", "Mul", "Neg", "QuantizeLinear", "Reciprocal", "ReduceProd", "Relu", "Reshape",
        "Shape", "Sigmoid", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""What the six architectures come to, in float32 and in int8; a test exports all and holds this list complete."""
_OWN_DOMAINS = ("", "ai.onnx")
_SIZED_BY_INPUT = frozenset({"Reshape", "ReduceProd", "Slice", "Squeeze", "Unsqueeze"})
"""Operators whose inputs after the first say how large the output is."""
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8}
"""float32, uint8, int8, int32 and int64 by TensorProto.DataType."""
_MAX_DIMENSIONS = 8
_MAX_ATTRIBUTE = 4096
"""Kernels, strides, paddings and axes of a face of 48 pixels are small numbers."""


def inspect(content: bytes) -> None:
    """Refuse a model file that could do more than read faces.

    Raises:
        RefusedError: it is damaged; names data in other files, operators, functions, subgraphs or field types that
            the exporter never writes; claims more numbers than it holds; or lets a picture decide over sizes.
    """
    model = read_model(content)
    graphs: list[Record] = model.get("graph", [])
    if not graphs:
        raise RefusedError("it is truncated or no ONNX model (it holds no graph)")
    (graph,) = graphs
    constants = [_check_tensor(tensor) for tensor in graph.get("initializer", [])]
    inputs = [_first(value, "name") for value in graph.get("input", [])]
    for node in graph.get("node", []):
        _check_node(node)
    _check_flow(graph.get("node", []), constants, inputs)


def _check_tensor(tensor: Record) -> str:
    """Check that a constant holds what it claims; return its name."""
    name = _first(tensor, "name")
    dims: list[int] = tensor.get("dims", [])
    (kind,) = tensor.get("data_type", [0])
    size = _ITEM_BYTES.get(kind)
    if size is None:
        raise RefusedError(f"tensor {name[:60]!r} has the data type {kind}, which vire-edge export never writes")
    if len(dims) > _MAX_DIMENSIONS or any(side < 0 for side in dims):
        raise RefusedError(f"tensor {name[:60]!r} has impossible dimensions")
    held = sum(len(data) / size for data in tensor.get("raw_data", []))
    held += sum(len(data) / 4 for data in tensor.get("float_data", []))
    held += sum(count_varints(data) for key in ("int32_data", "int64_data") for data in tensor.get(key, []))
    if math.prod(dims) != held:
        raise RefusedError(f"tensor {name[:60]!r} claims {_count(math.prod(dims))} numbers and holds {held:,.0f}")
    return name


def _check_node(node: Record) -> None:
    operator, domain = _first(node, "op_type"), _first(node, "domain")
    if domain not in _OWN_DOMAINS or operator not in OPERATORS:
        named = f"{domain}.{operator}" if domain else operator
        raise RefusedError(f"operator {named[:60]!r} is none that vire-edge export writes")
    for attribute in node.get("attribute", []):
        for number in (*attribute.get("i", []), *attribute.get("ints", [])):
            if abs(number) > _MAX_ATTRIBUTE:
                raise RefusedError(
                    f"{_first(attribute, 'name')[:60]!r} of {operator} is {number}, beyond {_MAX_ATTRIBUTE:,}"
                )


def _check_flow(nodes: list[Record], constants: list[str], inputs: list[str]) -> None:
    """Check that sizes follow from constants and the number of faces alone, so that what a trial costs holds for all.

    Nodes stand in the order in which they run, as ONNX asks.
    """
    from_picture = dict.fromkeys(inputs, True) | dict.fromkeys(constants, False)
    from_picture[""] = False  # an input that is left out
    for node in nodes:
        operator = _first(node, "op_type")
        used: list[str] = node.get("input", [])
        if missing := [name for name in used if name not in from_picture]:
            raise RefusedError(f"{operator} uses {missing[0][:60]!r}, which nothing before it makes")
        if operator in _SIZED_BY_INPUT and any(from_picture[name] for name in used[1:]):
            raise RefusedError(f"the size of what {operator} makes depends on the picture")
        depends = operator != "Shape" and any(from_picture[name] for name in used)
        for name in filter(None, node.get("output", [])):
            if name in from_picture:
                raise RefusedError(f"{name[:60]!r} is made twice")
            from_picture[name] = depends


def _first(record: Record, key: str) -> str:
    text: str = record.get(key, [""])[0]
    return text


def _count(number: int) -> str:
    """A number that may have a hundred digits."""
    return f"{number:,}" if number < 10**12 else "more than 10^12"
