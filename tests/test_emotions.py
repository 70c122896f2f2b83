from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from vire_edge.domain import EMOTIONS
from vire_edge.emotions import OnnxEmotionClassifier, shipped_model_path
from vire_edge.emotions.precision import Precision, choose_precision, processor_flags
from vire_edge.errors import ModelError


def test_the_shipped_model_keeps_the_contract() -> None:
    classifier = OnnxEmotionClassifier()
    faces = np.random.default_rng(1).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    scores = classifier.classify(faces)
    assert len(scores) == 5
    for one in scores:
        assert sum(one.probabilities) == pytest.approx(1.0, abs=1e-4)
        assert all(0.0 <= value <= 1.0 for value in one.probabilities)
    assert classifier.architecture == "vire"


def test_a_face_scores_the_same_alone_and_in_a_batch() -> None:
    classifier = OnnxEmotionClassifier()
    faces = np.random.default_rng(1).integers(0, 256, (4, 48, 48), dtype=np.uint8)
    together = classifier.classify(faces)
    for index in range(4):
        (alone,) = classifier.classify(faces[index : index + 1])
        assert alone.probabilities == pytest.approx(together[index].probabilities, abs=1e-5)


def test_auto_takes_8_bit_numbers_only_where_the_processor_multiplies_them() -> None:
    for flags in ({"sse2", "avx512_vnni"}, {"avx_vnni"}, {"fp", "asimd", "asimddp"}):
        assert choose_precision("auto", flags) == "int8"
        assert choose_precision("float32", flags) == "float32"
    for flags in (set(), {"avx2", "avx512f"}, {"fp", "asimd"}):
        assert choose_precision("auto", flags) == "float32"
        assert choose_precision("int8", flags) == "int8"


@pytest.mark.parametrize(
    ("description", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n", {"fpu", "avx_vnni"}),
        ("processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd asimddp\n", {"fp", "asimd", "asimddp"}),
        ("processor\t: 0\n", set()),
    ],
)
def test_flags_are_read_as_linux_writes_them(tmp_path: Path, description: str, flags: set[str]) -> None:
    path = tmp_path / "cpuinfo"
    assert processor_flags(path) == set()
    path.write_text(description)
    assert processor_flags(path) == flags


def test_both_shipped_networks_keep_the_contract_and_agree() -> None:
    faces = np.random.default_rng(1).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    faces = np.stack([cv2.GaussianBlur(face, (0, 0), 4) for face in faces])
    known: dict[Precision, str] = {"float32": "vire.onnx", "int8": "vire-int8.onnx"}
    read = {}
    for precision, name in known.items():
        classifier = OnnxEmotionClassifier(precision=precision)
        assert classifier.path.name == name
        read[precision] = np.array([scores.probabilities for scores in classifier.classify(faces)])
    assert OnnxEmotionClassifier(precision="auto").path.name in known.values()
    assert np.abs(read["float32"] - read["int8"]).max() < 0.1


def test_no_faces_are_no_scores() -> None:
    assert OnnxEmotionClassifier().classify(np.empty((0, 48, 48), dtype=np.uint8)) == []


def _without_metadata(model: Any) -> None:
    del model.metadata_props[:]


def _with_other_labels(model: Any) -> None:
    for entry in model.metadata_props:
        if entry.key == "vire.labels":
            entry.value = ",".join(reversed(EMOTIONS))


def _with_a_newer_contract(model: Any) -> None:
    for entry in model.metadata_props:
        if entry.key == "vire.contract":
            entry.value = "2"


def _with_another_input_shape(model: Any) -> None:
    for position in (1, 2):
        model.graph.input[0].type.tensor_type.shape.dim[position].dim_value = 64


def _with_another_input_name(model: Any) -> None:
    old = model.graph.input[0].name
    model.graph.input[0].name = "image"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = "image"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_metadata, "the contract version must be 1, got none"),
        (_with_a_newer_contract, "the contract version must be 1, got 2"),
        (_with_other_labels, "the labels must be angry,disgust,.*, got neutral,surprise"),
        (_with_another_input_shape, "model"),
        (_with_another_input_name, r"the input must be 'face' tensor\(uint8\) \[N, 48, 48, 1\], got 'image'"),
    ],
)
def test_a_model_that_breaks_the_contract_is_refused(
    tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    model = onnx.load(shipped_model_path())
    change(model)
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=message) as caught:
        OnnxEmotionClassifier(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx does not exist; leave out model\.path"):
        OnnxEmotionClassifier(tmp_path / "none.onnx")
    content = shipped_model_path().read_bytes()
    for name, damaged in (("empty", b""), ("text", b"no model"), ("truncated", content[: len(content) // 2])):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="is truncated or no ONNX model") as caught:
            OnnxEmotionClassifier(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        OnnxEmotionClassifier(tmp_path)


def test_the_edge_never_loads_a_training_framework() -> None:
    code = (
        "import sys, vire_edge.cli, vire_edge.daemon, vire_edge.mqtt.embedded\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'matplotlib', 'torch', 'jax'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_model_s_runtime_reports_to_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    code = "from vire_edge.emotions import OnnxEmotionClassifier; OnnxEmotionClassifier()"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment | {"HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
