from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fer2013_samples import patterns, tiny_csv
from typer.testing import CliRunner

from vire_edge.cli import app
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.emotions.inspection import inspect
from vire_edge.errors import ModelError, StorageError, TrainingError
from vire_edge.training.architectures import ARCHITECTURES, Plan, build, multiply_adds
from vire_edge.training.backend import KerasModel, load_keras, load_onnx
from vire_edge.training.data.dataset import Faces
from vire_edge.training.data.material import gather
from vire_edge.training.evaluation.metrics import fit_temperature
from vire_edge.training.evaluation.reading import read_faces
from vire_edge.training.export import (
    PARITY,
    Provenance,
    calibrated,
    export,
    open_model,
    prepare_place,
    run_bytes,
    write_model,
)
from vire_edge.training.int8_export import export_int8
from vire_edge.training.quantize import quantize
from vire_edge.training.settings import stored_settings


@dataclass(frozen=True, slots=True)
class Exported:
    data: Path
    run: Path
    model: Path
    int8: Path
    output: str


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """A run that has learnt something, exported with its int8 variant into folders that do not exist yet."""
    folder = tmp_path_factory.mktemp("int8")
    found = Exported(
        tiny_csv(folder, per_class=30), folder / "run", folder / "new" / "m.onnx", folder / "other" / "int8.onnx", ""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        trained = invoke(
            *("train", "--data", found.data, "--run", found.run, "--epochs", "8"),
            *("--batch-size", "16", "--learning-rate", "0.003"),
        )
        yield Exported(
            found.data,
            found.run,
            found.model,
            found.int8,
            trained
            + invoke(
                *("export", "--run", found.run, "--out", found.model, "--int8", found.int8),
                *("--card", folder / "card.md", "--remark", "Its first epoch was another one."),
            ),
        )


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def metadata(path: Path) -> dict[str, str]:
    values: dict[str, str] = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return values


def test_int8_variant_is_a_model_that_the_edge_runs(exported: Exported) -> None:
    images, labels = patterns(2, 3)
    scores = OnnxEmotionClassifier(exported.int8).classify(images)
    float32 = OnnxEmotionClassifier(exported.model).classify(images)
    ours, theirs = (np.array([score.probabilities for score in side]) for side in (scores, float32))
    assert (theirs.argmax(axis=1) == labels).mean() > 0.5, "the float model has learnt the patterns"
    assert (ours.argmax(axis=1) == labels).mean() >= (theirs.argmax(axis=1) == labels).mean() - 0.1
    assert np.abs(ours - theirs).max() < 0.3
    np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-5)
    for count in (1, 5):
        assert run_bytes(exported.int8.read_bytes(), images[:count, ..., None]).shape == (count, 7)


def test_int8_computes_in_integers_but_for_the_logits(exported: Exported) -> None:
    onnx = load_onnx()
    graph = onnx.load(exported.int8).graph
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    sources = {node.output[0]: node for node in graph.node}
    kinds = []
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            source = sources.get(node.input[1])
            kinds.append(weights[node.input[1] if source is None else source.input[0]])
    assert kinds == [onnx.TensorProto.INT8] * (len(kinds) - 1) + [onnx.TensorProto.FLOAT]
    assert exported.int8.stat().st_size < exported.model.stat().st_size / 3


def test_int8_states_its_own_figures_and_how_it_was_made(exported: Exported) -> None:
    ours, theirs = metadata(exported.int8), metadata(exported.model)
    assert set(ours) - set(theirs) == {"vire.quantization"}
    assert "held-out Training faces" in ours["vire.quantization"]
    same = {"vire.contract", "vire.labels", "vire.architecture", "vire.dataset_digest", "vire.training_command"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
    images, labels = patterns(2, 3)
    accuracy = (run_bytes(exported.int8.read_bytes(), images[..., None]).argmax(axis=1) == labels).mean()
    assert json.loads(ours["vire.metrics"])["public_test"]["accuracy"] == pytest.approx(accuracy)


def test_both_are_measured_side_by_side(exported: Exported) -> None:
    for stage in ("exporting …", "reading the run's data …", "quantizing …", "measuring both …"):
        assert stage in exported.output
    for words in ("float32", "int8", "held out: accuracy", "without repeats: loss", "size, MB", "one thread: median"):
        assert words in exported.output


def test_card_compares_both_and_repeats_the_remark(exported: Exported) -> None:
    card = exported.data.with_name("card.md").read_text()
    accuracy = [
        json.loads(metadata(path)["vire.metrics"])["public_test"]["accuracy"]
        for path in (exported.model, exported.int8)
    ]
    assert "`int8.onnx` is the same network" in card
    assert f"| accuracy | {accuracy[0]:.3f} | {accuracy[1]:.3f} |" in card
    assert "- Its first epoch was another one.\n\n## In 8-bit integers" in card


def test_temperature_is_fitted_anew(exported: Exported) -> None:
    images, labels = patterns(5, 6)
    faces = Faces(images, np.array(labels, np.int64))
    probabilities = run_bytes(quantize(exported.model.read_bytes(), faces), faces.images[..., None])
    assert fit_temperature(probabilities, faces.labels) == pytest.approx(1.0, abs=0.01)


def test_ranges_and_temperature_come_from_the_runs_held_out_faces(exported: Exported) -> None:
    material = gather(stored_settings(exported.run))
    shown, float32 = material.evaluation.images[..., None], exported.model.read_bytes()
    wanted, other = (run_bytes(quantize(float32, faces), shown) for faces in (material.held_out, material.evaluation))
    assert np.abs(wanted - other).max() > 0.001, "the two would not tell apart what it was made with"
    np.testing.assert_allclose(run_bytes(exported.int8.read_bytes(), shown), wanted, rtol=0, atol=1e-6)


def test_other_data_than_the_run_learnt_from_is_refused(exported: Exported, tmp_path: Path) -> None:
    other = tiny_csv(tmp_path, per_class=13)
    with pytest.raises(TrainingError, match=r"learnt from other images .*--data"):
        export_int8(exported.run, exported.model, tmp_path / "int8.onnx", data=other)
    assert not (tmp_path / "int8.onnx").exists()


def test_graph_without_a_dense_layer_at_its_end_is_refused() -> None:
    onnx = load_onnx()
    face = onnx.helper.make_tensor_value_info("face", onnx.TensorProto.FLOAT, ["N", 7])
    out = onnx.helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, ["N", 7])
    node = onnx.helper.make_node("Softmax", ["face"], ["probabilities"], name="softmax")
    graph = onnx.helper.make_graph([node], "g", [face], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)
    images, labels = patterns(1, 1)
    with pytest.raises(ModelError, match="does not end in a dense layer"):
        quantize(model.SerializeToString(), Faces(images, np.array(labels, np.int64)))


def test_any_number_of_held_out_faces_gives_the_ranges(exported: Exported) -> None:
    images, labels = patterns(3, 13)
    for count, used in ((91, 64), (20, 20)):
        faces = Faces(images[:count], np.array(labels[:count], np.int64))
        content = quantize(exported.model.read_bytes(), faces)
        assert run_bytes(content, images[:2, ..., None]).shape == (2, 7)
        told = load_onnx().load_from_string(content).metadata_props
        assert f"ranges of {used} held-out" in next(entry.value for entry in told if "quantization" in entry.key)


def test_place_that_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for path, problem in (
        (tmp_path / "file" / "m.onnx", "Not a directory|File exists"),
        (tmp_path, "Is a directory"),
        (tmp_path / "pipe", "it is no regular file"),
    ):
        with pytest.raises(StorageError, match=f"cannot be written .({problem}).; name another file"):
            prepare_place(path)
        with pytest.raises(StorageError):
            write_model(path, b"")
        result = CliRunner().invoke(app, ["export", "--run", "missing", "--out", str(path)])
        assert isinstance(result.exception, StorageError)
        assert result.exception.exit_status == 74


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    out, link = tmp_path / "m.onnx", tmp_path / "run" / ".." / "m.onnx"
    for options, message in (
        (("--data", "fer2013.csv"), "it needs --int8 beside it"),
        (("--remark", "Words."), "it needs --card beside it"),
        (("--int8", link), "is the file of --out"),
        (("--int8", tmp_path / "b", "--card", tmp_path / "b"), "is the file of --int8"),
    ):
        result = CliRunner().invoke(app, ["export", "--run", str(tmp_path), "--out", str(out), *map(str, options)])
        assert result.exit_code == 2
        assert message in " ".join(result.output.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def narrowed(model: KerasModel) -> KerasModel:
    """The same graph with dense layers of 256 at most.

    AlexNet's 4096 are a hundred megabytes of weights, which the exporter copies for most of a minute, and no operator
    more. A real export is compared with its network at its full width, by `export` itself.
    """

    def narrow(layer: Any) -> Any:
        config = layer.get_config()
        if type(layer).__name__ == "Dense":
            config["units"] = min(config["units"], 256)
        return type(layer).from_config(config)

    return load_keras().models.clone_model(model, clone_function=narrow)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_keras_and_onnx_agree_in_answers_and_cost_for_every_architecture(name: str, tmp_path: Path) -> None:
    model, path = narrowed(build(name, Plan("he_normal"))), tmp_path / "model.onnx"
    # Logits of fresh weights differ widely; a temperature keeps probabilities where a difference shows.
    export(model, path, temperature=3.0, provenance=Provenance(name, "d", "s", {}, "command"))
    images = patterns(7, 1)[0]
    whole = load_keras().ops.convert_to_numpy(calibrated(model, 3.0)(images[..., None]))
    read = open_model(path)
    for count in (1, 5):
        assert np.abs(read(images[:count]) - whole[:count]).max() < PARITY
    inspect(path.read_bytes())  # what the edge lets pass has to grow with what is exported

    found = read_faces(path, images)
    # Keras' count leaves out the weighted mean of the tokens.
    assert found.multiply_adds == multiply_adds(model) + (36 * 128 if name == "attention" else 0)
    # Biases that are still 0 are left out, and batch norm is folded into what it follows.
    assert 0.97 < found.parameters / model.count_params() <= 1
    assert (found.architecture, found.command) == (name, "command")
