"""Files → what a run learns from, chooses by and is measured on: read, relabelled, cleaned and split.

FER2013, a user's own faces, or both. Nothing here depends on anything but the files, the recipe, the seed and the
network that a run begins with, so a resumed run finds the same faces in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError, TrainingError
from vire_edge.training.data import cleaning
from vire_edge.training.data.dataset import Dataset, Faces, Split, load
from vire_edge.training.data.fer_plus import Annotated, annotate, read_votes
from vire_edge.training.progress import DataReady, OwnFaces
from vire_edge.training.rundir import RunDirectory, held_out_in
from vire_edge.training.settings import TrainSettings

SET_ASIDE = 0.2
"""Share of the own faces that is measured on where they come beside FER2013, unless they have a `test` folder."""
EVALUATED = 0.1
"""The same where they come alone: then all has to come from them."""


@dataclass(frozen=True, slots=True)
class Material:
    """The faces of one run, by what they are for."""

    learn: Faces
    held_out: Faces
    """Chooses the epoch and fits the temperature."""
    evaluation: Faces
    """PublicTest, or a part of the own faces where they come alone."""
    training: Faces
    """All training faces but those measured on, learnt from or not: what the evaluation may repeat."""
    own: Faces | None
    """Own faces beside FER2013 that are measured on and never learnt from."""
    ready: DataReady
    """What there is to say of it."""


def gather(settings: TrainSettings, *, on_row: Callable[[int], None] = lambda _: None) -> Material:
    """Read, clean and split what the settings name.

    Args:
        settings: the run's.
        on_row: called with the number of faces read so far, now and then.

    Raises:
        DatasetError: data is missing or broken, or too little.
        TrainingError: the settings contradict each other.
        StorageError: the cache cannot be written.
    """
    own = None if settings.faces is None else load(settings.faces, own=True, on_row=on_row)
    if settings.data is not None:
        return _fer2013(load(settings.data, on_row=on_row), own, settings)
    if own is None:
        raise TrainingError(
            "there is nothing to learn from; name FER2013's file with --data, or your faces with --faces"
        )
    if settings.fer_plus is not None:
        raise TrainingError("FER+ votes on FER2013; name its file with --data, or leave out --fer-plus")
    return _own_alone(own, settings)


def _fer2013(dataset: Dataset, own: Dataset | None, settings: TrainSettings) -> Material:
    settings.check_recipe()
    recipe = settings.effective_recipe
    training, evaluation = dataset[Split.TRAINING], dataset[Split.PUBLIC_TEST]
    annotated = _annotated(dataset, settings)
    cleaned = annotated.faces
    if recipe.clean:
        cleaned = cleaning.clean(cleaned, evaluation)
    elif settings.drop_leaks:
        cleaned = cleaning.without_leaks(cleaned, evaluation)
    try:
        learn, held_out = _held_out(cleaned, settings)
    except DatasetError as error:
        if settings.fer_plus is None:
            raise
        raise DatasetError(
            f"{error}; of {len(training)} images FER+'s votes, taken as {settings.fer_plus_as}, left out "
            f"{annotated.faceless} that show no face and {annotated.undecided} undecided ones"
        ) from error
    left_out = len(annotated.faces) - len(learn) - len(held_out)
    aside, of_own = None, None
    if own is not None:
        mine, aside = _set_aside(own, SET_ASIDE, settings, left=1)
        # Own faces may stand in FER2013, too.
        mine = cleaning.without_leaks(cleaning.without_leaks(mine, evaluation), held_out)
        learn = cleaning.without_leaks(learn, aside)
        learn = learn.followed_by(mine.repeated(settings.faces_repeats))
        of_own = OwnFaces(
            digest=own.digest(),
            findings=cleaning.inspect(own[Split.TRAINING], own.splits.get(Split.PUBLIC_TEST, evaluation)),
            learnt=len(mine),
            repeats=settings.faces_repeats,
            set_aside=len(aside),
            has_test=Split.PUBLIC_TEST in own.splits,
        )
    ready = DataReady(
        dataset_digest=dataset.digest(),
        split_digest=learn.digest(),
        order_digest=learn.order_digest(),
        findings=cleaning.inspect(training, evaluation),
        learnt=len(learn),
        held_out=len(held_out),
        evaluated=len(evaluation),
        left_out=left_out,
        learnt_per_class=_per_class(learn),
        faceless=annotated.faceless,
        undecided=annotated.undecided,
        with_votes=learn.votes is not None,
        fer_plus_as=None if settings.fer_plus is None else settings.fer_plus_as,
        own=of_own,
    )
    return Material(learn, held_out, evaluation, training, aside, ready)


def _own_alone(own: Dataset, settings: TrainSettings) -> Material:
    mine, evaluation = _set_aside(own, EVALUATED, settings, left=2)
    learn, held_out = _held_out(mine, settings)
    training, has_test = own[Split.TRAINING], Split.PUBLIC_TEST in own.splits
    findings = cleaning.inspect(training, own.splits.get(Split.PUBLIC_TEST, _none_of(training)))
    ready = DataReady(
        dataset_digest=own.digest(),
        split_digest=learn.digest(),
        order_digest=learn.order_digest(),
        findings=findings,
        learnt=len(learn),
        held_out=len(held_out),
        evaluated=len(evaluation),
        left_out=len(training) - len(learn) - len(held_out) - (0 if has_test else len(evaluation)),
        learnt_per_class=_per_class(learn),
        evaluated_on="own faces",
        own=OwnFaces(own.digest(), findings, len(learn), 1, len(evaluation), has_test),
    )
    return Material(learn, held_out, evaluation, mine, None, ready)


def _held_out(faces: Faces, settings: TrainSettings) -> tuple[Faces, Faces]:
    """What is learnt from, and what calibrates; where repeats were left in, none stands in both."""
    occurring = [emotion for emotion, count in zip(EMOTIONS, _per_class(faces), strict=True) if count]
    if len(occurring) == 1:
        raise DatasetError(
            f'{settings.data or settings.faces} holds pictures of "{occurring[0]}" alone; '
            "a network learns to tell classes apart: add pictures of another"
        )
    learn, held_out = cleaning.hold_out(
        faces, settings.effective_recipe.held_out, seed=settings.seed, known=_held_out_before(settings)
    )
    return cleaning.without_leaks(learn, held_out), held_out


def _held_out_before(settings: TrainSettings) -> frozenset[bytes]:
    """Keys of the faces that the run holds out already, or that the network did which it begins with."""
    run = RunDirectory(settings.run)
    joined = b""
    if run.held_out.exists():
        joined = run.held_out.read_bytes()
    elif settings.start_from is not None:
        joined = held_out_in(settings.start_from)
    size = cleaning.KEY_BYTES
    return frozenset(joined[start : start + size] for start in range(0, len(joined), size))


def _annotated(dataset: Dataset, settings: TrainSettings) -> Annotated:
    """The training faces with what is wanted of FER+."""
    training = dataset[Split.TRAINING]
    if settings.fer_plus is None:
        return Annotated(training)
    if not dataset.in_file_order:
        raise DatasetError(
            f"FER+ goes by the order of the rows in fer2013.csv, which the pictures in {settings.data} do not have; "
            "give fer2013.csv, or leave out --fer-plus"
        )
    return annotate(training, read_votes(settings.fer_plus, Split.TRAINING), settings.fer_plus_as)


def _set_aside(own: Dataset, share: float, settings: TrainSettings, *, left: int) -> tuple[Faces, Faces]:
    """Own faces to learn from, at least `left` of each class, and those to measure on; no picture is in both.

    The latter are the `test` folder, or else a share of each class.
    """
    training, clean = own[Split.TRAINING], settings.effective_recipe.clean
    if Split.PUBLIC_TEST in own.splits:
        mine, aside = training, own[Split.PUBLIC_TEST]
    else:
        training = cleaning.clean(training, _none_of(training)) if clean else training
        _check_enough(training, left + 1, settings)
        mine, aside = cleaning.set_aside(training, share, left=left)
    mine = cleaning.clean(mine, aside) if clean else cleaning.without_leaks(mine, aside)
    _check_enough(mine, left, settings)
    return mine, aside


def _per_class(faces: Faces) -> tuple[int, ...]:
    return tuple(np.bincount(faces.labels, minlength=len(EMOTIONS)).tolist())


def _none_of(faces: Faces) -> Faces:
    return faces.take(np.array([], np.int64))


def _check_enough(faces: Faces, at_least: int, settings: TrainSettings) -> None:
    counts = _per_class(faces)
    for emotion, count in zip(EMOTIONS, counts, strict=True):
        if 0 < count < at_least:
            raise DatasetError(
                f'{settings.faces} holds {count} usable pictures of "{emotion}", at least {at_least} are needed to '
                "learn from and to measure on; add some, or leave the class out"
            )
    if not sum(counts):
        raise DatasetError(f"{settings.faces} holds no usable pictures: all are blank, repeated or of doubtful label")
