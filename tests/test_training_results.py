from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fer2013_samples import tiny_csv
from run_samples import finished_run
from typer.testing import CliRunner, Result

from vire_edge.cli import app
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import StorageError, TrainingError
from vire_edge.training.evaluation.graph import cost
from vire_edge.training.report.published import PUBLISHED, published_for
from vire_edge.training.report.results import read_results, summarize
from vire_edge.training.report.results_page import results_page

MODELS = Path(__file__).resolve().parents[1] / "models"


def results(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["results", *map(str, arguments)])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "run", tiny_csv(tmp_path))


def test_committed_page_is_the_one_that_its_results_give() -> None:
    assert (MODELS / "RESULTS.md").read_text() == results_page(read_results(MODELS / "results"))


def test_committed_results_name_no_folder_of_whoever_trained() -> None:
    for path in (MODELS / "results").glob("*.json"):
        assert not re.search(r"[\s\"](/|~/|[A-Z]:\\)\w", path.read_text()), path.name


def test_a_run_is_taken_in_and_stands_on_the_page(run: Path, tmp_path: Path) -> None:
    folder, page = tmp_path / "results", tmp_path / "RESULTS.md"
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    other = finished_run(tmp_path / "other", tmp_path / "fer2013.csv", seed=2)
    told = results("--add", run, "--add", other, "--folder", folder, "--out", page)
    assert told.exit_code == 0, told.output
    assert {path.name for path in folder.iterdir()} == {"cnn-default.json", "cnn-default-seed2.json"}
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before, "a run is only read"

    stored = json.loads((folder / "cnn-default.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert stored["public_test"]["accuracy"] == pytest.approx(metrics["public_test"]["accuracy"], rel=1e-5)
    assert "confusion" not in stored["public_test"]
    costs = cost(shipped_model_path().read_bytes())
    assert (stored["parameters"], stored["multiply_adds"]) == (costs.parameters, costs.multiply_adds)
    assert stored["milliseconds"] > 0
    assert stored["history"]["epoch"] == [1, 2, 3]
    assert stored["history"]["learning_rate"][0] == 0.000141235
    assert stored["recipe"]["epochs"] == 90
    assert str(tmp_path) not in (folder / "cnn-default.json").read_text()

    text = page.read_text()
    share = f"{100 * metrics['public_test']['accuracy']:.1f} %"
    assert f"| cnn | default | 3 | {share}" in text
    assert "| cnn | default, seed 2 | 3 |" in text
    assert "60.1 % (II, 150 epochs)" in text
    assert "7,178 images" in text
    assert "    vire-edge train --data fer2013.csv --arch cnn --preset default --seed 2" in text


def test_remark_on_a_run_stands_below_the_commands(run: Path, tmp_path: Path) -> None:
    folder, page = tmp_path / "results", tmp_path / "RESULTS.md"
    plain = finished_run(tmp_path / "plain", tmp_path / "fer2013.csv", seed=2)
    results("--add", plain, "--folder", folder, "--out", page)
    assert "--seed 2\n\nSHA-256 of the data" in page.read_text()
    told = results("--add", run, "--remark", "Begun for 120 epochs.", "--folder", folder, "--out", page)
    assert told.exit_code == 0, told.output
    assert "--seed 2\n\n- cnn, default: Begun for 120 epochs.\n\nSHA-256 of the data" in page.read_text()


def test_a_run_taken_in_again_replaces_its_result(run: Path, tmp_path: Path) -> None:
    folder, page = tmp_path / "results", tmp_path / "RESULTS.md"
    results("--add", run, "--folder", folder, "--out", page)
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"epoch": 1}))
    results("--add", run, "--folder", folder, "--out", page)
    assert [result["kept_epoch"] for result in read_results(folder)] == [1]


def test_runs_of_one_network_preset_and_seed_are_told_apart_by_a_label(run: Path, tmp_path: Path) -> None:
    where = ("--folder", tmp_path / "results", "--out", tmp_path / "RESULTS.md")
    results("--add", run, *where)
    told = results("--add", run, "--label", "distilled", *where)
    assert "cnn-default-distilled.json: written" in told.output.replace("\n", "")
    assert "| cnn | default, distilled | 3 |" in (tmp_path / "RESULTS.md").read_text()
    assert "cnn-default.json: replaced" in results("--add", run, *where).output.replace("\n", "")
    assert results("--add", run, "--label", "a/b", *where).exit_code == 2


def test_run_on_own_faces_alone_cannot_stand_beside_the_others(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    own = {key.replace("public_test", "own_faces"): value for key, value in metrics.items()}
    (run / "metrics.json").write_text(json.dumps(own))
    with pytest.raises(TrainingError, match="has no figures on new images of PublicTest"):
        summarize(run)


def test_run_that_would_take_anothers_place_is_refused(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    where = ("--folder", folder, "--out", tmp_path / "RESULTS.md")
    results("--add", run, *where)
    stored = (folder / "cnn-default.json").read_bytes()
    longer = finished_run(tmp_path / "longer", tmp_path / "fer2013.csv", epochs=5)
    for added in (("--add", longer), ("--add", run, "--add", run)):
        told = results(*added, *where)
        assert isinstance(told.exception, TrainingError)
        assert "cnn-default.json is another run's (vire-edge train --data fer2013.csv" in str(told.exception)
        assert "--label WORD" in str(told.exception)
        assert (folder / "cnn-default.json").read_bytes() == stored
    assert results("--add", longer, "--label", "longer", *where).exit_code == 0


@pytest.mark.parametrize("other", ["images", "digest"])
def test_results_of_other_images_are_not_put_side_by_side(run: Path, tmp_path: Path, other: str) -> None:
    folder, page = tmp_path / "results", tmp_path / "RESULTS.md"
    results("--add", run, "--folder", folder, "--out", page)
    stranger = finished_run(tmp_path / "stranger", tmp_path / "fer2013.csv", seed=2)
    name, section, key, value = {
        "images": ("metrics.json", "public_test", "images", 7178),
        "digest": ("data.json", None, "dataset_digest", "0" * 64),
    }[other]
    stored = json.loads((stranger / name).read_text())
    (stored[section] if section else stored)[key] = value
    (stranger / name).write_text(json.dumps(stored))
    told = results("--add", stranger, "--folder", folder, "--out", page)
    assert isinstance(told.exception, TrainingError)
    assert "keep it in another folder with --folder" in str(told.exception)
    assert [path.name for path in folder.iterdir()] == ["cnn-default.json"]
    if other == "images":
        assert results("--add", stranger, "--folder", tmp_path / "both", "--out", page).exit_code == 0
        assert "FER2013's PublicTest and PrivateTest, 7,178 images" in page.read_text()


def test_place_that_cannot_be_written_is_known_before_a_run_is_read(run: Path, tmp_path: Path) -> None:
    told = results(
        "--add", tmp_path / "no-run", "--folder", tmp_path / "results", "--out", run / "metrics.json" / "a.md"
    )
    assert isinstance(told.exception, StorageError)


@pytest.mark.parametrize(
    ("history", "message"), [("[]", "holds no epoch"), ('[{"epoch": 1}]', "is of another version"), ("3", "version")]
)
def test_history_of_something_else_is_told_in_one_line(run: Path, history: str, message: str) -> None:
    (run / "history.json").write_text(history)
    with pytest.raises(TrainingError, match=rf"history\.json .*{message}") as raised:
        summarize(run)
    assert "\n" not in str(raised.value)


def test_result_without_a_figure_is_named_with_it(run: Path, tmp_path: Path) -> None:
    folder, page = tmp_path / "results", tmp_path / "RESULTS.md"
    results("--add", run, "--folder", folder, "--out", page)
    stored = json.loads((folder / "cnn-default.json").read_text())
    del stored["public_test"]["intervals"]["macro_f1"]["low"]
    (folder / "cnn-default.json").write_text(json.dumps(stored))
    with pytest.raises(TrainingError, match=r'cnn-default\.json lacks "public_test\.intervals\.macro_f1\.low"'):
        read_results(folder)


def test_page_is_made_again_without_any_run(run: Path, tmp_path: Path) -> None:
    folder, page = tmp_path / "results", tmp_path / "RESULTS.md"
    results("--add", run, "--folder", folder, "--out", page)
    first = page.read_text()
    page.unlink()
    assert results("--folder", folder, "--out", page).exit_code == 0
    assert page.read_text() == first


@pytest.mark.parametrize("missing", ["metrics.json", "model.onnx"])
def test_unfinished_run_is_not_taken_in(run: Path, missing: str) -> None:
    (run / missing).unlink()
    with pytest.raises(TrainingError, match=r"is not finished; .*--resume"):
        summarize(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no results; .*--add RUN"),
        ("{", r"cnn\.json is no result"),
        ("[]", r"cnn\.json is no result"),
        ('{"version": 1}', r'cnn\.json lacks "architecture"; make it again'),
        ('{"version": 99}', "has version 99, not 1"),
    ],
)
def test_folder_without_good_results_is_answered_with_the_remedy(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "cnn.json").write_text(content)
    with pytest.raises(TrainingError, match=message):
        read_results(tmp_path)


def test_a_run_stands_beside_its_own_published_scenario() -> None:
    found = [published_for("cnn", preset) for preset in ("paper-1", "paper-2", "default")]
    assert [line and line.validation_accuracy for line in found] == [0.5297, 0.6013, 0.6013]
    assert published_for("vire", "best") is None
    assert len(PUBLISHED) == 7
