"""The epochs of a run: learn, average, measure on the held-out part, checkpoint."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vire_edge.errors import TrainingError
from vire_edge.training.backend import KerasModel, load_keras
from vire_edge.training.data.batches import Batches
from vire_edge.training.data.dataset import Faces
from vire_edge.training.evaluation.metrics import cross_entropy
from vire_edge.training.evaluation.reading import predict
from vire_edge.training.progress import BatchDone, EpochDone, OnEvent
from vire_edge.training.recipes import Optimizer, Recipe
from vire_edge.training.rundir import Checkpoint, EpochRecord, RunDirectory

UNDECAYED = ["bias", "gamma", "beta"]
"""Names of the variables that weight decay leaves alone: they shift and scale, which adds no complexity."""


def compile_for(model: KerasModel, recipe: Recipe, *, steps_per_epoch: int) -> None:
    """Give a network the recipe's loss, optimizer and learning rate."""
    keras = load_keras()
    rate: Any = recipe.learning_rate
    if recipe.cosine:
        warm_up = recipe.warm_up_epochs
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warm_up else recipe.learning_rate,
            warmup_target=recipe.learning_rate if warm_up else None,
            warmup_steps=steps_per_epoch * warm_up,
            decay_steps=steps_per_epoch * (recipe.epochs - warm_up),
        )
    decay = recipe.weight_decay or None
    if recipe.optimizer is Optimizer.SGD:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay)
    elif decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay)
    else:
        optimizer = keras.optimizers.Adam(rate)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
    if recipe.focal_gamma:
        loss = keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=recipe.focal_gamma, label_smoothing=recipe.label_smoothing
        )
    else:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    # Now, so that a checkpoint has its slots to go into.
    optimizer.build(model.trainable_variables)


@dataclass(slots=True)
class Average:
    """A moving average of all weights, batch-norm statistics included.

    Not the optimizer's own: that one leaves the statistics out, and a network with averaged weights and the last
    step's statistics is neither of the two.
    """

    momentum: float
    values: list[NDArray[Any]] = field(default_factory=list)

    def add(self, weights: list[NDArray[Any]], step: int) -> None:
        """Take in the weights after a step, from 1; the first ones count more, so that no beginning lingers."""
        momentum = min(self.momentum, step / (step + 9))
        if not self.values:
            self.values = [weight.copy() for weight in weights]
        for average, weight in zip(self.values, weights, strict=True):
            np.add(average, (1 - momentum) * (weight - average), out=average)


@contextlib.contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Let Ctrl-C take effect at the end of this block. Only the main thread hears it, and only that can wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt


class Fitting:
    """A network on its way through the epochs."""

    def __init__(
        self,
        model: KerasModel,
        batches: Batches,
        *,
        held_out: Faces,
        recipe: Recipe,
        seed: int,
        run: RunDirectory,
        on_event: OnEvent,
        start: list[NDArray[Any]] | None = None,
    ) -> None:
        self._model = model
        self._batches = batches
        self._held_out = held_out
        self._recipe = recipe
        self._seed = seed
        self._run = run
        self._on_event = on_event
        self._average = Average(recipe.averaging)
        self._start = (start or []) if recipe.start_share else []
        self._step = 0
        self._started = 0.0
        # Of the epoch under way: faces learnt from, and their mean loss and accuracy.
        self._seen = self._loss = self._accuracy = 0.0
        self.history: list[EpochRecord] = []
        """Grows by one record an epoch."""

    @property
    def kept_epoch(self) -> int:
        """The chosen one so far, from 1; there must be a first."""
        if self._recipe.keeps_best:
            return min(self.history, key=lambda record: record.held_out_loss).epoch
        return self.history[-1].epoch

    def restore(self) -> None:
        """Go back to where the run's checkpoint was made."""
        weights, optimizer, averaged, self._start = self._run.load_checkpoint()
        try:
            self._model.set_weights(weights)
            for variable, value in zip(self._model.optimizer.variables, optimizer, strict=True):
                variable.assign(value)
        except ValueError as error:
            raise TrainingError(
                f"{self._run.checkpoint} is of another network or optimizer ({error}); start a new run"
            ) from error
        self._average.values = averaged
        self._step = int(self._model.optimizer.iterations)
        self.history = self._run.read_history(self._step // len(self._batches))

    @property
    def is_complete(self) -> bool:
        """Whether all epochs are done, or as many as patience allows have brought nothing better."""
        done, patience = len(self.history), self._recipe.patience
        return done >= self._recipe.epochs or 0 < patience <= done - (self.kept_epoch if done else 0)

    def run_epochs(self) -> bool:
        """Train from the epoch after the history on; True when Ctrl-C ended it."""
        try:
            while not self.is_complete:
                self._begin(len(self.history))
                for batch in range(len(self._batches)):
                    faces, targets, weights = self._batches[batch]
                    # Not fit(): on JAX the weights that a callback sees within an epoch are not there.
                    figures = self._model.train_on_batch(faces, targets, sample_weight=weights, return_dict=True)
                    self._step_done(batch, len(faces), figures)
                # Ctrl-C in the middle would leave weights, history and checkpoint of different epochs.
                with _interrupt_waits():
                    self._end(len(self.history))
        except KeyboardInterrupt:
            return True
        return False

    def _begin(self, epoch: int) -> None:
        self._started = time.monotonic()
        self._seen = self._loss = self._accuracy = 0.0
        self._batches.epoch = epoch
        # Dropout, too, depends on seed and epoch alone: a checkpoint does not hold its generators' state.
        states = [variable for variable in self._model.variables if variable.path.endswith("seed_generator_state")]
        fresh = np.random.default_rng((self._seed, epoch)).integers(0, 2**31, len(states))
        for state, value in zip(states, fresh.tolist(), strict=True):
            state.assign(np.array([value, 0]))

    def _step_done(self, batch: int, faces: int, figures: dict[str, float]) -> None:
        self._step += 1
        self._seen += faces
        self._loss += (figures["loss"] - self._loss) * faces / self._seen
        self._accuracy += (figures["accuracy"] - self._accuracy) * faces / self._seen
        if self._recipe.averaging:
            self._average.add(self._model.get_weights(), self._step)
        seconds = max(time.monotonic() - self._started, 1e-9)
        self._on_event(
            BatchDone(
                epoch=len(self.history) + 1,
                epochs=self._recipe.epochs,
                batch=batch + 1,
                batches=len(self._batches),
                images_per_second=self._seen / seconds,
                loss=self._loss,
                accuracy=self._accuracy,
            )
        )

    def _end(self, epoch: int) -> None:
        seconds = time.monotonic() - self._started
        current = self._model.get_weights()
        self._model.set_weights(self._kept_of(current))
        probabilities = predict(self._model, self._held_out.images)
        record = EpochRecord(
            epoch=epoch + 1,
            learning_rate=float(self._model.optimizer.learning_rate),
            loss=self._loss,
            accuracy=self._accuracy,
            held_out_loss=cross_entropy(probabilities, self._held_out.labels),
            held_out_accuracy=float((probabilities.argmax(axis=1) == self._held_out.labels).mean()),
            seconds=round(seconds, 3),
        )
        if not math.isfinite(record.held_out_loss):
            raise TrainingError(
                f"the training diverged in epoch {record.epoch}: its held-out loss is {record.held_out_loss}; "
                "begin anew in another folder, with a lower --learning-rate"
            )
        self.history.append(record)
        kept = self.kept_epoch == record.epoch
        # In this order a kill in between leaves a checkpoint that repeats the epoch, never one that skips it, and no
        # chosen weights of an epoch that the history does not know.
        self._run.write_history(self.history)
        if kept:
            self._run.save_weights(self._model.get_weights(), record.epoch)
        self._model.set_weights(current)
        numpy_of = load_keras().ops.convert_to_numpy
        optimizer = [numpy_of(variable) for variable in self._model.optimizer.variables]
        self._run.save_checkpoint(Checkpoint(current, optimizer, self._average.values, self._start))
        self._on_event(EpochDone(record, self._recipe.epochs, kept))

    def _kept_of(self, current: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """What is evaluated of an epoch: its weights, or their average over steps, with the start's share."""
        learnt, share = self._average.values if self._recipe.averaging else current, self._recipe.start_share
        if not self._start:
            return learnt
        return [(1 - share) * new + share * old for new, old in zip(learnt, self._start, strict=True)]
