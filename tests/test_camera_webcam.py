"""What a machine without a webcam can show: each way of not getting one has its own line."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from vire_edge.camera.webcam import Webcam
from vire_edge.errors import CameraError


def webcam(device: int | str) -> Webcam:
    return Webcam("hall", device, width=640, height=480, fps=10)


def test_an_index_stands_for_its_device_and_a_missing_one_says_what_there_is() -> None:
    camera = webcam(97)
    camera.check()  # it may still be plugged in
    with pytest.raises(CameraError) as caught:
        camera.open()
    message = str(caught.value)
    assert message.startswith(
        "camera 'hall': /dev/video97 does not exist; plug it in or set source under [[cameras]] (found: "
    )


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_that_is_no_camera(device: str) -> None:
    with pytest.raises(CameraError, match=rf"{device} is no camera; set source under \[\[cameras\]\]"):
        webcam(device).open()


def test_a_folder_is_no_camera(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="is no camera"):
        webcam(str(tmp_path)).open()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, 'add the user to the group "video"'),
        (errno.EBUSY, "close the other program that uses it"),
        (errno.ENODEV, "plug it in"),
        (errno.EIO, "unplug it and plug it in again"),
    ],
)
def test_each_refusal_of_the_system_has_its_remedy(number: int, remedy: str) -> None:
    assert remedy in str(webcam(0)._error(number))
