from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fer2013_samples import tiny_csv
from run_samples import finished_run
from typer.testing import CliRunner, Result

from vire_edge.cli import app
from vire_edge.errors import DatasetError, DependencyError, ModelError, StorageError, TrainingError
from vire_edge.training.backend import check_packages
from vire_edge.training.run_files import check_writable
from vire_edge.training.rundir import RunDirectory


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with data that would be refused as soon as they are read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("unread.csv").write_text("no header")
    Path("network.keras").write_text("not loaded")
    return tmp_path


TRAIN = ("train", "--data", "unread.csv", "--arch", "vire")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((*TRAIN, "--fer-plus", "."), DatasetError, ". cannot be read (Is a directory); give FER+'s fer2013new.csv"),
        ((*TRAIN, "--fer-plus", ".", "--check-data"), DatasetError, ". cannot be read (Is a directory); give FER+'s"),
        ((*TRAIN, "--faces", "mine"), DatasetError, "mine cannot be read (No such file or directory); give the path"),
        ((*TRAIN, "--teacher", "t.onnx"), ModelError, "t.onnx cannot be read (No such file or directory)"),
        (
            (*TRAIN, "--start-from", "models/nope.keras"),
            ModelError,
            "models/nope.keras does not exist; give models/vire.keras, or a run's model.keras",
        ),
        ((*TRAIN, "--start-from", "a.onnx"), ModelError, "a.onnx is no Keras file to go on from; give models/vire"),
        ((*TRAIN, "--run", "unread.csv/run"), StorageError, "unread.csv/run cannot be written (Not a directory)"),
        ((*TRAIN, "--run", "full"), TrainingError, "full holds other files and no run; name a new folder with --run"),
        (("train", "--run", "full", "--resume"), TrainingError, "full is no training run (no settings.json); give a"),
        (("export", "--run", "full"), TrainingError, "full is no training run (no settings.json); give a folder that"),
        (("results", "--add", "full"), TrainingError, "full is no training run (no settings.json); give a folder that"),
        (("evaluate", "--data", "unread.csv", "--run", "full"), TrainingError, "full is no training run"),
        (("evaluate", "--data", "unread.csv", "--model", "x.onnx"), ModelError, "x.onnx does not exist; give an .onnx"),
        (("tune", "--data", "gone.csv"), DatasetError, "gone.csv cannot be read (No such file or directory)"),
        (("tune", "--data", "unread.csv"), DatasetError, "unread.csv, line 1: the header must be"),
        (("tune", "--data", "unread.csv", "--run", "unread.csv/x"), StorageError, "unread.csv/x cannot be written"),
    ],
)
def test_what_is_missing_or_taken_is_told_before_data_are_read(
    here: Path, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    Path("full").mkdir()
    Path("full/letter.txt").write_text("dear")
    result = invoke(*arguments)
    assert isinstance(result.exception, error), result.output
    assert message in str(result.exception)
    assert not {"runs", "cache"} & {path.name for path in here.iterdir()}
    assert [path.name for path in Path("full").iterdir()] == ["letter.txt"]


def test_unfinished_run_is_not_measured_and_data_are_not_read_for_it(here: Path) -> None:
    run = RunDirectory(finished_run(here / "run", tiny_csv(here)))
    run.onnx_model.unlink()
    result = invoke("evaluate", "--data", "unread.csv", "--run", run.path)
    assert isinstance(result.exception, TrainingError)
    assert "run is not finished; finish it with: vire-edge train --run" in str(result.exception)


def test_data_for_the_int8_variant_are_looked_for_before_the_export(here: Path) -> None:
    run = finished_run(here / "run", here / "moved.csv")
    result = invoke("export", "--run", run, "--int8", "int8.onnx")
    assert isinstance(result.exception, DatasetError)
    assert "moved.csv cannot be read (No such file or directory)" in str(result.exception)
    assert not (here / "model.onnx").exists()


def test_folder_of_a_run_that_was_killed_while_it_began_can_be_begun_in(here: Path) -> None:
    run = RunDirectory(here / "run")
    run.create()
    run.write_json(run.environment, {})
    run.create()
    run.write_json(run.settings, {})
    with pytest.raises(TrainingError, match=r"run holds a run already; go on with --run .*run --resume"):
        run.create()


def test_a_place_that_can_be_written_is_not_made_by_looking_at_it(here: Path) -> None:
    check_writable(here / "new" / "run")
    check_writable(Path("new"))
    assert not (here / "new").exists()


def test_missing_packages_are_named_together_with_how_to_install_them_from_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkout = Path(__file__).resolve().parents[1]
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not installed
    with pytest.raises(DependencyError) as raised:
        check_packages("numpy", "optuna", "vire_edge_has_no_such_package")
    needs = "this command needs optuna, vire_edge_has_no_such_package, not installed here; run: pip install -e"
    assert str(raised.value) == f"{needs} '{checkout}[train]'"
    monkeypatch.chdir(checkout)
    with pytest.raises(DependencyError, match=r"pip install -e '\.\[train\]'"):
        check_packages("optuna")


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("keras", TRAIN),
        ("optuna", ("tune", "--data", "unread.csv")),
        ("keras", ("evaluate", "--data", "unread.csv", "--model", "network.keras")),
        ("onnx", ("evaluate", "--data", "unread.csv")),
        ("onnx", ("results", "--add", "run", "--folder", "results", "--out", "results.md")),
        ("keras", ("export", "--run", "run")),
    ],
)
def test_missing_package_is_told_before_data_are_read(
    package: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = invoke(*arguments)
    assert isinstance(result.exception, DependencyError), result.output
    assert f"this command needs {package}, not installed here" in str(result.exception)


@contextlib.contextmanager
def ctrl_c_while_reading(pipe: Path) -> Iterator[None]:
    """Press Ctrl-C as soon as somebody has read from a pipe more than it holds."""
    answered = threading.Event()

    def feed() -> None:
        with pipe.open("wb") as file:
            file.write(bytes(1 << 20))
            os.kill(os.getpid(), signal.SIGINT)
            answered.wait(60)  # the end of the file would end the reading, too

    thread = threading.Thread(target=feed, name="ctrl-c")
    thread.start()
    yield
    answered.set()
    thread.join(60)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", "--data", "pipe.csv"), "stopped before the run began; the same command begins it"),
        (("train", "--run", "run", "--resume"), "go on with: vire-edge train --run run --resume"),
        (("tune", "--data", "pipe.csv"), "stopped before the first trial; the same command begins anew"),
        (("train", "--data", "pipe.csv", "--check-data"), "stopped"),
    ],
)
def test_ctrl_c_while_data_are_read_is_answered_with_how_to_go_on(
    here: Path, arguments: tuple[str, ...], told: str
) -> None:
    os.mkfifo("pipe.csv")
    finished_run(here / "run", here / "pipe.csv")
    with ctrl_c_while_reading(here / "pipe.csv"):
        result = invoke(*arguments)
    assert result.exit_code == 130
    assert result.stderr.endswith(f"{told}\n")
    assert not (here / "runs").exists()
