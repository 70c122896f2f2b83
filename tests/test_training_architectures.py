from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vire_edge.training.architectures import ARCHITECTURES, Plan, build, multiply_adds


def test_cnn_has_the_published_layers() -> None:
    model = build("cnn", Plan())
    layers = [
        (type(layer).__name__, tuple(layer.output.shape[1:]))
        for layer in model.layers
        if type(layer).__name__ in {"Conv2D", "MaxPooling2D", "Dropout", "Flatten", "Dense"}
    ]
    assert layers == [
        ("Conv2D", (46, 46, 32)),
        ("MaxPooling2D", (23, 23, 32)),
        ("Dropout", (23, 23, 32)),
        ("Conv2D", (21, 21, 64)),
        ("MaxPooling2D", (10, 10, 64)),
        ("Dropout", (10, 10, 64)),
        ("Flatten", (6400,)),
        ("Dense", (128,)),
        ("Dense", (64,)),
        ("Dense", (7,)),
    ]
    assert {layer.rate for layer in model.layers if type(layer).__name__ == "Dropout"} == {0.25}
    assert model.count_params() == 846_855


def outputs(model: Any, *kinds: str) -> list[tuple[str, tuple[int, ...]]]:
    return [
        (type(layer).__name__, tuple(layer.output.shape[1:])) for layer in model.layers if type(layer).__name__ in kinds
    ]


def test_alexnet_has_the_published_layers_fitted_to_a_face() -> None:
    model = build("alexnet", Plan())
    assert outputs(model, "Conv2D", "MaxPooling2D", "Dense") == [
        ("Conv2D", (24, 24, 96)),
        ("MaxPooling2D", (12, 12, 96)),
        ("Conv2D", (12, 12, 256)),
        ("MaxPooling2D", (6, 6, 256)),
        ("Conv2D", (6, 6, 384)),
        ("Conv2D", (6, 6, 384)),
        ("Conv2D", (6, 6, 256)),
        ("MaxPooling2D", (3, 3, 256)),
        ("Dense", (4096,)),
        ("Dense", (4096,)),
        ("Dense", (7,)),
    ]
    sizes = [layer.kernel_size[0] for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert sizes == [11, 5, 3, 3, 3]
    assert model.count_params() == 29_975_239


def test_densenet_has_the_published_sizes() -> None:
    model = build("densenet", Plan())
    shapes = [shape for _, shape in outputs(model, "MaxPooling2D", "AveragePooling2D", "Concatenate")]
    assert (outputs(model, "Conv2D")[0], shapes[0]) == (("Conv2D", (24, 24, 64)), (12, 12, 64))
    assert [shapes[place] for place in (4, 5, 9, 10, 14)] == [
        (12, 12, 192),
        (6, 6, 96),
        (6, 6, 224),
        (3, 3, 112),
        (3, 3, 240),
    ]
    assert outputs(model, "GlobalAveragePooling2D") == [("GlobalAveragePooling2D", (240,))]
    assert len(outputs(model, "Conv2D")) > 20
    assert model.count_params() == 716_823


def test_a_dense_blocks_order_is_normalization_activation_convolution() -> None:
    kinds = [type(layer).__name__ for layer in build("densenet", Plan()).layers]
    first = kinds.index("MaxPooling2D") + 1
    assert kinds[first : first + 6] == ["BatchNormalization", "ReLU", "Conv2D"] * 2


def test_vire_stays_inside_its_budget() -> None:
    model = build("vire", Plan())
    assert multiply_adds(model) == 59_610_880
    assert model.count_params() == 1_605_159
    assert multiply_adds(model) <= 60_000_000
    assert model.count_params() <= 3_000_000
    sides = [layer.output.shape[1] for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert sides == sorted(sides, reverse=True)
    assert set(sides) == {48, 24, 12, 6, 3}


def test_residual_blocks_begin_as_their_shortcuts() -> None:
    norms = [layer for layer in build("vire", Plan()).layers if type(layer).__name__ == "BatchNormalization"]
    silent = [layer for layer in norms if not np.asarray(layer.gamma).any()]
    assert len(silent) == 6


def test_multiply_adds_of_known_layers_are_counted() -> None:
    convolutions = 46 * 46 * 32 * 9 + 21 * 21 * 64 * 9 * 32
    assert multiply_adds(build("cnn", Plan())) == convolutions + 6400 * 128 + 128 * 64 + 64 * 7


def test_multiply_adds_of_attention_count_each_token_with_each() -> None:
    import keras  # noqa: PLC0415  # seconds, for one test

    tokens = keras.Input((36, 128))
    model = keras.Model(tokens, keras.layers.MultiHeadAttention(num_heads=4, key_dim=32)(tokens, tokens))
    assert multiply_adds(model) == 4 * 36 * 128 * 128 + 2 * 36 * 36 * 128


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_network_gives_probabilities_of_uint8_faces(name: str) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    probabilities = np.asarray(build(name, Plan("he_normal"))(faces))
    assert probabilities.shape == (3, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
