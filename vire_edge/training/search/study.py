"""The trials of one search, shared by processes and machines: settled, counted, mended, read.

Several workers take trials from one study. A trial whose worker died is marked as failed and queued again: at once
where its own command notices, and after `GRACE_SECONDS` without a sign of life by whoever comes next.
"""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from vire_edge.errors import StorageError, TrainingError
from vire_edge.training.backend import load_optuna
from vire_edge.training.search.space import Scenario, Values
from vire_edge.training.search.storage import GRACE_SECONDS, open_storage, shown, storage_errors

RETRIES = 2
"""How often a trial whose worker died is tried again: what kills three workers would kill the fourth."""
FIRST_AT_RANDOM = 4
"""Trials before the estimator takes over. Optuna's ten would leave nothing of a search of ten trials to it."""
WARM_UP = 5
"""Epochs in which no trial is given up, or a fifth of the longest: early losses tell of the learning rate only."""
DONE = ("complete", "pruned")
"""States that count towards the trials that were asked for."""
SURPLUS = "surplus"
"""User attribute of a trial that was taken when enough were: it never began, and is told of nowhere."""


@dataclass(frozen=True, slots=True)
class StudySettings:
    """What all trials of a study have in common; stored in it, so that no worker adds what cannot be compared."""

    architecture: str
    scenario: Scenario
    seed: int
    images: int | None
    """How many training images, by choice; None for all."""
    epochs_limit: int | None
    digest: str
    """Of the images that are learnt from."""

    @property
    def cut_short(self) -> str | None:
        """What keeps its losses from being compared with the publication's, or None."""
        images = None if self.images is None else f"{self.images} training images only"
        epochs = None if self.epochs_limit is None else f"at most {self.epochs_limit} epochs"
        return ", ".join(limit for limit in (images, epochs) if limit) or None


@dataclass(frozen=True, slots=True)
class Released:
    """A trial that its worker left unfinished."""

    number: int
    queued: bool
    """Whether it is tried again: not after `RETRIES`, nor where no values were chosen yet."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial, as a report shows it."""

    number: int
    """From 0."""
    state: str
    """complete, pruned, running, waiting or fail."""
    value: float | None
    """Held-out loss after the last epoch, nats; of a pruned trial, when it was given up."""
    params: dict[str, Any]
    """The fields of `Values`; fewer, or none, while nothing is chosen."""
    losses: tuple[float, ...] = ()
    """Held-out loss after each epoch."""
    seconds: float | None = None
    """From its beginning to its end."""
    begun_as: int | None = None
    """The number under which it was begun, where its worker died or was stopped and this is the next try."""

    @property
    def first_number(self) -> int:
        """The number of the first try; names the folder."""
        return self.number if self.begun_as is None else self.begun_as


class Study:
    """A named search in a storage.

    Args:
        url: as `open_storage` takes it.
        name: of the study in that storage; made where there is none.
        seed: of the sampler; give each worker another.
        parallel: whether others choose at the same time, which the sampler then allows for.
        last_epoch: the most epochs that a trial may have.

    Raises:
        As `open_storage`.
    """

    def __init__(self, url: str, name: str, *, seed: int = 0, parallel: bool = False, last_epoch: int = 150) -> None:
        optuna = load_optuna()
        self.name = name
        self._url = url
        self._states = optuna.trial.TrialState
        storage = open_storage(url, on_dead=lambda _study, trial: self._try_again(trial))
        with self.guarded():
            # More than one parameter at a time: batch size and learning rate belong together.
            sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=FIRST_AT_RANDOM, multivariate=True, constant_liar=parallel
            )
            pruner = optuna.pruners.MedianPruner(
                n_startup_trials=FIRST_AT_RANDOM, n_warmup_steps=max(1, min(WARM_UP, last_epoch // 5))
            )
            self.optuna = optuna.create_study(
                storage=storage, study_name=name, sampler=sampler, pruner=pruner, load_if_exists=True
            )

    def agree(self, settings: StudySettings) -> None:
        """Give a new study its settings, or make sure that an older one has the same.

        Raises:
            TrainingError: the study was begun with others.
        """
        with self.guarded():
            stored = self.optuna.user_attrs.get("settings")
            if stored is None:
                self.optuna.set_user_attr("settings", asdict(settings))
                return
        for key, wanted in asdict(settings).items():
            if stored.get(key) != wanted:
                raise TrainingError(
                    f'the study "{self.name}" was begun with {key} {stored.get(key)}, not {wanted}; '
                    "give the same, or begin another one with --study NAME"
                )

    def claim(self, folder: Path) -> None:
        """Take a folder for this study's trials; machines and runs may have one each.

        Raises:
            TrainingError: it holds trials of another study, such as one of the same name in another storage.
            StorageError: it cannot be made or written.
        """
        mark = folder / "study.txt"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if mark.exists():
                known = f"folder {mark.read_text(encoding='utf-8').strip()}"
            else:
                known = f"folder {uuid.uuid4().hex}"
                if not any(folder.glob("trial-*")):
                    # In this order, so that a folder is known whenever it is marked.
                    with self.guarded():
                        self.optuna.set_user_attr(known, True)
                    mark.write_text(known.removeprefix("folder ") + "\n", encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{folder} cannot be used ({error.strerror}); name another folder with --run") from error
        with self.guarded():
            if known not in self.optuna.user_attrs:
                raise TrainingError(
                    f'{folder} holds trials of another study than "{self.name}" in {shown(self._url)}; '
                    "name another folder with --run, or another study with --study"
                )

    def trials(self) -> list[TrialRecord]:
        """All trials so far, in their order."""
        with self.guarded():
            return _records(self.optuna)

    def count(self, *states: str, below: int | None = None) -> int:
        """Trials in one of these states, all or those with a lower number."""
        return sum(trial.state in states and (below is None or trial.number < below) for trial in self.trials())

    def release(self, worker: str) -> Released | None:
        """Give back the trial that a worker left unfinished, to be tried again if it may be."""
        with self.guarded():
            for trial in reversed(self.optuna.get_trials(deepcopy=False)):
                if trial.user_attrs.get("worker") == worker and SURPLUS not in trial.user_attrs:
                    if trial.state == self._states.RUNNING:
                        # Another machine may mark it in the same moment.
                        self.optuna.tell(trial.number, state=self._states.FAIL, skip_if_finished=True)
                    elif trial.state != self._states.FAIL:
                        return None
                    return Released(int(trial.number), self._try_again(trial))
        return None

    def release_silent(self) -> None:
        """Give back the trials whose workers were not heard of for `GRACE_SECONDS`."""
        optuna = load_optuna()
        with self.guarded():
            optuna.storages.fail_stale_trials(self.optuna)
            # Killed between taking a trial and the first sign of life.
            for trial in self.optuna.get_trials(deepcopy=False, states=(self._states.RUNNING,)):
                age = datetime.now().astimezone() - trial.datetime_start.astimezone()
                if "worker" not in trial.user_attrs and age > timedelta(seconds=GRACE_SECONDS):
                    self.optuna.tell(trial.number, state=self._states.FAIL, skip_if_finished=True)

    def _try_again(self, trial: Any) -> bool:
        """Queue a failed trial's values again, with the folder in which it was begun, if they may be and are not."""
        optuna = load_optuna()
        begun_as = trial.user_attrs.get("begun_as", trial.number)
        deaths = trial.user_attrs.get("deaths", 0) + (not trial.user_attrs.get("stopped", False))
        queued = any(
            other.number > trial.number and other.user_attrs.get("begun_as") == begun_as
            for other in self.optuna.get_trials(deepcopy=False)
        )
        if queued or deaths > RETRIES or len(trial.params) < len(Values.__slots__):
            return queued
        self.optuna.add_trial(
            optuna.create_trial(
                state=self._states.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={"begun_as": begun_as, "deaths": deaths},
            )
        )
        return True

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Translate what Optuna raises about its storage, and keep it from calling itself experimental."""
        with storage_errors(self._url), warnings.catch_warnings():
            warnings.simplefilter("ignore", load_optuna().exceptions.ExperimentalWarning)
            yield


def best_of(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial with the lowest loss, or None."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    return min(complete, key=lambda trial: trial.value or 0.0, default=None)


def record_of(trial: Any) -> TrialRecord:
    """An Optuna trial as a plain value."""
    losses = tuple(value for _, value in sorted(trial.intermediate_values.items()))
    return TrialRecord(
        number=trial.number,
        state=trial.state.name.lower(),
        value=trial.value,
        params=dict(trial.params),
        losses=losses,
        seconds=None if trial.duration is None else trial.duration.total_seconds(),
        begun_as=trial.user_attrs.get("begun_as"),
    )


def _records(study: Any) -> list[TrialRecord]:
    return [record_of(trial) for trial in study.get_trials(deepcopy=False) if SURPLUS not in trial.user_attrs]


def read_studies(
    url: str, names: Collection[str] | None = None
) -> dict[str, tuple[StudySettings, tuple[TrialRecord, ...]]]:
    """The searches of a storage, by the names of their studies: what was asked for, and the trials.

    Args:
        url: as `open_storage` takes it; nothing is made or changed there.
        names: of the studies to read, where there are such; all that `tune` made when omitted.

    Raises:
        As `open_storage`.
    """
    optuna = load_optuna()
    storage = open_storage(url, to_read=True)
    found = {}
    with storage_errors(url):
        for summary in optuna.get_all_study_summaries(storage, include_best_trial=False):
            name, settings = summary.study_name, _settings_of(summary.user_attrs)
            if settings is not None and (names is None or name in names):
                found[name] = (settings, tuple(_records(optuna.load_study(study_name=name, storage=storage))))
    return found


def _settings_of(attributes: dict[str, Any]) -> StudySettings | None:
    """What `Study.agree` stored, or None where other programs made the study: a storage may be shared."""
    try:
        stored = attributes["settings"]
        return StudySettings(**stored | {"scenario": Scenario(stored["scenario"])})
    except (KeyError, TypeError, ValueError):
        return None
