"""A network camera: RTSP or HTTP through FFmpeg."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import cv2

from vire_edge.camera.opencv import OpenCvCapture, open_ffmpeg, read_packets
from vire_edge.camera.source import as_gray
from vire_edge.config import redact_source
from vire_edge.errors import CameraError

SCHEMES = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
"""URL scheme → its usual port."""

_LONGEST_READ_SECONDS = 8.0
_PROBE_SECONDS = 2.0


class NetworkStream:
    """A stream by URL. RTSP runs over TCP, with UDP for cameras that know nothing else (OpenCV's own order)."""

    live = True

    def __init__(self, camera: str, url: str, *, stall_seconds: float, open_seconds: float = 8.0) -> None:
        """Describe the stream; nothing is opened.

        Args:
            camera: the camera's name, for messages.
            url: may carry a user and a password, which no message shows.
            stall_seconds: when the camera counts as stalled; reading gives up shortly before.
            open_seconds: when connecting gives up; some cameras need seconds to their first key picture.

        Raises:
            CameraError: the URL is none that FFmpeg is asked to open.
        """
        self._camera, self._url = camera, url
        self._open_seconds = open_seconds
        self._read_seconds = min(_LONGEST_READ_SECONDS, 0.8 * stall_seconds)
        try:
            parts = urlsplit(url)
            self._address = parts.hostname, parts.port or SCHEMES.get(parts.scheme, 0)
        except ValueError:
            # The parser's own words may quote a part of the password.
            raise CameraError(
                f"camera '{camera}': source under [[cameras]] is no valid URL; write special characters "
                "of the user and password as %XX, such as %40 for @"
            ) from None
        self._shown = redact_source(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise CameraError(
                f"camera '{camera}': {self._shown} is no stream; a URL begins with one of "
                f"{', '.join(f'{scheme}://' for scheme in SCHEMES)} and a host"
            )

    def check(self) -> None:
        """Find nothing: a network camera that does not answer may come up later."""

    def open(self) -> OpenCvCapture:
        """Connect.

        Raises:
            CameraError: nobody answers, or what answers is no video.
        """
        timeouts = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(self._open_seconds * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self._read_seconds * 1000)),
        ]
        capture = open_ffmpeg(self._url, timeouts)
        if capture is None:
            raise CameraError(f"camera '{self._camera}': {self._shown} {self._diagnose()}")
        read = read_packets(capture)
        return OpenCvCapture(capture, always_key=read is not None, read=read or as_gray)

    def _diagnose(self) -> str:
        """Say what FFmpeg does not tell: whether anybody answers at all."""
        host, port = self._address
        try:
            with socket.create_connection((host or "", port), timeout=_PROBE_SECONDS):
                pass
        except socket.gaierror:
            return f"cannot be opened (no host {host}); check the name"
        except TimeoutError:
            return f"cannot be opened (no answer from {host}:{port}); check that the camera is on"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            return f"cannot be opened ({host}:{port}: {reason}); check the address and that the camera is on"
        return "answers, but with no video; check the path, user and password of the URL"
