"""A pipeline that fails costs frames, is begun anew, and lets nobody be taken for absent."""

from __future__ import annotations

import numpy as np
from rooms import ONLINE, PAUSED, PICTURE, Room

from vire_edge.daemon.analysis import STANDSTILL_SECONDS
from vire_edge.domain import EpisodeChange


def test_a_frame_that_fails_costs_that_frame_alone() -> None:
    room = Room()
    assert all(room.look(5))
    room.classifiers[0].broken = True
    assert room.look() == [False]
    assert not room.analysis.in_trouble
    room.classifiers[0].broken = False
    assert all(room.look(5))
    assert room.analysis.complaint(room.now) == ""


def test_lasting_failure_is_trouble_and_in_the_end_a_standstill() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look(3)
    assert room.analysis.in_trouble
    assert room.analysis.complaint(room.now) == ""
    room.look(round(STANDSTILL_SECONDS / 0.1) + 1)
    assert "has failed on 104 frames" in room.analysis.complaint(room.now)


def test_a_restart_builds_the_pipeline_anew_and_keeps_the_alerts() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look(200)
    room.analysis.restart()
    assert room.analysis.complaint(room.now) == ""
    assert all(room.look(5))
    assert len(room.classifiers) == 2
    assert not room.analysis.in_trouble


def test_nobody_is_absent_while_no_face_can_be_judged() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look(3)
    for _ in range(60):
        room.now += 1.0
        assert not room.analysis.check_camera(ONLINE, now=room.instant)
    room.classifiers[0].broken = False
    assert room.look(1, np.zeros_like(PICTURE)) == [True]
    assert not room.analysis.check_camera(ONLINE, now=room.instant)


def test_an_empty_room_is_still_noticed() -> None:
    room = Room()
    room.look(5)
    changes = []
    for _ in range(60):
        room.now += 1.0
        changes += [event.change for event in room.analysis.check_camera(ONLINE, now=room.instant)]
    assert changes == [EpisodeChange.STARTED]


def test_one_camera_whose_frames_fail_is_trouble_though_another_works() -> None:
    room = Room()
    room.look(5)
    broken = np.zeros((240, 240, 5), np.uint8)  # five channels are no picture
    for _ in range(200):
        room.look()
        assert room.look(1, broken, camera="attic") == [False]
    assert room.analysis.in_trouble
    assert room.analysis.complaint(room.now) == ""


def test_a_camera_that_goes_away_takes_its_failures_along() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look(5)
    assert room.analysis.in_trouble
    room.analysis.check_camera(PAUSED, now=room.instant)
    assert not room.analysis.in_trouble


def test_a_bad_frame_before_a_long_rest_is_no_standstill() -> None:
    room = Room()
    room.look(5)
    room.classifiers[0].broken = True
    room.look()
    assert room.analysis.complaint(room.now + STANDSTILL_SECONDS + 1.0) == ""
