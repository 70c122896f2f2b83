import cv2
import numpy as np
from numpy.typing import NDArray

from vire_edge.config import QualityConfig
from vire_edge.domain import BoundingBox
from vire_edge.quality import Flaw, find_flaw

LIMITS = QualityConfig()
BOX = BoundingBox(0, 0, 100, 100)


def textured(mean: float = 128, deviation: float = 50) -> NDArray[np.uint8]:
    values = np.random.default_rng(1).normal(mean, deviation, (48, 48))
    return np.clip(values, 0, 255).astype(np.uint8)


def test_a_good_face_has_no_flaw() -> None:
    assert find_flaw(textured(), BOX, LIMITS) is None


def test_each_flaw_is_named() -> None:
    blurred = cv2.GaussianBlur(cv2.resize(textured()[:6, :6], (48, 48)), (0, 0), 6).astype(np.uint8)
    stretched = np.clip((blurred.astype(float) - blurred.mean()) * 3 + 128, 0, 255).astype(np.uint8)
    assert find_flaw(textured(), BoundingBox(0, 0, 20, 20), LIMITS) is Flaw.TOO_SMALL
    assert find_flaw(textured(mean=5, deviation=3), BOX, LIMITS) is Flaw.TOO_DARK
    assert find_flaw(textured(deviation=3), BOX, LIMITS) is Flaw.TOO_FLAT
    assert find_flaw(stretched, BOX, LIMITS) is Flaw.TOO_BLURRED
