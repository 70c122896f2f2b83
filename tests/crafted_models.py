"""Small models under the contract, and what an attacker makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from vire_edge.domain import EMOTIONS


def crafted(nodes: Sequence[Any] = (), *, constants: dict[str, Any] | None = None, taken: str = "gray") -> Any:
    """A valid model: seven weighted sums of a face's pixels, with an attacker's nodes between the face and the sums.

    Args:
        nodes: read "gray", a float `[N, 48, 48, 1]`, or constants alone.
        constants: name → array.
        taken: what the sums are made of; its first dimension must be N.
    """
    weights = np.random.default_rng(0).normal(0, 1e-4, (48 * 48, 7)).astype(np.float32)
    arrays = {"weights": weights, "flat": np.array([-1, 48 * 48], np.int64), **(constants or {})}
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["face"], ["gray"], to=TensorProto.FLOAT),
            *nodes,
            helper.make_node("Reshape", [taken, "flat"], ["row"]),
            helper.make_node("MatMul", ["row", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ],
        "crafted",
        [helper.make_tensor_value_info("face", TensorProto.UINT8, ["N", 48, 48, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 7])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    helper.set_model_props(model, {"vire.contract": "1", "vire.labels": ",".join(EMOTIONS)})
    return model


def added_to_gray(value: str) -> Any:
    """Uses a value of one number, or broadcast over a face, so that no optimizer drops what made it."""
    return helper.make_node("Add", ["gray", value], ["sum"])


def doubled(times: int) -> Any:
    """Concatenates a constant with itself, again and again: folded on opening, 2^times numbers of four bytes."""
    nodes = [helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(times)]
    nodes += [
        helper.make_node("Slice", [f"c{times}", "zero", "one"], ["number"]),
        added_to_gray("number"),
    ]
    constants = {"c0": np.ones(1, np.float32), "zero": np.array([0]), "one": np.array([1])}
    return crafted(nodes, constants=constants, taken="sum")


def padded() -> Any:
    """A convolution that pads a face to 8,048 pixels and gives a thousand channels: 259 GB behind 4 kB of weights."""
    nodes = [
        helper.make_node("Reshape", ["gray", "image"], ["x"]),
        helper.make_node("Conv", ["x", "kernel"], ["wide"], pads=[4000] * 4),
        helper.make_node("GlobalAveragePool", ["wide"], ["mean"]),
        helper.make_node("Slice", ["mean", "zero", "one", "one"], ["first"]),
        added_to_gray("first"),
    ]
    constants = {
        "image": np.array([-1, 1, 48, 48]),
        "kernel": np.ones((1000, 1, 1, 1), np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
    }
    return crafted(nodes, constants=constants, taken="sum")


def slow(layers: int) -> Any:
    """Convolutions with giant kernels, one behind the other: little memory, much work."""
    nodes = [helper.make_node("Reshape", ["gray", "image"], ["x0"])]
    nodes += [
        helper.make_node("Conv", [f"x{i}", "kernel"], [f"x{i + 1}"], pads=[127, 127, 128, 128]) for i in range(layers)
    ]
    nodes += [
        helper.make_node("GlobalAveragePool", [f"x{layers}"], ["mean"]),
        added_to_gray("mean"),
    ]
    constants = {"image": np.array([-1, 1, 48, 48]), "kernel": np.full((1, 1, 256, 256), 1e-6, np.float32)}
    return crafted(nodes, constants=constants, taken="sum")


def external(model: Any, *, file: str) -> Any:
    """Let the weights stand in another file."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", file
    return model


def serialized(model: Any) -> bytes:
    content: bytes = model.SerializeToString()
    return content
