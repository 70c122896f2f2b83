from __future__ import annotations

import json
from pathlib import Path

import pytest
from fer2013_samples import tiny_csv
from typer.testing import CliRunner, Result

from vire_edge.cli import app
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import DatasetError, ModelError, TrainingError
from vire_edge.training.data.dataset import load


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_train_export_and_evaluate_follow_on_each_other(tmp_path: Path) -> None:
    data, run, out = tiny_csv(tmp_path), tmp_path / "run", tmp_path / "model.onnx"
    trained = invoke("train", "--data", data, "--run", run, "--epochs", "1", "--batch-size", "32")
    assert trained.exit_code == 0, trained.output
    assert "84 training images of FER2013's 28709: 0 repeats" in trained.output
    assert "epoch 1/1: loss" in trained.output
    assert "PublicTest accuracy" in trained.output
    again = invoke("train", "--run", run, "--resume")
    assert again.exit_code == 0, again.output

    exported = invoke("export", "--run", run, "--out", out, "--card", tmp_path / "card.md")
    assert exported.exit_code == 0, exported.output
    assert out.exists()
    assert (tmp_path / "card.md").read_text().startswith("# Model card")

    evaluated = invoke("evaluate", "--data", data, "--model", out, "--json")
    (figures,) = json.loads(evaluated.output)["models"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert figures["public_test"]["accuracy"] == pytest.approx(metrics["public_test"]["accuracy"])


def test_evaluate_prints_figures_of_each_model(tmp_path: Path) -> None:
    model, other = shipped_model_path(), tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes())
    result = invoke("evaluate", "--data", tiny_csv(tmp_path), "--model", model, "--model", other)
    assert result.exit_code == 0, result.output
    assert "Lead over model 1" in result.output
    assert "may be chance" in result.output
    assert result.output.count("label, read") == 2


def test_data_are_checked_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("train", "--data", tiny_csv(tmp_path, per_class=150), "--check-data")
    assert result.exit_code == 0, result.output
    assert (
        "1050 training images of FER2013's 28709: 0 repeats, 0 with conflicting labels, 0 blank, 0 also in PublicTest"
        in result.output
    )
    assert "by class: angry 150, disgust 150, fear 150, happy 150, sad 150, surprise 150, neutral" in result.output
    assert "learning from 987, 63 held out, PublicTest 21" in result.output
    assert f"the same in every form: {load(tmp_path / 'fer2013.csv', cache=tmp_path).digest()}" in result.output
    assert not (tmp_path / "runs").exists()


def test_list_names_networks_and_presets() -> None:
    result = invoke("train", "--list")
    assert "cnn" in result.output
    assert "paper-2" in result.output


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["train", "--data", "missing.csv"], DatasetError, "missing.csv cannot be read"),
        (["export", "--run", "missing"], TrainingError, "no training run"),
        (["evaluate", "--data", "missing.csv", "--model", "x"], DatasetError, "missing.csv"),
    ],
)
def test_wrong_options_are_answered_with_a_remedy(
    arguments: list[str], error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "option", "message"),
    [
        (["train"], "--data", "own faces with --faces"),
        (["train", "--resume"], "--resume", "--run DIR"),
        (["train", "--data", "x", "--arch", "lenet"], "--arch", '"lenet" is none of cnn, '),
        (["train", "--data", "x", "--preset", "worst"], "--preset", '"worst" is none of default, best, '),
        (["train", "--data", "x", "--arch", "vire", "--preset", "paper-1"], "--preset", "no recipe for vire, only"),
        (["train", "--data", "x", "--fer-plus-as", "soft"], "--fer-plus-as", "needs --fer-plus beside it"),
        (["train", "--faces", "x", "--fer-plus", "y"], "--fer-plus", "needs --data beside it"),
        (["train", "--faces", "x", "--faces-repeats", "3"], "--faces-repeats", "needs --data beside it"),
        (["train", "--data", "x", "--fer-plus", "y"], "--fer-plus", "the recipe cnn/default takes nothing from FER+"),
        (["train", "--data", "x", "--teacher", "y"], "--teacher", "the recipe cnn/default imitates no teacher"),
        (["train", "--data", "x", "--preset", "fine-tune"], "--start-from", "such as models/vire.keras"),
        (["train", "--data", "x", "--start-share", "0.5"], "--start-share", "cnn/default goes on from no network"),
        (["results", "--remark", "Words."], "--remark", "needs --add beside it"),
        (["train", "--run", "x", "--resume", "--epochs", "9"], "--epochs", "a run that is resumed has its own"),
        (["train", "--run", "x", "--resume", "--teacher", "y"], "--teacher", "a run that is resumed has its own"),
    ],
)
def test_option_that_means_nothing_is_a_usage_error(
    arguments: list[str], option: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert f"Invalid value for {option}:" in result.output
    assert message in result.output
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_file_that_is_no_model_is_named(tmp_path: Path, content: bytes | None) -> None:
    model = tmp_path / "model.onnx"
    if content is not None:
        model.write_bytes(content)
    result = invoke("evaluate", "--data", tiny_csv(tmp_path), "--model", model)
    assert isinstance(result.exception, ModelError)
    assert str(model) in str(result.exception)
