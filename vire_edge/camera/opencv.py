"""OpenCV's `VideoCapture` as a `Capture`, without its chatter on standard error."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import cv2.utils
import numpy as np

from vire_edge.camera.luma import END_OF_JPEG, read_luma
from vire_edge.camera.source import Image, as_gray

_AV_LOG_QUIET = "-8"
_LOG_LEVEL_SILENT = 0
_V4L2_WAIT_SECONDS = "5"
_MJPEG = "MJPG"
_UNDECODED = -1


def quiet_opencv() -> None:
    """Silence OpenCV and FFmpeg, whose lines on standard error repeat what our own errors say more clearly.

    Takes effect when called before the process opens its first capture. Each variable that the user has set
    stays as it is, so that `OPENCV_LOG_LEVEL=DEBUG OPENCV_FFMPEG_LOGLEVEL=48` still shows everything.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
    # V4L2 has no read timeout of its own but this: half the default, so that a webcam which stopped sending
    # is noticed and closed before the camera's watch has to leave its thread behind.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", _V4L2_WAIT_SECONDS)
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # At the top until OpenCV 4.12, in a module of its own from 4.13 on.
        (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(_LOG_LEVEL_SILENT)


def open_capture(target: str, backend: int, parameters: Sequence[int] = ()) -> cv2.VideoCapture | None:
    """Open a device, file or URL quietly.

    Args:
        target: what OpenCV is to open.
        backend: one of its `CAP_…` backends; no other is tried.
        parameters: its properties and their values in turn.

    Returns:
        The opened capture, or None: OpenCV does not say why.
    """
    quiet_opencv()
    try:
        capture = cv2.VideoCapture(target, backend, parameters)
    except cv2.error:
        return None
    if not capture.isOpened():
        capture.release()
        return None
    return capture


def open_ffmpeg(target: str, parameters: Sequence[int] = ()) -> cv2.VideoCapture | None:
    """Open a file or URL with FFmpeg, decoding in one thread.

    FFmpeg takes a thread for each core otherwise, and each holds back a picture: with four 8 MB more for 1280×720 and
    a third more of the processor, for a live picture that comes three late.

    Args:
        target: what FFmpeg is to open.
        parameters: more properties and their values in turn.

    Returns:
        The opened capture, or None: OpenCV does not say why.
    """
    return open_capture(target, cv2.CAP_FFMPEG, (*parameters, cv2.CAP_PROP_N_THREADS, 1))


def read_packets(capture: cv2.VideoCapture) -> Callable[[Any], Image | None] | None:
    """Have FFmpeg hand on each JPEG of a video as it came, so that its luma alone is decoded, and only where wanted.

    A JPEG of 640×480 from a noisy room takes 0.8 ms that way instead of 1.2 ms.

    Args:
        capture: opened with FFmpeg, before its first picture.

    Returns:
        What makes gray images of what is retrieved from now on, and none of a video whose size was not known on
        opening, because nothing but damaged pictures had come; None where it is not MJPEG and nothing changes.
    """
    fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    turned = int(capture.get(cv2.CAP_PROP_ORIENTATION_META))
    if fourcc != cv2.VideoWriter.fourcc(*_MJPEG) or turned or not capture.set(cv2.CAP_PROP_FORMAT, _UNDECODED):
        return None
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def read(packet: Any) -> Image | None:
        # Some recorders leave out the marker of a JPEG's end, which FFmpeg itself does not miss.
        image = read_luma(np.append(packet, END_OF_JPEG), _MJPEG, *size)
        if image is None or 0 in size:
            return None
        # Interlaced video has two JPEGs of half the height in each packet; the first one is read.
        return image if image.shape[::-1] == size else np.asarray(cv2.resize(image, size), np.uint8)

    return read


class OpenCvCapture:
    """An opened `VideoCapture` whose failures are answers, not exceptions."""

    position_seconds = 0.0

    def __init__(
        self, capture: cv2.VideoCapture, *, always_key: bool, read: Callable[[Any], Image | None] = as_gray
    ) -> None:
        """Take over an opened capture.

        Args:
            capture: opened; closed with this object.
            always_key: each picture stands for itself, as a webcam's does; otherwise FFmpeg is asked.
            read: makes an image of what OpenCV has retrieved. FFmpeg's pictures come as BGR: their luma alone can be
                had for 0.1 to 0.2 ms less (640×480), but not which of two ranges of levels it has.
        """
        self._capture = capture
        self._always_key = always_key
        self._read = read

    @property
    def is_key_picture(self) -> bool:
        """Whether the last picture was coded on its own."""
        return self._always_key or int(self._capture.get(cv2.CAP_PROP_FRAME_TYPE)) == ord("I")

    def grab(self) -> bool:
        """Go on to the next picture; False if there is none."""
        try:
            return self._capture.grab()
        except cv2.error:
            return False

    def retrieve(self) -> Image | None:
        """Convert the last picture; None if that fails."""
        try:
            decoded, picture = self._capture.retrieve()
        except cv2.error:
            return None
        return self._read(picture) if decoded else None

    def close(self) -> None:
        """Release the device or the connection."""
        self._capture.release()
