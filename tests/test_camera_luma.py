"""Buffers as a webcam sends them: real JPEG and YUV of a real clip, against OpenCV's own way over BGR."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vire_edge.camera.luma import FORMATS, read_luma
from vire_edge.camera.source import Image
from vire_edge.camera.webcam import BufferReader

CLIP = Path(__file__).parents[2] / "shared/data/video/head-pose-face-detection-female.gif"


@pytest.fixture(scope="module")
def picture() -> Image:
    """A face in color, with an even number of rows and columns as YUV needs it."""
    capture = cv2.VideoCapture(str(CLIP), cv2.CAP_FFMPEG)
    _, shown = capture.read()
    capture.release()
    return np.asarray(shown[:268, :476], np.uint8)


def jpeg(picture: Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.imencode(".jpg", picture)[1], np.uint8).reshape(-1)


def i420(picture: Image) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420), np.uint8)


def nv12(picture: Image) -> NDArray[np.uint8]:
    planes, (height, width) = i420(picture).reshape(-1), picture.shape[:2]
    colors = planes[height * width :].reshape(2, -1)
    return np.concatenate([planes[: height * width], colors.T.reshape(-1)]).reshape(-1, width)


def yuyv(picture: Image) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    planes = i420(picture).reshape(-1)
    blue, red = planes[height * width :].reshape(2, height // 2, width // 2).repeat(2, axis=1)
    packed = np.empty((height, width, 2), np.uint8)
    packed[..., 0] = planes[: height * width].reshape(height, width)
    packed[:, 0::2, 1], packed[:, 1::2, 1] = blue, red
    return packed


def uyvy(picture: Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(yuyv(picture)[..., ::-1])


WAYS = {
    "YUYV": (yuyv, cv2.COLOR_YUV2BGR_YUY2),
    "UYVY": (uyvy, cv2.COLOR_YUV2BGR_UYVY),
    "NV12": (nv12, cv2.COLOR_YUV2BGR_NV12),
    "YU12": (i420, cv2.COLOR_YUV2BGR_I420),
}


@pytest.mark.parametrize("fourcc", WAYS)
@pytest.mark.parametrize("padding", [0, 4096])
def test_the_levels_are_those_of_opencvs_own_conversion(picture: Image, fourcc: str, padding: int) -> None:
    make, conversion = WAYS[fourcc]
    buffer, (height, width) = make(picture), picture.shape[:2]
    expected = cv2.cvtColor(cv2.cvtColor(buffer, conversion), cv2.COLOR_BGR2GRAY)
    sent = np.concatenate([buffer.reshape(-1), np.zeros(padding, np.uint8)])
    read = read_luma(sent[np.newaxis], fourcc, width, height)
    assert read is not None
    assert read.shape == (height, width)
    difference = cv2.absdiff(read, np.asarray(expected, np.uint8))
    assert difference.mean() < 1.0
    assert np.quantile(difference, 0.99) <= 3


@pytest.mark.parametrize("fourcc", sorted(FORMATS.keys() - {"MJPG", "JPEG"}))
def test_black_and_white_come_out_as_such_and_a_buffer_that_is_too_short_is_damaged(fourcc: str) -> None:
    black, white = (0, 255) if fourcc == "GREY" else (16, 235)
    for level, expected in ((black, 0), (white, 255)):
        buffer = np.full(2 * 64 * 48, level, np.uint8)
        read = read_luma(buffer, fourcc, 64, 48)
        assert read is not None
        assert read.shape == (48, 64)
        assert set(read.flat) == {expected}
        assert read.base is None or not np.shares_memory(read, buffer)
    assert read_luma(np.full(64 * 48 - 1, 128, np.uint8), fourcc, 64, 48) is None


@pytest.mark.parametrize("padding", [0, 4096])
def test_a_jpeg_comes_out_in_its_own_size(picture: Image, padding: int) -> None:
    sent = np.concatenate([jpeg(picture), np.zeros(padding, np.uint8)])
    read = read_luma(sent[np.newaxis], "MJPG", 640, 480)
    assert read is not None
    assert read.shape == picture.shape[:2]
    assert cv2.absdiff(read, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)).mean() < 2.0


def test_a_damaged_jpeg_is_none(picture: Image) -> None:
    whole = jpeg(picture)
    for damaged in (whole[:0], whole[:1], whole[: len(whole) // 2], whole[:-2], whole[2:], np.zeros(9000, np.uint8)):
        assert read_luma(damaged, "MJPG", 640, 480) is None


class Device:
    """A webcam as Video4Linux and OpenCV show it: one format, raw or converted."""

    def __init__(self, fourcc: str, *, refuses: bool = False) -> None:
        self._refuses = refuses
        self.properties: dict[int, float] = {
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(fourcc.encode(), "little")),
            cv2.CAP_PROP_FRAME_WIDTH: 476.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 268.0,
            cv2.CAP_PROP_CONVERT_RGB: 1.0,
        }

    def get(self, propId: int) -> float:  # noqa: N803 - OpenCV's name
        return self.properties[propId]

    def set(self, propId: int, value: float) -> bool:  # noqa: N803 - OpenCV's name
        if not self._refuses:
            self.properties[propId] = value
        return not self._refuses

    @property
    def converts(self) -> bool:
        return self.properties[cv2.CAP_PROP_CONVERT_RGB] == 1.0


def test_a_device_with_a_known_format_is_read_raw(picture: Image) -> None:
    device = Device("MJPG")
    read = BufferReader(device)
    assert not device.converts
    image = read(jpeg(picture)[np.newaxis])
    assert image is not None
    assert image.shape == (268, 476)


@pytest.mark.parametrize("device", [Device("BGR3"), Device("Y16 "), Device("MJPG", refuses=True)])
def test_other_devices_are_left_to_opencv(picture: Image, device: Device) -> None:
    read = BufferReader(device)
    assert device.converts
    image = read(picture)
    assert image is not None
    assert np.array_equal(image, cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    assert read(None) is None


def test_a_first_damaged_picture_is_passed_over_but_a_device_that_only_sends_such_goes_back_to_opencv(
    picture: Image,
) -> None:
    device = Device("MJPG")
    read = BufferReader(device)
    noise = np.zeros((1, 9000), np.uint8)
    assert read(noise) is None
    assert read(jpeg(picture)) is not None
    for _ in range(10):
        assert read(noise) is None  # now it is the picture that is damaged, not the format that is wrong
    assert not device.converts

    stubborn = Device("MJPG")
    read = BufferReader(stubborn)
    assert [read(noise) for _ in range(3)] == [None] * 3
    assert stubborn.converts
    assert read(picture) is not None
