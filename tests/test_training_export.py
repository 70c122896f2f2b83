from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fer2013_samples import patterns, tiny_csv
from onnx import TensorProto, helper
from run_samples import finished_run

from vire_edge.domain import EMOTIONS
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import ModelError, StorageError, VireError
from vire_edge.training.architectures import LOGITS
from vire_edge.training.backend import load_keras
from vire_edge.training.evaluation.graph import Cost, cost
from vire_edge.training.evaluation.reading import read_faces
from vire_edge.training.export import Provenance, export, run_file
from vire_edge.training.finish import export_run

FACES = patterns(5, 2)[0]


def network(*layers: Any) -> Any:
    """The smallest network that is exported as the others are."""
    keras = load_keras()
    face = value = keras.Input((48, 48, 1), dtype="uint8")
    dense = keras.layers.Dense(7, name=LOGITS)
    for layer in (keras.layers.Rescaling(1 / 255), *layers, keras.layers.Flatten(), dense, keras.layers.Softmax()):
        value = layer(value)
    return keras.Model(face, value)


def export_to(path: Path, model: Any) -> None:
    export(model, path, temperature=1.0, provenance=Provenance("cnn", "d", "s", {}, "vire-edge train"))


def message_of(call: Callable[[], object], kind: type[VireError]) -> str:
    """The one line in which a call ends."""
    with pytest.raises(kind) as raised:
        call()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_network_that_gives_no_numbers_is_not_exported(tmp_path: Path) -> None:
    model = network()
    model.get_layer(LOGITS).set_weights([np.full((48 * 48, 7), np.nan), np.zeros(7)])
    assert "differs from the Keras model by nan" in message_of(
        lambda: export_to(tmp_path / "model.onnx", model), ModelError
    )
    assert not (tmp_path / "model.onnx").exists()


def test_what_the_exporter_cannot_follow_is_told_in_one_line_with_the_remedy(tmp_path: Path) -> None:
    keras = load_keras()

    class Eager(keras.layers.Layer):  # type: ignore[misc,name-defined]  # Keras ships no types
        def call(self, faces: Any) -> Any:
            if not hasattr(faces, "numpy"):
                raise NotImplementedError("cannot be traced")
            return faces

        def compute_output_spec(self, faces: Any) -> Any:
            return keras.KerasTensor(faces.shape, faces.dtype)

    told = message_of(lambda: export_to(tmp_path / "model.onnx", network(Eager())), ModelError)
    assert told.startswith("Keras cannot export on this backend (")
    assert "KERAS_BACKEND=tensorflow vire-edge train --run DIRECTORY --resume" in told


def test_full_temporary_folder_is_told_of_as_such(tmp_path: Path) -> None:
    model, limits = network(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        told = message_of(lambda: export_to(tmp_path / "model.onnx", model), StorageError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert re.search(r"cannot be written \(File too large\); free some space, or set TMPDIR", told)


def save_graph(path: Path, *, taken: str = "face", side: int = 48, flat: bool = False, **metadata: str) -> Path:
    """A graph without any weights: the softmax of seven columns' brightness; flat, only the mean of each face."""
    made = [helper.make_node("Cast", [taken], ["gray"], to=TensorProto.FLOAT)]
    if flat:
        made.append(helper.make_node("ReduceMean", ["gray"], ["probabilities"], axes=[1, 2, 3], keepdims=0))
    else:
        made += [
            helper.make_node("ReduceMean", ["gray"], ["columns"], axes=[2, 3], keepdims=0),
            helper.make_node("Slice", ["columns", "zero", "seven", "one"], ["some"]),
            helper.make_node("Softmax", ["some"], ["probabilities"]),
        ]
    numbers = [
        helper.make_tensor(name, TensorProto.INT64, [1], [i]) for name, i in (("zero", 0), ("seven", 7), ("one", 1))
    ]
    graph = helper.make_graph(
        made,
        "foreign",
        [helper.make_tensor_value_info(taken, TensorProto.UINT8, ["N", side, side, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N"] if flat else ["N", 7])],
        [] if flat else numbers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {f"vire.{key}": value for key, value in metadata.items()})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"taken": "picture"}, r"it takes picture tensor\(uint8\) \[N, 48, 48, 1\]"),
        ({"side": 64}, r"it takes face tensor\(uint8\) \[N, 64, 64, 1\]"),
        ({"flat": True}, r"it gives probabilities tensor\(float\) \[N"),
    ],
)
def test_foreign_model_is_refused_with_what_it_takes_or_gives(tmp_path: Path, other: dict[str, Any], told: str) -> None:
    path = save_graph(tmp_path / "model.onnx", **other)
    assert re.search(
        rf"model\.onnx is no model that reads faces \({told}", message_of(lambda: run_file(path, FACES), ModelError)
    )


def test_file_that_is_no_model_is_told_without_the_librarys_numbers(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# A guide\n")
    told = message_of(lambda: run_file(path, FACES), ModelError)
    assert "README.md is no model that reads faces (" in told
    assert "protobuf parsing failed); export one with: vire-edge export" in told
    assert "ONNXRuntimeError" not in told


def test_model_without_weights_costs_nothing_and_is_read(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "model.onnx", labels=",".join(EMOTIONS))
    assert cost(path.read_bytes()) == Cost(0, 0)
    assert read_faces(path, FACES).probabilities.shape == (len(FACES), 7)


def test_temperature_that_is_no_number_is_told_in_one_line(tmp_path: Path) -> None:
    path = save_graph(tmp_path / "model.onnx", labels=",".join(EMOTIONS), temperature="warm")
    assert 'has the temperature "warm"' in message_of(lambda: read_faces(path, FACES), ModelError)


def test_damaged_network_of_a_run_is_told_in_one_line(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", tiny_csv(tmp_path))
    (run / "model.keras").write_bytes(shipped_model_path().read_bytes()[:100])
    told = message_of(lambda: export_run(run, tmp_path / "model.onnx"), ModelError)
    assert "model.keras is no Keras network of faces" in told
