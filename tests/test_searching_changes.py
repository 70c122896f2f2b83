from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vire_edge.domain import BoundingBox
from vire_edge.searching.changes import Changes
from vire_edge.searching.patch import REACH, Patch

SHAPE = (240, 320)
WHOLE = BoundingBox(0, 0, 320, 240)
SPOT = BoundingBox(120, 80, 60, 60)


def textured(seed: int = 0, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint8]:
    """Structure everywhere, coarse enough for cells to show it."""
    small = np.random.default_rng(seed).integers(60, 190, (shape[0] // 12, shape[1] // 12), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.uint8)


def with_spot(gray: NDArray[np.uint8], box: BoundingBox = SPOT, share: float = 1.0) -> NDArray[np.uint8]:
    """Show something else inside a box, as a share of what is there."""
    there = np.s_[box.y : box.y + box.height, box.x : box.x + box.width]
    changed = gray.copy()
    changed[there] = (1 - share) * gray[there] + share * textured(9, gray.shape)[there]
    return changed


def searched(gray: NDArray[np.uint8]) -> Changes:
    """Return what has seen a picture, and searched it as often as it wants."""
    changes = Changes((gray.shape[0], gray.shape[1]))
    changes.take(gray)
    while changes.unsearched(()):
        changes.searched()
    return changes


def covers(area: BoundingBox, box: BoundingBox) -> bool:
    return area.around(box) == area


def test_everything_is_searched_at_first() -> None:
    changes = Changes(SHAPE)
    changes.take(textured())
    assert changes.unsearched(()) == [WHOLE]


def test_the_same_picture_is_no_change() -> None:
    changes = searched(textured())
    changes.take(textured())
    assert not changes.any
    assert changes.unsearched(()) == []


def test_a_change_is_searched_where_it_is_and_twice() -> None:
    changes = searched(textured())
    changes.take(with_spot(textured()))
    for _ in range(2):
        (area,) = changes.unsearched(())
        assert covers(SPOT.grown(16), area)
        assert covers(area, SPOT.grown(-8))
        changes.searched()
    assert changes.unsearched(()) == []


def test_what_changed_before_a_search_is_searched_although_it_is_still_by_now() -> None:
    changes = searched(textured())
    changes.take(with_spot(textured()))
    changes.take(with_spot(textured()))
    assert not changes.any
    assert len(changes.unsearched(())) == 1


def test_two_changes_far_from_each_other_are_two_parts() -> None:
    other = BoundingBox(10, 170, 50, 50)
    changes = searched(textured())
    changes.take(with_spot(with_spot(textured()), other))
    assert len(changes.unsearched(())) == 2


def test_what_is_looked_after_is_left_out() -> None:
    changes = searched(textured())
    changes.take(with_spot(textured()))
    assert changes.unsearched([SPOT.grown(20)]) == []
    assert len(changes.unsearched(())) == 1


def test_a_change_touches_a_box_only_where_it_is() -> None:
    changes = searched(textured())
    changes.take(with_spot(textured()))
    assert changes.touch(SPOT)
    assert not changes.touch(BoundingBox(260, 180, 50, 50))


@pytest.mark.parametrize("gain", [0.85, 1.15])
def test_light_is_no_change(gain: float) -> None:
    wall = np.full(SHAPE, 110, np.uint8)
    changes = searched(wall)
    changes.take(np.asarray(wall * gain, np.uint8))
    assert not changes.any


def test_a_change_that_creeps_adds_up_until_it_counts() -> None:
    changes = searched(textured())
    counted = []
    for step in range(1, 41):
        changes.take(with_spot(textured(), share=step / 400))
        counted.append(changes.touch(SPOT))
    assert not any(counted[:5])
    assert any(counted)


def test_a_speck_is_not_searched() -> None:
    changes = searched(textured())
    changes.take(with_spot(textured(), BoundingBox(200, 100, 4, 4)))
    assert changes.unsearched(()) == []


@pytest.mark.parametrize("noise", [3, 10])
def test_noise_is_no_change(noise: float) -> None:
    rng = np.random.default_rng(1)
    scene = textured(shape=(480, 640)).astype(np.float32)

    def noisy() -> NDArray[np.uint8]:
        return np.clip(scene + rng.normal(0, noise, scene.shape), 0, 255).astype(np.uint8)

    changes = searched(noisy())
    for _ in range(30):
        changes.take(noisy())
        assert not changes.any


def test_a_box_is_searched_again_on_request() -> None:
    changes = searched(textured())
    changes.search_again(SPOT)
    (area,) = changes.unsearched(())
    assert covers(area, SPOT)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (79, 81), (1080, 1920)])
def test_pictures_of_any_shape_are_compared_to_their_edges(shape: tuple[int, int]) -> None:
    gray = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    changes = searched(gray)
    changes.take(gray)
    assert not changes.any
    assert changes.shape == shape
    assert not changes.touch(BoundingBox(-10, -10, 5, 5))
    changes.search_again(BoundingBox(0, 0, shape[1], shape[0]))
    assert all(area.clipped(shape[1], shape[0]).area > 0 for area in changes.unsearched(()))


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (12, -9), (-14, 14)])
def test_a_patch_is_found_where_it_has_moved_to(dx: int, dy: int) -> None:
    gray = textured()
    patch = Patch.cut(gray, SPOT)
    assert patch is not None
    found = patch.find(np.roll(gray, (dy, dx), (0, 1)), SPOT)
    assert found is not None
    assert (found.width, found.height) == (SPOT.width, SPOT.height)
    assert abs(found.x - SPOT.x - dx) <= 3
    assert abs(found.y - SPOT.y - dy) <= 3


def test_a_patch_is_not_found_where_something_else_is() -> None:
    patch = Patch.cut(textured(), SPOT)
    assert patch is not None
    assert patch.find(textured(5), SPOT) is None
    assert patch.find(np.full(SHAPE, 90, np.uint8), SPOT) is None


def test_a_patch_is_not_looked_for_farther_than_it_reaches() -> None:
    gray = textured()
    patch = Patch.cut(gray, SPOT)
    assert patch is not None
    assert patch.find(np.roll(gray, round(3 * REACH * SPOT.width), 1), SPOT) is None


@pytest.mark.parametrize("gain", [0.6, 1.3])
def test_a_patch_is_itself_in_another_light(gain: float) -> None:
    gray = textured() // 2 + 30
    patch = Patch.cut(gray, SPOT)
    assert patch is not None
    found = patch.find(np.asarray(gray * gain, np.uint8), SPOT)
    assert found is not None
    assert found.iou(SPOT) > 0.9


@pytest.mark.parametrize(
    "box", [BoundingBox(-5, 10, 50, 50), BoundingBox(300, 10, 50, 50), BoundingBox(10, 200, 50, 50)]
)
def test_what_is_not_whole_inside_the_picture_is_no_patch(box: BoundingBox) -> None:
    assert Patch.cut(textured(), box) is None


def test_a_patch_that_has_left_the_picture_is_not_found() -> None:
    patch = Patch.cut(textured(), SPOT)
    assert patch is not None
    assert patch.find(textured(), BoundingBox(310, 230, SPOT.width, SPOT.height)) is None
