from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.camera.media import MediaClock, Pictures, VideoFile
from vire_edge.camera.source import Capture
from vire_edge.errors import CameraError
from vire_edge.preprocess import to_gray

CLIPS = Path(__file__).parents[2] / "shared/data/video"


def positions(capture: Capture) -> list[float]:
    """Media time of every picture to the end."""
    found = []
    while capture.grab():
        found.append(capture.position_seconds)
        assert capture.retrieve() is not None
    capture.close()
    return found


@pytest.mark.parametrize(
    ("clip", "pictures", "last_seconds"),
    [
        ("classroom.gif", 45, 2.93),
        ("face-demographics-walking-and-pause.gif", 41, 3.33),
        ("head-pose-face-detection-female.gif", 23, 1.83),
        ("head-pose-face-detection-male.gif", 62, 5.08),
    ],
)
def test_reads_every_picture_of_a_clip_with_its_media_time(clip: str, pictures: int, last_seconds: float) -> None:
    video = VideoFile("hall", CLIPS / clip)
    video.check()
    found = positions(video.open())
    assert len(found) == pictures
    assert found[0] == 0.0
    assert found[-1] == pytest.approx(last_seconds, abs=0.001)


def test_opening_begins_anew() -> None:
    video = VideoFile("hall", CLIPS / "head-pose-face-detection-female.gif")
    first = video.open()
    first.grab()
    picture = first.retrieve()
    assert picture is not None
    assert picture.shape == (270, 480)
    positions(first)
    second = video.open()
    assert second.grab()
    again = second.retrieve()
    second.close()
    assert again is not None
    assert np.array_equal(picture, again)


def test_gray_is_the_luma_of_what_is_shown_in_color() -> None:
    path = CLIPS / "classroom.gif"
    gray, color = VideoFile("hall", path).open(), VideoFile("hall", path, color=True).open()
    assert [gray.grab(), color.grab()] == [True, True]
    plain, shown = gray.retrieve(), color.retrieve()
    assert plain is not None
    assert shown is not None
    assert shown.shape == (*plain.shape, 3)
    assert np.array_equal(plain, cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY))
    assert np.ptp(shown, axis=2).max() > 100  # it has colors


def film(path: Path, pictures: list[np.ndarray]) -> Path:
    """Write an MJPEG video, as a network camera or a recorder would."""
    height, width = pictures[0].shape[:2]
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, fourcc, 10, (width, height), [])
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def looked_at(path: Path, *, color: bool = False) -> list[np.ndarray]:
    """All pictures of a video, in color only where asked for."""
    capture, seen = VideoFile("hall", path, color=color).open(), []
    while capture.grab():
        image = capture.retrieve()
        assert image is not None
        seen.append(image)
    return seen


def test_the_luma_of_motion_jpeg_is_what_its_colors_come_to(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi", looked_at(CLIPS / "classroom.gif", color=True))
    for gray, color in zip(looked_at(path), looked_at(path, color=True), strict=True):
        assert gray.shape == color.shape[:2]
        difference = np.abs(gray.astype(int) - to_gray(color))
        assert difference.mean() < 1.5
        assert difference.max() < 10


def test_motion_jpeg_without_the_marker_of_its_end_is_shown(tmp_path: Path) -> None:
    pictures = looked_at(CLIPS / "head-pose-face-detection-male.gif", color=True)[:3]
    path = film(tmp_path / "clip.avi", pictures)
    path.write_bytes(path.read_bytes().replace(b"\xff\xd9", b"\0\0"))
    for seen, shown in zip(looked_at(path), pictures, strict=True):
        assert np.abs(seen.astype(int) - to_gray(shown)).mean() < 4


def test_interlaced_motion_jpeg_comes_in_its_full_height(tmp_path: Path) -> None:
    pictures = looked_at(CLIPS / "head-pose-face-detection-female.gif", color=True)
    every_other_line = [np.ascontiguousarray(picture[::2]) for picture in pictures]
    path = film(tmp_path / "clip.avi", every_other_line)
    half, full = (struct.pack("<i", len(picture)) for picture in (every_other_line[0], pictures[0]))
    path.write_bytes(path.read_bytes().replace(half, full, 2))  # both are in the header
    for seen, shown in zip(looked_at(path), pictures, strict=True):
        assert np.abs(seen.astype(int) - to_gray(shown)).mean() < 4


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=50), st.floats(allow_nan=True))
def test_media_time_always_goes_on_whatever_the_time_stamps_say(stamps: list[float], fps: float) -> None:
    clock, last = MediaClock(fps), -1.0
    for stamp in stamps:
        clock.advance(stamp)
        assert math.isfinite(clock.position_seconds)
        assert last < clock.position_seconds <= last + 61
        last = clock.position_seconds


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf, 90_000.0])
def test_an_impossible_frame_rate_counts_as_25(fps: float) -> None:
    clock = MediaClock(fps)
    for _ in range(26):
        clock.advance(0.0)  # no time stamps either
    assert clock.position_seconds == pytest.approx(1.0)


def test_uneven_time_stamps_are_kept_and_begin_at_zero() -> None:
    clock, found = MediaClock(30.0), []
    for stamp in (5.0, 5.1, 5.4, 6.4):
        clock.advance(stamp)
        found.append(clock.position_seconds)
    assert found == pytest.approx([0.0, 0.1, 0.4, 1.4])


def test_a_truncated_file_ends_early(tmp_path: Path) -> None:
    whole = (CLIPS / "head-pose-face-detection-male.gif").read_bytes()
    path = tmp_path / "half.gif"
    path.write_bytes(whole[: len(whole) // 2])
    video = VideoFile("hall", path)
    video.check()
    assert 5 < len(positions(video.open())) < 62


def make_empty(path: Path) -> None:
    path.touch()


def make_text(path: Path) -> None:
    path.write_text("no video at all\n" * 100)


def make_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(100_000))


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_nothing, "does not exist; check source under [[cameras]]"),
        (make_empty, "is empty"),
        (make_text, "is no video that FFmpeg can read"),
        (make_noise, "is no video that FFmpeg can read"),
        (make_pipe, "is no file"),
        (Path.mkdir, "is no file"),
    ],
)
def test_what_is_no_video_is_refused_in_one_clear_line(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "film.mp4"
    make(path)
    with pytest.raises(CameraError) as caught:
        VideoFile("hall", path).check()
    assert str(caught.value).startswith(f"camera 'hall': {path} ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_opencv_and_ffmpeg_stay_silent(tmp_path: Path) -> None:
    make_text(tmp_path / "film.mp4")
    # In a process of its own: FFmpeg reads its log level once, before the first file.
    program = (
        "import sys; from pathlib import Path; from vire_edge.camera.media import VideoFile\n"
        "try: VideoFile('hall', Path(sys.argv[1])).check()\n"
        "except Exception as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "film.mp4"], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 1


def picture(path: Path, level: int) -> None:
    cv2.imwrite(str(path), np.full((20, 30), level, np.uint8))


def test_a_folder_shows_its_pictures_in_order_and_nothing_else(tmp_path: Path) -> None:
    for name, level in (("b.png", 20), ("a.PNG", 10), ("c.jpg", 30)):
        picture(tmp_path / name, level)
    (tmp_path / "readme.txt").write_text("no picture")
    folder = Pictures("hall", tmp_path, fps=4)
    folder.check()
    capture, levels, times = folder.open(), [], []
    while capture.grab():
        image = capture.retrieve()
        assert image is not None
        assert image.shape == (20, 30)
        levels.append(round(float(image.mean())))
        times.append(capture.position_seconds)
    assert levels == [10, 20, 30]
    assert times == [0.0, 0.25, 0.5]


def test_a_single_picture_is_a_source_too(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 99)
    single = Pictures("hall", tmp_path / "a.png", fps=4)
    single.check()
    assert positions(single.open()) == [0.0]


def test_a_damaged_picture_among_others_is_passed_over_and_an_empty_folder_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="has no pictures"):
        Pictures("hall", tmp_path, fps=4).check()
    picture(tmp_path / "a.png", 99)
    (tmp_path / "b.png").write_bytes(b"\x89PNG damaged")
    folder = Pictures("hall", tmp_path, fps=4)
    folder.check()
    capture = folder.open()
    assert [capture.grab(), capture.grab()] == [True, True]
    assert capture.retrieve() is None
    assert not capture.grab()


def test_a_single_damaged_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG damaged")
    with pytest.raises(CameraError, match=r"a\.png is no picture"):
        Pictures("hall", tmp_path / "a.png", fps=4).check()
