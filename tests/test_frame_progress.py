"""A camera that claims to be well and brings nothing stands still; a recording in a gap does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from brokers import wait_until

from vire_edge.camera import Camera
from vire_edge.config import CameraConfig
from vire_edge.daemon.frame_progress import GRACE_SECONDS, FrameProgress
from vire_edge.domain import CameraStatus

STALL_SECONDS = 5.0
LONG = 1000.0 + STALL_SECONDS + GRACE_SECONDS


class Webcam(Camera):
    """The actor, as if he stood before a webcam."""

    live = True


@pytest.fixture
def actor() -> Iterator[Camera]:
    yield from running(Camera(CameraConfig(name="room", source="synthetic", loop=True), wake=threading.Event()))


@pytest.fixture
def webcam() -> Iterator[Camera]:
    yield from running(Webcam(CameraConfig(name="room", source="synthetic", loop=True), wake=threading.Event()))


def running(camera: Camera) -> Iterator[Camera]:
    camera.start()
    wait_until(lambda: camera.state.status is CameraStatus.ONLINE, what="the camera")
    yield camera
    camera.stop(timeout_seconds=2.0)


def test_a_live_camera_that_is_online_and_brings_nothing_stands_still(webcam: Camera) -> None:
    progress = FrameProgress(webcam, stall_seconds=STALL_SECONDS)
    assert progress.complaint(1000.0) == ""
    assert progress.complaint(LONG - 0.1) == ""
    assert progress.complaint(LONG + 0.1) == "is online and has brought no frame for 15 s"
    progress.frame(LONG + 1.0)
    assert progress.complaint(LONG + 2.0) == ""


def test_a_recording_may_rest(actor: Camera) -> None:
    progress = FrameProgress(actor, stall_seconds=STALL_SECONDS)
    assert progress.complaint(1000.0) == ""
    assert progress.complaint(LONG + 100.0) == ""


def test_a_paused_camera_rests_for_a_reason(webcam: Camera) -> None:
    progress = FrameProgress(webcam, stall_seconds=STALL_SECONDS)
    assert progress.complaint(1000.0) == ""
    webcam.pause()
    assert progress.complaint(LONG + 100.0) == ""
    webcam.resume()
    wait_until(lambda: webcam.state.status is CameraStatus.ONLINE, what="the camera")
    assert progress.complaint(LONG + 101.0) == ""


def test_a_camera_that_no_longer_looks_after_its_source_has_ended(webcam: Camera) -> None:
    progress = FrameProgress(webcam, stall_seconds=STALL_SECONDS)
    webcam.stop(timeout_seconds=2.0)
    assert progress.complaint(1000.0) == "has ended"
