"""The schedule against the full search of each frame: on people, and on the actor, who tells where its faces are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_scenes import CountingDetector, Head, Room
from numpy.typing import NDArray

from vire_edge.camera import Script, SyntheticSource
from vire_edge.config import FacesConfig
from vire_edge.domain import BoundingBox, Detection, Emotion
from vire_edge.faces import HaarFaceDetector
from vire_edge.preprocess import to_gray
from vire_edge.searching import ScheduledSearch

CLIPS = Path(__file__).parents[2] / "shared" / "data" / "video"
PEOPLE = ("head-pose-face-detection-male.gif", "face-demographics-walking-and-pause.gif")
LEAST_RECALL = 0.98
FPS = 12.5
PLAY = Script.solo((4.0, Emotion.HAPPY), (2.0, Emotion.SURPRISE), (3.0, None), (4.0, Emotion.SAD))


def clip(name: str) -> Iterator[NDArray[np.uint8]]:
    video = cv2.VideoCapture(str(CLIPS / name))
    while True:
        ok, image = video.read()
        if not ok:
            return
        yield to_gray(np.asarray(image, np.uint8))


def same(one: Detection, other: BoundingBox) -> bool:
    return one.box.iou(other) >= 0.5


def scheduled(frames: Sequence[NDArray[np.uint8]], fps: float) -> list[list[Detection]]:
    search = ScheduledSearch(HaarFaceDetector(FacesConfig()), max_faces=16)
    return [search.find(gray, now=index / fps) for index, gray in enumerate(frames)]


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the clips are not on this machine")
def test_of_real_people_the_schedule_finds_what_the_full_search_finds_and_nobody_else() -> None:
    full = HaarFaceDetector(FacesConfig())
    wanted = found = 0
    for name in PEOPLE:
        frames = list(clip(name))
        reference = [full.detect(gray) for gray in frames]
        seen = scheduled(frames, FPS)
        for index, (faces, theirs) in enumerate(zip(seen, reference, strict=True)):
            wanted += len(theirs)
            found += sum(any(same(face, one.box) for face in faces) for one in theirs)
            around = [one for near in reference[max(0, index - 6) : index + 7] for one in near]
            assert all(any(face.box.iou(one.box) > 0.3 for one in around) for face in faces)
    assert wanted > 100
    assert found >= LEAST_RECALL * wanted


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the clips are not on this machine")
def test_a_woman_who_looks_away_for_a_moment_is_found_as_soon_as_the_full_search_finds_her() -> None:
    full = HaarFaceDetector(FacesConfig())
    frames = list(clip("head-pose-face-detection-female.gif"))
    reference = [full.detect(gray) for gray in frames]
    assert [] in reference[1:]  # not even the full search finds her all the time
    for faces, theirs in zip(scheduled(frames, FPS), reference, strict=True):
        assert all(any(same(face, one.box) for face in faces) for one in theirs)


def test_of_the_actor_the_schedule_finds_what_the_full_search_finds_and_nothing_else() -> None:
    actor = SyntheticSource(PLAY, width=320, height=240)
    times = [index / 10 for index in range(round(PLAY.seconds * 10))]
    frames = [to_gray(actor.image_at(seconds)) for seconds in times]
    full = HaarFaceDetector(FacesConfig())
    wanted = found = 0
    for seconds, gray, faces in zip(times, frames, scheduled(frames, 10.0), strict=True):
        theirs = full.detect(gray)
        wanted += len(theirs)
        found += sum(any(same(face, one.box) for face in faces) for one in theirs)
        shown = [face.box for lag in (0.0, 0.2, 0.4) for face in actor.faces_at(max(0.0, seconds - lag))]
        assert all(any(face.box.iou(box) > 0.3 for box in shown) for face in faces)
    assert wanted > 80
    assert found >= LEAST_RECALL * wanted


def test_a_false_hit_that_flickers_is_not_held_longer_than_the_full_search_reports_it() -> None:
    """Something that is a face in every third frame only, as noise makes it, is never trusted."""
    room, head = Room(), Head()
    detector = CountingDetector()
    search = ScheduledSearch(detector, max_faces=16)
    pictures = [room.picture() if index % 3 else room.picture(head) for index in range(40)]
    reported = [bool(search.find(gray, now=index / 10)) for index, gray in enumerate(pictures)]
    assert not any(found for index, found in enumerate(reported) if index % 3)
    assert any(reported[::3])


def test_both_sides_of_a_head_are_found_and_kept_when_profiles_are_searched() -> None:
    if not CLIPS.is_dir():
        pytest.skip("the clips are not on this machine")
    config = FacesConfig(profile=True)
    full, detector = HaarFaceDetector(config), HaarFaceDetector(config)
    frames = list(clip("head-pose-face-detection-female.gif"))[:30]
    for mirrored in (False, True):
        search = ScheduledSearch(detector, max_faces=16)
        wanted = found = 0
        for index, frame in enumerate(frames):
            gray = np.ascontiguousarray(frame[:, ::-1]) if mirrored else frame
            theirs, faces = full.detect(gray), search.find(gray, now=index / FPS)
            wanted += len(theirs)
            found += sum(any(face.box.iou(one.box) > 0.3 for face in faces) for one in theirs)
        assert wanted > 20
        assert found >= 0.9 * wanted
