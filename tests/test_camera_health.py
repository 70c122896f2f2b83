from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from vire_edge.camera.health import FrameWatch, Verdict
from vire_edge.camera.source import Image
from vire_edge.domain import CameraStatus, Instant

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> Instant:
    return Instant(1000.0 + seconds, START + timedelta(seconds=seconds))


def room(noise: int = 0) -> Image:
    picture = np.full((48, 64, 3), 128, np.uint8)
    picture[0, 0, 0] = noise
    return picture


def status_of(watch: FrameWatch) -> CameraStatus:
    return watch.state.status


BLACK = np.full((48, 64, 3), 5, np.uint8)


def watch(*, live: bool = True) -> FrameWatch:
    return FrameWatch("hall", live=live, stall_seconds=10, dark_seconds=10, now=at(0))


def see(watch: FrameWatch, image: Image, seconds: float, *, key_picture: bool = True) -> Verdict:
    return watch.saw(image, at(seconds), key_picture=key_picture)


def test_begins_as_reconnecting_and_is_online_with_the_first_picture() -> None:
    hall = watch()
    assert status_of(hall) is CameraStatus.RECONNECTING
    assert see(hall, room(), 1) is Verdict.HAND_ON
    assert status_of(hall) is CameraStatus.ONLINE
    assert hall.state.since == at(1).utc


def test_since_changes_with_the_status_only() -> None:
    hall = watch()
    hall.failed("unplugged", at(5))
    assert (hall.state.since, hall.state.reason) == (at(0).utc, "unplugged")
    hall.failed("busy", at(6))
    assert (hall.state.since, hall.state.reason) == (at(0).utc, "busy")
    see(hall, room(1), 7)
    see(hall, room(2), 8)
    assert hall.state.since == at(7).utc


def test_pictures_that_differ_in_one_pixel_are_no_stall() -> None:
    hall = watch()
    for second in range(30):
        picture = room()
        picture[17, 33, 1] += second  # away from the sampled grid
        assert see(hall, picture, second) is Verdict.HAND_ON
    assert status_of(hall) is CameraStatus.ONLINE


def test_one_picture_repeated_for_stall_seconds_is_a_stall_and_asks_for_reopening() -> None:
    hall = watch()
    assert {see(hall, room(), second) for second in range(10)} == {Verdict.HAND_ON}
    assert see(hall, room(), 10) is Verdict.REOPEN
    assert status_of(hall) is CameraStatus.STALLED
    assert hall.state.reason == "the same picture for 10 s"


def test_a_frozen_camera_stays_stalled_over_reopening_until_it_shows_something_new() -> None:
    hall = watch()
    for second in range(11):
        see(hall, room(), second)
    assert see(hall, room(), 12) is Verdict.WITHHOLD
    hall.failed("busy", at(13))
    assert see(hall, room(), 14) is Verdict.WITHHOLD
    assert status_of(hall) is CameraStatus.STALLED
    assert see(hall, room(), 23) is Verdict.WITHHOLD
    assert see(hall, room(), 24) is Verdict.REOPEN
    assert see(hall, room(), 60) is Verdict.WITHHOLD  # opened anew, it may begin with an old picture
    assert see(hall, room(1), 61) is Verdict.HAND_ON
    assert status_of(hall) is CameraStatus.ONLINE


def test_a_frozen_camera_that_begins_with_black_pictures_is_not_online_for_them() -> None:
    hall = watch()
    for second in range(11):
        see(hall, room(), second)
    assert see(hall, BLACK, 12) is Verdict.WITHHOLD
    assert status_of(hall) is CameraStatus.STALLED


def test_a_file_may_stand_still() -> None:
    film = watch(live=False)
    assert {see(film, room(), second) for second in range(60)} == {Verdict.HAND_ON}


def test_an_encoder_that_skips_still_pictures_is_no_stall_until_a_key_picture_repeats_too() -> None:
    stream = watch()
    see(stream, room(), 0)
    assert {see(stream, room(), second, key_picture=False) for second in range(1, 40)} == {Verdict.HAND_ON}
    assert see(stream, room(), 40, key_picture=True) is Verdict.REOPEN


@pytest.mark.parametrize("black", [BLACK, BLACK[..., 0]])
def test_black_pictures_become_dark_and_are_handed_on_and_are_no_stall(black: Image) -> None:
    hall = watch()
    assert {see(hall, black, second) for second in range(30)} == {Verdict.HAND_ON}
    assert status_of(hall) is CameraStatus.DARK
    assert hall.state.since == at(10).utc


def test_a_lit_television_in_a_dark_room_is_not_dark() -> None:
    hall = watch()
    picture = BLACK.copy()
    picture[8:17, 8:17] = 200
    for second in range(30):
        picture[8, 8, 0] = 100 + second
        see(hall, picture.copy(), second)
    assert status_of(hall) is CameraStatus.ONLINE


def test_lasting_light_ends_the_dark_and_passing_headlights_do_not() -> None:
    hall = watch()
    for second in range(11):
        see(hall, BLACK, second)
    see(hall, room(1), 11.0)
    see(hall, BLACK, 11.5)
    see(hall, room(2), 12.0)
    assert status_of(hall) is CameraStatus.DARK
    see(hall, room(3), 13.0)
    assert status_of(hall) is CameraStatus.ONLINE


def test_a_change_of_size_or_colour_is_a_new_picture() -> None:
    hall = watch()
    for second in range(9):
        see(hall, room(), second)
    assert see(hall, np.full((24, 32, 3), 128, np.uint8), 9) is Verdict.HAND_ON
    assert see(hall, np.full((24, 32), 128, np.uint8), 15) is Verdict.HAND_ON
    assert status_of(hall) is CameraStatus.ONLINE


def test_blocked_and_disabled_say_why() -> None:
    hall = watch()
    hall.blocked(10, at(10))
    assert (hall.state.status, hall.state.reason) == (CameraStatus.STALLED, "no picture for 10 s")
    hall.disabled("paused", at(11))
    assert (hall.state.status, hall.state.reason) == (CameraStatus.DISABLED, "paused")
    hall.opening(at(12))
    assert status_of(hall) is CameraStatus.RECONNECTING


def test_the_dark_counts_anew_after_an_interruption() -> None:
    hall = watch()
    for second in range(9):
        see(hall, BLACK, second)
    hall.failed("unplugged", at(9))
    see(hall, BLACK, 12)
    assert status_of(hall) is CameraStatus.ONLINE
