from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fer2013_samples import tiny_csv
from run_samples import finished_run

from vire_edge.training.card import model_card
from vire_edge.training.data.material import gather
from vire_edge.training.evaluation.metrics import measure
from vire_edge.training.recipes import recipe_for
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import TrainSettings


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tiny_csv(tmp_path)
    run = RunDirectory(finished_run(tmp_path / "run", data))
    run.write_json(run.data, asdict(gather(TrainSettings(data, run.path)).ready))
    return run.path


def card_of(path: Path, **others: Any) -> str:
    run = RunDirectory(path)
    settings = replace(TrainSettings(path.parent / "fer2013.csv", path), **others)
    run.write_json(run.settings, settings.as_json())
    return model_card(path, "model.onnx")


def test_card_says_which_epoch_was_kept_and_why(run: Path) -> None:
    best, last = card_of(run, preset="default"), card_of(run, preset="paper-1")
    assert "both come from a held-out part" in best
    assert "the last epoch was kept, and the temperature comes from a held-out part" in last
    assert "both come" not in last


def test_card_tells_of_all_that_a_recipe_did_and_of_nothing_else(run: Path) -> None:
    recipe = replace(recipe_for("best", "cnn"), focal_gamma=1.5, patience=7, calm=0.25, start_share=0.25)
    plain = card_of(run, preset="best", recipe=recipe)
    for line in (
        "- focal loss: an image counts less the surer its label is read, gamma 1.5\n",
        "- stopped early after 7 epochs without a lower held-out loss\n",
        "unmixed, by the labels alone\n",
        "; he_normal; dropout 0.1\n",
    ):
        assert line in plain
    assert "distillation" not in plain
    assert "it began with" not in plain
    assert "votes of FER+" not in plain, "none were given"
    directory = RunDirectory(run)
    directory.write_json(
        directory.data, directory.read_json(directory.data) | {"teachers": ["a" * 64, "b" * 64], "start_from": "c" * 64}
    )
    taught = card_of(
        run, preset="best", recipe=recipe, teachers=(Path("a.onnx"), Path("b.onnx")), start_from=Path("old/vire.keras")
    )
    assert "- distillation: the mean answer of `a.onnx`, `b.onnx` makes 60% of what is to be read\n" in taught
    assert "unmixed, by the labels and teachers\n" in taught
    assert "weights of `vire.keras` to begin with" in taught
    assert "- kept: 75% of what was learnt anew and 25% of the weights that it began with\n" in taught
    assert f"- SHA-256 of the teacher `b.onnx` `{'b' * 64}`\n- SHA-256 of `vire.keras`, whose weights" in taught
    assert "class weights: none" in card_of(run, preset="paper-1")


@pytest.mark.parametrize("right", [True, False])
def test_classes_without_images_have_no_figures(run: Path, right: bool) -> None:
    labels = np.array([3, 3, 3, 4])
    metrics = measure(np.eye(7)[labels if right else np.array([3, 4, 4, 4])], labels).as_dict()
    directory = RunDirectory(run)
    stored = directory.read_json(directory.metrics)
    none = measure(np.zeros((0, 7)), np.zeros(0, np.int64)).as_dict()
    directory.write_json(directory.metrics, stored | {"public_test": metrics, "public_test_without_repeats": none})
    card = card_of(run)
    assert "| angry | 0 | – | – | – | – |" in card
    assert f"| accuracy | {metrics['accuracy']:.3f} | – |" in card
    assert ("Missed most often: happy (67%).\n" in card) is not right
    assert ("Missed" in card) is not right


def test_card_names_both_tests_by_their_number(run: Path) -> None:
    directory = RunDirectory(run)
    stored = directory.read_json(directory.metrics)
    stored["public_test"]["images"] = 7178
    directory.write_json(directory.metrics, stored)
    assert "FER2013's PublicTest and PrivateTest, one view" in card_of(run)
