"""A search: worker processes on one study, watched over until it has the trials that were asked for.

    TuneSettings → study → workers (processes) → trials → best values, tables, plots

A worker that dies is noticed, its trial is tried again and another worker takes its place. Whatever ends the command,
the same command goes on: trials that count are never repeated.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np

from vire_edge.errors import StorageError, TrainingError, VireError
from vire_edge.training.architectures import ARCHITECTURES
from vire_edge.training.backend import check_packages
from vire_edge.training.data.dataset import check_place, load
from vire_edge.training.run_files import check_writable
from vire_edge.training.search.events import (
    OnTuneEvent,
    StudyReady,
    TrialBegun,
    TrialEnded,
    TrialEpoch,
    Waiting,
    WorkerDied,
)
from vire_edge.training.search.space import Scenario
from vire_edge.training.search.storage import sqlite_url
from vire_edge.training.search.study import DONE, Study, StudySettings, best_of
from vire_edge.training.search.trial import drop_weights, trial_faces
from vire_edge.training.search.worker import Job, trial_folder, work

PACKAGES = ("keras", "optuna", "matplotlib")
STOP_SECONDS = 30.0
"""How long a worker may take to give its trial back: a batch, or the loading of Keras."""
DEATHS_IN_A_ROW = 3
"""So many workers may die without a trial that ends; then it's not chance."""
STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Folders and files are called so, on any machine."""


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """What a search is asked to do."""

    data: Path
    run: Path
    """Folder for curves, tables, plots and, without another storage, the study itself."""
    architectures: tuple[str, ...] = ("cnn",)
    scenarios: tuple[Scenario, ...] = (Scenario.AUGMENTED,)
    trials: int = 10
    """Of each architecture in each scenario, in the end: those that the study has already count."""
    workers: int = 1
    storage: str | None = None
    """An SQLAlchemy URL; a file in `run` when omitted."""
    study: str = "vire"
    """What the names of the studies begin with, as `STUDY_NAME` has it."""
    seed: int = 1
    images: int | None = None
    """So many training images instead of all."""
    epochs_limit: int | None = None
    """No trial learns longer."""

    @property
    def url(self) -> str:
        """Of the storage."""
        return self.storage or sqlite_url(self.run / "study.db")

    def study_name(self, architecture: str, scenario: Scenario) -> str:
        """Of the search for one architecture."""
        return f"{self.study}-{architecture}-{scenario}"

    @property
    def study_names(self) -> tuple[str, ...]:
        """Of all searches of this command."""
        return tuple(self.study_name(name, scenario) for name in self.architectures for scenario in self.scenarios)


def tune(settings: TuneSettings, *, on_event: OnTuneEvent) -> bool:
    """Search until each study has its trials.

    Args:
        settings: what to do.
        on_event: told of progress, in this thread.

    Returns:
        Whether it is complete; False after Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first trial.
        TrainingError: an architecture is unknown, the study cannot be called so, was begun with other settings or has
            another folder, or workers keep dying.
        DatasetError: the data is missing or broken.
        StorageError: the folder or the storage cannot be used.
        DependencyError: the extra `train` or a database's driver is not installed.
    """
    for architecture in settings.architectures:
        if architecture not in ARCHITECTURES:
            raise TrainingError(f'there is no architecture "{architecture}"; choose one of {", ".join(ARCHITECTURES)}')
    if not STUDY_NAME.fullmatch(settings.study):
        raise TrainingError(f'no study can be called "{settings.study}"; give letters, digits, "-", "_" and "."')
    check_packages(*PACKAGES)
    check_place(settings.data)
    check_writable(settings.run)
    faces = trial_faces(load(settings.data), images=settings.images, seed=settings.seed)
    try:
        settings.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{settings.run} cannot be made ({error.strerror}); name another folder with --run"
        ) from error
    digest = faces.learn.digest()
    for architecture in settings.architectures:
        for scenario in settings.scenarios:
            common = StudySettings(
                architecture, scenario, settings.seed, settings.images, settings.epochs_limit, digest
            )
            pool = WorkerPool(settings, common, on_event)
            done = pool.study.count(*DONE)
            on_event(StudyReady(pool.study.name, settings.trials, done, len(faces.learn), len(faces.held_out)))
            try:
                pool.run()
            except KeyboardInterrupt:
                return False
    return True


@dataclass(slots=True)
class WorkerHandle:
    """A worker as its command sees it."""

    name: str
    process: SpawnProcess
    connection: Connection
    trial: int | None = None
    """What it is at."""


class WorkerPool:
    """The workers of one study."""

    def __init__(self, settings: TuneSettings, common: StudySettings, on_event: OnTuneEvent) -> None:
        self._settings = settings
        self._common = common
        self._on_event = on_event
        self._workers: list[WorkerHandle] = []
        self._started = 0
        self._deaths = 0
        self.study = Study(settings.url, settings.study_name(common.architecture, common.scenario))
        self.study.agree(common)
        self._folder = settings.run / self.study.name
        self.study.claim(self._folder)

    def run(self) -> None:
        """Watch over workers until the study has its trials, or until Ctrl-C, which passes through.

        Raises:
            TrainingError: workers keep dying.
            VireError: what made a worker give up.
        """
        waiting = False
        try:
            while (done := self.study.count(*DONE)) < self._settings.trials:
                self.study.release_silent()
                running = self.study.count("running")
                free = self._settings.trials - done - running
                while (
                    len(self._workers) < self._settings.workers
                    and sum(worker.trial is None for worker in self._workers) < free
                ):
                    self._start()
                if not self._workers and not waiting:
                    self._on_event(Waiting(running))
                waiting = not self._workers
                self._listen(seconds=1.0)
        finally:
            # Those that wait for a trial in vain, too.
            self._stop_all()
        self._tidy()

    def _start(self) -> None:
        name, settings = uuid.uuid4().hex, self._settings
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # One worker in a new study always chooses the same; another one, or a resumed search, must not repeat it.
        entropy = (settings.seed, self._started, len(self.study.trials()))
        job = Job(
            worker=name,
            url=settings.url,
            study=self.study.name,
            settings=self._common,
            data=settings.data,
            folder=self._folder,
            trials=settings.trials,
            threads=max(1, len(os.sched_getaffinity(0)) // settings.workers),
            sampler_seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]),
            parallel=settings.workers > 1,
        )
        process = context.Process(target=work, args=(job, theirs), name=f"tune-{self._started}", daemon=True)
        with _deaf_to_ctrl_c():
            process.start()
        theirs.close()
        self._started += 1
        self._workers.append(WorkerHandle(name, process, ours))

    def _listen(self, *, seconds: float) -> None:
        """Hear the workers out, for so long at most while none has anything to tell."""
        ready = wait([worker.connection for worker in self._workers], timeout=seconds)
        for worker in [worker for worker in self._workers if worker.connection in ready]:
            try:
                while worker.connection.poll():
                    self._hear(worker, worker.connection.recv())
            except (EOFError, OSError):
                self._remove(worker)

    def _hear(self, worker: WorkerHandle, event: TrialBegun | TrialEpoch | TrialEnded | VireError) -> None:
        if isinstance(event, VireError):
            raise event
        if isinstance(event, TrialBegun):
            worker.trial = event.number
        elif isinstance(event, TrialEnded):
            worker.trial = None
            self._deaths = 0
            self._tidy()
        self._on_event(event)

    def _remove(self, worker: WorkerHandle) -> None:
        """Take leave of a worker that has ended, and of one that died, give back its trial."""
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()
        if not worker.process.exitcode:
            return
        self._deaths += 1
        left = self.study.release(worker.name)
        told = (None, False) if left is None else (left.number, left.queued)
        self._on_event(WorkerDied(worker.process.exitcode, *told))
        if self._deaths >= DEATHS_IN_A_ROW:
            raise TrainingError(
                f"{self._deaths} workers died and no trial ended (the last with status {worker.process.exitcode}); "
                "is there enough memory? Try --workers 1, or fewer --images"
            )

    def _stop_all(self) -> None:
        """Let every worker give its trial back and end."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.connection.send("stop")
        deadline = time.monotonic() + STOP_SECONDS
        try:
            for worker in self._workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()
                self._hear_the_last(worker)
                self.study.release(worker.name)
                worker.connection.close()
            self._workers.clear()

    def _hear_the_last(self, worker: WorkerHandle) -> None:
        """The end of a trial that the study knew of before its worker's word was heard."""
        with contextlib.suppress(EOFError, OSError):
            while worker.connection.poll():
                event = worker.connection.recv()
                if isinstance(event, TrialEnded):
                    self._on_event(event)

    def _tidy(self) -> None:
        """Delete the weights of the trials that have ended, but for the best one's."""
        trials = self.study.trials()
        best = best_of(trials)
        for trial in trials:
            if trial.state in DONE:
                drop_weights(trial_folder(self._folder, trial.first_number), checkpoint_only=trial is best)


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started inside never hears Ctrl-C; here it is heard afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
