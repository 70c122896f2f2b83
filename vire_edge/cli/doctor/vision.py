"""OpenCV, the model and the cameras. Importing this fails where a system library is missing."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vire_edge.camera import Camera
from vire_edge.cli.doctor.check import Check, failed_with, failure, ok, skipped, warning
from vire_edge.cli.doctor.network import Holder
from vire_edge.config import CameraConfig, redact_source
from vire_edge.config.settings import ModelConfig
from vire_edge.domain import CameraState, CameraStatus, Frame
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.errors import CameraError, ModelError
from vire_edge.preprocess import FACE_SIZE

_FIRST_PICTURE_SECONDS = 12.0
"""A network camera may take eight seconds to be connected."""
_WATCH_SECONDS = 1.5
"""After its first picture a webcam's exposure still settles."""
_STOP_SECONDS = 2.0
_BLACK_LEVEL = 16.0
"""Mean of a picture, of 255, below which a lens is covered or the room is dark."""
_FAULTS = {CameraStatus.RECONNECTING, CameraStatus.STALLED}
_DEVICES = Path("/dev")
_NO_WEBCAM = (
    "plug one in, or name another source under [[cameras]] (to try without one: vire-edge run --source synthetic)"
)
_ROUNDS = 30
_SLOW_MS = 50.0


def check_opencv() -> Check:
    """Its version; that it could be imported is the check itself."""
    return ok("opencv", cv2.__version__)


def check_model(config: ModelConfig) -> Check:
    """Whether the model loads, keeps its contract and is quick enough."""
    try:
        classifier = OnnxEmotionClassifier(config.path, precision=config.precision, threads=config.threads)
    except ModelError as error:
        return failed_with("model", error)
    face = np.linspace(0, 255, FACE_SIZE**2).reshape(1, FACE_SIZE, FACE_SIZE).astype(np.uint8)
    milliseconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        classifier.classify(face)
        milliseconds.append((time.perf_counter() - start) * 1000)
    median = statistics.median(milliseconds)
    detail = f"{classifier.path.name} ({classifier.architecture}), {median:.1f} ms a face"
    if median > _SLOW_MS:
        return warning("model", detail, "give it more threads (model.threads), or stop other programs")
    return ok("model", detail)


@dataclass
class _Watched:
    """What one camera showed so far."""

    camera: Camera
    opening: CameraState
    """Its state before anything was tried."""
    first: Frame | None = None
    newest: Frame | None = None
    frames: int = 0

    def look(self) -> None:
        """Take the newest picture, if there is one and it still matters."""
        if not self.done and (frame := self.camera.take()) is not None:
            self.first = self.first or frame
            self.newest = frame
            self.frames += 1

    @property
    def seconds(self) -> float:
        """Between the first and the newest picture."""
        return 0.0 if self.first is None or self.newest is None else self.newest.monotonic - self.first.monotonic

    @property
    def failed(self) -> bool:
        """Whether it could not be opened, and has said why."""
        state = self.camera.state
        return self.newest is None and state.status in _FAULTS and state.reason != self.opening.reason

    @property
    def done(self) -> bool:
        """Whether more waiting would tell nothing more."""
        return self.failed or self.camera.finished or self.seconds >= _WATCH_SECONDS


def check_cameras(configs: list[CameraConfig], *, holder: Holder, devices: Path = _DEVICES) -> list[Check]:
    """Open all cameras at once and look at their pictures.

    Args:
        configs: the cameras.
        holder: who runs already; a webcam has only one user at a time.
        devices: where Linux puts webcams.
    """
    wake = threading.Event()
    results: dict[str, Check] = {}
    watched: list[_Watched] = []
    for config in configs:
        name = f"camera {config.name}"
        if _is_webcam(config) and holder is not Holder.NOBODY:
            results[name] = _held(config, holder)
            continue
        if _is_webcam(config) and next(devices.glob("video*"), None) is None:
            missing = "no webcam found"
            if not str(config.source).isdecimal():
                missing = f"{config.source} does not exist, {missing}"
            results[name] = failure(name, missing, _NO_WEBCAM)
            continue
        try:
            camera = Camera(config, wake=wake)
            opening = camera.state
            camera.start()
        except CameraError as error:
            results[name] = _failed(config.name, str(error))
            continue
        results[name] = skipped(name, "being looked at")  # keeps the configuration's order
        watched.append(_Watched(camera, opening))
    try:
        _watch(watched, wake)
        results.update((f"camera {each.camera.name}", _judge(each)) for each in watched)
    finally:
        for each in watched:
            each.camera.stop(_STOP_SECONDS)
    return list(results.values())


def _held(config: CameraConfig, holder: Holder) -> Check:
    by, stop = (
        ("service", "sudo systemctl stop vire-edge") if holder is Holder.SERVICE else ("daemon", "stop vire-edge run")
    )
    return skipped(
        f"camera {config.name}",
        f"webcam {redact_source(config.source)} is left to the running {by}",
        f"follow it with: vire-edge watch; to look at it here: {stop}",
    )


def _watch(watched: list[_Watched], wake: threading.Event) -> None:
    deadline = time.monotonic() + _FIRST_PICTURE_SECONDS
    while not all(each.done for each in watched) and (left := deadline - time.monotonic()) > 0:
        wake.wait(min(left, _WATCH_SECONDS / 4))
        wake.clear()
        for each in watched:
            each.look()


def _judge(watched: _Watched) -> Check:
    name, frame = f"camera {watched.camera.name}", watched.newest
    if frame is None:
        if watched.failed:
            return _failed(watched.camera.name, watched.camera.state.reason)
        return failure(
            name,
            f"no picture within {_FIRST_PICTURE_SECONDS:.0f} s",
            "check that it is plugged in and that no other program uses it",
        )
    height, width = frame.image.shape[:2]
    brightness = float(frame.image.mean())
    detail = f"{width}×{height}, brightness {brightness:.0f} of 255"
    if watched.seconds:
        detail += f", {(watched.frames - 1) / watched.seconds:.1f} pictures a second"
    if brightness < _BLACK_LEVEL:
        return warning(name, f"{detail}: black", "uncover the lens or switch on the light")
    return ok(name, detail)


def _failed(camera: str, message: str) -> Check:
    detail, _, remedy = message.removeprefix(f"camera '{camera}': ").partition("; ")
    return failure(f"camera {camera}", detail, remedy)


def _is_webcam(config: CameraConfig) -> bool:
    source = str(config.source)
    return source.isdecimal() or source.startswith("/dev/")
