"""FER+: ten people's votes for each image of FER2013 → shares of the seven classes or new labels, row by row.

The challenge's labels come from one annotator and a search word; FER+ (Barsoum et al. 2016)
asked ten. It knows three answers more: "contempt", "unknown" and "no face".
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError
from vire_edge.training.data.dataset import Faces, Split
from vire_edge.training.data.targets import VotesAs

CLASSES = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprise",
    "neutral": "neutral",
}
"""FER+'s names of FER2013's classes."""
UNDECIDED = ("contempt", "unknown")
NO_FACE = "NF"
LEAST_AGREEMENT = 0.45
"""Between labels and clear votes, as a share of the images: FER2013's own is 0.72, that of shuffled rows 0.19."""
ENOUGH_TO_TELL = 500
"""Images with clear votes; fewer may be a choice of one's own."""
REMEDY = "give FER+'s fer2013new.csv"
COLUMNS = ("Usage", "Image name", *CLASSES, *UNDECIDED, NO_FACE)


@dataclass(frozen=True, slots=True)
class Votes:
    """How people saw the images of one split, in the order of FER2013's rows."""

    shares: NDArray[np.float32]
    """`[N, 7]`, each class' share of all votes; a row sums to less than 1 where people saw none of the seven."""
    faceless: NDArray[np.bool_]
    """`[N]`, where "no face" has the most votes, or the image has no name."""


def read_votes(path: Path, split: Split) -> Votes:
    """Read the votes for one split; the others are passed over unread.

    Args:
        path: `fer2013new.csv`.
        split: whose rows.

    Raises:
        DatasetError: the file is missing or no such table, or a row is broken; the message names its line.
    """
    shares: list[list[float]] = []
    faceless: list[bool] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(f"{path}, line 1: the column {missing[0]} is missing; {REMEDY}")
            for row in reader:
                if row["Usage"] == split:
                    votes = _votes(f"{path}, line {reader.line_num}", row)
                    total = sum(votes.values())
                    shares.append([votes[name] / total for name in _IN_ORDER])
                    faceless.append(not row["Image name"] or votes[NO_FACE] == max(votes.values()))
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is no text table ({error}); {REMEDY}") from error
    return Votes(np.array(shares, np.float32).reshape(-1, len(EMOTIONS)), np.array(faceless, bool))


def with_votes(faces: Faces, votes: Votes) -> Faces:
    """The faces, each with the distribution that people saw in it.

    Votes for "contempt", "unknown" and "no face" say nothing against the label, so they count for it. That keeps
    a picture that most people could not read at its label instead of at the one vote that is left.

    Raises:
        DatasetError: the votes are for other images: their number differs, or they name other classes.
    """
    if len(faces) != len(votes.shares):
        raise DatasetError(
            f"FER+ votes on {len(votes.shares)} images where FER2013 has {len(faces)}; "
            "its rows follow the original file's: give both files whole and in their order"
        )
    clear = votes.shares.max(axis=1) > 0.5
    agreement = (votes.shares.argmax(axis=1) == faces.labels)[clear].mean() if clear.sum() >= ENOUGH_TO_TELL else 1.0
    if agreement < LEAST_AGREEMENT:
        raise DatasetError(
            f"FER+'s votes and the labels agree on {agreement:.0%} of the images, where two in three are usual: "
            "the rows of FER2013 are not in the original order; give the original file"
        )
    seen = votes.shares.copy()
    seen[np.arange(len(faces)), faces.labels] += 1 - seen.sum(axis=1)
    return replace(faces, votes=seen)


@dataclass(frozen=True, slots=True)
class Annotated:
    """Faces with what was wanted of FER+, in their order, and how many were left out."""

    faces: Faces
    faceless: int = 0
    undecided: int = 0
    """The votes name none of the seven classes clearly enough."""


def annotate(faces: Faces, votes: Votes, how: VotesAs) -> Annotated:
    """The faces with their votes, without those that the votes rule out.

    Args:
        faces: in the order of FER2013's file.
        votes: on the same images.
        how: `mixed` keeps every face and gives it votes, the doubtful ones counted for its label. `soft` gives it the
            seven classes' votes alone and needs half of all votes to be among them. `majority` replaces the label by
            the class that has more than half of all votes (as Barsoum et al. 2016 count it) and gives no votes.

    Raises:
        DatasetError: the votes are for other images: their number differs.
    """
    voted = with_votes(faces, votes)
    of_the_seven = votes.shares.sum(axis=1)
    if how is VotesAs.MIXED:
        decided = np.ones(len(faces), bool)
    elif how is VotesAs.SOFT:
        decided = of_the_seven >= 0.5
        voted = replace(faces, votes=votes.shares / np.maximum(of_the_seven, 1e-6)[:, None])
    else:
        decided = votes.shares.max(axis=1) > 0.5
        voted = replace(faces, labels=votes.shares.argmax(axis=1).astype(np.int64))
    return Annotated(
        voted.take(decided & ~votes.faceless),
        faceless=int(votes.faceless.sum()),
        undecided=int((~decided & ~votes.faceless).sum()),
    )


def _votes(where: str, row: dict[str, str]) -> dict[str, int]:
    votes: dict[str, int] = {}
    for name in COLUMNS[2:]:
        text = (row[name] or "").strip()
        if not (text.isascii() and text.isdigit()):
            raise DatasetError(f'{where}: {name} must be a number of votes, got "{text}"; correct or remove the line')
        votes[name] = int(text)
    if not any(votes.values()):
        raise DatasetError(f"{where}: there is no vote; correct or remove the line")
    return votes


_IN_ORDER = sorted(CLASSES, key=lambda name: [str(emotion) for emotion in EMOTIONS].index(CLASSES[name]))
