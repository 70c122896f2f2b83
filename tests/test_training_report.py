from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import optuna
import pytest
from fer2013_samples import write_classes
from run_samples import REPEATS, csv_with_repeats, finished_run, rows_of
from typer.testing import CliRunner, Result

from vire_edge.cli import app
from vire_edge.domain import EMOTIONS
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import DatasetError, StorageError
from vire_edge.training.data.dataset import Split, load
from vire_edge.training.report.document import Heading, Paragraph, Table
from vire_edge.training.report.html import as_html
from vire_edge.training.report.markdown import as_markdown
from vire_edge.training.search.space import Scenario
from vire_edge.training.search.study import StudySettings

TABLE = Table("Figures <of> a|b", ("name", "value", "words"), (("a|b", "1", "one & two"),), words=(2,))


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes.get(name, "") for found, attributes in self.tags if found == tag]


def evaluate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return csv_with_repeats(tmp_path)


@pytest.fixture
def run(tmp_path: Path, data: Path) -> Path:
    return finished_run(tmp_path / "run", data)


def test_html_report_is_one_file_that_asks_for_nothing(data: Path, run: Path, tmp_path: Path) -> None:
    report = tmp_path / "out" / "report.html"
    result = evaluate("--data", data, "--model", shipped_model_path(), "--run", run, "--report", report)
    assert result.exit_code == 0, result.output
    text = report.read_text()
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert not re.findall(r'(?:src|href)="(?!data:image/svg\+xml;base64,)', text)
    assert "http" not in re.sub(r"data:image[^\"]+", "", text)
    # Classes, each model's confusion and reliability, and the epochs of the one that is a run.
    images = page.attributes("img", "src")
    assert len(images) == 6
    for image in images:
        assert ET.fromstring(base64.b64decode(image.partition(",")[2])).tag.endswith("svg")
    assert all(len(alt) > 30 for alt in page.attributes("img", "alt"))
    assert "prefers-color-scheme:dark" in text
    assert page.attributes("html", "lang") == ["en"]
    assert page.text.count("Model 1 cnn") > 0
    assert "Lead over model 1" in page.text
    assert "vire-edge evaluate --data fer2013.csv --split PublicTest" in page.text
    assert "vire-edge train --data fer2013.csv.gz --arch cnn" in page.text
    assert "64.4 %" in page.text
    assert load(data).digest() in page.text
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]


def test_markdown_report_has_its_plots_beside_it(data: Path, run: Path, tmp_path: Path) -> None:
    report = tmp_path / "out" / "report.md"
    assert evaluate("--data", data, "--run", run, "--report", report).exit_code == 0
    text = report.read_text()
    names = re.findall(r"!\[[^\]]+\]\(report-plots/([^)]+)\)", text)
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out" / "report-plots").iterdir())
    assert names == ["classes.svg", "1-cnn-epochs.svg", "1-cnn-confusion.svg", "1-cnn-reliability.svg"]
    assert "| model | accuracy |" in text
    assert "Lead over model 1" not in text, "there is no second model"


def test_search_is_told_of_with_its_plot_and_its_trials(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tune"
    folder.mkdir()
    study = optuna.create_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="vire-cnn-2")
    settings = StudySettings("cnn", Scenario.AUGMENTED, seed=1, images=None, epochs_limit=None, digest="d")
    study.set_user_attr("settings", asdict(settings))

    def lose(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise optuna.TrialPruned
        return 1 + trial.suggest_float("learning_rate", 1e-4, 1e-2)

    study.optimize(lose, n_trials=3)
    report = tmp_path / "report.md"
    result = evaluate("--data", data, "--search", folder, "--report", report)
    assert result.exit_code == 0, result.output
    text = report.read_text()
    assert "## Search vire-cnn-2" in text
    assert "(report-plots/vire-cnn-2-trials.svg)" in text
    assert "| trial | state | loss | learning rate |" in text
    assert text.index("| complete |") < text.index("| pruned |")


def test_only_the_place_of_a_storage_gets_into_a_report(data: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}?timeout=20"
    optuna.create_study(storage=url)
    report = tmp_path / "report.md"
    result = evaluate("--data", data, "--search", url, "--report", report)
    assert result.exit_code == 0, result.output
    assert "timeout" not in report.read_text()


def test_confusion_matrices_are_written_as_csv_and_picture(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "confusion"
    assert evaluate("--data", data, "--confusion", folder).exit_code == 0
    rows = rows_of((folder / "1-cnn.csv").read_text())
    assert rows[0] == ["label", *EMOTIONS]
    assert [row[0] for row in rows[1:]] == list(EMOTIONS)
    assert [sum(map(int, row[1:])) for row in rows[1:]] == [3] * 7
    assert (folder / "1-cnn.png").read_bytes().startswith(b"\x89PNG")


def test_json_holds_what_the_tables_say(data: Path) -> None:
    result = evaluate("--data", data, "--json", "--time")
    entry = json.loads(result.output)[str(shipped_model_path())]
    assert entry["public_test"]["images"] == 21
    assert entry["public_test_without_repeats"]["images"] == 21 - REPEATS
    assert entry["public_test"]["intervals"]["accuracy"]["low"] <= entry["public_test"]["accuracy"]
    assert (entry["parameters"], entry["architecture"]) == (846_855, "cnn")
    assert entry["milliseconds"] > 0
    assert entry["dataset_digest"] == load(data).digest()


@pytest.mark.parametrize(("folder", "images"), [("test", 21), ("", 14)])
def test_own_faces_are_measured_as_such(data: Path, tmp_path: Path, folder: str, images: int) -> None:
    dataset, faces = load(data), tmp_path / "faces"
    if folder:
        write_classes(faces / "train", dataset[Split.TRAINING])
        write_classes(faces / folder, dataset[Split.PUBLIC_TEST])
    else:
        write_classes(faces, dataset[Split.TRAINING])
    result = evaluate("--faces", faces, "--json")
    assert result.exit_code == 0, result.output
    entry = json.loads(result.output)[str(shipped_model_path())]
    assert entry["own_faces"]["images"] == images


def test_another_split_is_measured_on_request(data: Path) -> None:
    result = evaluate("--data", data, "--split", "Training", "--json")
    entry = json.loads(result.output)[str(shipped_model_path())]
    assert entry["training"]["images"] == 14
    assert entry["training_without_repeats"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name FER2013's file"),
        (["--data", "DATA", "--faces", "faces"], "stands instead of --data"),
        (["--data", "DATA", "--split", "Test"], '"Test" is none of Training, PublicTest'),
        (["--data", "DATA", "--report", "report.pdf"], "must end in .html or .md"),
        (["--data", "DATA", "--search", "runs/tune"], "name one with --report"),
    ],
)
def test_options_that_do_not_fit_are_answered_before_anything_is_read(
    data: Path, arguments: list[str], message: str
) -> None:
    result = evaluate(*(str(data) if word == "DATA" else word for word in arguments))
    assert result.exit_code == 2
    assert message in " ".join(re.sub("[│╭╮╰╯─]", " ", result.output).split())


def test_what_is_missing_is_named(data: Path, tmp_path: Path) -> None:
    result = evaluate("--data", data, "--split", "PrivateTest")
    assert isinstance(result.exception, DatasetError)
    result = evaluate("--data", data, "--search", tmp_path, "--report", tmp_path / "report.html")
    assert isinstance(result.exception, StorageError)
    assert "study.db does not exist; give the folder of vire-edge tune" in str(result.exception)


def test_report_that_cannot_be_written_is_named(data: Path) -> None:
    # A file stands where the report's folder would have to be.
    result = evaluate("--data", data, "--report", data / "report.html")
    assert isinstance(result.exception, StorageError)
    assert "report.html cannot be written" in str(result.exception)


def test_html_escapes_text_and_marks_up_tables_for_readers() -> None:
    text = as_html((Heading("A <title>", level=1), Paragraph("1 < 2"), TABLE))
    page = Page(text)
    assert "1 < 2" in page.text
    assert "Figures <of> a|b" in page.text
    assert [attributes["scope"] for tag, attributes in page.tags if tag == "th"] == ["col"] * 3 + ["row"]
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "td"] == [None, "words"]
    assert "<title>A &lt;title&gt;</title>" in text


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert as_markdown((TABLE,), "plots").splitlines()[2:] == [
        "| name | value | words |",
        "| --- | --: | --- |",
        "| a\\|b | 1 | one & two |",
    ]
