"""Faces drawn onto the picture they were found in, and the files they are written to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from vire_edge.camera.source import Image
from vire_edge.cli.classify.look import Face, View
from vire_edge.domain import EMOTIONS, BoundingBox, Emotion, EmotionScores
from vire_edge.errors import StorageError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""What annotated pictures are written as."""
VIDEO_SUFFIXES = frozenset({".mp4", ".avi"})
"""What annotated videos are written as."""

_FOURCC = {".mp4": "mp4v", ".avi": "MJPG"}
_SMALLEST_SIDE = 320
"""A smaller picture is enlarged, so that there is room for words."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LETTERS = 26
"""Pixels of a letter at scale 1."""
_STRIP = 1.6
"""Height of a label, in heights of its letters."""
_WHITE, _GRAY, _PANEL = (255, 255, 255), (150, 150, 150), (36, 30, 26)
_COLOURS: dict[Emotion, tuple[int, int, int]] = {
    Emotion.ANGRY: (70, 70, 235),
    Emotion.DISGUST: (80, 160, 110),
    Emotion.FEAR: (200, 90, 160),
    Emotion.HAPPY: (60, 200, 250),
    Emotion.SAD: (220, 140, 70),
    Emotion.SURPRISE: (80, 150, 255),
    Emotion.NEUTRAL: (190, 190, 190),
}


def annotate(view: View) -> Image:
    """Return a copy of the picture with each face's box, dominant emotion and seven bars, uint8 BGR."""
    height, width = view.image.shape[:2]
    factor = max(1, -(-_SMALLEST_SIDE // min(height, width)))
    size = (width * factor, height * factor)
    canvas = np.asarray(cv2.resize(view.image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    if canvas.ndim == 2:
        canvas = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_GRAY2BGR), np.uint8)
    boxes = [
        BoundingBox(*(side * factor for side in (box.x, box.y, box.width, box.height)))
        for box in (face.box for face in view.faces)
    ]
    taken = [*boxes]
    for face, box in zip(view.faces, boxes, strict=True):
        letters = _draw_face(canvas, face, box)
        if face.scores is not None:
            taken.append(_draw_bars(canvas, face.scores, box, letters, taken))
    return canvas


def _draw_face(canvas: Image, face: Face, box: BoundingBox) -> int:
    """Draw the box and its label; return the height of its letters in pixels."""
    if face.scores is None:
        colour, label = _GRAY, "not observed" if face.flaw is None else f"not observed: {face.flaw}"
    else:
        dominant = face.scores.dominant
        colour, label = _COLOURS[dominant], f"{dominant} {face.scores[dominant]:.0%}"
    if face.track_id is not None:
        label = f"{face.track_id}: {label}"
    thickness = max(1, round(min(canvas.shape[:2]) / 240))
    opposite = (box.x + box.width, box.y + box.height)
    cv2.rectangle(canvas, (box.x, box.y), opposite, colour, thickness, cv2.LINE_AA)
    letters: int = min(max(11, round(min(canvas.shape[:2]) / 32)), max(11, box.width // 7))
    strip = round(_STRIP * letters)
    _write_label(canvas, label, (box.x, box.y - strip if box.y >= strip else box.y + box.height), letters, colour)
    return letters


def _draw_bars(
    canvas: Image, scores: EmotionScores, box: BoundingBox, letters: int, taken: list[BoundingBox]
) -> BoundingBox:
    """Draw seven bars, each with its name, on a dark panel beside the face; return where."""
    row = min(max(11, box.height // 7), round(1.2 * letters))
    place = _free_place(canvas, box, (9 * row, len(EMOTIONS) * row), round(_STRIP * letters), taken)
    panel = canvas[place.y : place.y + place.height, place.x : place.x + place.width]
    panel[:] = (0.35 * panel + 0.65 * np.array(_PANEL)).astype(np.uint8)
    for index, emotion in enumerate(EMOTIONS):
        bottom = place.y + (index + 1) * row
        left = place.x + round(4.6 * row)
        length = round(4.2 * row * scores[emotion])
        cv2.rectangle(canvas, (left, bottom - row + 2), (left + length, bottom - 2), _COLOURS[emotion], -1)
        _write(canvas, emotion, (place.x + 3, bottom - round(0.28 * row)), round(0.75 * row), _WHITE)
    return place


def _free_place(
    canvas: Image, box: BoundingBox, size: tuple[int, int], gap: int, taken: list[BoundingBox]
) -> BoundingBox:
    """Right of the face, left of it, under or over it: the first place inside the picture that covers nothing else."""
    width, height = size
    places = [
        BoundingBox(max(0, min(x, canvas.shape[1] - width)), max(0, min(y, canvas.shape[0] - height)), width, height)
        for x, y in (
            (box.x + box.width + 4, box.y),
            (box.x - width - 4, box.y),
            (box.x, box.y + box.height + 4),
            (box.x, box.y - height - gap - 4),
        )
    ]
    return min(places, key=lambda place: sum(place.iou(other) for other in taken))


def _write_label(canvas: Image, text: str, at: tuple[int, int], letters: int, colour: tuple[int, int, int]) -> None:
    """Dark words on a strip of the box's colour: to be read on any background."""
    strip = round(_STRIP * letters)
    width = cv2.getTextSize(text, _FONT, letters / _LETTERS, 1)[0][0] + letters
    left, top = max(0, min(at[0], canvas.shape[1] - width)), max(0, min(at[1], canvas.shape[0] - strip))
    cv2.rectangle(canvas, (left, top), (left + width, top + strip), colour, -1)
    _write(canvas, text, (left + letters // 2, top + round(1.15 * letters)), letters, _PANEL)


def _write(canvas: Image, text: str, at: tuple[int, int], letters: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, at, _FONT, letters / _LETTERS, colour, 1 + letters // 18, cv2.LINE_AA)


def write_picture(path: Path, image: Image) -> None:
    """Write one picture.

    Raises:
        StorageError: the file cannot be written.
    """
    _, content = cv2.imencode(path.suffix.lower(), image)
    try:
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise _unwritable(path, error) from error


def write_video(path: Path, images: Iterable[Image], *, fps: float) -> None:
    """Write a video.

    Args:
        path: .mp4 or .avi.
        images: its frames; of another size than the first they are made to fit.
        fps: frames a second.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        path.open("wb").close()  # OpenCV would not say what is wrong
    except OSError as error:
        raise _unwritable(path, error) from error
    frames = iter(images)
    first = next(frames, None)
    if first is None:
        return
    height, width = (side - side % 2 for side in first.shape[:2])  # the codec wants even sides
    fourcc = cv2.VideoWriter.fourcc(*_FOURCC[path.suffix.lower()])
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, (width, height))
    if not writer.isOpened():
        raise StorageError(f"{path} cannot be written as a video; name it .avi or .mp4")
    try:
        for image in itertools.chain([first], frames):
            writer.write(image if image.shape[:2] == (height, width) else cv2.resize(image, (width, height)))
    finally:
        writer.release()
    if path.stat().st_size == 0:
        raise StorageError(f"{path} could not be written; is the disk full?")


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written ({(error.strerror or str(error)).lower()}); choose another place with --out"
    )
