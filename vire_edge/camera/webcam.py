"""A webcam through Video4Linux, by index or by path."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from pathlib import Path
from typing import Any, Protocol

import cv2

from vire_edge.camera.luma import FORMATS, read_luma
from vire_edge.camera.opencv import OpenCvCapture, open_capture
from vire_edge.camera.source import Image, as_gray
from vire_edge.errors import CameraError

_BY_ID = Path("/dev/v4l/by-id")

# From linux/videodev2.h: the request, the capability structure's size, and where its flags are.
_VIDIOC_QUERYCAP = 0x80685600
_CAPABILITY_BYTES = 104
_CAPABILITIES_OFFSET = 84
_DEVICE_CAPS_OFFSET = 88
_V4L2_CAP_DEVICE_CAPS = 0x80000000
_V4L2_CAP_VIDEO_CAPTURE = 0x00000001
_V4L2_CAP_VIDEO_CAPTURE_MPLANE = 0x00001000

_BUFFERS = 2
"""One being filled while the other is read. With a single one the driver has nowhere to write meanwhile and some halve
their rate; more would only hold older pictures."""
_TRIES = 3
"""Buffers from the start on that cannot be read, as the first one of many a webcam, before OpenCV is to convert them:
the format is then not what the driver says."""


class Webcam:
    """A Video4Linux device."""

    live = True

    def __init__(self, camera: str, device: int | str, *, width: int, height: int, fps: float) -> None:
        """Describe the device; nothing is opened.

        Args:
            camera: the camera's name, for messages.
            device: index (0 for `/dev/video0`) or path.
            width: pixels asked for; the device gives the nearest it has.
            height: pixels asked for.
            fps: pictures a second asked for; the device gives the nearest it has.
        """
        self._camera = camera
        self._path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
        self._width, self._height, self._fps = width, height, fps

    def check(self) -> None:
        """Find nothing: a webcam that is missing may still be plugged in."""

    def open(self) -> OpenCvCapture:
        """Open the device and ask for size, rate and MJPG.

        Raises:
            CameraError: it is missing, not permitted, busy or no camera.
        """
        self.probe()
        capture = open_capture(str(self._path), cv2.CAP_V4L2)
        if capture is None:
            raise self._error(errno.EBUSY)
        # The format comes first: which sizes and rates there are depends on it. MJPG fits through USB 2 at any
        # size; a device without it keeps its own format.
        for setting, value in (
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
            (cv2.CAP_PROP_FRAME_WIDTH, self._width),
            (cv2.CAP_PROP_FRAME_HEIGHT, self._height),
            (cv2.CAP_PROP_FPS, self._fps),
            (cv2.CAP_PROP_BUFFERSIZE, _BUFFERS),
        ):
            capture.set(setting, value)
        return OpenCvCapture(capture, always_key=True, read=BufferReader(capture))

    def probe(self) -> None:
        """Tell apart what OpenCV reports as one: missing, not permitted, busy, no camera.

        Raises:
            CameraError: it is one of these.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._error(error.errno) from error
        try:
            answer = fcntl.ioctl(descriptor, _VIDIOC_QUERYCAP, bytes(_CAPABILITY_BYTES))
        except OSError as error:
            raise self._error(error.errno) from error
        finally:
            os.close(descriptor)
        (flags,) = struct.unpack_from("=I", answer, _CAPABILITIES_OFFSET)
        if flags & _V4L2_CAP_DEVICE_CAPS:  # what this node can do, not what the device as a whole can
            (flags,) = struct.unpack_from("=I", answer, _DEVICE_CAPS_OFFSET)
        if not flags & (_V4L2_CAP_VIDEO_CAPTURE | _V4L2_CAP_VIDEO_CAPTURE_MPLANE):
            raise self._error(errno.ENOTTY)

    def _error(self, number: int | None) -> CameraError:
        thing = f"camera '{self._camera}': {self._path}"
        found = f"(found: {_found_devices()})"
        match number:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                return CameraError(f"{thing} does not exist; plug it in or set source under [[cameras]] {found}")
            case errno.EACCES | errno.EPERM:
                return CameraError(f'{thing} cannot be opened (permission denied); add the user to the group "video"')
            case errno.EBUSY:
                return CameraError(f"{thing} is busy or sends no pictures; close the other program that uses it")
            case errno.ENOTTY | errno.EINVAL | errno.EISDIR:
                return CameraError(f"{thing} is no camera; set source under [[cameras]] to one {found}")
        reason = os.strerror(number) if number else "unknown error"
        return CameraError(f"{thing} cannot be opened ({reason}); unplug it and plug it in again")


class Properties(Protocol):
    """What a device can be asked and told; `cv2.VideoCapture` is one."""

    def get(self, propId: int) -> float:  # noqa: N803 - OpenCV's name
        """Return a property's value, 0 if there is none."""
        ...

    def set(self, propId: int, value: float) -> bool:  # noqa: N803 - OpenCV's name
        """Ask for a value; False if that cannot be."""
        ...


class BufferReader:
    """Reads a device's own buffers where that is possible, and leaves the others to OpenCV."""

    def __init__(self, device: Properties) -> None:
        """Ask an opened device for its buffers as they are.

        Args:
            device: with its format and size set.
        """
        self._device = device
        self._fourcc = (int(device.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1")
        self._width = int(device.get(cv2.CAP_PROP_FRAME_WIDTH))
        self._height = int(device.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self._raw = self._fourcc in FORMATS and device.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._tries_left = _TRIES

    def __call__(self, picture: Any) -> Image | None:
        """Return a retrieved picture in gray; None if it is damaged."""
        if not self._raw:
            return as_gray(picture)
        image = read_luma(picture, self._fourcc, self._width, self._height)
        if image is not None:
            self._tries_left = 0
        elif self._tries_left:
            self._tries_left -= 1
            if not self._tries_left:
                self._raw = not self._device.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        return image


def find_webcam() -> str | None:
    """Return the first webcam that this user may open, by its name under /dev/v4l/by-id; None without one.

    Only plugged-in cameras have such a name: the codecs of a Raspberry Pi are video devices, too.
    """
    for device in map(str, sorted(_BY_ID.glob("*"))):
        with contextlib.suppress(CameraError):
            Webcam("demo", device, width=640, height=480, fps=10.0).probe()
            return device
    return None


def _found_devices() -> str:
    """List the cameras that are there, by the names that survive another USB port if the system has them."""
    devices = sorted(_BY_ID.glob("*")) or sorted(Path("/dev").glob("video*"))
    return ", ".join(map(str, devices)) or "none"
