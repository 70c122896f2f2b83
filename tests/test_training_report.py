from __future__ import annotations

import base64
import json
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import optuna
import pytest
from fer2013_samples import patterns, write_classes
from run_samples import REPEATS, csv_with_repeats, finished_run, rows_of
from typer.testing import CliRunner, Result

from vire_edge.cli import app
from vire_edge.domain import EMOTIONS
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import DatasetError, DependencyError, StorageError
from vire_edge.training.data.dataset import Faces, Split, load
from vire_edge.training.data.material import gather
from vire_edge.training.evaluation.comparison import compared
from vire_edge.training.evaluation.graph import cost
from vire_edge.training.evaluation.measured import Measured
from vire_edge.training.evaluation.reading import Reading
from vire_edge.training.report.content import compose
from vire_edge.training.report.document import Heading, Paragraph, Picture, Table
from vire_edge.training.report.html import as_html
from vire_edge.training.report.markdown import as_markdown
from vire_edge.training.report.tables import by_class, figures
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.search.space import Scenario
from vire_edge.training.search.study import StudySettings
from vire_edge.training.settings import TrainSettings, stored_settings

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
    assert "Model 1 vire" in page.text
    assert "Lead over model 1" in page.text
    assert "vire-edge evaluate --data fer2013.csv --split PublicTest" in page.text
    assert re.search(r"# 1 vire: vire-edge train --data fer2013\.csv\.gz .*--arch vire", page.text)
    assert "64.4 %" in page.text
    assert load(data).digest() in page.text
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]


def test_markdown_report_has_its_plots_beside_it(data: Path, run: Path, tmp_path: Path) -> None:
    report = tmp_path / "out" / "report.md"
    assert evaluate("--data", data, "--run", run, "--report", report).exit_code == 0
    text = report.read_text()
    names = re.findall(r"!\[[^\]]+\]\(report-plots/([^)]+)\)", text)
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out" / "report-plots").iterdir())
    assert names == ["classes.svg", "1-vire-epochs.svg", "1-vire-confusion.svg", "1-vire-reliability.svg"]
    assert "| model | accuracy |" in text
    assert "Lead over model 1" not in text, "there is no second model"


def search_in(url: str, name: str = "vire-cnn-2") -> None:
    """A search of three trials, as vire-edge tune leaves it."""
    study = optuna.create_study(storage=url, study_name=name)
    settings = StudySettings("cnn", Scenario.AUGMENTED, seed=1, images=None, epochs_limit=None, digest="d")
    study.set_user_attr("settings", asdict(settings))

    def lose(trial: optuna.Trial) -> float:
        if trial.number == 1:
            raise optuna.TrialPruned
        return 1 + trial.suggest_float("learning_rate", 1e-4, 1e-2)

    study.optimize(lose, n_trials=3)


def test_search_is_told_of_with_its_plot_and_its_trials(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tune"
    folder.mkdir()
    search_in(f"sqlite:///{folder / 'study.db'}")
    report = tmp_path / "report.md"
    result = evaluate("--data", data, "--search", folder, "--report", report)
    assert result.exit_code == 0, result.output
    text = report.read_text()
    assert "## Search vire-cnn-2" in text
    assert "(report-plots/search-1-vire-cnn-2.svg)" in text
    assert "| trial | state | loss | learning rate |" in text
    assert text.index("| complete |") < text.index("| pruned |")


def test_only_the_place_of_a_storage_gets_into_a_report(data: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}?timeout=20"
    search_in(url, "../../elsewhere")
    report = tmp_path / "out" / "report.md"
    result = evaluate("--data", data, "--search", url, "--report", report)
    assert result.exit_code == 0, result.output
    assert f"--search sqlite:///{tmp_path / 'study.db'} --report report.md" in report.read_text()
    assert "timeout" not in report.read_text()
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.svg")}
    assert "report-plots/search-1-..-..-elsewhere.svg" in written, "a name names no other folder"
    told = json.loads(evaluate("--data", data, "--search", url, "--json").stdout)["searches"]
    assert [trial["loss"] is None for trial in told[0]["trials"]] == [False, True, False]


@pytest.mark.parametrize("content", [None, b"", b"no database at all", "another", "empty"])
def test_place_without_a_search_is_refused_and_left_as_it_is(
    data: Path, tmp_path: Path, content: bytes | str | None
) -> None:
    file = tmp_path / "study.db"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "another":
        with closing(sqlite3.connect(file)) as database:
            database.execute("CREATE TABLE photos (name TEXT)")
    elif content == "empty":
        optuna.create_study(storage=f"sqlite:///{file}")
    before = file.read_bytes() if file.exists() else None
    for place in (tmp_path, f"sqlite:///{file}"):
        result = evaluate("--data", data, "--search", place, "--report", tmp_path / "report.html")
        assert isinstance(result.exception, StorageError)
        told = "does not exist" if content is None else "holds no search of vire-edge tune"
        assert told in str(result.exception)
        assert (file.read_bytes() if file.exists() else None) == before


def test_confusion_matrices_are_written_as_csv_and_picture(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "confusion"
    assert evaluate("--data", data, "--confusion", folder).exit_code == 0
    rows = rows_of((folder / "1-vire.csv").read_text())
    assert rows[0] == ["label", *EMOTIONS]
    assert [row[0] for row in rows[1:]] == list(EMOTIONS)
    assert [sum(map(int, row[1:])) for row in rows[1:]] == [3] * 7
    assert (folder / "1-vire.png").read_bytes().startswith(b"\x89PNG")


def test_json_holds_what_the_tables_say(data: Path) -> None:
    result = evaluate("--data", data, "--json", "--time")
    told = json.loads(result.output)
    (entry,) = told["models"]
    assert entry["name"] == str(shipped_model_path())
    assert entry["public_test"]["images"] == 21
    assert entry["public_test_without_repeats"]["images"] == 21 - REPEATS
    assert entry["public_test"]["intervals"]["accuracy"]["low"] <= entry["public_test"]["accuracy"]
    assert (entry["parameters"], entry["architecture"]) == (cost(shipped_model_path().read_bytes()).parameters, "vire")
    assert entry["milliseconds"] > 0
    assert told["dataset_digest"] == load(data).digest()
    assert told["measured_on"] == "PublicTest"


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
    (entry,) = json.loads(result.output)["models"]
    assert entry["own_faces"]["images"] == images


@pytest.fixture
def taught(tmp_path: Path, data: Path) -> tuple[Path, Path]:
    """Own faces, and a run that learnt from a part of them."""
    images, labels = patterns(8, 20)
    faces = write_classes(tmp_path / "faces", Faces(images, np.array(labels, np.int64)))
    run = finished_run(tmp_path / "taught", data)
    settings = TrainSettings(None, run, faces=faces)
    directory = RunDirectory(run)
    directory.write_json(directory.settings, settings.as_json())
    directory.write_json(directory.data, asdict(gather(settings).ready))
    return faces, run


def test_faces_that_a_run_learnt_from_are_not_measured(taught: tuple[Path, Path], tmp_path: Path) -> None:
    faces, run = taught
    material = gather(stored_settings(run))
    elsewhere = (tmp_path / "faces").rename(tmp_path / "moved")
    report = tmp_path / "report.html"
    result = evaluate("--faces", elsewhere, "--run", run, "--model", shipped_model_path(), "--json", "--report", report)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    count = len(material.evaluation)
    assert [entry["own_faces"]["images"] for entry in told["models"]] == [count, count]
    assert told["class_counts"]["own faces"] == np.bincount(material.evaluation.labels).tolist()
    assert f"measured on the {count} alone that it set aside, not on the other {140 - count}" in told["notes"][0]
    assert told["notes"][0] in result.stderr
    assert told["notes"][0] in Page(report.read_text()).text
    assert "Beside the publication" not in report.read_text()
    assert not faces.exists()


def test_overlap_with_what_a_run_learnt_from_is_told(taught: tuple[Path, Path], tmp_path: Path) -> None:
    faces, run = taught
    material = gather(stored_settings(run))
    some = write_classes(tmp_path / "some", material.learn.take(np.arange(10)))
    write_classes(some / ".." / "some", material.evaluation, ".bmp")
    result = evaluate("--faces", some, "--run", run, "--json")
    assert result.exit_code == 0, result.output
    count = 10 + len(material.evaluation)
    assert f"WARNING: {run} learnt from 10 of these {count} faces" in result.stderr
    assert json.loads(result.stdout)["models"][0]["own_faces"]["images"] == count
    # What was learnt from is not known any more.
    shutil.rmtree(faces)
    assert "cannot be told" in evaluate("--faces", some, "--run", run, "--json").stderr


def test_another_split_is_measured_on_request(data: Path) -> None:
    result = evaluate("--data", data, "--split", "Training", "--json")
    (entry,) = json.loads(result.output)["models"]
    assert entry["training"]["images"] == 14
    assert entry["training_without_repeats"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name FER2013's file"),
        (["--data", "DATA", "--faces", "faces"], "stands instead of --data"),
        (["--faces", "faces", "--split", "PublicTest"], "own faces are measured by their test folder"),
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
    # A file stands where the folder would have to be; it is known before any model is looked for.
    for option, place in (("--report", data / "report.html"), ("--confusion", data / "confusion")):
        result = evaluate("--data", data, "--model", "missing.onnx", option, place)
        assert isinstance(result.exception, StorageError)
        assert re.search(r"(report\.html|confusion/1\.csv) cannot be written", str(result.exception))


def test_classes_without_images_and_mistakes_that_nobody_made_are_left_out() -> None:
    labels = np.array([3, 3, 4])
    faces = Faces(np.zeros((3, 48, 48), np.uint8), labels)
    right = np.eye(7)[labels]
    reading = Reading("a.onnx", right, "../<img>", "none", 10, 20, None, None)
    comparison = compared([reading], Measured("own faces", "own_faces", faces, None, "d"))
    (evaluation,) = comparison.evaluations
    rows = {row[0]: row[1:] for row in by_class(evaluation, "").rows}
    assert rows["angry"] == ("0", "–", "–", "–", "–")
    assert rows["happy"] == ("2", "1.000", "1.000 (1.000–1.000)", "1.000", "–")
    assert figures(comparison)[0].rows[0][3] == "–", "recall of disgust"
    document = compose(comparison, command="vire-edge evaluate")
    pictures = {block.name: block for block in document if isinstance(block, Picture)}
    assert set(pictures) == {"classes", "1-..-img--confusion", "1-..-img--reliability"}
    told = pictures["1-..-img--confusion"]
    assert "Read right: happy 100%, sad 100%." in told.alt
    assert "mistake" not in told.alt + told.caption
    assert "angry (0)" in told.svg
    assert told.svg.count("100 %") == 2
    lines = [line.replace("\\<img>", "") for line in as_markdown(document, "plots").splitlines()]
    assert [line[:4] for line in lines if "<img>" in line] == ["    "], "in the code alone, where it stays text"


def test_missing_plots_are_known_before_anything_is_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as if it were not installed
    result = evaluate("--data", data, "--model", "missing.onnx", "--report", tmp_path / "report.html")
    assert isinstance(result.exception, DependencyError)
    assert "this command needs matplotlib, which" in str(result.exception)


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
        "| a\\|b | 1 | one \\& two |",
    ]
    told = as_markdown((Heading("a <b> `c`"), Paragraph("[x](y) *z*\nand"), Picture("p", "", "a]b", "c")), "my plots")
    assert told.splitlines()[::2] == [
        "## a \\<b> \\`c\\`",
        "\\[x\\](y) \\*z\\* and",
        "![a\\]b](my%20plots/p.svg)",
        "*c*",
    ]
