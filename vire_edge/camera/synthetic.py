"""The synthetic actor: a camera that needs no footage of anyone.

Each expression is the average of a hundred or more faces of FER2013, so it shows nobody. By a script they morph into
each other on heads that sway and come nearer, under light that changes, before a background that moves. Everything
follows from the script, the size and the media time: the same second always gives the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.camera.script import Look, Script
from vire_edge.camera.source import Image
from vire_edge.domain import EMOTIONS, BoundingBox, Emotion
from vire_edge.errors import CameraError

FACE_SHARE = 0.42
"""A face's side as a share of the frame's height, or of its part of the width if that is smaller."""

_Floats = NDArray[np.float32]

_NOISE_LEVELS = 3.0
"""Standard deviation of the sensor noise, of 255: that of a webcam in a lit room."""
_NOISE_MARGIN = 64
_SKIN = np.array([0.80, 0.99, 1.09], np.float32)
"""Blue, green and red per gray level; their weighted sum is 1, so that the gray picture keeps the face's own levels."""
_COAT = ((92, 78, 66), (70, 88, 78), (84, 70, 88), (72, 80, 96))
"""BGR of what the people wear."""
_GOLDEN = 2.399963
"""Angle that spreads phases evenly over any number of things."""


@cache
def load_expressions() -> Mapping[Emotion, Image]:
    """Return the seven expressions, uint8 gray squares of one size.

    Raises:
        CameraError: a picture is missing or damaged.
    """
    folder = files("vire_edge.camera") / "expressions"
    expressions: dict[Emotion, Image] = {}
    for emotion in EMOTIONS:
        path = folder / f"{emotion}.png"
        try:
            picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        except (OSError, cv2.error):
            picture = None
        if picture is None:
            raise CameraError(f"the synthetic actor's {path} is missing or damaged; install vire-edge anew")
        expressions[emotion] = np.asarray(picture, np.uint8)
    return expressions


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face that was drawn."""

    box: BoundingBox
    """What a detector should find: the square that the expression was drawn into."""
    presence: float
    """Above 0, and 1 unless the person is coming or going."""


class SyntheticSource:
    """Plays a script. It has media time, like a file: `CameraConfig.pace` and `loop` apply."""

    live = False

    def __init__(
        self,
        script: Script,
        width: int = 640,
        height: int = 480,
        fps: float = 10.0,
        *,
        seed: int = 0,
        restlessness: float = 1.0,
    ) -> None:
        """Prepare the play; nothing is drawn.

        Args:
            script: who shows what when.
            width: pixels.
            height: pixels.
            fps: pictures for each second of media time.
            seed: of the noise and the paths of all movements.
            restlessness: how far heads sway and turn: 1 for somebody who sits, 8 for somebody who paces to and fro.
        """
        self.script = script
        self._movements = _Movements(width, height, seed, restlessness)
        self._fps = fps
        self._stage: _Stage | None = None

    def check(self) -> None:
        """Load the expressions.

        Raises:
            CameraError: one is missing or damaged.
        """
        load_expressions()

    def open(self) -> _ScriptCapture:
        """Begin the script anew."""
        return _ScriptCapture(self, self._fps)

    def image_at(self, seconds: float) -> Image:
        """Draw the picture of one moment.

        Args:
            seconds: since the script's beginning.

        Returns:
            uint8 `[height, width, 3]` BGR.

        Raises:
            CameraError: an expression is missing or damaged.
        """
        if self._stage is None:
            self._stage = _Stage(self._movements, load_expressions())
        return self._stage.draw(self._looks(seconds), seconds)

    def faces_at(self, seconds: float) -> tuple[ShownFace, ...]:
        """Tell where the faces of one moment's picture are, from the left.

        Args:
            seconds: since the script's beginning.
        """
        looks = self._looks(seconds)
        return tuple(
            ShownFace(self._movements.pose(person, len(looks), seconds).box, look.presence)
            for person, look in enumerate(looks)
            if look.presence > 0
        )

    def _looks(self, seconds: float) -> list[Look]:
        return [self.script.look(person, seconds) for person in range(len(self.script.people))]


class _ScriptCapture:
    """One performance."""

    is_key_picture = False

    def __init__(self, source: SyntheticSource, fps: float) -> None:
        self._source, self._fps = source, fps
        self._index = -1

    @property
    def position_seconds(self) -> float:
        return max(self._index, 0) / self._fps

    def grab(self) -> bool:
        self._index += 1
        return self.position_seconds < self._source.script.seconds

    def retrieve(self) -> Image | None:
        return self._source.image_at(self.position_seconds)

    def close(self) -> None:
        """End the performance; there is nothing to release."""


@dataclass(frozen=True, slots=True)
class _Pose:
    """Where a head is: its centre and side in pixels, its angle in degrees."""

    x: float
    y: float
    side: float
    angle: float

    @property
    def box(self) -> BoundingBox:
        return BoundingBox(
            round(self.x - self.side / 2), round(self.y - self.side / 2), round(self.side), round(self.side)
        )


@dataclass(frozen=True, slots=True)
class _Movements:
    """Where heads are in a picture of `width` × `height`."""

    width: int
    height: int
    seed: int
    restlessness: float

    def pose(self, person: int, people: int, seconds: float) -> _Pose:
        phase = self.seed + person * _GOLDEN
        place = self.width / people
        nearness = 1.0 + 0.14 * math.sin(0.31 * seconds + phase)
        side = FACE_SHARE * min(self.height, 1.5 * place) * nearness
        sway = self.restlessness * side
        return _Pose(
            x=place * (person + 0.5) + 0.12 * sway * math.sin(0.57 * seconds + phase),
            y=0.46 * self.height + 0.05 * sway * math.sin(0.83 * seconds + 2 * phase),
            side=side,
            angle=3.0 * self.restlessness * math.sin(0.45 * seconds + 3 * phase),
        )


class _Stage:
    """Draws people before a background."""

    def __init__(self, movements: _Movements, expressions: Mapping[Emotion, Image]) -> None:
        self._movements = movements
        self._width, self._height, self._seed = width, height, seed = movements.width, movements.height, movements.seed
        self._expressions = {emotion: picture.astype(np.float32) for emotion, picture in expressions.items()}
        self._side = next(iter(expressions.values())).shape[0]
        self._mask = _oval(self._side)
        rng = np.random.default_rng(seed)
        noise = rng.normal(0.0, _NOISE_LEVELS, (height + _NOISE_MARGIN, width + _NOISE_MARGIN, 3))
        self._noise = noise.astype(np.int16)

    def draw(self, looks: list[Look], seconds: float) -> Image:
        canvas = self._background(seconds)
        for person, look in enumerate(looks):
            if look.presence > 0:
                self._draw_person(canvas, look, person, len(looks), seconds)
        return self._expose(canvas, seconds)

    def _background(self, seconds: float) -> _Floats:
        """A wall with light that wanders, drawn small and enlarged: soft by itself, and cheap."""
        columns, rows = 40, 30
        x = np.linspace(0.0, 1.0, columns, dtype=np.float32)[np.newaxis, :]
        y = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, np.newaxis]
        wall = 96.0 + 34.0 * (1 - y) + 14.0 * np.sin(3.0 * x + 0.11 * seconds)
        for index in range(4):
            phase = self._seed + index * _GOLDEN
            center_x = 0.5 + 0.55 * math.sin(0.13 * (index + 1) ** 0.5 * seconds + phase)
            center_y = 0.5 + 0.45 * math.cos(0.09 * (index + 1) ** 0.5 * seconds + 2 * phase)
            distance = (x - center_x) ** 2 + (y - center_y) ** 2
            wall = wall + (18.0 if index % 2 else -22.0) * np.exp(-distance / (0.02 + 0.01 * index))
        tint = np.array([1.04, 1.0, 0.94], np.float32)
        small = np.asarray(wall, np.float32)[..., np.newaxis] * tint
        return np.asarray(cv2.resize(small, (self._width, self._height), interpolation=cv2.INTER_CUBIC), np.float32)

    def _draw_person(self, canvas: _Floats, look: Look, person: int, people: int, seconds: float) -> None:
        pose = self._movements.pose(person, people, seconds)
        drawn = canvas.copy() if look.presence < 1 else canvas
        self._draw_body(drawn, pose, _COAT[person % len(_COAT)])
        face = np.zeros((self._side, self._side), np.float32)
        for emotion, weight in look.weights.items():
            face += weight * self._expressions[emotion]
        self._draw_face(drawn, pose, face)
        if look.presence < 1:
            canvas += look.presence * (drawn - canvas)

    def _draw_body(self, canvas: _Floats, pose: _Pose, coat: tuple[int, int, int]) -> None:
        """Neck and shoulders: a face that floats would be found too, but looks it."""
        x, y, side = pose.x, pose.y, pose.side
        neck = (int(x), int(y + 0.55 * side)), (int(0.24 * side), int(0.34 * side))
        shoulders = (int(x), int(y + 1.32 * side)), (int(0.88 * side), int(0.62 * side))
        cv2.ellipse(canvas, *neck, 0, 0, 360, (84, 100, 112), -1, cv2.LINE_AA)
        cv2.ellipse(canvas, *shoulders, 0, 0, 360, coat, -1, cv2.LINE_AA)

    def _draw_face(self, canvas: _Floats, pose: _Pose, face: _Floats) -> None:
        """Blend the face into the canvas, in the square that it can touch."""
        reach = 0.75 * pose.side  # half the diagonal and some
        left, right = max(0, int(pose.x - reach)), min(self._width, int(pose.x + reach))
        top, bottom = max(0, int(pose.y - reach)), min(self._height, int(pose.y + reach))
        middle = self._side / 2
        turn = cv2.getRotationMatrix2D((middle, middle), pose.angle, pose.side / self._side)
        turn[:, 2] += pose.x - middle - left, pose.y - middle - top
        size = (right - left, bottom - top)
        warped = np.asarray(cv2.warpAffine(face, turn, size, borderMode=cv2.BORDER_REPLICATE))
        alpha = np.asarray(cv2.warpAffine(self._mask, turn, size))[..., np.newaxis]
        region = canvas[top:bottom, left:right]
        region += alpha * (warped[..., np.newaxis] * _SKIN - region)

    def _expose(self, canvas: _Floats, seconds: float) -> Image:
        """Light that changes slowly, and a sensor whose noise never repeats from one picture to the next."""
        gain = 1.0 + 0.12 * math.sin(0.21 * seconds + self._seed)
        lit = cv2.convertScaleAbs(canvas, alpha=gain)
        rng = np.random.default_rng((self._seed, round(seconds * 1000)))
        top, left = (int(offset) for offset in rng.integers(0, _NOISE_MARGIN, 2))
        noise = self._noise[top : top + self._height, left : left + self._width]
        return np.asarray(cv2.add(lit, noise, dtype=cv2.CV_8U), np.uint8)


def _oval(side: int) -> _Floats:
    """A soft oval, float32 `[side, side]`, 0..1: all of the face and some hair, without the picture's corners.

    An exponent of 2.5 instead of an ellipse's 2 keeps the jaw: the classifier reads the drawn face as it reads the
    picture itself to within 0.05, where an ellipse costs "disgust" a quarter of its probability.
    """
    axis = np.abs(np.linspace(-1.0, 1.0, side, dtype=np.float32))
    radius = ((axis[np.newaxis, :] / 0.98) ** 2.5 + (axis[:, np.newaxis] / 1.02) ** 2.5) ** (1 / 2.5)
    return np.clip((1.0 - radius) / 0.14, 0.0, 1.0).astype(np.float32)
