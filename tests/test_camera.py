"""Real threads against a fake camera that fails on command; patience is shortened, deadlines are generous."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_camera import FakeCamera, Fault

from vire_edge.camera import Camera, Source, SyntheticSource
from vire_edge.camera.camera import MAX_STUCK
from vire_edge.camera.script import Script
from vire_edge.config import CameraConfig
from vire_edge.domain import CameraStatus, Emotion, Frame
from vire_edge.errors import CameraError

CLIPS = Path(__file__).parents[2] / "shared/data/video"
CLIP = CLIPS / "head-pose-face-detection-male.gif"
SHORT_CLIP = CLIPS / "head-pose-face-detection-female.gif"
CLIP_SECONDS = 5.08

SETTINGS = CameraConfig(name="hall", fps=50, stall_seconds=0.4, dark_seconds=0.4)


@contextmanager
def running(source: Source | None, config: CameraConfig = SETTINGS) -> Iterator[Camera]:
    camera = Camera(config, wake=threading.Event(), source=source)
    camera.start()
    try:
        yield camera
    finally:
        camera.stop(timeout_seconds=5)


def wait_for(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        pause.wait(0.01)


def wait_for_status(camera: Camera, status: CameraStatus) -> None:
    wait_for(lambda: camera.state.status is status)


def wait_for_frame(camera: Camera) -> Frame:
    taken: list[Frame] = []

    def take() -> bool:
        if (frame := camera.take()) is not None:
            taken.append(frame)
        return bool(taken)

    wait_for(take)
    return taken[0]


def play(config: CameraConfig, source: Source | None = None) -> list[Frame]:
    """Take every frame of a recording until it is finished."""
    wake, frames = threading.Event(), []
    camera = Camera(config, wake=wake, source=source)
    camera.start()
    try:
        while not camera.finished:
            wake.wait(1.0)
            wake.clear()
            if (frame := camera.take()) is not None:
                frames.append(frame)
    finally:
        camera.stop(timeout_seconds=5)
    return frames


def threads_of(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"camera-{name}")]


# --- in order -----------------------------------------------------------------------------------


def test_frames_arrive_with_time_and_name_and_wake_the_consumer() -> None:
    wake = threading.Event()
    camera = Camera(SETTINGS, wake=wake, source=FakeCamera())
    assert camera.take() is None
    before = time.monotonic()
    camera.start()
    try:
        assert wake.wait(20)
        frame = wait_for_frame(camera)
    finally:
        camera.stop(timeout_seconds=5)
    assert frame.camera == camera.name == "hall"
    assert frame.image.shape == (48, 64, 3)
    assert before <= frame.monotonic <= time.monotonic()
    assert frame.captured_at.tzinfo is not None


def test_the_newest_frame_wins_and_the_rest_is_counted_as_dropped() -> None:
    with running(FakeCamera()) as camera:
        wait_for(lambda: camera.frames_captured >= 20)
        late = time.monotonic()
        newest = camera.take()
        assert newest is not None
        assert late - newest.monotonic < 1.0
        assert camera.frames_dropped >= 18


def test_no_more_frames_than_asked_for() -> None:
    with running(FakeCamera(fps=200), SETTINGS.model_copy(update={"fps": 10})) as camera:
        first = wait_for_frame(camera)
        wait_for(lambda: camera.frames_captured >= 6)
        elapsed = time.monotonic() - first.monotonic
        assert camera.frames_captured <= elapsed * 10 + 2


def test_a_lowered_rate_holds_over_a_reopening_until_it_is_raised_and_decodes_no_frame_that_is_not_due() -> None:
    fake = FakeCamera(fps=200)
    with running(fake) as camera:
        wait_for_frame(camera)
        camera.set_rate(5)
        began, captured, decoded = time.monotonic(), camera.frames_captured, fake.next_number()
        wait_for(lambda: camera.frames_captured >= captured + 3)
        fake.fault = Fault.UNPLUGGED
        wait_for_status(camera, CameraStatus.RECONNECTING)
        fake.fault = Fault.NONE
        wait_for(lambda: camera.frames_captured >= captured + 6)
        most = (time.monotonic() - began) * 5 + 3  # one on its way at the change, one at each opening
        assert camera.frames_captured - captured <= most
        assert fake.next_number() - decoded <= most + 1

        camera.set_rate(50)
        captured = camera.frames_captured
        wait_for(lambda: camera.frames_captured >= captured + 150)  # at five a second half a minute
        assert camera.state.status is CameraStatus.ONLINE


def test_a_recording_in_real_time_is_thinned_out_while_it_plays() -> None:
    source = SyntheticSource(Script.solo((600.0, Emotion.HAPPY)), 160, 120, 30)
    with running(source, CameraConfig(name="actor", fps=30)) as camera:
        wait_for_frame(camera)
        camera.set_rate(2)
        frames = [wait_for_frame(camera) for _ in range(9)]
    assert frames[-1].monotonic - frames[2].monotonic > 1.5  # three seconds, but for a late first one; 0.2 at 30 fps


def test_stopping_closes_the_device_and_ends_the_threads() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_frame(camera)
    assert fake.open_now == 0
    assert threads_of("hall") == []
    assert (camera.state.status, camera.state.reason) == (CameraStatus.DISABLED, "stopped")
    assert camera.take() is None


def test_a_camera_that_was_never_started_can_be_stopped() -> None:
    Camera(SETTINGS, wake=threading.Event(), source=FakeCamera()).stop(timeout_seconds=1)


def test_a_pause_closes_the_device_and_discards_what_was_captured() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_frame(camera)
        camera.pause()
        assert (camera.state.status, camera.state.reason) == (CameraStatus.DISABLED, "paused")
        assert camera.take() is None
        wait_for(lambda: fake.open_now == 0)
        assert camera.take() is None
        camera.resume()
        wait_for_status(camera, CameraStatus.ONLINE)
        assert fake.opened == 2
        assert camera.reopened == 0  # nothing was at fault


# --- faults -------------------------------------------------------------------------------------


def test_an_unplugged_camera_is_reported_and_comes_back() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.UNPLUGGED
        wait_for(lambda: "does not exist" in camera.state.reason)
        assert camera.state.status is CameraStatus.RECONNECTING
        assert not camera.state.reason.startswith("camera")
        fake.fault = Fault.NONE
        wait_for_status(camera, CameraStatus.ONLINE)
        assert camera.reopened == 1
    assert fake.open_now == 0


def test_a_camera_that_is_missing_at_the_start_comes_up_when_it_appears() -> None:
    fake = FakeCamera()
    fake.fault = Fault.UNPLUGGED
    with running(fake) as camera:
        wait_for(lambda: "does not exist" in camera.state.reason)
        fake.fault = Fault.NONE
        wait_for_status(camera, CameraStatus.ONLINE)
        assert camera.reopened == 0


def test_a_read_that_never_returns_is_left_behind_and_the_camera_opened_anew() -> None:
    with FakeCamera() as fake, running(fake) as camera:
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.BLOCKED
        wait_for_status(camera, CameraStatus.STALLED)
        assert camera.state.reason == "no picture for 0.4 s"
        fake.fault = Fault.NONE  # a new open works, the old read still hangs
        wait_for_status(camera, CameraStatus.ONLINE)
        assert fake.open_now == 2
        fake.unblock()
        wait_for(lambda: fake.open_now == 1)  # the one left behind released its device
        assert camera.reopened == 1


def test_threads_left_behind_are_bounded_and_their_return_lets_it_try_again() -> None:
    with FakeCamera() as fake:
        fake.fault = Fault.BLOCKED
        with running(fake) as camera:
            wait_for(lambda: fake.opened == MAX_STUCK, seconds=40)
            wait_for_status(camera, CameraStatus.STALLED)
            threading.Event().wait(1.0)
            assert fake.opened == MAX_STUCK
            assert len(threads_of("hall")) <= MAX_STUCK + 1
            fake.unblock()
            wait_for_status(camera, CameraStatus.ONLINE)
            assert fake.open_now == 1


def test_stopping_does_not_wait_for_a_read_that_hangs() -> None:
    with FakeCamera() as fake:
        camera = Camera(SETTINGS, wake=threading.Event(), source=fake)
        camera.start()
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.BLOCKED
        wait_for_status(camera, CameraStatus.STALLED)
        started = time.monotonic()
        camera.stop(timeout_seconds=0.3)
        assert time.monotonic() - started < 3
        fake.unblock()
        wait_for(lambda: fake.open_now == 0)


def test_frames_of_a_read_that_was_left_behind_are_not_handed_on() -> None:
    with FakeCamera() as fake, running(fake) as camera:
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.BLOCKED
        wait_for_status(camera, CameraStatus.STALLED)
        camera.pause()
        fake.unblock()
        wait_for(lambda: fake.open_now == 0)
        assert camera.take() is None
        assert camera.state.status is CameraStatus.DISABLED


def test_a_frozen_camera_is_stalled_its_picture_withheld_and_reopening_mends_it() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.FROZEN_UNTIL_OPENED
        wait_for_status(camera, CameraStatus.STALLED)
        wait_for_status(camera, CameraStatus.ONLINE)
        assert fake.opened == 2
        assert camera.reopened == 1


def test_a_camera_that_stays_frozen_over_reopening_stays_stalled() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.FROZEN
        wait_for_status(camera, CameraStatus.STALLED)
        camera.take()
        since = camera.state.since
        wait_for(lambda: fake.opened >= 3)
        assert (camera.state.status, camera.state.since) == (CameraStatus.STALLED, since)
        assert camera.take() is None
        fake.fault = Fault.NONE
        wait_for_status(camera, CameraStatus.ONLINE)


def test_a_covered_lens_is_dark_and_light_brings_it_back_without_reopening() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.BLACK
        wait_for_status(camera, CameraStatus.DARK)
        camera.take()
        assert wait_for_frame(camera).image.max() == 0  # frames go on
        fake.fault = Fault.NONE
        wait_for_status(camera, CameraStatus.ONLINE)
        assert fake.opened == 1


def test_damaged_pictures_count_as_a_failure() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_status(camera, CameraStatus.ONLINE)
        fake.fault = Fault.GARBAGE
        wait_for_status(camera, CameraStatus.RECONNECTING)
        assert "damaged" in camera.state.reason
        fake.fault = Fault.NONE
        wait_for_status(camera, CameraStatus.ONLINE)


def test_a_change_of_resolution_is_no_fault() -> None:
    fake = FakeCamera()
    with running(fake) as camera:
        wait_for_frame(camera)
        fake.size = (96, 128)
        wait_for(lambda: (frame := camera.take()) is not None and frame.image.shape == (96, 128, 3))
        assert fake.opened == 1


def test_one_camera_hangs_and_the_other_goes_on() -> None:
    with FakeCamera() as hangs:
        other = SETTINGS.model_copy(update={"name": "kitchen"})
        with running(hangs) as hall, running(FakeCamera(), other) as kitchen:
            wait_for_status(hall, CameraStatus.ONLINE)
            hangs.fault = Fault.BLOCKED
            wait_for_status(hall, CameraStatus.STALLED)
            captured = kitchen.frames_captured
            wait_for(lambda: kitchen.frames_captured > captured + 5)
            assert kitchen.state.status is CameraStatus.ONLINE
            hangs.unblock()


# --- recordings ---------------------------------------------------------------------------------


def test_a_file_in_real_time_takes_as_long_as_it_plays() -> None:
    frames = play(CameraConfig(name="film", source=str(SHORT_CLIP), fps=10))
    assert 10 <= len(frames) <= 19
    assert frames[-1].monotonic - frames[0].monotonic == pytest.approx(1.8, abs=0.5)


def test_a_fast_file_loses_no_frame_and_keeps_its_own_time_however_slow_the_consumer() -> None:
    config = CameraConfig(name="film", source=str(CLIP), fps=60, pace="fast")
    camera = Camera(config, wake=threading.Event())
    camera.start()
    try:
        frames = [wait_for_frame(camera)]
        threading.Event().wait(0.3)
        while not camera.finished:
            frames.append(wait_for_frame(camera))
            wait_for(lambda: camera.frames_captured > len(frames) or camera.state.status is CameraStatus.DISABLED)
        assert len(frames) == 62
        assert camera.frames_dropped == 0
    finally:
        camera.stop(timeout_seconds=5)
    first, last = frames[0], frames[-1]
    assert last.monotonic - first.monotonic == pytest.approx(CLIP_SECONDS, abs=0.02)
    assert (last.captured_at - first.captured_at).total_seconds() == pytest.approx(CLIP_SECONDS, abs=0.02)
    assert all(early.monotonic < late.monotonic for early, late in itertools.pairwise(frames))


def test_a_fast_file_is_thinned_out_by_its_own_time() -> None:
    frames = play(CameraConfig(name="film", source=str(CLIP), fps=2, pace="fast"))
    assert len(frames) == 11


def test_a_loop_goes_on_without_its_time_running_backwards() -> None:
    config = CameraConfig(name="film", fps=10, pace="fast", loop=True)
    source = SyntheticSource(Script.solo((1.0, Emotion.HAPPY)), 160, 120, 10)
    with running(source, config) as camera:
        frames = [wait_for_frame(camera) for _ in range(35)]
        assert not camera.finished
    times = [frame.monotonic - frames[0].monotonic for frame in frames]
    assert times == pytest.approx([index / 10 for index in range(35)])


def test_the_rate_holds_over_the_rounds_of_a_loop(tmp_path: Path) -> None:
    picture = tmp_path / "wall.png"
    assert cv2.imwrite(str(picture), np.full((48, 64, 3), 128, np.uint8))
    camera = Camera(CameraConfig(source=str(picture), fps=30, pace="fast", loop=True), wake=threading.Event())
    camera.set_rate(5)
    camera.start()
    try:
        frames = [wait_for_frame(camera) for _ in range(10)]
    finally:
        camera.stop(timeout_seconds=5)
    assert frames[-1].monotonic - frames[0].monotonic == pytest.approx(9 / 5, abs=0.05)


def test_a_file_that_has_ended_says_so_once_its_last_frame_was_taken() -> None:
    source = SyntheticSource(Script.solo((0.5, Emotion.SAD)), 160, 120, 4)
    config = CameraConfig(name="actor", pace="fast")
    with running(source, config) as camera:
        wait_for_frame(camera)
        wait_for_status(camera, CameraStatus.DISABLED)
        assert camera.state.reason == "ended"
        assert not camera.finished
        assert camera.take() is not None
        assert camera.finished
        camera.pause()
        camera.resume()
        assert (camera.state.status, camera.state.reason) == (CameraStatus.DISABLED, "ended")


def test_a_paused_file_stays_unfinished_and_begins_anew() -> None:
    source = SyntheticSource(Script.solo((1.0, Emotion.SAD)), 160, 120, 10)
    with running(source, CameraConfig(name="actor", fps=10, pace="fast")) as camera:
        before = wait_for_frame(camera)
        camera.pause()
        assert not camera.finished
        camera.resume()
        after = wait_for_frame(camera)
        assert after.monotonic > before.monotonic
        wait_for(lambda: camera.take() is None and camera.finished)


@pytest.mark.parametrize("source", ["/nowhere/film.mp4", "/nowhere", __file__])
def test_a_file_that_is_missing_or_no_video_is_refused_at_the_start(source: str) -> None:
    camera = Camera(CameraConfig(name="film", source=source), wake=threading.Event())
    with pytest.raises(CameraError, match="camera 'film': "):
        camera.start()
    assert threads_of("film") == []
