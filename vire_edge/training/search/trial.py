"""One trial: values → a network that learns, its held-out loss told after each epoch, its curves in a folder.

The folder of a trial whose worker died holds its last checkpoint, from which the next try goes on.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vire_edge.errors import StorageError, TrainingError
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import load_keras
from vire_edge.training.data import cleaning
from vire_edge.training.data.batches import Batches
from vire_edge.training.data.dataset import Dataset, Faces, Split
from vire_edge.training.fitting import Fitting, compile_for
from vire_edge.training.progress import EpochDone, Event
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.search.space import HELD_OUT, Values
from vire_edge.training.search.study import StudySettings


class Hopeless(Exception):  # noqa: N818  # no error: a verdict
    """The trial's loss is no number any more, or the study gives the trial up."""


@dataclass(frozen=True, slots=True)
class TrialFaces:
    """What all trials of a study learn from and are compared on."""

    learn: Faces
    held_out: Faces


def trial_faces(dataset: Dataset, *, images: int | None, seed: int) -> TrialFaces:
    """Training without repeats, or so many images of it, split; PublicTest only keeps its copies out.

    Raises:
        TrainingError: there are fewer images than asked for.
    """
    faces = cleaning.clean(dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST])
    if images is not None:
        if images > len(faces):
            raise TrainingError(f"--images {images} is more than the {len(faces)} training images; give fewer")
        if images < len(faces):
            _, faces = cleaning.hold_out(faces, images / len(faces), seed=seed)
    learn, held_out = cleaning.hold_out(faces, HELD_OUT, seed=seed)
    return TrialFaces(learn, held_out)


def run_trial(
    values: Values,
    settings: StudySettings,
    faces: TrialFaces,
    folder: Path,
    *,
    on_event: Callable[[Event], None],
    on_loss: Callable[[int, float], None],
) -> float:
    """Let a network learn with these values.

    Args:
        values: the trial's.
        settings: the study's.
        faces: the study's.
        folder: the trial's; a checkpoint of the same trial in it is gone on from.
        on_event: told of each batch and epoch; may raise to end the trial.
        on_loss: told of each epoch, from 1, and its held-out loss, those of an earlier try included; may raise.

    Returns:
        The held-out loss after the last epoch, nats.

    Raises:
        Hopeless: the loss is no finite number.
        StorageError: the folder cannot be written.
    """
    keras = load_keras()
    keras.utils.clear_session()  # the networks of earlier trials
    recipe = values.recipe(settings.architecture, settings.scenario)
    run = RunDirectory(folder)
    resumed = _open(run, {"values": asdict(values), "study": asdict(settings)})
    batches = Batches(faces.learn, recipe, seed=settings.seed)
    keras.utils.set_random_seed(settings.seed)
    model = build(settings.architecture, Plan(recipe.initializer, recipe.dropout))
    compile_for(model, recipe, steps_per_epoch=len(batches))

    def forward(event: Event) -> None:
        if isinstance(event, EpochDone):
            report(event.record.epoch, event.record.held_out_loss)
        on_event(event)

    def report(epoch: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise Hopeless(f"the loss is {loss} after epoch {epoch}")
        on_loss(epoch, loss)

    fitting = Fitting(
        model, batches, held_out=faces.held_out, recipe=recipe, seed=settings.seed, run=run, on_event=forward
    )
    if resumed:
        fitting.restore()
        for record in fitting.history:
            report(record.epoch, record.held_out_loss)
    fitting.run_epochs()
    return fitting.history[-1].held_out_loss


def drop_weights(folder: Path, *, checkpoint_only: bool) -> None:
    """Delete what a finished trial no longer needs; its curves stay."""
    run = RunDirectory(folder)
    run.checkpoint.unlink(missing_ok=True)
    if not checkpoint_only:
        run.kept.unlink(missing_ok=True)


def _open(run: RunDirectory, settings: dict[str, Any]) -> bool:
    """Prepare the folder; True where it holds a checkpoint of the very same trial."""
    if run.checkpoint.exists() and run.settings.exists() and run.read_json(run.settings) == settings:
        return True
    try:
        if run.path.exists():
            shutil.rmtree(run.path)  # killed before its first checkpoint
        run.path.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{run.path} cannot be made ({error.strerror}); name another folder with --run") from error
    run.write_json(run.settings, settings)
    return False
