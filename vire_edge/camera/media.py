"""Video files and pictures: sources with a media time of their own."""

from __future__ import annotations

import math
import stat
from collections.abc import Sequence
from pathlib import Path

import cv2

from vire_edge.camera.opencv import OpenCvCapture, open_ffmpeg, read_packets
from vire_edge.camera.source import Image, as_gray, as_image
from vire_edge.errors import CameraError

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})
"""Files that count as pictures, in lower case."""

_USUAL_FPS = 25.0
_PLAUSIBLE_FPS = (1.0, 240.0)
_STEP_SECONDS = (0.001, 60.0)


class MediaClock:
    """Turns a file's time stamps, which may be missing or broken, into a media time that always goes on."""

    def __init__(self, fps: float) -> None:
        """Start at 0.

        Args:
            fps: the file's own claim; anything implausible counts as 25.
        """
        low, high = _PLAUSIBLE_FPS
        self._step = 1.0 / (fps if math.isfinite(fps) and low <= fps <= high else _USUAL_FPS)
        self._last_stamp: float | None = None
        self.position_seconds = 0.0

    def advance(self, stamp: float) -> None:
        """Go on to the picture whose time stamp is `stamp` seconds.

        A stamp that stands still, runs backwards or jumps by more than a minute is broken, and one frame's time is
        taken instead.
        """
        shortest, longest = _STEP_SECONDS
        if self._last_stamp is not None:
            step = stamp - self._last_stamp
            self.position_seconds += step if shortest <= step <= longest else self._step
        self._last_stamp = stamp


class _VideoFileCapture:
    """An opened video file: a capture with the file's own time."""

    is_key_picture = False

    def __init__(self, capture: cv2.VideoCapture, *, color: bool) -> None:
        self._properties = capture
        read = as_image if color else read_packets(capture) or as_gray
        self._capture = OpenCvCapture(capture, always_key=False, read=read)
        self._clock = MediaClock(capture.get(cv2.CAP_PROP_FPS))

    @property
    def position_seconds(self) -> float:
        return self._clock.position_seconds

    def grab(self) -> bool:
        grabbed = self._capture.grab()
        if grabbed:
            self._clock.advance(self._properties.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        return grabbed

    def retrieve(self) -> Image | None:
        return self._capture.retrieve()

    def close(self) -> None:
        self._capture.close()


class VideoFile:
    """A video file of any kind that FFmpeg reads, GIF included."""

    live = False

    def __init__(self, camera: str, path: Path, *, color: bool = False) -> None:
        """Describe the file; nothing is opened.

        Args:
            camera: the camera's name, for messages.
            path: the file.
            color: give BGR instead of gray, for somebody to look at.
        """
        self._camera, self._path, self._color = camera, path, color

    def check(self) -> None:
        """Decode one picture.

        Raises:
            CameraError: the file is missing, not readable or no video.
        """
        capture = self.open()
        try:
            if not capture.grab() or capture.retrieve() is None:
                raise self._no_video()
        finally:
            capture.close()

    def open(self) -> _VideoFileCapture:
        """Open the file at its beginning.

        Raises:
            CameraError: the file is missing, not readable or no video.
        """
        _check_readable(self._camera, self._path)
        capture = open_ffmpeg(str(self._path))
        if capture is None:
            raise self._no_video()
        return _VideoFileCapture(capture, color=self._color)

    def _no_video(self) -> CameraError:
        return CameraError(
            f"camera '{self._camera}': {self._path} is no video that FFmpeg can read; "
            "set source under [[cameras]] to one"
        )


class _PicturesCapture:
    """Pictures, each shown for the same time."""

    is_key_picture = False

    def __init__(self, paths: Sequence[Path], fps: float) -> None:
        self._paths, self._fps = paths, fps
        self._index = -1

    @property
    def position_seconds(self) -> float:
        return max(self._index, 0) / self._fps

    def grab(self) -> bool:
        self._index += 1
        return self._index < len(self._paths)

    def retrieve(self) -> Image | None:
        try:
            return as_image(cv2.imread(str(self._paths[self._index]), cv2.IMREAD_GRAYSCALE))
        except cv2.error:
            return None

    def close(self) -> None:
        self._index = len(self._paths)


class Pictures:
    """A folder of pictures in the order of their names, or a single picture."""

    live = False

    def __init__(self, camera: str, path: Path, *, fps: float) -> None:
        """Describe the pictures; nothing is read.

        Args:
            camera: the camera's name, for messages.
            path: the folder, or one picture.
            fps: pictures shown each second.
        """
        self._camera, self._path, self._fps = camera, path, fps

    def check(self) -> None:
        """Decode the first picture.

        Raises:
            CameraError: the folder is missing, not readable or empty, or its first picture is damaged.
        """
        first = self._paths()[0]
        _check_readable(self._camera, first)
        if _PicturesCapture([first], 1.0).retrieve() is None:
            raise CameraError(f"camera '{self._camera}': {first} is no picture that OpenCV can read; remove it")

    def open(self) -> _PicturesCapture:
        """List the pictures.

        Raises:
            CameraError: the folder is missing, not readable or empty.
        """
        return _PicturesCapture(self._paths(), self._fps)

    def _paths(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        try:
            paths = sorted(path for path in self._path.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
        except OSError as error:
            raise _unreadable(self._camera, self._path, error) from error
        if not paths:
            raise CameraError(
                f"camera '{self._camera}': the folder {self._path} has no pictures; "
                f"put some there ({', '.join(sorted(PICTURE_SUFFIXES))})"
            )
        return paths


def _check_readable(camera: str, path: Path) -> None:
    try:
        status = path.stat()
        regular = stat.S_ISREG(status.st_mode)
        if regular:  # opening a pipe would wait for somebody to write to it
            path.open("rb").close()
    except (OSError, ValueError) as error:
        raise _unreadable(camera, path, error) from error
    if not regular:
        raise CameraError(
            f"camera '{camera}': {path} is no file; set source under [[cameras]] to a video or a folder of pictures"
        )
    if status.st_size == 0:
        raise CameraError(f"camera '{camera}': {path} is empty; set source under [[cameras]] to a video or a picture")


def _unreadable(camera: str, path: Path, error: OSError | ValueError) -> CameraError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return CameraError(f"camera '{camera}': {path} does not exist; check source under [[cameras]]")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return CameraError(f"camera '{camera}': {path} cannot be read ({reason.lower()}); let the daemon's user read it")
