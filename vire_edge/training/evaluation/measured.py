"""A dataset or a user's own faces → the faces that models are measured on, under a name that says what they are.

Own faces that a model learnt from would flatter it. What a run learnt from, its directory tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vire_edge.errors import DatasetError, TrainingError
from vire_edge.training.data.cleaning import repeats_of, without_leaks
from vire_edge.training.data.dataset import Dataset, Faces, Split, load
from vire_edge.training.data.material import gather
from vire_edge.training.rundir import RunDirectory
from vire_edge.training.settings import stored_settings

OWN_FACES = "own faces"
BOTH_TESTS = 7178
"""Images of PublicTest and PrivateTest together, which the folder version of FER2013 holds as one `test`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What models are measured on."""

    name: str
    """For people: the split's name, or own faces."""
    key: str
    """For programs, as in a run's `metrics.json`."""
    faces: Faces
    training: Faces | None
    """May hold images that are also in `faces`; None where no others are known."""
    digest: str
    """Of the dataset."""
    published: bool = False
    """Whether the publication's figures are of such images."""
    notes: tuple[str, ...] = ()
    """What is to be known of the faces before the figures, a sentence each."""


def split_name(split: Split | str, images: int) -> str:
    """What a split is called; by its size, a folder's `test` is both of FER2013's."""
    if split == Split.PUBLIC_TEST and images == BOTH_TESTS:
        return f"{Split.PUBLIC_TEST} and {Split.PRIVATE_TEST}"
    return str(split)


def from_dataset(dataset: Dataset, split: Split) -> Measured:
    """Measure on one split of FER2013, or the like.

    Raises:
        DatasetError: the data has no such split.
    """
    faces = dataset[split]
    return Measured(
        name=split_name(split, len(faces)),
        key=split.name.lower(),
        faces=faces,
        training=None if split is Split.TRAINING else dataset.splits.get(Split.TRAINING),
        digest=dataset.digest(),
        published=split is not Split.TRAINING,
    )


def from_own_faces(path: Path, models: Sequence[Path]) -> Measured:
    """Measure on a user's own faces: their `test` folder, or all, less what a run among the models learnt from them.

    Args:
        path: the folder or zip.
        models: files and run directories that are to be measured.

    Raises:
        DatasetError: the faces are missing or broken.
        TrainingError: a run's own data is gone, or the runs together learnt from all of the faces.
    """
    own = load(path, own=True)
    split = Split.PUBLIC_TEST if Split.PUBLIC_TEST in own.splits else Split.TRAINING
    others = None if split is Split.TRAINING else own.splits.get(Split.TRAINING)
    measured = Measured(OWN_FACES, "own_faces", own[split], others, own.digest())
    for run in dict.fromkeys(model if model.is_dir() else model.parent for model in models):
        if RunDirectory(run).settings.exists():
            measured = _less_what_was_learnt(measured, run, path)
    return measured


def _less_what_was_learnt(measured: Measured, run: Path, path: Path) -> Measured:
    """Without what a run learnt from or chose by; where that cannot be told exactly, with a warning."""
    settings, stored = stored_settings(run), RunDirectory(run).read_json(RunDirectory(run).data)
    if settings.faces is None or not stored.get("own"):
        return measured
    same = stored["own"]["digest"] == measured.digest
    try:
        material = gather(replace(settings, faces=path) if same else settings)
    except DatasetError as error:
        if same:
            raise TrainingError(
                f"which of these faces {run} learnt from cannot be told ({error}); put that back, or leave the run out"
            ) from error
        return _warned(measured, f"whether {run} learnt from some of these faces cannot be told ({error}).")
    exact = material.ready.split_digest == stored["split_digest"]
    aside = material.evaluation if settings.data is None else material.own
    if not same or not exact or aside is None:
        seen = repeats_of(measured.faces, material.learn) | repeats_of(measured.faces, material.held_out)
        count = f"{'' if exact else 'up to '}{np.count_nonzero(seen):,} of these {len(measured.faces):,} faces"
        return _warned(measured, f"{run} learnt from {count}; its figures flatter it.") if seen.any() else measured
    faces = aside.take(repeats_of(aside, measured.faces))
    if not len(faces):
        raise TrainingError(f"{path} holds no face that none of these runs learnt from; measure them one by one")
    others = without_leaks(measured.faces, faces)
    note = (
        f"{run} learnt from these faces: every model is measured on the {len(faces):,} alone that it set aside, not on "
        f"the other {len(others):,}."
    )
    training = others if measured.training is None else measured.training.followed_by(others)
    return replace(measured, faces=faces, training=training, notes=(*measured.notes, note))


def _warned(measured: Measured, note: str) -> Measured:
    return replace(measured, notes=(*measured.notes, f"WARNING: {note}"))
