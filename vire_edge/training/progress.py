"""What a training run tells of itself while it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vire_edge.domain import EMOTIONS
from vire_edge.training.data.cleaning import Findings
from vire_edge.training.data.targets import VotesAs
from vire_edge.training.rundir import EpochRecord

FEW = 50
"""Of so many faces, an accuracy of one half is known to 14 points either way."""


@dataclass(frozen=True, slots=True)
class Reading:
    """More of a file or folder was read, where it was not in the cache."""

    images: int
    """So far."""


@dataclass(frozen=True, slots=True)
class OwnFaces:
    """A user's own faces."""

    digest: str
    findings: Findings
    learnt: int
    """Different ones."""
    repeats: int
    """How many times over they are learnt from in an epoch."""
    set_aside: int
    """Measured on and never learnt from."""
    has_test: bool
    """Whether those were a folder of their own, and not drawn."""


@dataclass(frozen=True, slots=True)
class DataReady:
    """The data is read, cleaned and split."""

    dataset_digest: str
    split_digest: str
    """Of the images that are learnt from, and of their votes."""
    findings: Findings
    learnt: int
    """With own faces as often as they are repeated."""
    held_out: int
    evaluated: int
    faceless: int = 0
    """Training images left out because FER+ saw no face in them."""
    with_votes: bool = False
    """Whether the images that are learnt from carry the votes of FER+."""
    fer_plus_as: VotesAs | None = None
    undecided: int = 0
    """Training images left out because their votes name no class clearly enough."""
    left_out: int = 0
    """Training images that the recipe left out, or that repeat held-out ones."""
    learnt_per_class: tuple[int, ...] = ()
    """In the order of `EMOTIONS`; empty where it is not known."""
    order_digest: str = ""
    """As `split_digest`, and of the order, which batches follow."""
    evaluated_on: str = "PublicTest"
    own: OwnFaces | None = None

    @property
    def doubts(self) -> list[str]:
        """Why the network or its figures will be worth little, a sentence each."""
        never = [emotion for emotion, count in zip(EMOTIONS, self.learnt_per_class, strict=False) if not count]
        doubts = []
        if never:
            doubts.append(
                f"no picture of {', '.join(never)}: a new network won't learn it, a trained one may forget it"
            )
        measured = [self.evaluated, *([] if self.own is None else [self.own.set_aside])]
        if min(self.held_out, *measured) < FEW:
            doubts.append(
                f"calibrated on {self.held_out} faces and measured on {min(measured)}; "
                f"below about {FEW} the figures mean nothing"
            )
        return doubts


@dataclass(frozen=True, slots=True)
class Stage:
    """Something else begins that takes a while."""

    what: str
    """In a word or a few."""


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


Event = Reading | DataReady | Stage | BatchDone | EpochDone
OnEvent = Callable[[Event], None]
