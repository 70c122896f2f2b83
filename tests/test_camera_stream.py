"""Streams over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from network_cameras import Behaviour, http_camera, rtsp_camera

from vire_edge.camera import Camera
from vire_edge.camera.stream import NetworkStream
from vire_edge.config import CameraConfig
from vire_edge.domain import CameraStatus
from vire_edge.errors import CameraError


def wait_for(condition: Callable[[], bool]) -> None:
    deadline, pause = time.monotonic() + 30, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        pause.wait(0.01)


def test_an_http_camera_is_read_reported_when_it_goes_silent_still_or_away_and_comes_back() -> None:
    with http_camera() as device:
        camera = Camera(CameraConfig(source=device.url, fps=20, stall_seconds=0.6), wake=threading.Event())
        camera.start()
        try:
            wait_for(lambda: camera.take() is not None)
            for behaviour, reported in (
                (Behaviour.SILENT, {CameraStatus.RECONNECTING, CameraStatus.STALLED}),
                (Behaviour.STILL, {CameraStatus.STALLED}),
            ):
                device.behaviour = behaviour
                wait_for(lambda expected=reported: camera.state.status in expected)  # type: ignore[misc]
                device.behaviour = Behaviour.MOVING
                wait_for(lambda: camera.state.status is CameraStatus.ONLINE)
            device.unplug()
            wait_for(lambda: "connection refused" in camera.state.reason)
            assert camera.state.status is CameraStatus.RECONNECTING
            assert "secret" not in camera.state.reason
            device.plug_in()
            wait_for(lambda: camera.state.status is CameraStatus.ONLINE)
        finally:
            camera.stop(timeout_seconds=5)
        assert camera.reopened >= 3


def test_pictures_of_a_size_unknown_on_opening_count_as_damaged_until_the_camera_is_opened_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with http_camera() as device, monkeypatch.context() as garbage:
        pictures, good = device.content, threading.Event()
        garbage.setattr(device, "content", lambda number: pictures(number) if good.is_set() else bytes(1 << 20))
        stream = NetworkStream("hall", device.url, stall_seconds=5)
        capture = stream.open()
        good.set()
        try:
            for _ in range(20):
                assert capture.grab()
                assert capture.retrieve() is None
        finally:
            capture.close()
        capture = stream.open()
        try:
            assert capture.grab()
            image = capture.retrieve()
        finally:
            capture.close()
    assert image is not None
    assert image.shape == (120, 160)


def test_an_rtsp_camera_is_read_over_tcp(tmp_path: Path) -> None:
    with rtsp_camera(tmp_path) as url:
        capture = NetworkStream("hall", url, stall_seconds=5).open()
        try:
            kinds = []
            for _ in range(20):
                assert capture.grab()
                kinds.append(capture.is_key_picture)
            image = capture.retrieve()
        finally:
            capture.close()
    assert image is not None
    assert image.shape == (120, 160)
    assert True in kinds
    assert False in kinds  # the encoder's key pictures are told from those that build on them


def test_who_answers_without_video_is_told_from_who_does_not_answer() -> None:
    with http_camera() as device:
        wrong_path = device.url.replace("video", "vedio")
        with pytest.raises(
            CameraError, match="answers, but with no video; check the path, user and password"
        ) as caught:
            NetworkStream("hall", wrong_path, stall_seconds=5).open()
    assert "secret" not in str(caught.value)
    with pytest.raises(CameraError, match="connection refused"):
        NetworkStream("hall", device.url, stall_seconds=5).open()
    with pytest.raises(CameraError, match=r"no host nowhere\.invalid"):
        NetworkStream("hall", "http://nowhere.invalid/x", stall_seconds=5).open()


def test_a_camera_that_accepts_and_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        stream = NetworkStream("hall", url, stall_seconds=1, open_seconds=1)
        started = time.monotonic()
        with pytest.raises(CameraError, match="answers, but with no video"):
            stream.open()
        assert time.monotonic() - started < 20
