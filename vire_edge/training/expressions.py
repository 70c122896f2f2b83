"""Training faces → seven expressions that no person has: averages of many aligned faces of one class.

For the synthetic camera, so that no footage of anyone is needed. Of each class the faces
that a trained model is surest of, and that their label agrees with, are aligned on each
other, averaged together with their mirror images, and exaggerated a little: away from the
mean of all classes (a caricature), because an average is milder than each of its faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS, Emotion
from vire_edge.errors import DatasetError, StorageError
from vire_edge.training.data.dataset import Faces
from vire_edge.training.scenes import MEAN_GRAY, SIDE, FrontalCascade, Picture, Read, check, soft_ellipse

FEWEST = 100
"""An average of fewer faces could still resemble one of them."""
POOLS = (4, 2, 1)
"""How many times the wanted number is looked at, the surest first, before the best aligned are taken. Many candidates
align best; where their average is not read surely, as that of "fear", fewer and surer ones follow."""
WORK = 96
"""Side in pixels at which faces are aligned: twice the data's resolution holds all of it."""
ROUNDS = 3
"""Alignments to a mean: first to that of all classes, then twice to the class' own."""
EXAGGERATIONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SURE = 0.8
"""The least exaggeration is taken at which the model's weakest reading reaches this."""
CONTRAST = 50.0
"""Standard deviation of the gray values inside the ellipse; FER2013's training faces have 49."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One average face."""

    emotion: Emotion
    image: NDArray[np.uint8]
    """`[192, 192]` gray."""
    faces: int
    """How many distinct training images it is the average of."""
    exaggeration: float
    """0 for the plain average; 1 twice as far from the mean of all classes."""
    found: float
    """Share of the test scenes in which the cascade finds it."""
    lowest: float
    """The lowest probability of its own class over the scenes in which it is found."""

    @property
    def is_sure(self) -> bool:
        """Whether it is found in every scene and read surely in each."""
        return self.found == 1.0 and self.lowest >= SURE


@dataclass(frozen=True, slots=True)
class Average:
    """The mean of one class before it is exaggerated."""

    picture: Picture
    """`[192, 192]`."""
    faces: int


def make_expressions(
    training: Faces, read: Read, *, count: int = 160, on_class: Callable[[Emotion, int], None] = lambda _e, _n: None
) -> list[Expression]:
    """Average the training faces of each class.

    Args:
        training: without repeats, blanks and conflicting labels (`cleaning.clean`).
        read: the trained model.
        count: how many faces to average for each class, 100 or more; fewer where a class has
            not as many, but never fewer than 100.
        on_class: called when a class' faces are aligned, with their number.

    Raises:
        DatasetError: a class has fewer than 100 faces that the cascade finds.
        ValueError: `count` is under 100.
    """
    if count < FEWEST:
        raise ValueError(f"an average of {count} faces may resemble one of them; take {FEWEST} or more")
    cascade = FrontalCascade()
    probabilities = read(training.images)
    candidates: dict[Emotion, list[Picture]] = {}
    for label, emotion in enumerate(EMOTIONS):
        labelled = np.flatnonzero(training.labels == label)
        surest = labelled[np.argsort(-probabilities[labelled, label])]
        candidates[emotion] = _cut_first(training.images[surest], cascade, POOLS[0] * count)
        _require(len(candidates[emotion]), emotion)
    everyone = _mean([picture for pictures in candidates.values() for picture in pictures])
    averages: dict[Emotion, Average] = {}
    for emotion, pictures in candidates.items():
        averages[emotion] = _average(pictures, everyone, count)
        _require(averages[emotion].faces, emotion)
        on_class(emotion, averages[emotion].faces)
    middle = np.mean([average.picture for average in averages.values()], axis=0)
    made: list[Expression] = []
    for emotion, pictures in candidates.items():
        best = _least_exaggerated(emotion, averages[emotion], middle, read, cascade)
        for factor in POOLS[1:]:
            if best.is_sure:
                break
            if factor * count >= len(pictures):
                continue  # the same faces again
            surer = _average(pictures[: factor * count], everyone, count)
            if surer.faces < FEWEST:
                break
            best = max(best, _least_exaggerated(emotion, surer, middle, read, cascade), key=_quality)
        made.append(best)
    return made


def _require(faces: int, emotion: Emotion) -> None:
    if faces < FEWEST:
        raise DatasetError(
            f'only {faces} training faces of "{emotion}" are found by the cascade and can be aligned; '
            f"{FEWEST} are needed, so take more data"
        )


def _cut_first(images: NDArray[np.uint8], cascade: FrontalCascade, count: int) -> list[Picture]:
    """The first `count` faces that the cascade finds, cut."""
    pictures: list[Picture] = []
    for image in images:
        picture = _cut(image, cascade)
        if picture is not None:
            pictures.append(picture)
        if len(pictures) == count:
            break
    return pictures


def _cut(image: NDArray[np.uint8], cascade: FrontalCascade) -> Picture | None:
    """Bring the cascade's box in a training image to the working size, contrast evened; None without a face."""
    factor, margin = 4, 24
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    box = cascade.largest(np.asarray(large, np.uint8), smallest_side=120)
    if box is None:
        return None
    scale = WORK / box.width
    matrix = np.array([[scale, 0, -scale * box.x], [0, scale, -scale * box.y]])
    cut = cv2.warpAffine(large, matrix, (WORK, WORK), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return _even(cut.astype(np.float32))


def _even(picture: NDArray[Any]) -> Picture:
    """Set mean and contrast inside the ellipse."""
    inside = picture[soft_ellipse(picture.shape[0]) > 0]
    return np.asarray((picture - inside.mean()) * (CONTRAST / max(float(inside.std()), 1.0)) + MEAN_GRAY, np.float32)


def _mean(pictures: list[Picture]) -> Picture:
    """Average with the mirror images, which makes it symmetric."""
    mean = np.mean(pictures, axis=0)
    return np.asarray((mean + mean[:, ::-1]) / 2, np.float32)


def _average(pictures: list[Picture], start: Picture, count: int) -> Average:
    """Align to the mean of all, then to their own mean, and keep the `count` that fit best."""
    target = start
    fitting: list[tuple[float, Picture]] = []
    for _ in range(ROUNDS):
        fitting = [fit for picture in pictures if (fit := _align(picture, target)) is not None]
        fitting = sorted(fitting, key=lambda fit: -fit[0])[:count]
        target = _even(_mean([picture for _, picture in fitting]))
    large = [cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for _, picture in fitting]
    return Average(_even(_mean([np.asarray(picture, np.float32) for picture in large])), len(fitting))


def _align(picture: Picture, target: Picture) -> tuple[float, Picture] | None:
    """Warp a face on the target (ECC, Evangelidis and Psarakis 2008); how well it fits, 0..1, and the warped face."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    mask = (soft_ellipse(WORK) > 0).astype(np.uint8)
    try:
        fit, matrix = cv2.findTransformECC(
            target, picture, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, criteria, mask, 5
        )
    except cv2.error:
        # It does not converge for a face that is unlike the others; such a face would only blur the mean.
        return None
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(picture, matrix, (WORK, WORK), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return float(fit), np.asarray(warped, np.float32)


def _least_exaggerated(
    emotion: Emotion, average: Average, middle: Picture, read: Read, cascade: FrontalCascade
) -> Expression:
    """The mildest picture that is always found and read surely; failing that, the one that is read best."""
    label = EMOTIONS.index(emotion)
    tried: list[Expression] = []
    for exaggeration in EXAGGERATIONS:
        picture = _sharpen(_even(average.picture + exaggeration * (average.picture - middle)))
        image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        found, probabilities = check(image, read, cascade)
        lowest = float(probabilities[:, label].min(initial=1.0)) if len(probabilities) else 0.0
        tried.append(Expression(emotion, image, average.faces, exaggeration, found, lowest))
        if tried[-1].is_sure:
            return tried[-1]
    return max(tried, key=_quality)


def _quality(expression: Expression) -> tuple[float, float]:
    return expression.found, expression.lowest


def _sharpen(picture: Picture) -> Picture:
    """A light unsharp mask: averaging blurs."""
    return np.asarray(picture + 0.6 * (picture - cv2.GaussianBlur(picture, (0, 0), 4)), np.float32)


def write_pictures(expressions: list[Expression], folder: Path) -> None:
    """Write each picture as `<emotion>.png`.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for expression in expressions:
            _, png = cv2.imencode(".png", expression.image, [cv2.IMWRITE_PNG_COMPRESSION, 9])
            (folder / f"{expression.emotion}.png").write_bytes(png.tobytes())
    except OSError as error:
        raise StorageError(f"{folder} cannot be written ({error.strerror}); name another with --out") from error
