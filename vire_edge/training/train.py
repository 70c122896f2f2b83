"""Faces and a recipe → a run directory with a trained, calibrated, measured, exported model. Reads from top to bottom.

Each epoch ends in a checkpoint; batches, augmentation and dropout depend on seed and epoch
alone, so a run that was killed and resumed ends as if it had not been.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vire_edge.errors import TrainingError
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import environment, load_keras
from vire_edge.training.data.batches import Batches
from vire_edge.training.data.cleaning import keys
from vire_edge.training.data.material import Material, gather
from vire_edge.training.evaluation.reading import load_start
from vire_edge.training.finish import finish, read_before
from vire_edge.training.fitting import Fitting, compile_for
from vire_edge.training.preconditions import check_before
from vire_edge.training.progress import OnEvent, Reading, Stage
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
    """The one that was exported, from 1; 0 where no epoch was complete."""
    interrupted: bool
    """Stopped by Ctrl-C: the best so far is exported, where there is an epoch, and the run can be resumed."""
    metrics: dict[str, Any]
    """As in `metrics.json`; empty where no epoch was complete."""


def train(settings: TrainSettings, *, on_event: OnEvent, resume: bool = False) -> RunResult:
    """Train a network and leave a run directory.

    Args:
        settings: what to do.
        on_event: told of progress; called in the training thread.
        resume: go on from the directory's checkpoint instead of starting a new run. A
            complete run is calibrated, measured and exported again.

    Raises:
        DatasetError: the data is missing or broken.
        TrainingError: a setting is unknown, the directory is taken, or the run to resume had other data or teachers.
        StorageError: the directory or the cache cannot be written.
        KeyboardInterrupt: Ctrl-C where no epoch is under way.
        ModelError: a teacher, or the network to start from, is missing or another one than is wanted.
        DependencyError: the extra `train` is not installed.
    """
    recipe = settings.effective_recipe
    check_before(settings, resume=resume)
    teacher = ensemble(settings.teachers)
    run = RunDirectory(settings.run)
    goes_on = resume and run.checkpoint.exists()
    start = None if goes_on or settings.start_from is None else load_start(settings.start_from, settings.architecture)
    on_event(Stage("reading the data"))
    material = gather(settings, on_row=lambda count: on_event(Reading(count)))
    learn, held_out = material.learn, material.held_out
    on_event(material.ready)
    on_event(Stage("loading the framework"))
    keras = load_keras()
    _open(run, settings, material, resume=resume)

    batches = Batches(learn, recipe, seed=settings.seed, teacher=teacher)
    keras.utils.set_random_seed(settings.seed)
    model = build(settings.architecture, Plan(recipe.initializer, recipe.dropout), settings.precision)
    if start is not None:
        model.set_weights(start.get_weights())
        on_event(Stage("measuring what the network reads before"))
        run.write_json(run.before, read_before(start, settings, material))
    compile_for(model, recipe, steps_per_epoch=len(batches))
    fitting = Fitting(
        model,
        batches,
        held_out=held_out,
        recipe=recipe,
        seed=settings.seed,
        run=run,
        on_event=on_event,
        start=None if start is None else start.get_weights(),
    )
    if goes_on:
        fitting.restore()
        run.forget_results()
        if fitting.is_complete:
            on_event(Stage(f"{run.path} is complete; only its end is done again"))
    interrupted = fitting.run_epochs()
    if not fitting.history:
        return RunResult(run.path, 0, 0, interrupted, {})
    metrics = finish(run, settings, material, epoch=fitting.kept_epoch, on_event=on_event)
    return RunResult(run.path, len(fitting.history), metrics["epoch"], interrupted, metrics)


def _open(run: RunDirectory, settings: TrainSettings, material: Material, *, resume: bool) -> None:
    """Begin the directory, or make sure that a resumed run goes on with the same images and teachers."""
    ready = material.ready
    if not resume:
        versions = environment()
        run.create()
        run.write_json(run.environment, versions)
        teachers, start = list(map(_digest, settings.teachers)), settings.start_from and _digest(settings.start_from)
        run.write_json(run.data, asdict(ready) | {"teachers": teachers, "start_from": start})
        run.write_bytes(run.held_out, b"".join(keys(material.held_out)))
        # Last: a directory with settings is a run.
        run.write_json(run.settings, settings.as_json())
        return
    stored, given = run.read_json(run.data), settings.data or settings.faces
    if stored["split_digest"] != ready.split_digest:
        raise TrainingError(f"{run.path} was started with other images than {given} holds; give the same files")
    # Runs of before the order was recorded read the challenge's file, which has only one.
    if stored.get("order_digest", ready.order_digest) != ready.order_digest:
        raise TrainingError(
            f"{run.path} was started with these images in another order; give the same files, not copies"
        )
    # Measured on other images, its figures would not be those of its record.
    if stored["dataset_digest"] != ready.dataset_digest or _own_digest(stored) != _own_digest(asdict(ready)):
        raise TrainingError(f"{run.path} was started with other images to measure on than {given} holds now")
    networks = list(zip(settings.teachers, stored.get("teachers", ()), strict=False))
    if settings.start_from is not None and not run.checkpoint.exists():
        networks.append((settings.start_from, stored.get("start_from")))
    for network, before in networks:
        if before not in (None, now := _digest(network)):
            raise TrainingError(
                f"{network} is another file than {run.path} was started with (SHA-256 {before[:12]}…, "
                f"now {now[:12]}…); put the former one back"
            )
    # One epoch's weights without a checkpoint: stopped while the first was being written.
    if run.kept.exists() and not run.checkpoint.exists() and run.epochs_done > 1:
        raise TrainingError(f"{run.checkpoint} is missing, so the run cannot go on; start a new one")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _own_digest(ready: dict[str, Any]) -> str | None:
    own = ready.get("own")
    return own and str(own["digest"])


__all__ = ["RunResult", "TrainSettings", "train"]
