from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fer2013_samples import fer_plus_csv, patterns, tiny_csv
from run_samples import finished_run

from vire_edge.domain import EMOTIONS
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import DependencyError, TrainingError
from vire_edge.training import backend
from vire_edge.training.architectures import ARCHITECTURES, Plan, build
from vire_edge.training.card import model_card
from vire_edge.training.data.augment import NONE, Augmentation
from vire_edge.training.data.material import gather
from vire_edge.training.evaluation.metrics import cross_entropy
from vire_edge.training.evaluation.reading import load_network, predict
from vire_edge.training.export import PARITY, calibrated, run_file
from vire_edge.training.finish import export_run, finish
from vire_edge.training.progress import BatchDone, DataReady, EpochDone, Event, OnEvent, Stage
from vire_edge.training.recipes import PRESETS, recipe_for
from vire_edge.training.report.results import summarize
from vire_edge.training.rundir import Checkpoint, RunDirectory
from vire_edge.training.settings import stored_settings
from vire_edge.training.train import RunResult, TrainSettings, train

EPOCHS = 3
TINY: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 16, "held_out": 0.25, "averaging": 0.5}
RECIPE = replace(recipe_for("default", "cnn"), **TINY)
# With all that a resumed run could get wrong: momentum, mixup, votes, teachers, a calm last epoch.
BEST = replace(recipe_for("best", "vire"), **TINY, learning_rate=0.01, warm_up=1, calm=0.34, keep_best=True)

KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from vire_edge.training.settings import TrainSettings
from vire_edge.training.train import train
sys.path.insert(0, {tests!r})
from test_training_train import best_settings
def kill_in_epoch_2(event):
    if getattr(event, "epoch", 0) == 2 and event.batch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
train(best_settings(Path({data!r}), Path({run!r})), on_event=kill_in_epoch_2)
"""


def best_settings(data: Path, run: Path) -> TrainSettings:
    votes = data.with_name("fer2013new.csv")
    return TrainSettings(data, run, recipe=BEST, fer_plus=votes, teachers=(shipped_model_path(),))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    fer_plus_csv(folder, patterns(1, 12)[1])
    return tiny_csv(folder)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def result(data: Path, events: list[Event], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """One uninterrupted run, looked at from all sides."""
    return train(best_settings(data, tmp_path_factory.mktemp("runs") / "whole"), on_event=events.append)


def interrupt_in(epoch: int) -> OnEvent:
    """Presses Ctrl-C after each batch of an epoch."""

    def interrupt(event: Event) -> None:
        if isinstance(event, BatchDone) and event.epoch == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


def weights(run: Path) -> list[Any]:
    return RunDirectory(run).load_weights()[0]


def test_paper_presets_hold_the_published_values() -> None:
    published = {
        ("paper-1", "cnn"): (0.000828395, 8, 50, "he_normal"),
        ("paper-1", "alexnet"): (0.000141436, 64, 50, "lecun_normal"),
        ("paper-1", "densenet"): (0.000139557, 8, 25, "lecun_normal"),
        ("paper-2", "cnn"): (0.000167163, 16, 150, "glorot_uniform"),
        ("paper-2", "alexnet"): (0.000248422, 8, 150, "lecun_normal"),
        ("paper-2", "densenet"): (0.000433757, 8, 150, "he_normal"),
    }
    moved = Augmentation(rotation_degrees=10, shift=0.1, shear=0.1, zoom=0.1, flip=True)
    for (preset, name), values in published.items():
        recipe = recipe_for(preset, name)
        assert (recipe.learning_rate, recipe.batch_size, recipe.epochs, recipe.initializer) == values
        assert recipe.augmentation == (NONE if preset == "paper-1" else moved)
    assert all(name in ARCHITECTURES for recipes in PRESETS.values() for name in recipes)


def test_a_run_leaves_history_models_figures_and_versions(result: RunResult) -> None:
    assert (result.epochs, result.interrupted) == (EPOCHS, False)
    names = {path.name for path in result.run.iterdir()}
    assert names >= {"settings.json", "data.json", "environment.json", "metrics.json", "history.json", "history.csv"}
    assert names >= {"checkpoint.npz", "model.keras", "model.onnx"}
    assert names >= {"confusion.csv", "confusion.png", "history.png"}
    assert not [name for name in names if "half" in name]
    rows = json.loads((result.run / "history.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    with (result.run / "history.csv").open() as file:
        assert [float(row["held_out_loss"]) for row in csv.DictReader(file)] == [row["held_out_loss"] for row in rows]
    assert json.loads((result.run / "metrics.json").read_text())["public_test"]["images"] == 21
    assert "keras" in json.loads((result.run / "environment.json").read_text())


def test_progress_is_reported_for_data_batches_and_epochs(result: RunResult, events: list[Event]) -> None:
    (ready,) = [event for event in events if isinstance(event, DataReady)]
    assert (ready.learnt, ready.held_out, ready.evaluated) == (63, 21, 21)
    stages = [event.what for event in events if isinstance(event, Stage)]
    assert stages == ["reading the data", "loading the framework", "calibrating and measuring", "exporting"]
    batches = [event for event in events if isinstance(event, BatchDone)]
    assert [(event.epoch, event.batch) for event in batches] == [(e, b) for e in (1, 2, 3) for b in (1, 2, 3, 4)]
    assert all(event.images_per_second > 0 for event in batches)
    kept = [event.record.epoch for event in events if isinstance(event, EpochDone) and event.kept]
    assert kept[-1] == result.kept_epoch


def test_kept_epoch_is_the_one_with_the_lowest_held_out_loss(result: RunResult) -> None:
    history = RunDirectory(result.run).read_history(EPOCHS)
    assert result.kept_epoch == min(history, key=lambda record: record.held_out_loss).epoch


def test_temperature_is_fitted_on_held_out_faces_and_never_on_those_measured_on(data: Path, tmp_path: Path) -> None:
    directory, network = RunDirectory(finished_run(tmp_path / "run", data)), build("cnn", Plan())
    directory.save_weights(network.get_weights(), epoch=3)
    settings = stored_settings(directory.path)
    material = gather(settings)
    # By the labels of the held-out faces the network is too unsure, by those that it is measured on too sure.
    read, wrong = (
        replace(faces, labels=(predict(network, faces.images).argmax(axis=1) + miss) % 7)
        for faces, miss in ((material.held_out, 0), (material.evaluation, 1))
    )
    material = replace(material, held_out=read, evaluation=wrong)
    assert finish(directory, settings, material, epoch=3, on_event=lambda _: None)["temperature"] < 0.3


def test_killed_and_resumed_run_ends_as_an_uninterrupted_one(result: RunResult, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    script = KILLED_RUN.format(tests=str(Path(__file__).parent), data=str(data), run=str(run))
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(json.loads((run / "history.json").read_text())) == 1

    resumed = train(stored_settings(run), on_event=lambda _: None, resume=True)

    assert (resumed.epochs, resumed.kept_epoch) == (result.epochs, result.kept_epoch)
    for ours, theirs in zip(weights(run), weights(result.run), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    times = {"seconds": 0.0}
    for ours, theirs in zip(*(RunDirectory(path).read_history(EPOCHS) for path in (run, result.run)), strict=True):
        assert replace(ours, **times).held_out_loss == pytest.approx(replace(theirs, **times).held_out_loss, abs=1e-5)


def test_ctrl_c_leaves_a_usable_run_that_can_be_resumed(data: Path, tmp_path: Path) -> None:
    settings = TrainSettings(data, tmp_path / "run", recipe=replace(RECIPE, epochs=2))
    stopped = train(settings, on_event=interrupt_in(2))
    assert (stopped.interrupted, stopped.epochs) == (True, 1)
    assert run_file(stopped.run / "model.onnx", patterns(2, 1)[0]).shape == (7, 7)
    assert {"confusion.csv", "confusion.png", "history.png"} <= {path.name for path in stopped.run.iterdir()}
    finished = train(stored_settings(settings.run), on_event=lambda _: None, resume=True)
    assert (finished.interrupted, finished.epochs) == (False, 2)


def test_resumed_run_has_no_results_until_it_ends_again(data: Path, tmp_path: Path) -> None:
    def die(event: Event) -> None:
        if not isinstance(event, EpochDone):
            return
        raise MemoryError

    run = RunDirectory(tmp_path / "run")
    train(TrainSettings(data, run.path, recipe=replace(RECIPE, epochs=3)), on_event=interrupt_in(2))
    assert run.read_json(run.metrics)["epoch"] == 1
    with pytest.raises(MemoryError):
        train(stored_settings(run.path), on_event=die, resume=True)
    assert not any(path.exists() for path in (run.metrics, run.keras_model, run.onnx_model))
    with pytest.raises(TrainingError, match="not finished"):
        summarize(run.path)


def test_figures_are_of_the_epoch_whose_weights_were_kept(data: Path, tmp_path: Path) -> None:
    def die(_run: RunDirectory, _checkpoint: Checkpoint) -> None:
        raise MemoryError

    recipe = replace(RECIPE, epochs=3, keep_best=False)
    path = tmp_path / "run"
    train(TrainSettings(data, path, recipe=recipe), on_event=interrupt_in(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunDirectory, "save_checkpoint", die)
        with pytest.raises(MemoryError):
            train(stored_settings(path), on_event=lambda _: None, resume=True)
    stopped = train(stored_settings(path), on_event=interrupt_in(2), resume=True)
    assert stopped.kept_epoch == 2
    record = RunDirectory(path).read_history()[1]
    network = load_network(RunDirectory(path).keras_model)
    held_out = gather(stored_settings(path)).held_out
    measured = cross_entropy(predict(network, held_out.images), held_out.labels)
    assert measured == pytest.approx(record.held_out_loss, abs=1e-5)


def test_ctrl_c_before_the_first_epoch_leaves_a_run_to_go_on_with(data: Path, tmp_path: Path) -> None:
    result = train(TrainSettings(data, tmp_path / "run", recipe=RECIPE), on_event=interrupt_in(1))
    assert (result.interrupted, result.epochs, result.metrics) == (True, 0, {})
    assert stored_settings(tmp_path / "run").recipe == RECIPE


def test_directory_that_holds_a_run_is_not_overwritten(result: RunResult, data: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds a run already; .*--resume"):
        train(TrainSettings(data, result.run, recipe=RECIPE), on_event=lambda _: None)


def test_resume_with_other_images_is_refused(result: RunResult, tmp_path: Path) -> None:
    fer_plus_csv(tmp_path, patterns(1, 13)[1])
    other = best_settings(tiny_csv(tmp_path, per_class=13), result.run)
    with pytest.raises(TrainingError, match="other images"):
        train(other, on_event=lambda _: None, resume=True)


def test_resume_without_the_votes_is_refused(result: RunResult) -> None:
    with pytest.raises(TrainingError, match="other images"):
        train(replace(stored_settings(result.run), fer_plus=None), on_event=lambda _: None, resume=True)


def test_resume_with_another_teacher_is_refused(result: RunResult) -> None:
    other = shipped_model_path().with_name("vire-int8.onnx")
    with pytest.raises(TrainingError, match=r"vire-int8\.onnx is another file than .*put the former one back"):
        train(replace(stored_settings(result.run), teachers=(other,)), on_event=lambda _: None, resume=True)


def test_votes_that_the_recipe_would_ignore_are_refused(data: Path, tmp_path: Path) -> None:
    settings = replace(best_settings(data, tmp_path / "run"), recipe=RECIPE, teachers=())
    with pytest.raises(TrainingError, match="takes nothing from FER\\+"):
        train(settings, on_event=lambda _: None)


def test_teachers_that_the_recipe_would_ignore_are_refused(data: Path, tmp_path: Path) -> None:
    settings = replace(best_settings(data, tmp_path / "run"), recipe=RECIPE, fer_plus=None)
    with pytest.raises(TrainingError, match="imitates no teacher"):
        train(settings, on_event=lambda _: None)


def test_run_whose_checkpoint_is_gone_is_not_begun_anew(result: RunResult, tmp_path: Path) -> None:
    for path in result.run.iterdir():
        if path.name != "checkpoint.npz":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(TrainingError, match=r"checkpoint\.npz is missing"):
        train(stored_settings(tmp_path), on_event=lambda _: None, resume=True)


def test_run_stopped_while_its_first_checkpoint_was_written_begins_anew(result: RunResult, tmp_path: Path) -> None:
    for path in result.run.iterdir():
        if path.name not in {"checkpoint.npz", "history.json"}:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    history = json.loads((result.run / "history.json").read_text())
    (tmp_path / "history.json").write_text(json.dumps(history[:1]))
    again = train(stored_settings(tmp_path), on_event=lambda _: None, resume=True)
    assert again.epochs == result.epochs
    assert again.metrics["public_test"]["loss"] == pytest.approx(result.metrics["public_test"]["loss"], abs=1e-4)


def test_complete_run_says_so_when_it_is_resumed(result: RunResult, tmp_path: Path) -> None:
    for path in result.run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    events: list[Event] = []
    again = train(stored_settings(tmp_path), on_event=events.append, resume=True)
    assert Stage(f"{tmp_path} is complete; only its end is done again") in events
    assert again.metrics == result.metrics


def test_damaged_checkpoint_is_named(result: RunResult, tmp_path: Path) -> None:
    for path in result.run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    checkpoint = tmp_path / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(TrainingError, match=r"checkpoint\.npz is damaged"):
        train(stored_settings(tmp_path), on_event=lambda _: None, resume=True)


def test_resume_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is no training run"):
        stored_settings(tmp_path)


@pytest.mark.parametrize(
    ("preset", "architecture", "message"),
    [("best-ever", "cnn", "choose one of default, best, paper-1"), ("paper-1", "lenet", "only for cnn")],
)
def test_unknown_names_are_answered_with_the_known_ones(preset: str, architecture: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        recipe_for(preset, architecture)
    with pytest.raises(TrainingError, match='"lenet"; choose one of cnn'):
        build("lenet", Plan())


def test_command_in_the_metadata_repeats_the_run_without_naming_folders(data: Path, result: RunResult) -> None:
    command = stored_settings(result.run).command
    assert command == (
        "vire-edge train --data fer2013.csv --fer-plus fer2013new.csv --teacher vire.onnx --arch cnn "
        "--preset default --seed 1 --epochs 3 --batch-size 16 --learning-rate 0.01 --class-weight-power 0.25"
    )
    assert str(data.parent) not in command


def test_exported_model_fulfils_the_contract(result: RunResult, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    export_run(result.run, out)
    session = onnxruntime.InferenceSession(out)
    (face,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (face.name, face.type, face.shape) == ("face", "tensor(uint8)", ["N", 48, 48, 1])
    assert (probabilities.name, probabilities.type, probabilities.shape) == ("probabilities", "tensor(float)", ["N", 7])
    metadata = session.get_modelmeta().custom_metadata_map
    assert set(metadata) == {
        f"vire.{name}"
        for name in (
            "contract",
            "labels",
            "architecture",
            "dataset_digest",
            "split_digest",
            "metrics",
            "training_command",
            "created_at",
            "temperature",
        )
    }
    assert metadata["vire.labels"] == ",".join(EMOTIONS)
    assert float(metadata["vire.temperature"]) == pytest.approx(result.metrics["temperature"], abs=1e-6)
    assert json.loads(metadata["vire.metrics"])["public_test"]["accuracy"] == result.metrics["public_test"]["accuracy"]
    for count in (1, 5):
        rows = run_file(out, patterns(2, 1)[0][:count])
        assert rows.shape == (count, 7)
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_exported_model_agrees_with_the_measured_figures(result: RunResult, data: Path) -> None:
    images, labels = patterns(2, 3)
    accuracy = (run_file(result.run / "model.onnx", images).argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(result.metrics["public_test"]["accuracy"])
    assert data.exists()


def test_calibrated_keras_and_onnx_agree(result: RunResult) -> None:
    network = backend.load_keras().saving.load_model(result.run / "model.keras")
    images = patterns(7, 9)[0]
    keras = calibrated(network, result.metrics["temperature"]).predict(images[..., None], verbose=0)
    assert np.abs(keras - run_file(result.run / "model.onnx", images)).max() < PARITY


def test_unfinished_run_is_not_exported(data: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.create()
    run.write_json(run.settings, TrainSettings(data, run.path).as_json())
    with pytest.raises(TrainingError, match=r"is not finished; .*--resume"):
        export_run(run.path, tmp_path / "model.onnx")


def test_card_states_the_figures_and_names_no_folder(result: RunResult) -> None:
    card = model_card(result.run, "tiny.onnx")
    assert f"| accuracy | {result.metrics['public_test']['accuracy']:.3f} |" in card
    assert all(f"| {emotion} |" in card for emotion in EMOTIONS)
    assert str(result.run.parent) not in card
    assert "consent" in card
    assert "SGD with Nesterov's momentum of 0.9, decoupled weight decay 0.005, learning rate 0.01" in card
    assert "votes of FER+" in card


def test_missing_extra_names_the_remedy() -> None:
    with pytest.raises(DependencyError, match=r"needs vire_edge_has_none, which .*pip install -e '.*\[train\]'"):
        backend._require("vire_edge_has_none.such_module")


def test_importing_the_package_loads_no_framework() -> None:
    code = (
        "import sys, pkgutil, importlib, vire_edge.training as t\n"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(t.__path__, 'vire_edge.training.')]\n"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'onnx', 'optuna', 'matplotlib.pyplot')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
