"""The configured source: which of the kinds it is."""

from __future__ import annotations

from pathlib import Path

from vire_edge.camera.media import PICTURE_SUFFIXES, Pictures, VideoFile
from vire_edge.camera.script import DEMO_SCRIPT
from vire_edge.camera.source import Source
from vire_edge.camera.stream import NetworkStream
from vire_edge.camera.synthetic import SyntheticSource
from vire_edge.camera.webcam import Webcam
from vire_edge.config import CameraConfig

SYNTHETIC = "synthetic"
"""The source that is drawn instead of seen."""


def source_for(config: CameraConfig) -> Source:
    """Return what a camera reads from; nothing is opened.

    Args:
        config: `source` is an index, a device, a URL, a file, a folder or "synthetic".

    Raises:
        CameraError: the URL is none that can be opened.
    """
    source = config.source
    if isinstance(source, str) and source.isascii() and source.isdecimal():
        source = int(source)  # an environment variable's index is text
    if isinstance(source, int):
        return Webcam(config.name, source, width=config.width, height=config.height, fps=config.fps)
    if source == SYNTHETIC:
        return SyntheticSource(DEMO_SCRIPT, config.width, config.height, config.fps)
    if "://" in source:
        return NetworkStream(config.name, source, stall_seconds=config.stall_seconds)
    path = Path(source).expanduser()
    if source.startswith("/dev/") or path.is_char_device():
        return Webcam(config.name, source, width=config.width, height=config.height, fps=config.fps)
    if path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES:
        return Pictures(config.name, path, fps=config.fps)
    return VideoFile(config.name, path)
