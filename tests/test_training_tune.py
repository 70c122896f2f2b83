from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sql
from fer2013_samples import tiny_csv
from typer.testing import CliRunner

from vire_edge.cli import app
from vire_edge.errors import DependencyError, StorageError, TrainingError, VireError
from vire_edge.training.backend import load_optuna
from vire_edge.training.data.augment import PUBLISHED
from vire_edge.training.data.dataset import Split, load
from vire_edge.training.recipes import PRESETS
from vire_edge.training.search.results import NOTE, Found, notes, plotted, write_results
from vire_edge.training.search.space import (
    BATCH_SIZES,
    EPOCHS,
    INITIALIZERS,
    LEARNING_RATES,
    Scenario,
    Values,
    epochs_within,
    suggest,
)
from vire_edge.training.search.storage import GRACE_SECONDS, open_storage, shown, sqlite_url, storage_errors
from vire_edge.training.search.study import Released, Study, StudySettings, TrialRecord, best_of, read_studies
from vire_edge.training.search.trial import trial_faces
from vire_edge.training.search.worker import Job, Worker

COMMON = StudySettings("cnn", Scenario.PLAIN, seed=1, images=None, epochs_limit=None, digest="d")
VALUES = Values(0.0015, 32, 50, "he_normal")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def complete(study: Study, loss: float) -> None:
    def objective(trial: object) -> float:
        suggest(trial, None)
        return loss

    with study.guarded():
        study.optuna.optimize(objective, n_trials=1)


def left_running(study: Study) -> str:
    """Leave a trial as a worker that is killed leaves it; returns what it chose."""
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = study.optuna.ask()
    trial.set_user_attr("worker", "w")
    return suggest(trial, None).options


def test_space_is_the_published_one() -> None:
    study = load_optuna().create_study()
    assert (LEARNING_RATES, EPOCHS) == ((1e-4, 1e-2), (25, 50, 100, 150))
    assert BATCH_SIZES == (8, 16, 32, 64, 128)
    assert INITIALIZERS == ("glorot_uniform", "he_normal", "lecun_normal")
    seen = [suggest(study.ask(), None) for _ in range(12)]
    for values in seen:
        assert LEARNING_RATES[0] <= values.learning_rate <= LEARNING_RATES[1]
        assert values.batch_size in BATCH_SIZES
        assert values.epochs in EPOCHS
        assert values.initializer in INITIALIZERS
    assert len({values.learning_rate for values in seen}) == 12


def test_learning_rates_are_drawn_evenly_over_the_logarithm() -> None:
    optuna = load_optuna()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    rates = [suggest(study.ask(), None).learning_rate for _ in range(100)]
    # A tenth of the whole range, but half of its logarithm.
    assert 0.3 < sum(rate < 1e-3 for rate in rates) / len(rates) < 0.7


@pytest.mark.parametrize(("limit", "choices"), [(None, EPOCHS), (60, (25, 50, 60)), (3, (3,))])
def test_limit_shortens_the_epochs_to_choose_from(limit: int | None, choices: tuple[int, ...]) -> None:
    assert epochs_within(limit) == choices


@pytest.mark.parametrize("architecture", ["cnn", "alexnet", "densenet"])
@pytest.mark.parametrize("scenario", list(Scenario))
def test_a_trial_with_the_published_values_learns_as_the_preset_does(architecture: str, scenario: Scenario) -> None:
    values = Values.published(architecture, scenario)
    assert values is not None
    recipe, preset = values.recipe(architecture, scenario), PRESETS[scenario.preset][architecture]
    assert replace(recipe, clean=preset.clean, held_out=preset.held_out) == preset


def test_an_architecture_that_was_not_published_is_searched_in_the_same_space() -> None:
    assert Values.published("vire", Scenario.AUGMENTED) is None
    recipe = VALUES.recipe("vire", Scenario.AUGMENTED)
    assert (recipe.learning_rate, recipe.batch_size, recipe.epochs) == (0.0015, 32, 50)
    assert recipe.augmentation == PUBLISHED


def test_trials_are_compared_on_training_images_and_never_on_public_test(tmp_path: Path) -> None:
    dataset = load(tiny_csv(tmp_path, per_class=30))
    faces = trial_faces(dataset, images=140, seed=1)
    assert (len(faces.learn), len(faces.held_out)) == (126, 14)
    training = {image.tobytes() for image in dataset[Split.TRAINING].images}
    assert {image.tobytes() for image in faces.held_out.images} <= training
    assert not {image.tobytes() for image in faces.held_out.images} & {i.tobytes() for i in faces.learn.images}
    with pytest.raises(TrainingError, match="--images 999 is more than the 210"):
        trial_faces(dataset, images=999, seed=1)


def test_trial_of_a_killed_worker_is_failed_and_queued_with_its_values(url: str) -> None:
    study = Study(url, "s")
    chosen = left_running(study)
    assert [trial.state for trial in study.trials()] == ["running"]
    assert study.release("w") == Released(0, queued=True)
    failed, queued = study.trials()
    assert (failed.state, queued.state, queued.begun_as) == ("fail", "waiting", 0)
    assert Values(**queued.params).options == chosen
    study.release("w")
    assert len(study.trials()) == 2, "given back once"


def test_a_trial_that_kills_every_worker_is_given_up(url: str) -> None:
    study = Study(url, "s")
    chosen, queued = set(), []
    for _ in range(4):
        chosen.add(left_running(study))
        queued.append(study.release("w"))
    assert [trial.begun_as for trial in study.trials()] == [None, 0, 0, None, 3]
    assert queued[2] == Released(2, queued=False)
    assert len(chosen) == 2


def test_trial_of_a_silent_worker_on_another_machine_is_queued_again(url: str) -> None:
    study, storage = Study(url, "s"), open_storage(url)
    left_running(study)
    storage.record_heartbeat(storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name("s"), 0))
    study.release_silent()
    assert [trial.state for trial in study.trials()] == ["running"], "not heard of for a second only"
    engine = sql.create_engine(url)
    table = sql.Table("trial_heartbeats", sql.MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        heard = connection.execute(sql.select(table.c.heartbeat)).scalar_one()
        connection.execute(table.update().values(heartbeat=heard - timedelta(seconds=GRACE_SECONDS + 1)))
    engine.dispose()
    study.release_silent()
    assert [(trial.state, trial.begun_as) for trial in study.trials()] == [("fail", None), ("waiting", 0)]


def test_trial_that_was_taken_when_enough_were_is_told_of_nowhere(url: str, tmp_path: Path) -> None:
    study, (ours, theirs) = Study(url, "s"), Pipe()
    complete(study, 1.5)
    data = tiny_csv(tmp_path, per_class=30)
    worker = Worker(Job("w", url, "s", COMMON, data, tmp_path / "s", 1, 1, 0, parallel=False), theirs)
    worker.attempt()
    assert not ours.poll()
    assert [trial.state for trial in study.trials()] == ["complete"]
    assert study.release("w") is None


def test_folder_of_another_study_with_the_same_name_is_refused(tmp_path: Path) -> None:
    ours, theirs = (Study(f"sqlite:///{tmp_path / name}", "s") for name in ("a.db", "b.db"))
    ours.claim(tmp_path / "s")
    (tmp_path / "s" / "trial-0000").mkdir()
    with pytest.raises(TrainingError, match=r'holds trials of another study than "s" in sqlite.*--run.*--study'):
        theirs.claim(tmp_path / "s")
    ours.claim(tmp_path / "s")
    ours.claim(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "study.txt").unlink()
    (tmp_path / "elsewhere" / "trial-0000").mkdir()
    with pytest.raises(TrainingError, match="another study"):
        ours.claim(tmp_path / "elsewhere")


def test_hopeless_trial_is_given_up_but_not_in_its_first_epochs(url: str) -> None:
    study = Study(url, "s")
    optuna = load_optuna()
    told: list[int] = []

    def objective(trial: Any) -> float:
        suggest(trial, None)
        hopeless = trial.number == 4
        for epoch in range(1, 11):
            trial.report(3.0 if hopeless else 1.0 + trial.number / 10, epoch)
            if hopeless:
                told.append(epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return 1.0

    with study.guarded():
        study.optuna.optimize(objective, n_trials=5)
    assert [trial.state for trial in study.trials()] == ["complete"] * 4 + ["pruned"]
    assert told == [1, 2, 3, 4, 5]
    assert study.trials()[4].value == 3.0


def test_study_refuses_trials_that_cannot_be_compared(url: str) -> None:
    Study(url, "s").agree(COMMON)
    Study(url, "s").agree(COMMON)
    with pytest.raises(TrainingError, match=r'"s" was begun with images None, not 2000; .*--study NAME'):
        Study(url, "s").agree(replace(COMMON, images=2000))


def test_studies_are_read_as_plain_records(url: str) -> None:
    study = Study(url, "vire-cnn-1")
    study.agree(COMMON)
    complete(study, 1.5)
    Study(url, "vire-quick-cnn-1").agree(COMMON)
    ((name, (settings, trials)),) = read_studies(url, {"vire-cnn-1", "vire-cnn-2"}).items()
    assert (name, settings) == ("vire-cnn-1", COMMON)
    assert [(trial.number, trial.state, trial.value) for trial in trials] == [(0, "complete", 1.5)]
    assert set(trials[0].params) == {"learning_rate", "batch_size", "epochs", "initializer"}


def test_studies_of_other_programs_are_left_out(url: str) -> None:
    Study(url, "vire-cnn-1").agree(COMMON)
    for name, settings in (("a", {"layers": 3}), ("b", "fast"), ("c", asdict(COMMON) | {"scenario": "3"})):
        load_optuna().create_study(storage=url, study_name=name).set_user_attr("settings", settings)
    assert list(read_studies(url)) == ["vire-cnn-1"]


def test_reading_makes_neither_file_nor_tables(url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"study\.db cannot be read .there is no such file."):
        read_studies(url)
    assert not list(tmp_path.iterdir())
    (tmp_path / "study.db").touch()
    with pytest.raises(StorageError, match="no such table"):
        read_studies(url)
    assert (tmp_path / "study.db").stat().st_size == 0


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("postgresql+psycopg://me:hu@hush@db/vire", TrainingError, "escape @ as %40"),
        ("postgresql+psycopg://me@db/vire;password=hush", TrainingError, "escape @ as %40"),
        ("postgresql+psycopg://me:p@hush?x@db/vire", TrainingError, "escape @ as %40"),
        ("mysql+pymysql://me:p@ss/hush@db/vire", TrainingError, "escape @ as %40"),
        ("postgres me", TrainingError, "no database URL"),
        ("oracle9://u:hush@h/d?key=hush", DependencyError, "no such kind of database"),
        ("mysql+pymysql://u:hush@h/d?key=hush", DependencyError, "mysql.pymysql://h/d: .* pip install pymysql"),
        ("sqlite:////no/such/folder/study.db", StorageError, "unable to open database file"),
        ("sqlite:////dev/null/study.db", StorageError, "cannot be used"),
    ],
)
def test_storage_that_cannot_be_used_is_told_in_one_line_without_secrets(
    url: str, error: type[VireError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        open_storage(url)
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_storage_in_memory_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(TrainingError, match="gone with each process; name a file"):
            open_storage(url)


def test_file_that_is_no_study_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("this is no database, but it is longer than a hundred bytes " * 4)
    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{tmp_path / 'study.db'}")


def test_shown_url_names_the_place_alone() -> None:
    assert (
        shown("postgresql+psycopg://me:hush@db.home:5432/vire?sslpassword=hush") == "postgresql+psycopg://db.home/vire"
    )


def test_driver_that_repeats_credentials_is_not() -> None:
    url = "postgresql+psycopg://me:hu%40sh@db/name?options=ab&options=cd"
    words = 'login of "me" with hu@sh, hu%40sh, ab or cd to name refused\nsecond line'
    with pytest.raises(StorageError) as caught, storage_errors(url):
        raise sql.exc.DBAPIError("select", None, RuntimeError(words))
    assert 'login of "***" with ***, ***, *** or *** to name refused' in str(caught.value)


def test_results_stand_beside_the_published_ones(tmp_path: Path) -> None:
    trials = (
        TrialRecord(0, "complete", 1.4, vars_of(VALUES), (1.6, 1.4), 12.0),
        TrialRecord(1, "pruned", 1.9, vars_of(VALUES), (1.9,), 4.0),
        TrialRecord(2, "fail", None, {}),
        TrialRecord(3, "complete", 1.2, vars_of(replace(VALUES, batch_size=8)), (1.5, 1.2), 12.0, begun_as=2),
    )
    found = [Found("vire-cnn-1", COMMON, trials), Found("vire-vire-1", replace(COMMON, architecture="vire"), ())]
    paths = write_results(found, tmp_path, data="my fer2013.csv")
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["vire-cnn-1"]["best"] == {"trial": 3, "loss": 1.2, **vars_of(replace(VALUES, batch_size=8))}
    assert best["vire-cnn-1"]["published"]["loss"] == 1.2749
    assert best["vire-cnn-1"]["command"] == (
        "vire-edge train --data 'my fer2013.csv' --arch cnn --preset paper-1 --drop-leaks --seed 1 "
        "--learning-rate 0.0015 --batch-size 8 --epochs 50 --initializer he_normal"
    )
    assert best["vire-vire-1"]["best"] is best["vire-vire-1"]["command"] is None
    table = (tmp_path / "best.md").read_text()
    assert "| cnn | 1 | found | 1.2000 | 0.0015 | 8 | 50 | he_normal | 2 | 1 |" in table
    assert "| cnn | 1 | published | 1.2749 | 0.000828395 | 8 | 50 | he_normal | 10 | 0 |" in table
    assert (tmp_path / "trials.csv").read_text().count("vire-cnn-1") == 4
    assert (tmp_path / "losses-vire-cnn-1.png").read_bytes().startswith(b"\x89PNG")
    assert [trial.state for trial in plotted(trials)] == ["complete", "pruned", "fail", "complete"]
    assert best_of(trials) is trials[3]


def test_search_that_was_cut_short_says_so_beside_the_published_loss() -> None:
    trials = (TrialRecord(0, "complete", 1.9, vars_of(VALUES)),)
    short = Found("vire-cnn-1", replace(COMMON, images=2000, epochs_limit=3), trials)
    whole = Found("vire-cnn-1", COMMON, trials)
    assert [row[2] for row in short.rows()] == ["found, cut short", "published"]
    assert [row[2] for row in whole.rows()] == ["found", "published"]
    assert "cut short (2000 training images only, at most 3 epochs)" in notes([short])[-1]
    assert notes([whole]) == [NOTE]


def vars_of(values: Values) -> dict[str, object]:
    return {name: getattr(values, name) for name in Values.__slots__}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arch", "lenet"], '"lenet" is none of cnn'),
        (["--scenario", "3"], '"3" is none of 1, 2, all'),
        (["--study", "../x"], '"../x" is no name'),
        (["--study", "a/b"], '"a/b" is no name'),
    ],
)
def test_wrong_names_are_answered_with_the_known_ones(options: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["tune", "--data", "x.csv", "--run", str(tmp_path / "run"), *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


@pytest.mark.timeout(400)  # Keras starts in four processes
def test_killed_search_goes_on_and_ends_with_exactly_the_trials_asked_for(tmp_path: Path) -> None:
    data, run = tiny_csv(tmp_path, per_class=30), tmp_path / "tune #1?"
    options = ["--trials", "2", "--epochs-limit", "2", "--scenario", "1"]
    command = [sys.executable, "-c", "from vire_edge.cli import main; main()", "tune", "--data", data, "--run", run]
    with subprocess.Popen(
        [*map(str, command), *options, "--workers", "2"], stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        told = iter(killed.stdout.readline, "")
        next(line for line in told if "epoch 1/2" in line)
        workers = psutil.Process(killed.pid).children(recursive=True)
        os.kill(workers[-1].pid, signal.SIGKILL)
        next(line for line in told if "worker died (signal 9)" in line)
        killed.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives its command"
        time.sleep(0.05)

    ((_, (_, before)),) = read_studies(sqlite_url(run / "study.db")).items()
    result = CliRunner().invoke(app, [*map(str, command[3:]), *options])
    assert result.exit_code == 0, result.output
    ((_, (_, trials)),) = read_studies(sqlite_url(run / "study.db")).items()
    done = [trial for trial in trials if trial.state in ("complete", "pruned")]
    assert len(done) == 2
    assert list(trials[: len(before)]) == [
        now if then.state in ("running", "waiting") else then for then, now in zip(before, trials, strict=False)
    ]
    assert any(trial.begun_as is not None for trial in done)
    told_ends = [trial for trial in done if f"trial {trial.number}: {trial.state}" in result.output]
    assert told_ends == [trial for trial in done if trial not in before]
    kept = [path.parent.name for path in run.rglob("kept.npz")]
    best = best_of(trials)
    assert best is not None
    assert kept == [f"trial-{best.first_number:04}"]
    assert not list(run.rglob("checkpoint.npz"))
    assert json.loads((run / "best.json").read_text())["vire-cnn-1"]["best"]["trial"] == best.number
    again = CliRunner().invoke(app, [*map(str, command[3:]), *options])
    assert "2 of 2 trials done" in again.output
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [run.name]


def test_ctrl_c_gives_the_trials_back_and_tells_how_to_go_on(tmp_path: Path) -> None:
    data, run = tiny_csv(tmp_path, per_class=30), tmp_path / "tune"
    command = [sys.executable, "-c", "from vire_edge.cli import main; main()", "tune", "--data", data, "--run", run]
    options = ["--trials", "1", "--epochs-limit", "100"]
    with subprocess.Popen([*map(str, command), *options], stdout=subprocess.PIPE, text=True) as stopped:
        assert stopped.stdout is not None
        told = iter(stopped.stdout.readline, "")
        next(line for line in told if "epoch 1/" in line)
        stopped.send_signal(signal.SIGINT)
        rest = stopped.stdout.read()
    assert stopped.returncode == 130
    assert "the same command goes on" in rest
    ((_, (_, trials)),) = read_studies(f"sqlite:///{run / 'study.db'}").items()
    assert [(trial.state, trial.begun_as) for trial in trials] == [("fail", None), ("waiting", 0)]
    assert list(run.rglob("checkpoint.npz")), "from which the next try goes on"


def test_optuna_stays_silent() -> None:
    optuna = load_optuna()
    assert optuna.logging.get_verbosity() == optuna.logging.CRITICAL
