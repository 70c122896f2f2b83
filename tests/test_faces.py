from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vire_edge.config import FacesConfig
from vire_edge.domain import BoundingBox, Detection, FaceView
from vire_edge.faces import HaarFaceDetector
from vire_edge.preprocess import to_gray

CLIPS = Path(__file__).parents[2] / "shared" / "data" / "video"


def frames(name: str) -> list[NDArray[np.uint8]]:
    clip = cv2.VideoCapture(str(CLIPS / name))
    found: list[NDArray[np.uint8]] = []
    while True:
        ok, image = clip.read()
        if not ok:
            return found
        found.append(to_gray(np.asarray(image, dtype=np.uint8)))


@pytest.fixture(scope="module")
def man() -> list[NDArray[np.uint8]]:
    return frames("head-pose-face-detection-male.gif")


def test_the_face_of_a_real_clip_is_found_in_every_frame_and_nothing_else(man: list[NDArray[np.uint8]]) -> None:
    detector = HaarFaceDetector(FacesConfig())
    counts = [len(detector.detect(gray)) for gray in man[::4]]
    assert counts == [1] * len(counts)


def test_boxes_are_in_the_pixels_of_the_frame_whatever_is_searched(man: list[NDArray[np.uint8]]) -> None:
    large = np.asarray(cv2.resize(man[0], None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    (box,) = (found.box for found in HaarFaceDetector(FacesConfig()).detect(man[0]))
    (scaled,) = (found.box for found in HaarFaceDetector(FacesConfig(search_width=480)).detect(large))
    assert scaled.width / 3 == pytest.approx(box.width, rel=0.2)
    assert scaled.center[0] / 3 == pytest.approx(box.center[0], rel=0.1)


def test_an_empty_wall_has_no_face() -> None:
    noise = np.random.default_rng(1).integers(90, 110, (480, 640), dtype=np.uint8)
    assert HaarFaceDetector(FacesConfig(profile=True)).detect(noise) == []


def test_the_profile_search_finds_both_sides_once_each() -> None:
    woman = frames("head-pose-face-detection-female.gif")
    frontal, both = HaarFaceDetector(FacesConfig()), HaarFaceDetector(FacesConfig(profile=True))
    views: set[FaceView] = set()
    for gray in woman:
        found = both.detect(gray)
        assert len(found) >= len(frontal.detect(gray))
        for one in found:
            assert all(one is other or one.box.iou(other.box) < 0.3 for other in found)
        views |= {one.view for one in found}
        mirrored = {one.view for one in both.detect(np.ascontiguousarray(gray[:, ::-1]))}
        views |= mirrored
    assert views == {FaceView.FRONTAL, FaceView.LEFT_PROFILE, FaceView.RIGHT_PROFILE}


def test_a_face_is_proposed_where_the_picture_changed_and_on_both_grids(man: list[NDArray[np.uint8]]) -> None:
    detector = HaarFaceDetector(FacesConfig())
    (face,) = detector.detect(man[0])
    for again in (False, True):
        proposed = detector.propose(man[0], [face.box], again=again)
        assert any(one.box.iou(face.box) > 0.4 for one in proposed)
        assert list(detector.propose(man[0], [], again=again)) == []


def test_proposals_of_a_changed_corner_lie_about_it(man: list[NDArray[np.uint8]]) -> None:
    detector = HaarFaceDetector(FacesConfig(min_size_pixels=90))
    (face,) = detector.detect(man[0])
    far = BoundingBox(0, 230, 10, 10)
    assert face.box.iou(far.grown(100)) == 0
    assert all(one.box.iou(face.box) < 0.3 for one in detector.propose(man[0], [far], again=False))


@pytest.mark.parametrize("known", [False, True])
def test_a_face_is_seen_about_where_it_is_expected(man: list[NDArray[np.uint8]], known: bool) -> None:
    detector = HaarFaceDetector(FacesConfig())
    (face,) = detector.detect(man[0])
    box = face.box
    shifted = Detection(BoundingBox(box.x + box.width // 8, box.y - box.height // 8, box.width, box.height))
    found = detector.look(man[0], shifted, reach=0.25, known=known)
    assert found is not None
    assert found.box.iou(box) > 0.7


def test_no_face_is_seen_where_none_is_or_reaches_to(man: list[NDArray[np.uint8]]) -> None:
    detector = HaarFaceDetector(FacesConfig())
    (face,) = detector.detect(man[0])
    elsewhere = BoundingBox(5, 150, face.box.width, face.box.height)
    assert detector.look(man[0], Detection(elsewhere), reach=0.25, known=True) is None
    outside = BoundingBox(-300, -300, face.box.width, face.box.height)
    assert detector.look(man[0], Detection(outside), reach=0.25, known=True) is None
