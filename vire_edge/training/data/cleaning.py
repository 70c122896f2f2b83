"""What is wrong with labelled faces, and a training set without it: repeats, blanks, conflicting labels, leaks.

Pure: arrays in, arrays and counts out.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS
from vire_edge.errors import DatasetError
from vire_edge.preprocess import FACE_SIZE
from vire_edge.training.data.dataset import Faces


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in a training set; the counts are images unless they say otherwise."""

    images: int
    per_class: tuple[int, ...]
    """In the order of `EMOTIONS`."""
    repeats: int
    """Images that repeat an earlier one exactly."""
    conflicting_groups: int
    """Groups of identical images whose labels differ."""
    conflicting: int
    """Images in those groups."""
    blank: int
    """Images of a single gray value."""
    leaks: int
    """Images that also stand in the evaluation split."""
    evaluation_repeats: int = 0
    """Images of the evaluation split that repeat an earlier one of it."""
    evaluation_blank: int = 0

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


KEY_BYTES = 16


def keys(faces: Faces) -> list[bytes]:
    """A short key for each image: equal exactly when the pixels are."""
    return [hashlib.blake2b(image.tobytes(), digest_size=KEY_BYTES).digest() for image in faces.images]


def repeats_of(faces: Faces, reference: Faces) -> NDArray[np.bool_]:
    """Mask `[N]` of the faces whose pixels also stand in `reference`."""
    known = set(keys(reference))
    return np.array([key in known for key in keys(faces)], bool)


def inspect(training: Faces, evaluation: Faces) -> Findings:
    """Count what `clean` would remove, and what is doubtful in the evaluation split, which stays as it is."""
    repeated, conflicting, groups = _repeats(training)
    return Findings(
        images=len(training),
        per_class=tuple(np.bincount(training.labels, minlength=len(EMOTIONS)).tolist()),
        repeats=int(repeated.sum()),
        conflicting_groups=groups,
        conflicting=int(conflicting.sum()),
        blank=int(_blank(training).sum()),
        leaks=int(repeats_of(training, evaluation).sum()),
        evaluation_repeats=int(_repeats(evaluation)[0].sum()),
        evaluation_blank=int(_blank(evaluation).sum()),
    )


def clean(training: Faces, evaluation: Faces) -> Faces:
    """Remove blanks, repeats (the first of equal labels stays), conflicting labels, and images of `evaluation`."""
    repeated, conflicting, _ = _repeats(training)
    return training.take(~(repeated | conflicting | _blank(training) | repeats_of(training, evaluation)))


def without_leaks(training: Faces, evaluation: Faces) -> Faces:
    """Remove the images of `evaluation`, and nothing else."""
    return training.take(~repeats_of(training, evaluation))


def hold_out(faces: Faces, share: float, *, seed: int, known: frozenset[bytes] = frozenset()) -> tuple[Faces, Faces]:
    """Split into the faces to learn from and a stratified part to choose and calibrate with.

    Args:
        faces: at least two of each class that occurs.
        share: of each class, 0..1, rounded to whole images, at least one.
        seed: the same seed gives the same split.
        known: keys of faces that were held out before. Those are taken again, instead of others that a network may
            have learnt by heart, where they make at least half of the share.

    Returns:
        (to learn from, held out), both in the original order.

    Raises:
        DatasetError: a class has a single image.
    """
    held = np.array([key in known for key in keys(faces)], bool)
    if known and held.sum() >= share * len(faces) / 2:
        return faces.take(~held), faces.take(held)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(faces), bool)
    for label, emotion in enumerate(EMOTIONS):
        members = np.flatnonzero(faces.labels == label)
        if len(members) == 1:
            raise DatasetError(f'only one training image is "{emotion}"; at least two are needed, one to learn from')
        if len(members):
            held[rng.permutation(members)[: max(1, round(share * len(members)))]] = True
    return faces.take(~held), faces.take(held)


def set_aside(faces: Faces, share: float, *, left: int) -> tuple[Faces, Faces]:
    """Split by the pixels alone: a picture that was set aside once is so again when others have come or gone.

    Args:
        faces: more than `left` of each class that occurs.
        share: of each class, 0..1, about, because pixels decide; at least one image.
        left: at least so many of each class stay to be learnt from.

    Returns:
        (to learn from, set aside), both in the original order.
    """
    places = np.array([int.from_bytes(key[:8], "big") / 2**64 for key in keys(faces)])
    aside = np.zeros(len(faces), bool)
    for label in np.unique(faces.labels):
        members = np.flatnonzero(faces.labels == label)
        count = np.clip((places[members] < share).sum(), 1, len(members) - left)
        aside[members[places[members].argsort()[:count]]] = True
    return faces.take(~aside), faces.take(aside)


def _blank(faces: Faces) -> NDArray[np.bool_]:
    flat = faces.images.reshape(len(faces), FACE_SIZE**2)
    return np.asarray(flat.max(axis=1) == flat.min(axis=1))


def _repeats(faces: Faces) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:
    """Masks of later repeats and of images with conflicting labels, and the number of such groups."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, key in enumerate(keys(faces)):
        groups[key].append(index)
    repeated, conflicting = np.zeros(len(faces), bool), np.zeros(len(faces), bool)
    conflicts = 0
    for members in groups.values():
        repeated[members[1:]] = True
        if len({int(faces.labels[index]) for index in members}) > 1:
            conflicting[members] = True
            conflicts += 1
    return repeated, conflicting, conflicts
