"""What is looked at: clips, cameras, and scenes that the synthetic actor plays, as pictures with their media time.

What is drawn is filmed first, as MJPEG, which is what a webcam sends: so it has to be decoded like anything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vire_edge.benchmark.stages import Cost, Stopwatch
from vire_edge.camera import DEMO_SCRIPT, Image, Script, ShownFace, Source, Step, SyntheticSource, source_for
from vire_edge.camera.media import VideoFile
from vire_edge.camera.pacing import RateLimit
from vire_edge.config import CameraConfig, redact_source
from vire_edge.domain import EMOTIONS, Emotion
from vire_edge.errors import CameraError, StorageError

CAMERA = "benchmark"
"""What messages call the camera."""
JPEG_QUALITY = 90
_NOISE_LEVELS = 3.0
"""Standard deviation of the sensor noise, of 255: the actor's."""
_THING_SIDES = (0.03, 0.4)
"""Shortest and longest, in heights of the picture; small ones are as frequent as large ones."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Something to look at."""

    name: str
    about: str
    source: Source
    faces_at: Callable[[float], tuple[ShownFace, ...]] | None = None
    """Second of the scene → the faces that are there; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a scene."""

    image: Image
    seconds: float
    """Media time, which goes on after a pause when a scene begins again; of a live camera the real one. From 0."""
    decoding: Cost
    faces: tuple[ShownFace, ...] | None


class StillRoom(SyntheticSource):
    """The actor's room without anybody, in a light that does not change, with a camera's noise."""

    def __init__(self, width: int, height: int, fps: float, *, things: int = 0) -> None:
        """Prepare the room; nothing is drawn.

        Args:
            width: pixels.
            height: pixels.
            fps: pictures for each second of media time.
            things: rectangles of all sizes and shades that stand and hang in it.
        """
        super().__init__(NOBODY, width, height, fps)
        self._things = things
        self._picture: Image | None = None

    def image_at(self, seconds: float) -> Image:
        """Draw the picture of one moment, uint8 `[height, width, 3]` BGR."""
        if self._picture is None:
            room = np.asarray(cv2.GaussianBlur(super().image_at(0.0), (7, 7), 0), np.uint8)
            _furnish(room, self._things)
            self._picture = np.asarray(cv2.GaussianBlur(room, (5, 5), 0), np.uint8)
        noise = np.random.default_rng(round(seconds * 1000)).normal(0.0, _NOISE_LEVELS, self._picture.shape)
        return np.asarray(cv2.add(self._picture, noise.astype(np.int16), dtype=cv2.CV_8U), np.uint8)


def _furnish(room: Image, things: int) -> None:
    height, width = room.shape[:2]
    rng = np.random.default_rng(things)
    for _ in range(things):
        shortest, longest = np.log(_THING_SIDES)
        half = np.exp(rng.uniform(shortest, longest, 2)) * height / 2
        center = rng.uniform((0, 0), (width, height))
        left, top, right, bottom = (round(side) for side in (*(center - half), *(center + half)))
        cv2.rectangle(room, (left, top), (right, bottom), (float(rng.uniform(40, 200)),) * 3, -1)


PAUSE_SECONDS = 60.0
"""Between a clip's end and its next beginning, to those who look: no camera cuts from one moment to another."""
FURNITURE = 50
"""With so many things a full search takes 140 ns for each pixel of 640×480, as in clips of people in rooms (75 to 205);
without any it takes 21, because the cascade leaves a bare wall at once."""
NOBODY = Script.solo((60.0, None))
ONE = Script.solo(*((8.0, emotion) for emotion in EMOTIONS))
RESTLESS = Script.solo((14.0, Emotion.NEUTRAL), (3.0, None), (14.0, Emotion.HAPPY), (3.0, None), (14.0, Emotion.SAD))
PEOPLE = Script(
    (
        (Step(20.0, Emotion.NEUTRAL), Step(6.0, None), Step(22.0, Emotion.HAPPY)),
        (Step(5.0, None), Step(15.0, Emotion.SAD), Step(10.0, None), Step(18.0, Emotion.NEUTRAL)),
        (Step(10.0, None), Step(30.0, Emotion.SURPRISE), Step(8.0, None)),
        (
            Step(3.0, Emotion.ANGRY),
            Step(4.0, None),
            Step(3.0, Emotion.FEAR),
            Step(30.0, None),
            Step(8.0, Emotion.HAPPY),
        ),
    )
)
Play = Callable[[int, int, float], SyntheticSource]
"""Width, height and frames a second → a scene."""
SCENES: dict[str, tuple[str, Play]] = {
    "actor": (
        "the actor's play: calm, joy, distress, an empty room",
        lambda *size: SyntheticSource(DEMO_SCRIPT, *size),
    ),
    "one": ("one face that stays", lambda *size: SyntheticSource(ONE, *size)),
    "moving": (
        "one face that moves to and fro, leaves and comes back",
        lambda *size: SyntheticSource(RESTLESS, *size, restlessness=4.0),
    ),
    "tilting": (
        "the same, further and tilted by up to 24 degrees, which the cascade does not know",
        lambda *size: SyntheticSource(RESTLESS, *size, restlessness=8.0),
    ),
    "people": ("four people who come and go", lambda *size: SyntheticSource(PEOPLE, *size)),
    "empty": ("nobody, in a light that wanders", lambda *size: SyntheticSource(NOBODY, *size)),
    "still": ("nobody, in a still light, before a bare wall", StillRoom),
    "furnished": (
        "the same, before things that make the room as costly to search as a filmed one",
        lambda *size: StillRoom(*size, things=FURNITURE),
    ),
}


def find_scene(name: str, camera: CameraConfig) -> Scene:
    """Return one of `SCENES`, or a clip or camera; nothing is opened yet.

    Args:
        name: of a scene; or any source that a camera may have.
        camera: size and frame rate of what is drawn, and what is asked of a webcam.

    Raises:
        CameraError: there is no such source, or it is no video.
    """
    if name in SCENES:
        about, play = SCENES[name]
        source = play(camera.width, camera.height, camera.fps)
        return Scene(name, about, source, source.faces_at)
    shown = redact_source(name)
    try:
        given = source_for(camera.model_copy(update={"name": CAMERA, "source": name}))
        given.check()
    except CameraError as error:
        what = str(error).removeprefix(f"camera '{CAMERA}': ").partition(";")[0]
        raise CameraError(f"{what}; name a clip, a camera, or with --scene one of {', '.join(SCENES)}") from error
    return Scene(shown if given.live else Path(shown).name, "a camera" if given.live else "a clip", given)


def filmed(scene: Scene, path: Path, *, fps: float, seconds: float) -> Scene:
    """Write a drawn scene as a clip.

    Args:
        scene: one of `SCENES`.
        path: the clip, .avi.
        fps: the scene's frames a second.
        seconds: of the clip at most.

    Returns:
        The same scene, read from the clip.

    Raises:
        StorageError: the clip cannot be written.
    """
    writer: cv2.VideoWriter | None = None
    try:
        for shot in read_shots(scene, fps=fps, seconds=seconds, rounds=1):
            if writer is None:
                writer = _open_writer(path, fps, shot.image.shape[1], shot.image.shape[0])
            writer.write(shot.image)
    finally:
        if writer is not None:
            writer.release()
    if not path.exists() or path.stat().st_size == 0:
        raise StorageError(f"{path} could not be written; is the disk full?")
    drawn = scene.faces_at
    # FFmpeg's time stamps are rounded to microseconds.
    faces_at = None if drawn is None else lambda seconds: drawn(round(seconds * fps) / fps)
    return replace(scene, source=VideoFile(CAMERA, path), faces_at=faces_at)


def read_shots(scene: Scene, *, fps: float, seconds: float, rounds: int | None = None) -> Iterator[Shot]:
    """Read a scene at `fps`; what has an end begins again after `PAUSE_SECONDS` of the scene's time.

    Args:
        scene: what to look at.
        fps: pictures a second at most; those in between are passed over without decoding.
        seconds: for how long.
        rounds: how often it is read through at most.

    Raises:
        CameraError: it cannot be opened or read.
    """
    scene.source.check()
    began = time.monotonic()
    done, begins_at, at = 0, 0.0, 0.0
    while rounds is None or done < rounds:
        done += 1
        limit = RateLimit(fps)
        shown = False
        with closing(scene.source.open()) as capture:
            while True:
                watch = Stopwatch()
                if not capture.grab():
                    break
                at = time.monotonic() - began if scene.source.live else begins_at + capture.position_seconds
                if at >= seconds:
                    return
                if not limit.lets_through(at) or (image := capture.retrieve()) is None:
                    continue
                shown = True
                faces = None if scene.faces_at is None else scene.faces_at(capture.position_seconds)
                yield Shot(image, at + (done - 1) * PAUSE_SECONDS, watch.read(), faces)
        if not shown or scene.source.live:
            raise CameraError(f"{scene.name}: no more pictures; check it with: vire-edge doctor")
        begins_at = at + 1 / fps


def _open_writer(path: Path, fps: float, width: int, height: int) -> cv2.VideoWriter:
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, fourcc, fps, (width, height), [cv2.VIDEOWRITER_PROP_QUALITY, JPEG_QUALITY]
    )
    if not writer.isOpened():
        raise StorageError(f"{path} cannot be written as a video; is there room in {path.parent}?")
    return writer
