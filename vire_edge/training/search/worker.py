"""A worker of a search: a process that takes trials from the study until enough are taken, and tells how they go.

It ignores Ctrl-C, which a terminal sends to every process, and listens to its command instead: when that says stop, or
is gone, the trial under way is given back after the current batch.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vire_edge.errors import VireError
from vire_edge.training.backend import load_optuna
from vire_edge.training.data.dataset import load
from vire_edge.training.progress import EpochDone, Event
from vire_edge.training.search.events import TrialBegun, TrialEnded, TrialEpoch
from vire_edge.training.search.space import epochs_within, suggest
from vire_edge.training.search.study import DONE, SURPLUS, Study, StudySettings
from vire_edge.training.search.trial import Hopeless, run_trial, trial_faces

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""Variables by which TensorFlow, PyTorch and the libraries under them are told how many threads to start."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told."""

    worker: str
    """Names this process in the study."""
    url: str
    study: str
    settings: StudySettings
    data: Path
    folder: Path
    """For the trials' folders."""
    trials: int
    """How many the study shall have in the end."""
    threads: int
    sampler_seed: int
    parallel: bool


class Stopped(Exception):  # noqa: N818  # no error: an order
    """The command wants this worker to end, or is gone."""


class Surplus(Exception):  # noqa: N818  # no error: two workers took the last trial at once
    """Enough trials were taken before this one."""


def work(job: Job, command: Connection) -> None:
    """Take trials until the study has enough; the entry of the process.

    Args:
        job: what to do.
        command: events go out, and the error that ends the worker; anything that comes in, and its end, means stop.
    """
    for name in THREADS:
        os.environ.setdefault(name, str(job.threads))
    try:
        Worker(job, command).run()
    except Stopped:
        pass
    except VireError as error:
        command.send(error)


class Worker:
    """Runs trials, one after another."""

    def __init__(self, job: Job, command: Connection) -> None:
        self._job = job
        self._command = command
        self._faces = trial_faces(load(job.data), images=job.settings.images, seed=job.settings.seed)
        self._study = Study(
            job.url,
            job.study,
            seed=job.sampler_seed,
            parallel=job.parallel,
            last_epoch=max(epochs_within(job.settings.epochs_limit)),
        )

    def run(self) -> None:
        """Take trials until enough are taken.

        Raises:
            Stopped: the command wants it.
            VireError: nothing that another trial would do better.
        """
        while self._study.count(*DONE, "running") < self._job.trials:
            self.attempt()

    def attempt(self) -> None:
        """Take one trial; it never begins where others have taken enough meanwhile.

        Raises:
            As `run`.
        """
        self._listen()
        stale = load_optuna().exceptions.UpdateFinishedTrialError
        # What it raises when this trial was taken for dead while the machine slept: it's another worker's now.
        with self._study.guarded(), contextlib.suppress(stale):
            try:
                self._study.optuna.optimize(
                    self._objective, n_trials=1, catch=(Surplus,), callbacks=[lambda _, trial: self._ended(trial)]
                )
            except Stopped:
                self._study.release(self._job.worker)
                raise

    def _objective(self, trial: Any) -> float:
        optuna = load_optuna()
        trial.set_user_attr("worker", self._job.worker)
        if self._study.count(*DONE, "running", below=trial.number) >= self._job.trials:
            trial.set_user_attr(SURPLUS, True)
            raise Surplus
        limit = self._job.settings.epochs_limit
        values, begun_as = suggest(trial, limit), trial.user_attrs.get("begun_as")

        def on_loss(epoch: int, loss: float) -> None:
            trial.report(loss, epoch)
            # After the last epoch there is nothing to save, and a complete trial teaches the sampler more.
            if epoch < values.epochs and trial.should_prune():
                raise Hopeless

        def on_event(event: Event) -> None:
            if isinstance(event, EpochDone):
                record = event.record
                self._tell(TrialEpoch(trial.number, record.epoch, event.epochs, record.held_out_loss, record.seconds))
            self._listen()

        folder = trial_folder(self._job.folder, trial.number if begun_as is None else begun_as)
        try:
            self._tell(TrialBegun(trial.number, values.options, begun_as))
            return run_trial(values, self._job.settings, self._faces, folder, on_event=on_event, on_loss=on_loss)
        except Hopeless as verdict:
            raise optuna.TrialPruned(str(verdict)) from verdict
        except Stopped:
            # Not the trial's fault: the next try of it shall not count as one.
            trial.set_user_attr("stopped", True)
            raise

    def _listen(self) -> None:
        # An end of file, which is what a killed command leaves, can be "read", too.
        if self._command.poll():
            raise Stopped

    def _ended(self, trial: Any) -> None:
        if SURPLUS not in trial.user_attrs:
            self._tell(TrialEnded(trial.number, trial.state.name.lower(), trial.value))

    def _tell(self, event: object) -> None:
        try:
            self._command.send(event)
        except BrokenPipeError:
            raise Stopped from None


def trial_folder(study_folder: Path, number: int) -> Path:
    """Where a trial's settings and curves lie."""
    return study_folder / f"trial-{number:04}"
