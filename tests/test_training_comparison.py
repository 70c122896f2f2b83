from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from fer2013_samples import patterns
from numpy.typing import NDArray
from onnxruntime import quantization
from run_samples import REPEATS, TEMPERATURE, csv_with_repeats, finished_run

from vire_edge.emotions import shipped_model_path
from vire_edge.errors import DatasetError, ModelError, TrainingError
from vire_edge.training.architectures import Plan, build, multiply_adds
from vire_edge.training.backend import load_keras
from vire_edge.training.data.dataset import Dataset, Split, load
from vire_edge.training.evaluation.comparison import compared
from vire_edge.training.evaluation.graph import cost
from vire_edge.training.evaluation.measured import BOTH_TESTS, from_dataset
from vire_edge.training.evaluation.metrics import temper
from vire_edge.training.evaluation.reading import Reading, read_faces

FACES = patterns(5, 2)[0]


@pytest.fixture(scope="module")
def keras_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an untrained Keras network."""
    folder = tmp_path_factory.mktemp("keras")
    run = finished_run(folder / "run", csv_with_repeats(folder))
    load_keras().utils.set_random_seed(3)
    build("cnn", Plan()).save(run / "model.keras")
    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load(csv_with_repeats(tmp_path), cache=tmp_path)


def reading(name: str, read: NDArray[np.int64], confidence: float = 0.9) -> Reading:
    probabilities = np.full((len(read), 7), (1 - confidence) / 6)
    probabilities[np.arange(len(read)), read] = confidence
    return Reading(name, probabilities, "cnn", "none", 10, 20, None, None)


def test_keras_network_in_a_run_is_read_with_that_runs_temperature(keras_run: Path, tmp_path: Path) -> None:
    # Neither a copy elsewhere nor another network beside the run's own has the run's temperature.
    alone, beside = tmp_path / "model.keras", keras_run / "teacher.keras"
    for copy in (alone, beside):
        copy.write_bytes((keras_run / "model.keras").read_bytes())
    raw, stranger = read_faces(alone, FACES), read_faces(beside, FACES)
    tempered = read_faces(keras_run / "model.keras", FACES)
    assert (raw.run, stranger.run, tempered.run) == (None, None, keras_run)
    assert (stranger.calibration, stranger.command) == (raw.calibration, raw.command)
    np.testing.assert_array_equal(stranger.probabilities, raw.probabilities)
    assert raw.calibration == "none: raw probabilities"
    assert tempered.calibration == f"temperature {TEMPERATURE:.3f} of its run"
    np.testing.assert_allclose(tempered.probabilities, temper(np.log(raw.probabilities), TEMPERATURE), atol=1e-6)
    assert (raw.parameters, raw.multiply_adds) == (846_855, 9_565_760)
    assert raw.command is None
    assert tempered.command == "vire-edge train --data fer2013.csv --arch cnn --preset default --seed 1"


def test_run_directory_is_read_by_its_exported_model(keras_run: Path) -> None:
    found = read_faces(keras_run, FACES)
    assert found.run == keras_run
    assert found.architecture == "vire"
    assert found.calibration.startswith("in the graph, temperature ")
    np.testing.assert_array_equal(found.probabilities, read_faces(shipped_model_path(), FACES).probabilities)


def test_run_without_a_model_is_answered_with_the_way_to_finish_it(keras_run: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes((keras_run / "settings.json").read_bytes())
    with pytest.raises(TrainingError, match=r"is not finished; .*--resume"):
        read_faces(tmp_path, FACES)


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no training run"):
        read_faces(tmp_path, FACES)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no network"])
def test_file_that_is_no_keras_network_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.keras"
    with pytest.raises(ModelError, match=r"model\.keras does not exist; give an \.onnx"):
        read_faces(path, FACES)
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.keras is no Keras network of faces"):
        read_faces(path, FACES)


def test_keras_network_of_something_else_is_refused(tmp_path: Path) -> None:
    keras = load_keras()
    path = tmp_path / "other.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(path)
    with pytest.raises(ModelError, match=r"takes \(4,\) and gives \(3,\)"):
        read_faces(path, FACES)


def test_model_with_other_labels_is_refused(tmp_path: Path) -> None:
    model = onnx.load(shipped_model_path())
    for entry in model.metadata_props:
        if entry.key == "vire.labels":
            entry.value = "happy,sad"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match='has the labels "happy,sad"'):
        read_faces(tmp_path / "other.onnx", FACES)


def test_time_is_taken_only_on_request() -> None:
    assert read_faces(shipped_model_path(), FACES).milliseconds is None
    timed = read_faces(shipped_model_path(), FACES, timed=True).milliseconds
    assert timed is not None
    assert timed > 0


def test_cost_of_a_graph_is_that_of_its_keras_network() -> None:
    network = build("vire", Plan())
    found = cost(shipped_model_path().read_bytes())
    assert found.multiply_adds == multiply_adds(network)
    # Exporting takes batch norm into the convolutions: four figures a channel become one.
    assert 0.99 * network.count_params() < found.parameters < network.count_params()


def test_cost_of_a_quantized_graph_is_that_of_the_graph(tmp_path: Path) -> None:
    quantized = tmp_path / "int8.onnx"
    quantization.quantize_dynamic(shipped_model_path(), quantized, weight_type=quantization.QuantType.QUInt8)
    original, small = (cost(path.read_bytes()) for path in (shipped_model_path(), quantized))
    assert small.multiply_adds == original.multiply_adds
    assert small.parameters == pytest.approx(original.parameters, rel=0.01)


def test_repeats_of_training_images_are_left_out_the_second_time(dataset: Dataset) -> None:
    labels = dataset[Split.PUBLIC_TEST].labels
    # Right on the repeats alone.
    read = np.where(np.arange(len(labels)) < REPEATS, labels, (labels + 1) % 7)
    (evaluation,) = compared([reading("a", read)], from_dataset(dataset, Split.PUBLIC_TEST)).evaluations
    assert evaluation.fresh is not None
    assert evaluation.whole.metrics.accuracy == pytest.approx(REPEATS / 21)
    assert (evaluation.fresh.metrics.accuracy, evaluation.fresh.metrics.images) == (0, 21 - REPEATS)
    assert evaluation.lead is None


def test_each_model_is_compared_with_the_first(dataset: Dataset) -> None:
    labels = dataset[Split.PUBLIC_TEST].labels
    wrong = (labels + 1) % 7
    comparison = compared([reading("same", wrong), reading("same", labels)], from_dataset(dataset, Split.PUBLIC_TEST))
    first, second = comparison.evaluations
    assert first.lead is None
    assert second.lead is not None
    assert (second.lead.accuracy, second.lead.gained, second.lead.lost) == (1, 21, 0)
    # Of one name: both are told of all the same.
    one, other = comparison.as_dict()["models"]
    assert other["public_test"]["accuracy"] == 1
    assert other["public_test"]["intervals"]["accuracy"] == {"low": 1, "high": 1}
    assert other["lead_over_first"]["p_value"] < 0.001
    assert other["reliability"] == [{"images": 21, "confidence": pytest.approx(0.9), "accuracy": 1}]
    assert one["lead_over_first"] is None


def test_data_without_training_images_has_no_figures_without_repeats(dataset: Dataset) -> None:
    alone = Dataset({Split.PUBLIC_TEST: dataset[Split.PUBLIC_TEST]})
    comparison = compared([reading("a", alone[Split.PUBLIC_TEST].labels)], from_dataset(alone, Split.PUBLIC_TEST))
    assert comparison.evaluations[0].fresh is None
    assert list(comparison.class_counts) == ["PublicTest"]
    assert comparison.as_dict()["models"][0]["public_test_without_repeats"] is None
    with pytest.raises(DatasetError, match="PrivateTest"):
        from_dataset(alone, Split.PRIVATE_TEST)


def test_some_of_the_classes_are_enough(dataset: Dataset) -> None:
    faces = dataset[Split.PUBLIC_TEST]
    few = Dataset({Split.PUBLIC_TEST: faces.take(np.isin(faces.labels, (3, 4)))})
    labels = few[Split.PUBLIC_TEST].labels
    (evaluation,) = compared([reading("a", labels)], from_dataset(few, Split.PUBLIC_TEST)).evaluations
    assert evaluation.whole.metrics.macro_f1 == 1
    assert evaluation.whole.metrics.support == (0, 0, 0, 3, 3, 0, 0)


def test_folder_that_holds_both_tests_in_one_is_named_by_its_size(dataset: Dataset) -> None:
    faces = dataset[Split.PUBLIC_TEST].take(np.arange(BOTH_TESTS) % 21)
    both = from_dataset(Dataset({Split.PUBLIC_TEST: faces}), Split.PUBLIC_TEST)
    assert (both.name, both.key) == ("PublicTest and PrivateTest", "public_test")
    assert from_dataset(dataset, Split.PUBLIC_TEST).name == "PublicTest"
