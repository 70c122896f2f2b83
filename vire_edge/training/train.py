"""Faces and a recipe → a run directory with a trained, calibrated, measured, exported model. Reads from top to bottom.

Each epoch ends in a checkpoint; batches, augmentation and dropout depend on seed and epoch
alone, so a run that was killed and resumed ends as if it had not been.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vire_edge.errors import TrainingError
from vire_edge.training import cleaning
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import environment, load_keras
from vire_edge.training.batches import Batches
from vire_edge.training.dataset import Faces, Split, load
from vire_edge.training.fer_plus import read_votes, with_votes
from vire_edge.training.finish import finish
from vire_edge.training.fitting import Fitting, compile_for
from vire_edge.training.progress import DataReady, OnEvent
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import TrainSettings
from vire_edge.training.teachers import ensemble


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run left behind."""

    run: Path
    epochs: int
    """Complete ones, over all resumes."""
    kept_epoch: int
    """The one that was exported, from 1."""
    interrupted: bool
    """Stopped by Ctrl-C: the best so far is exported, and the run can be resumed."""
    metrics: dict[str, Any]
    """As in `metrics.json`."""


def train(settings: TrainSettings, *, on_event: OnEvent, resume: bool = False) -> RunResult:
    """Train a network and leave a run directory.

    Args:
        settings: what to do.
        on_event: told of progress; called in the training thread.
        resume: go on from the directory's checkpoint instead of starting a new run. A
            complete run is calibrated, measured and exported again.

    Raises:
        DatasetError: the data is missing or broken.
        TrainingError: a setting is unknown, the directory is taken, or the run to resume had other data.
        StorageError: the directory or the cache cannot be written.
        ModelError: a teacher is missing or no model of the contract.
        DependencyError: the extra `train` is not installed.
    """
    recipe = settings.effective_recipe
    if settings.teachers and not recipe.distillation:
        raise TrainingError("the recipe imitates no teacher; leave out --teacher, or choose --preset best")
    teacher = ensemble(settings.teachers)
    keras = load_keras()
    run = RunDirectory(settings.run)
    dataset = load(settings.data)
    evaluation = dataset[Split.PUBLIC_TEST]
    training, faceless = _training(dataset[Split.TRAINING], evaluation, settings)
    learn, held_out = cleaning.hold_out(training, recipe.held_out, seed=settings.seed)
    ready = DataReady(
        dataset_digest=dataset.digest(),
        split_digest=learn.digest(),
        findings=cleaning.inspect(dataset[Split.TRAINING], evaluation),
        learnt=len(learn),
        held_out=len(held_out),
        evaluated=len(evaluation),
        faceless=faceless,
        with_votes=learn.votes is not None,
    )
    _open(run, settings, ready, resume=resume)
    on_event(ready)

    batches = Batches(learn, recipe, seed=settings.seed, teacher=teacher)
    keras.utils.set_random_seed(settings.seed)
    model = build(settings.architecture, Plan(recipe.initializer, recipe.dropout), settings.precision)
    compile_for(model, recipe, steps_per_epoch=len(batches))
    fitting = Fitting(model, batches, held_out=held_out, recipe=recipe, seed=settings.seed, run=run, on_event=on_event)
    if resume and run.checkpoint.exists():
        fitting.restore()
    interrupted = fitting.run_epochs()
    if not fitting.history:
        raise TrainingError(f"stopped before the first epoch was complete; go on with --run {run.path} --resume")
    metrics = finish(
        run,
        settings,
        held_out=held_out,
        evaluation=evaluation,
        training=dataset[Split.TRAINING],
        epoch=fitting.kept_epoch,
    )
    return RunResult(run.path, len(fitting.history), fitting.kept_epoch, interrupted, metrics)


def _training(training: Faces, evaluation: Faces, settings: TrainSettings) -> tuple[Faces, int]:
    """The training images with what the recipe wants of FER+, cleaned, and how many were left out as faceless."""
    recipe = settings.effective_recipe
    faceless = np.zeros(len(training), bool)
    if settings.fer_plus is not None:
        if not recipe.votes:
            raise TrainingError("the recipe takes nothing from FER+; leave out --fer-plus, or choose --preset best")
        votes = read_votes(settings.fer_plus, Split.TRAINING)
        training, faceless = with_votes(training, votes), votes.faceless
    training = training.take(~faceless)
    return cleaning.clean(training, evaluation) if recipe.clean else training, int(faceless.sum())


def _open(run: RunDirectory, settings: TrainSettings, ready: DataReady, *, resume: bool) -> None:
    """Begin the directory, or make sure that a resumed run goes on with the same images."""
    if not resume:
        run.create()
        run.write_json(run.settings, settings.as_json())
        run.write_json(run.environment, environment())
        run.write_json(run.data, asdict(ready))
        return
    if run.read_json(run.data)["split_digest"] != ready.split_digest:
        raise TrainingError(f"{run.path} was started with other images than {settings.data} holds; give the same file")
    if run.kept.exists() and not run.checkpoint.exists():
        raise TrainingError(f"{run.checkpoint} is missing, so the run cannot go on; start a new one")


__all__ = ["RunResult", "TrainSettings", "train"]
