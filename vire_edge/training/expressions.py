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
import cv2.data
import numpy as np
from numpy.typing import NDArray

from vire_edge.domain import EMOTIONS, BoundingBox, Emotion
from vire_edge.errors import DatasetError, DependencyError, StorageError
from vire_edge.preprocess import crop_face
from vire_edge.training.dataset import Faces

SIDE = 192
"""Side of a picture in pixels."""
FEWEST = 100
"""An average of fewer faces could still resemble one of them."""
CANDIDATES = 4
"""How many times the wanted number is looked at before the best aligned are taken."""
WORK = 96
"""Side in pixels at which faces are aligned: twice the data's resolution holds all of it."""
ROUNDS = 3
"""Alignments to the mean; after the third the mean changes by less than a gray value."""
EXAGGERATIONS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SURE = 0.8
"""The least exaggeration is taken at which the model's weakest reading reaches this."""
MEAN_GRAY, CONTRAST = 128.0, 50.0
"""Mean and standard deviation of the gray values inside the ellipse; FER2013's training faces have 135 and 49."""

Picture = NDArray[np.float32]
Read = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
"""Faces uint8 `[N, 48, 48]` → probabilities `[N, 7]`."""


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


class FrontalCascade:
    """Finds the one face in a picture, with the cascade that FER2013 was cut with."""

    def __init__(self) -> None:
        path = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            raise DependencyError(f"face cascade {path} is missing or damaged; reinstall opencv-python 4")

    def largest(self, gray: NDArray[np.uint8], smallest_side: int = 48) -> BoundingBox | None:
        """The largest face in uint8 `[height, width]`, or None."""
        boxes = self._cascade.detectMultiScale(
            gray, scaleFactor=1.1, minNeighbors=5, minSize=(smallest_side, smallest_side)
        )
        if not len(boxes):
            return None
        return BoundingBox(*(int(value) for value in max(boxes, key=lambda box: box[2])))


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
    aligned: dict[Emotion, list[Picture]] = {}
    for label, emotion in enumerate(EMOTIONS):
        labelled = np.flatnonzero(training.labels == label)
        surest = labelled[np.argsort(-probabilities[labelled, label])][: CANDIDATES * count]
        aligned[emotion] = [
            picture for index in surest.tolist() if (picture := _cut(training.images[index], cascade)) is not None
        ]
        if len(aligned[emotion]) < FEWEST:
            raise DatasetError(
                f'only {len(aligned[emotion])} training faces of "{emotion}" are found by the cascade; '
                f"{FEWEST} are needed, so take more data"
            )
    everyone = _mean([picture for pictures in aligned.values() for picture in pictures])
    averages: dict[Emotion, Picture] = {}
    numbers: dict[Emotion, int] = {}
    for emotion, pictures in aligned.items():
        averages[emotion], numbers[emotion] = _average(pictures, everyone, count)
        on_class(emotion, numbers[emotion])
    middle = np.mean(list(averages.values()), axis=0)
    return [
        _least_exaggerated(
            emotion, averages[emotion] - middle, middle, faces=numbers[emotion], read=read, cascade=cascade
        )
        for emotion in EMOTIONS
    ]


def scene(
    picture: NDArray[np.uint8], side: int, x: int, y: int, *, width: int = 640, height: int = 480
) -> NDArray[np.uint8]:
    """Paste a picture with a soft elliptical edge on a plain gray background.

    Args:
        picture: uint8 `[192, 192]`.
        side: the pasted size in pixels.
        x: left edge in the scene.
        y: top edge in the scene.
        width: of the scene.
        height: of the scene.

    Returns:
        uint8 `[height, width]`.
    """
    canvas = np.full((height, width), MEAN_GRAY, np.float32)
    face = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if side < SIDE else cv2.INTER_CUBIC)
    mask = soft_ellipse(side)
    area = canvas[y : y + side, x : x + side]
    area += (face.astype(np.float32) - area) * mask
    return np.rint(canvas).astype(np.uint8)


def soft_ellipse(side: int) -> Picture:
    """Mask `[side, side]`, 1 inside an upright ellipse that fills the square and 0 outside, soft between."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    radius = np.sqrt((axis[None, :] / 0.94) ** 2 + axis[:, None] ** 2)
    return np.asarray(np.clip((1.0 - radius) / 0.12, 0, 1), np.float32)


def check(picture: NDArray[np.uint8], read: Read, cascade: FrontalCascade) -> tuple[float, NDArray[np.floating[Any]]]:
    """Look for a picture in scenes of several sizes and places, and read it there.

    Returns:
        The share of scenes in which the cascade finds it, and the probabilities `[found, 7]`.
    """
    sides = range(120, 241, 12)
    crops: list[NDArray[np.uint8]] = []
    for number, side in enumerate(sides):
        gray = scene(picture, side, 150 + 7 * number, 100 + 3 * number)
        box = cascade.largest(gray)
        if box is not None:
            crops.append(crop_face(gray, box))
    if not crops:
        return 0.0, np.zeros((0, len(EMOTIONS)))
    return len(crops) / len(sides), read(np.stack(crops))


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


def _average(pictures: list[Picture], start: Picture, count: int) -> tuple[Picture, int]:
    """Align to the mean of all, then to their own mean, keep the `count` that fit best; `[192, 192]` and how many."""
    target = start
    fitting: list[tuple[float, Picture]] = []
    for _ in range(ROUNDS):
        fitting = [fit for picture in pictures if (fit := _align(picture, target)) is not None]
        fitting = sorted(fitting, key=lambda fit: -fit[0])[:count]
        target = _even(_mean([picture for _, picture in fitting]))
    large = [cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for _, picture in fitting]
    return _even(_mean([np.asarray(picture, np.float32) for picture in large])), len(fitting)


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
    emotion: Emotion, direction: Picture, middle: Picture, *, faces: int, read: Read, cascade: FrontalCascade
) -> Expression:
    """The mildest picture that is always found and read surely; failing that, the one that is read best."""
    label = EMOTIONS.index(emotion)
    tried: list[Expression] = []
    for exaggeration in EXAGGERATIONS:
        picture = _sharpen(_even(middle + (1 + exaggeration) * direction))
        image = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        found, probabilities = check(image, read, cascade)
        lowest = float(probabilities[:, label].min(initial=1.0)) if len(probabilities) else 0.0
        tried.append(Expression(emotion, image, faces, exaggeration, found, lowest))
        if found == 1.0 and lowest >= SURE:
            break
    # The last one ended the search because it is good enough; it is then also the best.
    return max(tried, key=lambda expression: (expression.found, expression.lowest))


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
