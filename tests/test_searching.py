"""What the schedule must never miss, and what it must leave alone, with the real cascade."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from face_scenes import HEIGHT, WIDTH, CountingDetector, Head, Room
from numpy.typing import NDArray

from vire_edge.config import FacesConfig
from vire_edge.domain import BoundingBox, Detection
from vire_edge.searching import EveryFrameSearch, ScheduledSearch, build_search

FOUND_WITHIN_SECONDS = 0.5
START = 1000.0
HEAD = Head()
ASIDE = Head(x=60, y=110, side=60)
Picture = Callable[[float], NDArray[np.uint8]]


class Watch:
    """A search at work: it is shown pictures at a steady rate."""

    def __init__(self, *, fps: float = 10.0, max_faces: int = 16, config: FacesConfig | None = None) -> None:
        self.detector = CountingDetector(config)
        self.search = ScheduledSearch(self.detector, max_faces=max_faces)
        self.interval, self.now = 1 / fps, START

    def see(self, gray: NDArray[np.uint8]) -> list[Detection]:
        found = self.search.find(gray, now=self.now)
        self.now += self.interval
        return found

    def watch(self, picture: Picture, seconds: float) -> list[list[Detection]]:
        """Show what `picture` draws for each second since now."""
        return [self.see(picture(index * self.interval)) for index in range(round(seconds / self.interval))]

    def until_found(self, picture: Callable[[float], tuple[NDArray[np.uint8], Head]], limit: float) -> float:
        """Return after how many seconds the head is found."""
        for index in range(round(limit / self.interval) + 1):
            gray, head = picture(index * self.interval)
            if shows(self.see(gray), head):
                return index * self.interval
        return math.inf

    @property
    def asked(self) -> tuple[int, int]:
        return len(self.detector.searches), self.detector.looks


def shows(found: list[Detection], head: Head) -> bool:
    return any(one.box.iou(head.box) > 0.4 for one in found)


def still(room: Room, *heads: Head) -> Picture:
    return lambda _: room.picture(*heads)


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.mark.parametrize("fps", [10.0, 5.0, 2.5])
@pytest.mark.parametrize(
    "head", [HEAD, ASIDE, Head(250, 150, 130), Head(200, 60, 48)], ids=lambda head: f"{head.side}px"
)
def test_a_face_that_stands_there_at_once_is_found_within_half_a_second(room: Room, head: Head, fps: float) -> None:
    watch = Watch(fps=fps)
    assert not any(watch.watch(still(room), 2.0))
    assert watch.until_found(lambda _: (room.picture(head), head), 2.0) <= FOUND_WITHIN_SECONDS


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.2, 0.3])
def test_a_face_is_found_in_time_while_something_else_never_stands_still(room: Room, offset: float) -> None:
    watch = Watch()

    def curtain(seconds: float) -> float:
        return 250 + 30 * math.sin(4 * seconds)

    watch.watch(lambda t: room.picture(curtain=curtain(t)), 2.0 + offset)
    head = Head(x=140)
    assert watch.until_found(lambda t: (room.picture(head, curtain=curtain(t)), head), 2.0) <= FOUND_WITHIN_SECONDS


def test_a_second_face_is_found_in_time_beside_one_that_is_known(room: Room) -> None:
    watch = Watch()
    second = Head(x=220)
    assert shows(watch.watch(still(room, ASIDE), 2.0)[-1], ASIDE)
    assert watch.until_found(lambda _: (room.picture(ASIDE, second), second), 2.0) <= FOUND_WITHIN_SECONDS
    assert shows(watch.see(room.picture(ASIDE, second)), ASIDE)


def test_a_face_that_fades_in_is_found_as_soon_as_the_full_search_would(room: Room) -> None:
    watch, full = Watch(), EveryFrameSearch(CountingDetector())
    watch.watch(still(room), 1.0)
    visible = found = math.inf
    for index in range(50):
        head = Head(presence=min(1.0, index / 40))
        gray = room.picture(head)
        if shows(list(full.find(gray, now=0.0)), head):
            visible = min(visible, index / 10)
        if shows(watch.see(gray), head):
            found = min(found, index / 10)
    assert found <= visible + FOUND_WITHIN_SECONDS


def test_a_face_that_walks_in_is_found_once_it_is_whole(room: Room) -> None:
    watch = Watch()
    watch.watch(still(room), 1.0)

    def walk(seconds: float) -> tuple[NDArray[np.uint8], Head]:
        head = Head(x=min(-50 + 100 * seconds, 160))
        return room.picture(head), head

    whole_at = (50 + HEAD.side / 2) / 100
    assert watch.until_found(walk, 4.0) <= whole_at + FOUND_WITHIN_SECONDS


@pytest.mark.parametrize("seconds", [1.0, 3.0, 20.0])
def test_a_face_that_was_covered_is_found_again_in_time(room: Room, seconds: float) -> None:
    watch = Watch()
    covered = room.picture(HEAD, cover=HEAD.box.grown(10))
    assert shows(watch.watch(still(room, HEAD), 1.5)[-1], HEAD)
    hidden = watch.watch(lambda _: covered, seconds)
    assert not any(hidden[round(FOUND_WITHIN_SECONDS * 10) :])
    assert watch.until_found(lambda _: (room.picture(HEAD), HEAD), 2.0) <= FOUND_WITHIN_SECONDS


def test_a_face_that_comes_back_elsewhere_is_found_in_time(room: Room) -> None:
    watch = Watch()
    watch.watch(still(room, ASIDE), 1.5)
    gone = watch.watch(still(room), 1.0)
    assert not any(gone[5:])
    elsewhere = Head(x=230)
    assert watch.until_found(lambda _: (room.picture(elsewhere), elsewhere), 2.0) <= FOUND_WITHIN_SECONDS


def test_two_people_who_cross_are_both_there_afterwards(room: Room) -> None:
    watch = Watch()

    def crossing(seconds: float) -> tuple[Head, Head]:
        return Head(x=60 + 55 * seconds, y=100, side=60), Head(x=260 - 55 * seconds, y=150, side=80)

    for index in range(37):
        pair = crossing(index / 10)
        found = watch.see(room.picture(*pair))
    assert all(shows(found, head) for head in pair)
    assert len(found) == 2


@pytest.mark.parametrize(
    "path",
    [
        lambda t: Head(side=60 + 45 * t),
        lambda t: Head(side=150 - 45 * t),
        lambda t: Head(x=160 + 60 * math.sin(5 * t), side=60),
    ],
    ids=["approaches", "walks away", "moves its width in 0.2 s"],
)
def test_a_face_that_moves_is_kept(room: Room, path: Callable[[float], Head]) -> None:
    watch = Watch()
    assert shows(watch.watch(still(room, path(0.0)), 1.0)[-1], path(0.0))
    kept = 0
    for index in range(20):
        head = path(index / 10)
        kept += shows(watch.see(room.picture(head)), head)
    assert kept >= 18


@pytest.mark.parametrize(
    "light",
    [
        lambda t: 1.0 if t % 2 < 1 else 0.5,
        lambda t: 1.0 - 0.06 * t,
        lambda t: 1.0 + 0.15 * (math.floor(3 * t) % 3),
    ],
    ids=["a lamp goes off and on", "dusk", "the camera's exposure"],
)
def test_light_that_changes_loses_nobody_and_lets_the_room_be_searched_no_more_than_movement(
    room: Room, light: Callable[[float], float]
) -> None:
    watch = Watch()
    watch.watch(still(room, HEAD), 1.0)
    seen = watch.watch(lambda t: room.picture(HEAD, light=light(t)), 6.0)
    assert sum(shows(found, HEAD) for found in seen) >= 0.98 * len(seen)
    assert all(len(found) <= 1 for found in seen)
    before = watch.asked
    watch.watch(lambda _: room.picture(HEAD, light=light(6.0)), 4.0)
    searches, looks = watch.asked
    assert searches - before[0] <= 4
    assert looks - before[1] <= 8


@pytest.mark.parametrize("noise", [3.0, 6.0, 10.0])
def test_the_noise_of_a_dim_and_empty_room_is_not_searched(noise: float) -> None:
    room, watch = Room(640, 480, noise=noise), Watch()
    watch.watch(still(room), 1.0)
    before = watch.asked
    watch.watch(still(room), 3.5)
    assert watch.asked == before


def test_a_still_scene_is_searched_as_a_whole_every_half_minute(room: Room) -> None:
    watch = Watch(fps=5.0)
    watch.watch(still(room), 6.0)
    before = watch.detector.whole_searches
    watch.watch(still(room), 60.0)
    assert 2 <= watch.detector.whole_searches - before <= 3


def test_a_still_face_stands_without_the_cascade_and_is_verified_every_two_seconds(room: Room) -> None:
    watch = Watch()
    watch.watch(still(room, HEAD), 1.0)
    before = watch.detector.looks
    seen = watch.watch(still(room, HEAD), 10.0)
    assert all(shows(found, HEAD) for found in seen)
    assert 4 <= watch.detector.looks - before <= 6


def test_a_face_whose_cause_is_gone_is_not_reported_for_long(room: Room) -> None:
    watch = Watch()
    watch.watch(still(room, HEAD), 2.0)
    gone = watch.watch(still(room), 2.0)
    assert not any(gone[5:])


def test_only_the_largest_faces_are_followed_beyond_the_limit(room: Room) -> None:
    watch = Watch(max_faces=1)
    large = Head(x=220, side=110)
    seen = watch.watch(still(room, ASIDE, large), 2.0)
    assert all(len(found) <= 1 for found in seen)
    assert shows(seen[-1], large)


def test_another_resolution_begins_anew(room: Room) -> None:
    watch = Watch()
    watch.watch(still(room, HEAD), 1.0)
    larger = Head(x=320, y=240, side=180)
    assert watch.until_found(lambda _: (Room(640, 480).picture(larger), larger), 1.0) <= FOUND_WITHIN_SECONDS


def test_nothing_is_remembered_over_an_interruption(room: Room) -> None:
    watch = Watch()
    watch.watch(still(room, HEAD), 1.0)
    watch.search.reset()
    assert watch.see(room.picture()) == []
    assert watch.until_found(lambda _: (room.picture(HEAD), HEAD), 1.0) <= FOUND_WITHIN_SECONDS


@pytest.mark.parametrize("gap", [5.0, 300.0, 86_400.0])
def test_a_gap_between_two_frames_leaves_no_face_that_has_gone_and_misses_none_that_has_come(
    room: Room, gap: float
) -> None:
    watch = Watch()
    watch.watch(still(room, ASIDE), 1.5)
    watch.now += gap
    come = Head(x=230)
    assert watch.until_found(lambda _: (room.picture(come), come), 1.0) <= FOUND_WITHIN_SECONDS
    assert not shows(watch.see(room.picture(come)), ASIDE)


def test_wide_frames_give_boxes_in_their_own_pixels() -> None:
    room, watch, head = Room(1920, 1080), Watch(), Head(x=900, y=500, side=400)
    assert watch.until_found(lambda _: (room.picture(head), head), 1.0) <= FOUND_WITHIN_SECONDS


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (24, 24), (39, 90)])
def test_a_frame_without_room_for_a_face_has_none(shape: tuple[int, int]) -> None:
    watch = Watch()
    rng = np.random.default_rng(1)
    for _ in range(6):
        assert watch.see(rng.integers(0, 256, shape, dtype=np.uint8)) == []


def test_irregular_frames_keep_a_face() -> None:
    room, watch, rng = Room(), Watch(), np.random.default_rng(4)
    seen = []
    for _ in range(40):
        watch.interval = float(rng.choice([0.03, 0.1, 0.4, 1.1]))
        seen.append(watch.see(room.picture(HEAD)))
    assert all(shows(found, HEAD) for found in seen[2:])


def test_a_poster_stays_a_face_beside_a_person_who_moves(room: Room) -> None:
    watch = Watch()
    for index in range(40):
        person = Head(x=220 + 20 * math.sin(index / 4))
        found = watch.see(room.picture(ASIDE, person))
        if index > 5:
            assert len(found) == 2
    assert shows(found, ASIDE)


def test_the_configuration_chooses_the_search() -> None:
    detector = CountingDetector()
    assert isinstance(build_search(FacesConfig(), detector), ScheduledSearch)
    every = build_search(FacesConfig(search="every_frame"), detector)
    assert isinstance(every, EveryFrameSearch)
    gray = Room().picture(HEAD)
    assert every.find(gray, now=0.0) == detector.detect(gray)
    every.reset()


def test_no_boxes_of_the_search_lie_outside_the_picture(room: Room) -> None:
    watch = Watch()
    picture = BoundingBox(0, 0, WIDTH, HEIGHT)
    for index in range(30):
        for found in watch.see(room.picture(Head(x=40 - 3 * index, side=80))):
            assert found.box.clipped(picture.width, picture.height) == found.box
