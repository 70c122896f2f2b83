"""The shipped model and the shipped expressions keep what they promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from fer2013_samples import real_fer2013
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS, MODEL_CONTRACT_VERSION, MODEL_INPUT, MODEL_OUTPUT
from vire_edge.emotions import OnnxEmotionClassifier, shipped_model_path
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import load_onnx
from vire_edge.training.data.dataset import Split
from vire_edge.training.export import PARITY, calibrated, run_file
from vire_edge.training.finish import with_and_without_repeats
from vire_edge.training.scenes import FrontalCascade, check

ROOT = Path(__file__).resolve().parents[1]
MODEL = shipped_model_path()
EXPRESSIONS = ROOT / "vire_edge" / "camera" / "expressions"


@pytest.fixture(scope="module")
def metadata() -> dict[str, str]:
    session = onnxruntime.InferenceSession(MODEL)
    assert (session.get_inputs()[0].name, session.get_outputs()[0].name) == (MODEL_INPUT, MODEL_OUTPUT)
    values: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return values


def read(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    return run_file(MODEL, faces)


def test_edge_accepts_the_shipped_model(metadata: dict[str, str]) -> None:
    assert OnnxEmotionClassifier(MODEL).architecture == metadata["vire.architecture"] == "cnn"
    assert metadata["vire.contract"] == MODEL_CONTRACT_VERSION
    assert metadata["vire.training_command"].startswith("vire-edge train --data fer2013.csv")
    assert "/" not in metadata["vire.training_command"]


def test_stated_figures_are_those_that_are_measured(metadata: dict[str, str]) -> None:
    dataset = real_fer2013()
    evaluation = dataset[Split.PUBLIC_TEST]
    measured = with_and_without_repeats(read(evaluation.images), evaluation, dataset[Split.TRAINING])
    stated: dict[str, Any] = json.loads(metadata["vire.metrics"])
    for name, metrics in zip(("public_test", "public_test_without_repeats"), measured, strict=True):
        assert metrics.accuracy == pytest.approx(stated[name]["accuracy"], abs=1e-3)
        assert metrics.macro_f1 == pytest.approx(stated[name]["macro_f1"], abs=2e-3)
        assert metrics.calibration_error == pytest.approx(stated[name]["calibration_error"], abs=5e-3)
    assert metadata["vire.dataset_digest"] == dataset.digest()


def test_card_states_the_accuracy_of_the_model_it_lies_beside(metadata: dict[str, str]) -> None:
    card = (ROOT / "models" / "README.md").read_text()
    stated = json.loads(metadata["vire.metrics"])["public_test"]
    assert f"| accuracy | {stated['accuracy']:.3f} |" in card
    assert metadata["vire.dataset_digest"] in card


def test_every_class_is_read_and_disgust_is_not_lost(metadata: dict[str, str]) -> None:
    stated = json.loads(metadata["vire.metrics"])["public_test"]
    assert stated["accuracy"] > 0.58
    assert stated["macro_f1"] > 0.54
    assert min(stated["recall"]) > 0.3
    assert stated["recall"][EMOTIONS.index("disgust")] >= 0.4
    assert stated["calibration_error"] < 0.05


def test_keras_with_the_shipped_weights_agrees_on_real_faces(metadata: dict[str, str]) -> None:
    onnx = load_onnx()
    graph = onnx.load(MODEL).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    used = [stored[name] for node in graph.node for name in node.input if name in stored]
    # Scaling, temperature and shapes are no weights; ONNX keeps a convolution's kernel with its channels first.
    weights = [
        array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        for array in used
        if array.dtype == np.float32 and array.size > 1
    ]
    network = build("cnn", Plan())
    network.set_weights(weights)
    faces = real_fer2013()[Split.PUBLIC_TEST].images[:500]
    keras = calibrated(network, float(metadata["vire.temperature"])).predict(faces[..., None], verbose=0)
    assert np.abs(keras - read(faces)).max() < PARITY


def test_model_reads_the_shipped_expressions_at_every_size_and_place() -> None:
    cascade = FrontalCascade()
    right = []
    for label, emotion in enumerate(EMOTIONS):
        picture = cv2.imread(str(EXPRESSIONS / f"{emotion}.png"), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        found, probabilities = check(np.asarray(picture, np.uint8), read, cascade)
        assert found == 1.0, f"the cascade misses {emotion}"
        right.append(bool((probabilities.argmax(axis=1) == label).all() and probabilities[:, label].min() > 0.6))
    assert sum(right) >= 6, dict(zip(EMOTIONS, right, strict=True))
