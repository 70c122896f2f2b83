"""The shipped model and the shipped expressions keep what they promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from fer2013_samples import FER2013, real_fer2013
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS, MODEL_CONTRACT_VERSION, MODEL_INPUT, MODEL_OUTPUT
from vire_edge.emotions import OnnxEmotionClassifier, shipped_model_path
from vire_edge.training.data.cleaning import keys
from vire_edge.training.data.dataset import Split
from vire_edge.training.data.material import gather
from vire_edge.training.evaluation.graph import cost
from vire_edge.training.evaluation.reading import load_network
from vire_edge.training.export import PARITY, calibrated, run_file
from vire_edge.training.finish import with_and_without_repeats
from vire_edge.training.scenes import FrontalCascade, check
from vire_edge.training.settings import TrainSettings

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
    assert OnnxEmotionClassifier(MODEL).architecture == metadata["vire.architecture"] == "vire"
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


@pytest.mark.parametrize(("votes", "seed"), [(True, 1), (False, 2)])
def test_fine_tuning_calibrates_on_what_the_shipped_network_never_learnt(
    metadata: dict[str, str], tmp_path: Path, votes: bool, seed: int
) -> None:
    dataset = real_fer2013()
    fer_plus = FER2013.with_name("fer2013new.csv")
    trained = gather(TrainSettings(FER2013, tmp_path / "run", "vire", "best", seed=1, fer_plus=fer_plus))
    assert trained.ready.split_digest == metadata["vire.split_digest"]
    again = TrainSettings(
        data=FER2013,
        run=tmp_path / "run",
        architecture="vire",
        preset="fine-tune",
        seed=seed,
        fer_plus=fer_plus if votes else None,
        start_from=ROOT / "models" / "vire.keras",
    )
    assert keys(gather(again).held_out) == keys(trained.held_out)
    assert len(keys(trained.held_out)) > 0.04 * len(dataset[Split.TRAINING])


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


def test_shipped_keras_network_agrees_on_real_faces(metadata: dict[str, str]) -> None:
    network = load_network(MODEL.with_suffix(".keras"))
    faces = real_fer2013()[Split.PUBLIC_TEST].images[:500]
    keras = calibrated(network, float(metadata["vire.temperature"])).predict(faces[..., None], verbose=0)
    assert np.abs(keras - read(faces)).max() < PARITY


def test_network_stays_inside_its_budget() -> None:
    costs = cost(MODEL.read_bytes())
    assert costs.parameters <= 3_000_000
    assert costs.multiply_adds is not None
    assert costs.multiply_adds <= 60_000_000


def test_int8_variant_reads_like_the_model() -> None:
    int8 = MODEL.with_name("vire-int8.onnx")
    faces = real_fer2013()[Split.PUBLIC_TEST].images[:500]
    assert OnnxEmotionClassifier(int8).architecture == "vire"
    assert (run_file(int8, faces).argmax(axis=1) == read(faces).argmax(axis=1)).mean() > 0.95
    assert int8.stat().st_size < MODEL.stat().st_size / 3


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
