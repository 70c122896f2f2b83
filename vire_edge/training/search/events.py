"""What a search tells of itself while it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrialBegun:
    """A worker has chosen."""

    number: int
    values: str
    """As options of `vire-edge train`."""
    begun_as: int | None
    """The number of the first try, where this is another one."""


@dataclass(frozen=True, slots=True)
class TrialEpoch:
    """A trial has learnt for one more epoch."""

    number: int
    epoch: int
    epochs: int
    loss: float
    """Held-out."""
    seconds: float


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial counts, or is given back."""

    number: int
    state: str
    """As in `TrialRecord`."""
    value: float | None


@dataclass(frozen=True, slots=True)
class StudyReady:
    """A study is open."""

    name: str
    trials: int
    done: int
    """Trials that count already."""
    learnt: int
    held_out: int


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker ended without having said why."""

    exit_code: int
    """Negative: the signal that killed it."""
    trial: int | None
    """What it was at."""
    tried_again: bool
    """Whether that is; not when it has killed too many workers."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """All trials are taken, some by workers of other commands."""

    running: int


TuneEvent = StudyReady | TrialBegun | TrialEpoch | TrialEnded | WorkerDied | Waiting
OnTuneEvent = Callable[[TuneEvent], None]
