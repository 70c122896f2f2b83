from __future__ import annotations

import os
from pathlib import Path

import pytest

from vire_edge.camera import SyntheticSource, source_for
from vire_edge.camera.media import Pictures, VideoFile
from vire_edge.camera.opencv import quiet_opencv
from vire_edge.camera.stream import NetworkStream
from vire_edge.camera.webcam import Webcam
from vire_edge.config import CameraConfig
from vire_edge.errors import CameraError


@pytest.mark.parametrize(
    ("source", "kind", "live"),
    [
        (0, Webcam, True),
        ("1", Webcam, True),
        ("/dev/v4l/by-id/usb-Some_Camera-video-index0", Webcam, True),
        ("rtsp://user:secret@10.0.0.7/stream", NetworkStream, True),
        ("https://10.0.0.7:8443/video.mjpg", NetworkStream, True),
        ("film.mp4", VideoFile, False),
        ("photo.JPG", Pictures, False),
        ("synthetic", SyntheticSource, False),
    ],
)
def test_the_source_says_of_which_kind_it_is(source: int | str, kind: type, live: bool) -> None:
    found = source_for(CameraConfig(source=source))
    assert isinstance(found, kind)
    assert found.live is live


def test_a_folder_holds_pictures_and_a_link_to_a_device_is_a_webcam(tmp_path: Path) -> None:
    assert isinstance(source_for(CameraConfig(source=str(tmp_path))), Pictures)
    link = tmp_path / "front-door"
    link.symlink_to(os.devnull)
    assert isinstance(source_for(CameraConfig(source=str(link))), Webcam)


@pytest.mark.parametrize("source", ["ftp://host/film.mp4", "rtsp:///stream", "http://[::1/x", "rtsp://u:pa/ss@host/x"])
def test_a_url_that_is_no_stream_is_refused_without_its_password(source: str) -> None:
    with pytest.raises(CameraError, match="camera 'hall': ") as caught:
        source_for(CameraConfig(name="hall", source=source))
    assert "pa" not in str(caught.value).removeprefix("camera 'hall': source under [[cameras]]").replace("password", "")


def test_the_users_own_wish_to_see_opencvs_lines_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "48")
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "INFO")
    quiet_opencv()
    assert os.environ["OPENCV_FFMPEG_LOGLEVEL"] == "48"
