import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vire_edge.domain import BoundingBox
from vire_edge.preprocess import FACE_SIZE, crop_face, to_gray


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width), dtype=np.uint8)


def test_a_training_image_comes_back_unchanged() -> None:
    image = noise(FACE_SIZE, FACE_SIZE)
    assert crop_face(image) is image
    assert np.array_equal(crop_face(image, BoundingBox(0, 0, FACE_SIZE, FACE_SIZE)), image)


@given(st.integers(-150, 300), st.integers(-150, 300), st.integers(1, 300))
def test_any_box_that_touches_the_image_becomes_48_by_48(x: int, y: int, side: int) -> None:
    image = noise(200, 250)
    box = BoundingBox(x, y, side, side)
    if x + side <= 0 or y + side <= 0 or x >= 250 or y >= 200:
        with pytest.raises(ValueError, match="lies outside the 250×200 image"):
            crop_face(image, box)
    else:
        face = crop_face(image, box)
        assert face.shape == (FACE_SIZE, FACE_SIZE)
        assert face.dtype == np.uint8


def test_what_lies_outside_the_image_repeats_its_edge() -> None:
    image = np.full((100, 100), 50, dtype=np.uint8)
    assert set(np.unique(crop_face(image, BoundingBox(-30, -30, 96, 96)))) == {50}


def test_colour_becomes_gray_and_gray_stays() -> None:
    colour = np.zeros((4, 4, 3), dtype=np.uint8)
    colour[..., 1] = 200
    gray = to_gray(colour)
    assert gray.shape == (4, 4)
    assert gray[0, 0] == 117  # ITU-R BT.601: green counts 0.587
    assert to_gray(gray) is gray
