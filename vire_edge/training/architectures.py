"""The networks, by name. Each takes uint8 faces `[N, 48, 48, 1]` and gives probabilities `[N, 7]`.

To add one, write a function from `(keras, input, Plan)` to the last hidden tensor and
register it: the input, the scaling to 0..1 and the output are the same for all.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vire_edge.domain import EMOTIONS
from vire_edge.errors import TrainingError
from vire_edge.preprocess import FACE_SIZE
from vire_edge.training.backend import KerasModel, Precision, load_keras

LOGITS = "logits"
"""The layer before the softmax; export divides it by the temperature."""
WHITE = 255.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe may choose about a network."""

    initializer: str = "glorot_uniform"
    """A Keras initializer: glorot_uniform, he_normal or lecun_normal in the publication."""
    dropout: float = 0.25
    """Share of activations dropped where the architecture drops any."""


Body = Callable[[Any, Any, Plan], Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that can be trained by name."""

    name: str
    summary: str
    body: Body


ARCHITECTURES: dict[str, Architecture] = {}


def _register(name: str, summary: str) -> Callable[[Body], Body]:
    def add(body: Body) -> Body:
        ARCHITECTURES[name] = Architecture(name, summary, body)
        return body

    return add


@_register("cnn", "the publication's custom CNN: two convolutions, two dense layers; 0.85 M parameters")
def cnn(keras: Any, x: Any, plan: Plan) -> Any:
    """The publication's custom CNN, layer by layer.

    Padding is not published; Keras' default, "valid", is taken: 46 → 23 → 21 → 10 pixels.
    """
    layers = keras.layers
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, activation="relu", kernel_initializer=plan.initializer)(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(plan.dropout)(x)
    x = layers.Flatten()(x)
    for units in (128, 64):
        x = layers.Dense(units, activation="relu", kernel_initializer=plan.initializer)(x)
    return x


@_register("alexnet", "AlexNet fitted to 48×48: five convolutions, two dense layers of 4096; 30 M parameters")
def alexnet(keras: Any, x: Any, plan: Plan) -> Any:
    """AlexNet (Krizhevsky et al. 2012) on a face of 48 pixels instead of a picture of 227.

    The publication draws the original and does not say how it was fitted. Here: the original's filters and kernels, the
    first stride 2 instead of 4 and every border padded, so that the last pooling ends at 3×3 (the original: 6×6); its
    three overlapping poolings and the dropout of its dense layers; no response normalization, which later work dropped.
    """
    layers, init = keras.layers, plan.initializer
    for filters, size, stride, pooled in (
        (96, 11, 2, 1),
        (256, 5, 1, 1),
        (384, 3, 1, 0),
        (384, 3, 1, 0),
        (256, 3, 1, 1),
    ):
        x = layers.Conv2D(filters, size, stride, padding="same", activation="relu", kernel_initializer=init)(x)
        if pooled:
            x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(4096, activation="relu", kernel_initializer=init)(x)
        x = layers.Dropout(plan.dropout)(x)
    return x


@_register("densenet", "the publication's DenseNet: three blocks of four bottleneck layers; 0.7 M parameters")
def densenet(keras: Any, x: Any, plan: Plan) -> Any:
    """The publication's DenseNet (Huang et al. 2017): 12×12×192, 6×6×224 and 3×3×240 after its three blocks.

    Those widths take four layers of growth 32 in each block; "more than 20 convolutions" take a bottleneck in each
    layer: 1×1 to four times the growth, then 3×3.
    """
    layers = keras.layers
    x = layers.Conv2D(64, 3, strides=2, padding="same", use_bias=False, kernel_initializer=plan.initializer)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for transition in (0, 96, 112):
        if transition:
            x = _activated_convolution(keras, x, transition, 1, plan)
            x = layers.AveragePooling2D(2)(x)
        for _ in range(4):
            y = _activated_convolution(keras, x, 128, 1, plan)
            y = _activated_convolution(keras, y, 32, 3, plan)
            x = layers.Concatenate()([x, layers.Dropout(plan.dropout)(y)])
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return layers.GlobalAveragePooling2D()(x)


def _activated_convolution(keras: Any, x: Any, filters: int, size: int, plan: Plan) -> Any:
    """Normalization, activation, convolution: a dense block's order."""
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    return keras.layers.Conv2D(filters, size, padding="same", use_bias=False, kernel_initializer=plan.initializer)(x)


@_register("vire", "the project's own: 13 convolutions with residuals; 1.6 M parameters, 60 M multiply-adds")
def vire(keras: Any, x: Any, plan: Plan) -> Any:
    """Residual blocks of plain 3×3 convolutions, as wide as 60 million multiply-adds allow.

    Plain, because a processor runs them three times faster than depthwise ones. Few channels at full resolution,
    where a channel costs most time; from there on each halving of the side doubles the channels, so that every
    convolution costs the same 5.3 million multiply-adds.
    """
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer=plan.initializer)(x)
    x = _convolution(keras, x, 32, plan, stride=2)
    x = keras.layers.ReLU()(x)
    for filters, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2)):
        x = _residual(keras, x, filters, plan, stride=stride)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Dropout(plan.dropout)(x)


@_register("resnet", "ResNet-18 at half its width; 2.8 M parameters")
def resnet(keras: Any, x: Any, plan: Plan) -> Any:
    """ResNet-18 (He et al. 2016) at half the width; its first convolution 3×3 with stride 2, no pooling after it."""
    x = keras.layers.ReLU()(_convolution(keras, x, 32, plan, stride=2))
    for filters, stride in ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        x = _residual(keras, x, filters, plan, stride=stride)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Dropout(plan.dropout)(x)


@_register("attention", "a small transformer over 6×6 patches that convolutions prepare; 0.6 M parameters")
def attention(keras: Any, x: Any, plan: Plan) -> Any:
    """A compact convolutional transformer (Hassani et al. 2021): convolutions to 36 tokens, four encoder layers.

    A depthwise convolution tells each token its neighbours and so its place (Chu et al. 2021). At the end a learnt
    weight for each token takes the place of a class token.
    """
    layers, width, init = keras.layers, 128, plan.initializer
    for filters in (32, 64, width):
        x = layers.ReLU()(_convolution(keras, x, filters, plan, stride=2))
    x = layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)])
    x = layers.Reshape((-1, width))(x)
    for _ in range(4):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(num_heads=4, key_dim=width // 4, kernel_initializer=init)(y, y)
        x = layers.Add()([x, layers.Dropout(plan.dropout)(y)])
        y = layers.Dense(2 * width, activation="silu", kernel_initializer=init)(layers.LayerNormalization()(x))
        y = layers.Dense(width, kernel_initializer=init)(y)
        x = layers.Add()([x, layers.Dropout(plan.dropout)(y)])
    x = layers.LayerNormalization()(x)
    weight = layers.Softmax(axis=1)(layers.Dense(1)(x))
    return layers.Flatten()(layers.Dot(axes=1)([weight, x]))


def _residual(keras: Any, x: Any, filters: int, plan: Plan, *, stride: int) -> Any:
    """Two convolutions beside a shortcut, which averages where the side is halved (ResNet-D, He et al. 2019)."""
    y = _convolution(keras, x, filters, plan, stride=stride)
    y = keras.layers.ReLU()(y)
    # A block begins as its shortcut: the last scale is 0.
    y = _convolution(keras, y, filters, plan, gamma="zeros")
    if stride > 1:
        x = keras.layers.AveragePooling2D(stride)(x)
        x = _convolution(keras, x, filters, plan, size=1)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def _convolution(
    keras: Any, x: Any, filters: int, plan: Plan, *, size: int = 3, stride: int = 1, gamma: str = "ones"
) -> Any:
    """A convolution and batch norm, which makes the bias needless."""
    x = keras.layers.Conv2D(
        filters, size, strides=stride, padding="same", use_bias=False, kernel_initializer=plan.initializer
    )(x)
    # Keras' 0.99 lags a hundred steps behind the weights; 0.9 ten.
    return keras.layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma)(x)


def multiply_adds(model: KerasModel) -> int:
    """Multiply-adds for one face, of convolutions, dense layers and attention; the rest is little."""
    total = 0
    for layer in model.layers:
        *places, width = layer.output.shape[1:]
        kernels = sum(
            math.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1 and "bias" not in weight.name
        )
        total += math.prod(places) * kernels
        if type(layer).__name__ == "MultiHeadAttention":
            total += 2 * math.prod(places) ** 2 * width  # each token with each: once to compare, once to mix
    return total


def build(name: str, plan: Plan, precision: Precision = Precision.FLOAT32) -> KerasModel:
    """Build a network with fresh weights.

    Args:
        name: a key of `ARCHITECTURES`.
        plan: what the recipe chooses.
        precision: of everything but the last layer and the softmax, which stay float32.

    Returns:
        A Keras model: uint8 `[N, 48, 48, 1]` → float32 probabilities `[N, 7]`.

    Raises:
        TrainingError: there is no architecture of that name.
        DependencyError: Keras is not installed.
    """
    architecture = ARCHITECTURES.get(name)
    if architecture is None:
        raise TrainingError(f'there is no architecture "{name}"; choose one of {", ".join(ARCHITECTURES)}')
    keras = load_keras()
    face = keras.Input((FACE_SIZE, FACE_SIZE, 1), dtype="uint8", name="face")
    scaled = keras.layers.Rescaling(1 / WHITE, name="to_unit_range")(face)
    with _computing_in(precision):
        hidden = architecture.body(keras, scaled, plan)
    logits = keras.layers.Dense(len(EMOTIONS), kernel_initializer=plan.initializer, name=LOGITS)(hidden)
    probabilities = keras.layers.Softmax(name="probabilities")(logits)
    return keras.Model(face, probabilities, name=name)


@contextlib.contextmanager
def _computing_in(precision: Precision) -> Iterator[None]:
    """Let the layers that are made inside compute in that precision."""
    config = load_keras().config
    before = config.dtype_policy()
    config.set_dtype_policy("float32" if precision is Precision.FLOAT32 else f"mixed_{precision}")
    try:
        yield
    finally:
        config.set_dtype_policy(before)
