"""Network cameras made of sockets: MJPEG over HTTP, and MPEG-TS over RTP inside an RTSP connection."""

from __future__ import annotations

import enum
import itertools
import random
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from vire_edge.camera import Image

FRAME_SECONDS = 0.05
TS_PACKET_BYTES = 188


def pattern(number: int) -> Image:
    """A wall with a square that wanders."""
    image = np.full((120, 160, 3), 90, np.uint8)
    left = number * 7 % 120
    image[40:80, left : left + 40] = (60, 120, 200)
    return image


class Behaviour(enum.Enum):
    """What the HTTP camera does."""

    MOVING = enum.auto()
    STILL = enum.auto()
    SILENT = enum.auto()
    """The connection stays open and nothing comes."""
    BLACK = enum.auto()
    GARBAGE = enum.auto()
    """What comes in the pictures' place is none."""
    LARGE = enum.auto()
    """The pictures have twice the size."""


class HttpCamera:
    """Serves `/video.mjpg` until it is closed; can be opened again on the same port."""

    def __init__(self, film: Sequence[Image] = ()) -> None:
        """Prepare it.

        Args:
            film: what it shows again and again; left out, a pattern that moves.
        """
        self._film = film
        self.behaviour = Behaviour.MOVING
        self.port = 0
        self._gone = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.port}/video.mjpg"

    def plug_in(self) -> None:
        camera = self
        self._gone = gone = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                if self.path != "/video.mjpg":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                try:
                    for number in itertools.count():
                        if gone.wait(FRAME_SECONDS):
                            return
                        if camera.behaviour is not Behaviour.SILENT:
                            self.send_picture(camera.content(number))
                except OSError:
                    return  # the client has left

            def send_picture(self, content: bytes) -> None:
                head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                self.wfile.write(head.encode() + content + b"\r\n")

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def content(self, number: int) -> bytes:
        """Return what is sent as a picture."""
        number = 0 if self.behaviour is Behaviour.STILL else number
        picture = self._film[number % len(self._film)] if self._film else pattern(number)
        match self.behaviour:
            case Behaviour.GARBAGE:
                return random.Random(number).randbytes(2000)
            case Behaviour.BLACK:
                picture = np.zeros_like(picture)
            case Behaviour.LARGE:
                picture = np.asarray(cv2.resize(picture, None, fx=2.0, fy=2.0), np.uint8)
        return cv2.imencode(".jpg", picture)[1].tobytes()

    @property
    def plugged_in(self) -> bool:
        return self._server is not None

    def unplug(self) -> None:
        self._gone.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def http_camera(film: Sequence[Image] = ()) -> Iterator[HttpCamera]:
    camera = HttpCamera(film)
    camera.plug_in()
    try:
        yield camera
    finally:
        camera.unplug()


class _RtspHandler(socketserver.StreamRequestHandler):
    """Just enough of RFC 2326 and 2250 for one client over TCP."""

    film: ClassVar[bytes] = b""
    gone: ClassVar[threading.Event] = threading.Event()

    def handle(self) -> None:
        while request := self.rfile.readline().decode():
            headers: dict[str, str] = {}
            while line := self.rfile.readline().decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            verb = request.split()[0]
            extra, body = self.answer(verb, headers)
            reply = f"RTSP/1.0 200 OK\r\nCSeq: {headers.get('cseq', '0')}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
            self.wfile.write(reply.encode() + body)
            if verb == "PLAY":
                self.play()
                return

    @staticmethod
    def answer(verb: str, headers: dict[str, str]) -> tuple[str, bytes]:
        match verb:
            case "OPTIONS":
                return "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", b""
            case "DESCRIBE":
                description = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"
                )
                return "Content-Type: application/sdp\r\n", description.encode()
            case "SETUP":
                return f"Transport: {headers['transport']}\r\nSession: 1\r\n", b""
        return "Session: 1\r\n", b""

    def play(self) -> None:
        payload_bytes = 7 * TS_PACKET_BYTES
        try:
            for sequence, start in enumerate(range(0, len(self.film), payload_bytes)):
                payload = self.film[start : start + payload_bytes]
                packet = struct.pack("!BBHII", 0x80, 33, sequence & 0xFFFF, sequence * 900, 1) + payload
                self.wfile.write(b"$\x00" + struct.pack("!H", len(packet)) + packet)
                if self.gone.wait(0.005):
                    return
        except OSError:
            return


@contextmanager
def rtsp_camera(folder: Path) -> Iterator[str]:
    """Serve a short film by RTSP over TCP; yields its URL."""
    path = folder / "film.ts"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mpg1"), 25, (160, 120))
    for number in range(100):
        writer.write(pattern(number))
    writer.release()
    gone = threading.Event()
    handler = type("Handler", (_RtspHandler,), {"film": path.read_bytes(), "gone": gone})
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/film"
    finally:
        gone.set()
        server.shutdown()
        server.server_close()
