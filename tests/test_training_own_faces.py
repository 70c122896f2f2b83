"""Runs that learn from folders and from a user's own faces, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from fer2013_samples import fer_plus_csv, patterns, tiny_csv, write_classes
from typer.testing import CliRunner, Result

from vire_edge.cli import app
from vire_edge.errors import TrainingError
from vire_edge.training.data.dataset import Faces, load


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def own_faces(folder: Path) -> Path:
    """Seventy colour photographs of 100 pixels."""
    images, labels = patterns(7, 10)
    large = np.stack([cv2.resize(image, (100, 100)) for image in images])
    return write_classes(folder, Faces(large, np.array(labels)), ".jpg")


def test_own_faces_beside_fer2013_are_learnt_from_and_measured_apart(tmp_path: Path) -> None:
    run, mine = tmp_path / "run", own_faces(tmp_path / "mine")
    votes = fer_plus_csv(tmp_path, patterns(1, 12)[1])
    others = ("--run", run, "--epochs", "1", "--faces-repeats", "2", "--drop-leaks")
    of_fer_plus = ("--fer-plus", votes, "--fer-plus-as", "majority")
    trained = invoke("train", "--data", tiny_csv(tmp_path), "--faces", mine, *of_fer_plus, *others)
    assert trained.exit_code == 0, trained.output
    assert "84 training images of FER2013's 28709: 0 repeats" in trained.output
    assert "by class: angry 12, disgust 12, " in trained.output
    assert "FER+ votes as majority: 0 images left out that show no face, 0 undecided" in trained.output
    own = json.loads((run / "data.json").read_text())["own"]
    assert own["learnt"] + own["set_aside"] == 70
    found = f"70 own faces: 0 repeats, 0 with conflicting labels, 0 blank; {own['learnt']} learnt from, 2 times"
    assert found in trained.output
    assert f"{own['set_aside']} drawn by their pixels set aside" in trained.output
    assert "own faces set aside: accuracy" in trained.output

    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["public_test"]["images"], metrics["own_faces"]["images"]) == (21, own["set_aside"])
    assert own["digest"] == load(mine, own=True).digest()
    metadata = {entry.key: entry.value for entry in onnx.load(run / "model.onnx").metadata_props}
    options = "--fer-plus fer2013new.csv --fer-plus-as majority --faces mine --faces-repeats 2 --drop-leaks"
    assert f"--data fer2013.csv {options}" in metadata["vire.training_command"]

    card = tmp_path / "card.md"
    assert invoke("export", "--run", run, "--out", tmp_path / "model.onnx", "--card", card).exit_code == 0
    told = (
        f"{own['learnt']} of a user's own faces, 2 times in an epoch; {own['set_aside']} more (drawn by their pixels)"
    )
    assert told in card.read_text()
    assert "ten people named replaces the label" in card.read_text()


def test_own_faces_alone_are_enough_for_a_run(tmp_path: Path) -> None:
    run, mine = tmp_path / "run", own_faces(tmp_path / "mine")
    trained = invoke("train", "--faces", mine, "--run", run, "--epochs", "1")
    assert trained.exit_code == 0, trained.output
    assert "70 training images: 0 repeats" in trained.output
    metrics = json.loads((run / "metrics.json").read_text())
    measured = metrics["own_faces"]["images"]
    assert 7 <= measured < 21
    # Nothing that is learnt from is measured on.
    assert metrics["own_faces_without_repeats"]["images"] == measured
    assert f"own faces {measured} (a tenth, drawn by their pixels)" in trained.output
    assert "kept: own faces accuracy" in trained.output
    assert "public_test" not in metrics

    card = tmp_path / "card.md"
    exported = invoke("export", "--run", run, "--out", tmp_path / "model.onnx", "--card", card)
    assert exported.exit_code == 0, exported.output
    assert "The user's own faces, 70 training images" in card.read_text()
    assert "| accuracy |" in card.read_text()

    # The same pictures in the same classes, of which one now comes first.
    (mine / "fear").rename(mine / "afraid")
    refused = invoke("train", "--run", run, "--resume")
    assert isinstance(refused.exception, TrainingError)
    assert "in another order; give the same files" in str(refused.exception)
