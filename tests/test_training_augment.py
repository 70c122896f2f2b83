from __future__ import annotations

from dataclasses import replace

import numpy as np
from fer2013_samples import patterns
from numpy.typing import NDArray

from vire_edge.training.data.augment import NONE, PUBLISHED, Augmentation, augment
from vire_edge.training.data.batches import Batches, class_weights, mix
from vire_edge.training.data.dataset import Faces
from vire_edge.training.recipes import Recipe

IMAGES, LABELS = patterns(5, 4)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_no_augmentation_leaves_images_as_they_are() -> None:
    assert np.array_equal(augment(IMAGES, NONE, rng()), IMAGES)


def test_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    first = augment(IMAGES, PUBLISHED, rng())
    assert np.array_equal(first, augment(IMAGES, PUBLISHED, rng()))
    assert not np.array_equal(first, augment(IMAGES, PUBLISHED, np.random.default_rng(1)))
    assert first.shape == IMAGES.shape
    assert first.dtype == np.uint8


def test_flip_alone_mirrors_about_half_of_the_images_exactly() -> None:
    many = np.tile(IMAGES, (10, 1, 1))
    flipped = augment(many, Augmentation(flip=True), rng())
    mirrored = (flipped == many[:, :, ::-1]).all(axis=(1, 2))
    kept = (flipped == many).all(axis=(1, 2))
    assert (mirrored | kept).all()
    assert 0.4 < mirrored.mean() < 0.6


def test_shift_moves_by_at_most_its_share_and_repeats_the_edge() -> None:
    image = np.zeros((200, 48, 48), np.uint8)
    image[:, :, 24:] = 240
    edges = (augment(image, Augmentation(shift=0.1), rng()) < 120).sum(axis=2)
    assert edges.min() >= 24 - 5
    assert edges.max() <= 24 + 5
    assert edges.std() > 1


def test_shear_slants_by_at_most_its_slope_about_the_middle() -> None:
    image = np.zeros((200, 48, 48), np.uint8)
    image[:, :, 24:] = 240
    moved = (augment(image, Augmentation(shear=0.2), rng()) < 120).sum(axis=2) - 24
    assert 4 <= np.abs(moved).max() <= 0.2 * 23.5 + 0.5
    assert np.abs(moved[:, 23:25]).max() <= 1
    assert np.abs(moved[:, 0] + moved[:, -1]).max() <= 1, "the two ends go apart"


def test_rotation_keeps_the_middle_in_place() -> None:
    image = np.zeros((50, 49, 49), np.uint8)
    image[:, 24, 24] = 255
    turned = augment(image, Augmentation(rotation_degrees=45), rng())
    assert (turned[:, 24, 24] > 200).all()


def test_brightness_and_contrast_stay_inside_the_range() -> None:
    changed = augment(IMAGES, Augmentation(contrast=0.9, brightness=0.5), rng())
    assert changed.dtype == np.uint8
    assert changed.mean(axis=(1, 2)).std() > IMAGES.mean(axis=(1, 2)).std()


def batches(**changes: object) -> Batches:
    votes = changes.pop("votes_on_images", None)
    recipe = Recipe(0.1, batch_size=8, epochs=10, initializer="he_normal", augmentation=PUBLISHED)
    faces = Faces(IMAGES, np.array(LABELS), votes)  # type: ignore[arg-type]
    teacher = changes.pop("teacher", None)
    return Batches(faces, replace(recipe, **changes), seed=1, teacher=teacher)  # type: ignore[arg-type]


def test_an_epoch_gives_every_face_once_in_another_order_each_time() -> None:
    plain = batches(augmentation=NONE)
    orders = []
    for epoch in range(2):
        plain.epoch = epoch
        assert len(plain) == 4
        images = np.concatenate([plain[index][0][..., 0] for index in range(4)])
        assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in IMAGES)
        orders.append(images)
    assert not np.array_equal(orders[0], orders[1])


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    late, straight = batches(), batches()
    late.epoch = straight.epoch = 3
    later = late[2]
    for index in range(2):
        straight[index]
    for ours, theirs in zip(later, straight[2], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_labels_are_one_hot_and_weights_favour_the_rare() -> None:
    labels = np.repeat(np.arange(7), [400, 4, 400, 700, 500, 300, 500])
    weights = class_weights(labels, 0.5)
    assert np.isclose(weights[labels].mean(), 1.0)
    assert np.isclose(weights[1] / weights[0], 10.0)
    assert class_weights(labels, 0.0).tolist() == [1.0] * 7
    images, one_hot, _ = batches()[0]
    assert images.shape == (8, 48, 48, 1)
    assert one_hot.sum(axis=1).tolist() == [1.0] * 8


def test_settings_that_change_nothing_are_known_as_such() -> None:
    assert NONE.changes_nothing
    assert not replace(NONE, flip=True).changes_nothing


def test_scale_alone_keeps_a_square_square() -> None:
    images = np.zeros((60, 48, 48), np.uint8)
    images[:, 16:32, 16:32] = 255
    scaled = augment(images, Augmentation(scale=0.3), rng())
    heights, widths = ((scaled > 127).any(axis=axis).sum(axis=1) for axis in (2, 1))
    assert np.abs(heights - widths).max() <= 1
    assert heights.min() < 14
    assert 18 < heights.max() <= 16 * 1.3 + 1


def test_zoom_stretches_and_squeezes_each_direction_apart() -> None:
    images = np.zeros((200, 48, 48), np.uint8)
    images[:, 16:32, 16:32] = 255
    zoomed = augment(images, Augmentation(zoom=0.3), rng())
    heights, widths = ((zoomed > 127).any(axis=axis).sum(axis=1) for axis in (2, 1))
    for sides in (heights, widths):
        assert 16 * 0.7 - 1 <= sides.min() <= 12
        assert 20 <= sides.max() <= 16 * 1.3 + 1
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.3


def test_erasing_puts_one_rectangle_into_its_share_of_the_faces() -> None:
    plain = np.full((400, 48, 48), 100, np.uint8)
    erased = augment(plain, Augmentation(erasing=0.5), rng()) != 100
    touched = erased.any(axis=(1, 2))
    assert 0.4 < touched.mean() < 0.6
    boxes = erased[touched].any(axis=1).sum(axis=1) * erased[touched].any(axis=2).sum(axis=1) / 48**2
    assert 0.02 < boxes.min() < boxes.max() < 0.23
    assert plain.min() == 100


def test_halved_changes_are_half_as_far_and_whole() -> None:
    halved = Augmentation(rotation_degrees=12, scale=0.2, flip=True, erasing=0.5).halved()
    assert halved == Augmentation(rotation_degrees=6, scale=0.1, flip=True)
    assert NONE.halved().changes_nothing


def test_mixed_faces_have_mixed_targets() -> None:
    one_hot = np.eye(7, dtype=np.float32)[LABELS]
    images = np.repeat(np.array(LABELS, np.uint8) * 40, 48 * 48).reshape(-1, 48, 48)
    mixed, targets, weights = mix(images, one_hot, np.ones(len(LABELS), np.float32), 1.0, rng())
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed[:, 0, 0], targets @ np.arange(7) * 40, atol=0.51)
    assert (targets.max(axis=1) < 0.999).any()
    np.testing.assert_allclose(weights, 1, atol=1e-6)
    assert mixed.dtype == np.uint8


def test_as_much_is_learnt_of_a_weighty_face_mixed_as_alone() -> None:
    one_hot, weights = np.eye(7, dtype=np.float32)[LABELS], np.arange(1, 8, dtype=np.float32)[LABELS]
    _, targets, mixed = mix(np.zeros((len(LABELS), 48, 48), np.uint8), one_hot, weights, 1.0, rng())
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    # Over the batch each class has what its faces weigh, whichever they were laid over.
    np.testing.assert_allclose(mixed @ targets, weights @ one_hot, rtol=1e-5)


def test_votes_soften_the_labels_until_the_calm_end() -> None:
    votes = np.full((len(IMAGES), 7), 1 / 7, np.float32)
    soft = batches(votes_on_images=votes, votes=0.3, calm=0.2)
    soft.epoch = 7
    assert np.allclose(soft[0][1].max(axis=1), 0.7 + 0.3 / 7)
    soft.epoch = 8
    assert (soft[0][1].max(axis=1) == 1).all()


def test_half_of_the_batches_are_mixed_and_none_at_the_calm_end() -> None:
    def mixed(epoch: int) -> int:
        plain.epoch = epoch
        return sum(bool((plain[index][1].max(axis=1) < 1).any()) for index in range(len(plain)))

    plain = batches(batch_size=2, mixup=1.0, calm=0.2)
    counts = [mixed(epoch) for epoch in range(10)]
    assert 0.2 < sum(counts[:8]) / (8 * len(plain)) < 0.6
    assert counts[8:] == [0, 0]


def test_teachers_share_the_target_and_see_the_faces_as_they_are_shown() -> None:
    seen: list[NDArray[np.uint8]] = []

    def teacher(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(faces)
        return np.full((len(faces), 7), 1 / 7, np.float32)

    images, targets, _ = batches(teacher=teacher, distillation=0.6)[0]
    np.testing.assert_array_equal(seen[0], images[..., 0])
    np.testing.assert_allclose(targets.max(axis=1), 0.4 + 0.6 / 7, rtol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
