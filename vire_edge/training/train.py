"""Faces and a recipe → a run directory with a trained, calibrated, measured, exported model. Reads from top to bottom.

Each epoch ends in a checkpoint; batches, augmentation and dropout depend on seed and epoch
alone, so a run that was killed and resumed ends as if it had not been.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vire_edge.errors import TrainingError
from vire_edge.training import cleaning
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import KerasModel, environment, load_keras
from vire_edge.training.batches import Batches, as_py_dataset
from vire_edge.training.dataset import Faces, Split, load
from vire_edge.training.evaluate import cross_entropy
from vire_edge.training.finish import finish, predict
from vire_edge.training.recipes import Recipe
from vire_edge.training.rundir import EpochRecord, RunDirectory
from vire_edge.training.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class DataReady:
    """The data is read, cleaned and split."""

    dataset_digest: str
    split_digest: str
    """Of the images that are learnt from."""
    findings: cleaning.Findings
    learnt: int
    held_out: int
    evaluated: int


@dataclass(frozen=True, slots=True)
class BatchDone:
    """One more batch was learnt from."""

    epoch: int
    """From 1."""
    epochs: int
    batch: int
    """From 1."""
    batches: int
    images_per_second: float
    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One more epoch is in the checkpoint."""

    record: EpochRecord
    epochs: int
    kept: bool
    """Whether this epoch's weights are the chosen ones so far."""


Event = DataReady | BatchDone | EpochDone
OnEvent = Callable[[Event], None]


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
        DependencyError: the extra `train` is not installed.
    """
    recipe = settings.effective_recipe
    keras = load_keras()
    run = RunDirectory(settings.run)
    dataset = load(settings.data)
    training, evaluation = dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST]
    if recipe.clean:
        training = cleaning.clean(training, evaluation)
    learn, held_out = cleaning.hold_out(training, recipe.held_out, seed=settings.seed)
    findings = cleaning.inspect(dataset[Split.TRAINING], evaluation)
    ready = DataReady(dataset.digest(), learn.digest(), findings, len(learn), len(held_out), len(evaluation))
    _open(run, settings, ready, resume=resume)
    on_event(ready)

    batches = Batches(
        learn,
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
        class_weight_power=recipe.class_weight_power,
        seed=settings.seed,
    )
    keras.utils.set_random_seed(settings.seed)
    if run.checkpoint.exists():
        model = keras.saving.load_model(run.checkpoint)
    else:
        model = build(settings.architecture, Plan(recipe.initializer, recipe.dropout))
        _compile(model, recipe, steps_per_epoch=len(batches))
    done = int(model.optimizer.iterations) // len(batches)
    history = run.read_history(done) if done else []

    fitting = _Fitting(model, batches, held_out, recipe, settings.seed, run, history, on_event)
    interrupted = fitting.run_epochs()
    if not history:
        raise TrainingError(f"stopped before the first epoch was complete; go on with --run {run.path} --resume")
    kept = _kept(history, recipe)
    metrics = finish(
        run, settings, held_out=held_out, evaluation=evaluation, training=dataset[Split.TRAINING], epoch=kept
    )
    return RunResult(run.path, len(history), kept, interrupted, metrics)


def _open(run: RunDirectory, settings: TrainSettings, ready: DataReady, *, resume: bool) -> None:
    """Begin the directory, or make sure that a resumed run goes on with the same images."""
    if not resume:
        run.create()
        run.write_json(run.settings, settings.as_json())
        run.write_json(run.environment, environment())
        run.write_json(run.data, asdict(ready))
    elif run.read_json(run.data)["split_digest"] != ready.split_digest:
        raise TrainingError(f"{run.path} was started with other images than {settings.data} holds; give the same file")


def _compile(model: KerasModel, recipe: Recipe, *, steps_per_epoch: int) -> None:
    keras = load_keras()
    rate: Any = recipe.learning_rate
    if recipe.cosine:
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0,
            warmup_target=recipe.learning_rate,
            warmup_steps=steps_per_epoch,
            decay_steps=steps_per_epoch * max(1, recipe.epochs - 1),
        )
    averaging = {"use_ema": True, "ema_momentum": recipe.averaging} if recipe.averaging else {}
    if recipe.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **averaging)
    else:
        optimizer = keras.optimizers.Adam(rate, **averaging)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])


@dataclass(slots=True)
class _Fitting:
    """The epochs: what happens before, inside and after each."""

    model: KerasModel
    batches: Batches
    held_out: Faces
    recipe: Recipe
    seed: int
    run: RunDirectory
    history: list[EpochRecord]
    """Grows by one record an epoch."""
    on_event: OnEvent
    started: float = 0.0
    """Monotonic seconds at the epoch's begin."""

    def run_epochs(self) -> bool:
        """Train from the epoch after the history on; True when Ctrl-C ended it."""
        if len(self.history) >= self.recipe.epochs:
            return False
        hooks = load_keras().callbacks.LambdaCallback(
            on_epoch_begin=self.begin, on_train_batch_end=self.report, on_epoch_end=self.end
        )
        try:
            self.model.fit(
                as_py_dataset(self.batches),
                epochs=self.recipe.epochs,
                initial_epoch=len(self.history),
                callbacks=[hooks],
                shuffle=False,  # the batches shuffle themselves, by seed and epoch
                verbose=0,
            )
        except KeyboardInterrupt:
            return True
        return False

    def begin(self, epoch: int, _logs: dict[str, float] | None) -> None:
        self.started = time.monotonic()
        self.batches.epoch = epoch
        # Dropout, too, depends on seed and epoch alone: a checkpoint does not hold its generators' state.
        states = [variable for variable in self.model.variables if variable.path.endswith("seed_generator_state")]
        fresh = np.random.default_rng((self.seed, epoch)).integers(0, 2**31, len(states))
        for state, value in zip(states, fresh.tolist(), strict=True):
            state.assign(np.array([value, 0]))

    def report(self, batch: int, logs: dict[str, float]) -> None:
        seconds = max(time.monotonic() - self.started, 1e-9)
        self.on_event(
            BatchDone(
                epoch=len(self.history) + 1,
                epochs=self.recipe.epochs,
                batch=batch + 1,
                batches=len(self.batches),
                images_per_second=(batch + 1) * self.recipe.batch_size / seconds,
                loss=float(logs["loss"]),
                accuracy=float(logs["accuracy"]),
            )
        )

    def end(self, epoch: int, logs: dict[str, float]) -> None:
        seconds = time.monotonic() - self.started
        current = self.model.get_weights()
        if self.recipe.averaging:
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        probabilities = predict(self.model, self.held_out)
        record = EpochRecord(
            epoch=epoch + 1,
            learning_rate=float(self.model.optimizer.learning_rate),
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            held_out_loss=cross_entropy(probabilities, self.held_out.labels),
            held_out_accuracy=float((probabilities.argmax(axis=1) == self.held_out.labels).mean()),
            seconds=round(seconds, 3),
        )
        self.history.append(record)
        kept = _kept(self.history, self.recipe) == record.epoch
        if kept:
            self.run.save_weights(self.model.get_weights())
        self.model.set_weights(current)
        # In this order a kill in between leaves a checkpoint that repeats the epoch, never one that skips it.
        self.run.write_history(self.history)
        self.run.save_model(self.run.checkpoint, self.model)
        self.on_event(EpochDone(record, self.recipe.epochs, kept))


def _kept(history: list[EpochRecord], recipe: Recipe) -> int:
    """The chosen epoch, from 1."""
    if recipe.keep_best:
        return min(history, key=lambda record: record.held_out_loss).epoch
    return history[-1].epoch


__all__ = ["BatchDone", "DataReady", "EpochDone", "Event", "RunResult", "TrainSettings", "train"]
