"""Pictures of a room with faces in it that show nobody, and a detector that counts what it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.camera.synthetic import load_expressions
from vire_edge.config import FacesConfig
from vire_edge.domain import BoundingBox, Detection, Emotion
from vire_edge.faces import HaarFaceDetector

WIDTH, HEIGHT = 320, 240


@dataclass(frozen=True)
class Head:
    """A face by the centre and the side of its square, in pixels."""

    x: float = 160
    y: float = 120
    side: float = 90
    presence: float = 1.0
    emotion: Emotion = Emotion.HAPPY

    @property
    def box(self) -> BoundingBox:
        half = self.side / 2
        return BoundingBox(round(self.x - half), round(self.y - half), round(self.side), round(self.side))


class Room:
    """Furniture before a wall, seen by a sensor with noise."""

    def __init__(self, width: int = WIDTH, height: int = HEIGHT, *, noise: float = 3.0) -> None:
        rng = np.random.default_rng(2)
        wall = np.full((height, width), 110, np.float32)
        for _ in range(10):
            left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
            right, bottom = left + int(rng.integers(20, width // 3)), top + int(rng.integers(20, height // 3))
            cv2.rectangle(wall, (left, top), (right, bottom), float(rng.integers(60, 190)), -1)
        self._wall = np.asarray(cv2.GaussianBlur(wall, (0, 0), 1.2), np.float32)
        self._noise = noise
        self._rng = np.random.default_rng(3)

    def picture(
        self,
        *heads: Head,
        light: float | NDArray[np.float32] = 1.0,
        curtain: float | None = None,
        cover: BoundingBox | None = None,
    ) -> NDArray[np.uint8]:
        """Draw the next picture.

        Args:
            heads: who is there, the farthest first.
            light: what the levels are multiplied with.
            curtain: left edge of a dark stripe from top to bottom.
            cover: what something stands before.
        """
        canvas = self._wall.copy()
        if curtain is not None:
            canvas[:, max(0, round(curtain)) : max(0, round(curtain) + 30)] = 40
        for head in heads:
            _draw(canvas, head)
        if cover is not None:
            canvas[cover.y : cover.y + cover.height, cover.x : cover.x + cover.width] = 90
        seen = canvas * light + self._rng.normal(0, self._noise, canvas.shape)
        return np.clip(seen, 0, 255).astype(np.uint8)


class CountingDetector:
    """The real cascade, and how often each of its searches was asked for."""

    def __init__(self, config: FacesConfig | None = None) -> None:
        self._cascade = HaarFaceDetector(config or FacesConfig())
        self.searches: list[list[BoundingBox]] = []
        self.looks = self.whole_searches = 0

    def detect(self, gray: NDArray[np.uint8]) -> Sequence[Detection]:
        self.whole_searches += 1
        return self._cascade.detect(gray)

    def propose(self, gray: NDArray[np.uint8], changed: Sequence[BoundingBox], *, again: bool) -> Iterable[Detection]:
        self.searches.append(list(changed))
        return self._cascade.propose(gray, changed, again=again)

    def look(self, gray: NDArray[np.uint8], expected: Detection, *, reach: float, known: bool) -> Detection | None:
        self.looks += 1
        return self._cascade.look(gray, expected, reach=reach, known=known)


def _draw(canvas: NDArray[np.float32], head: Head) -> None:
    face = load_expressions()[head.emotion].astype(np.float32)
    side = face.shape[0]
    placed = np.array(
        [[head.side / side, 0, head.x - head.side / 2], [0, head.side / side, head.y - head.side / 2]], np.float32
    )
    oval = np.zeros_like(face)
    cv2.ellipse(oval, (side // 2, side // 2), (round(0.49 * side), round(0.51 * side)), 0, 0, 360, head.presence, -1)
    size = (canvas.shape[1], canvas.shape[0])
    share = cv2.warpAffine(cv2.GaussianBlur(oval, (0, 0), side / 40), placed, size, flags=cv2.INTER_AREA)
    shown = cv2.warpAffine(face, placed, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    canvas += share * (shown - canvas)
