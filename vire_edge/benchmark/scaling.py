"""How the cost grows with resolution, faces, cameras and frame rate, one at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vire_edge.benchmark.contestants import NAIVE, OURS, PipelineContestant, rivals
from vire_edge.benchmark.runs import in_a_turn
from vire_edge.benchmark.scenes import Scene, filmed, read_shots
from vire_edge.benchmark.spread import Spread, spread
from vire_edge.benchmark.stages import Stopwatch
from vire_edge.camera import Script, Step, SyntheticSource
from vire_edge.config import Config
from vire_edge.domain import EMOTIONS

RESOLUTIONS = ((320, 240), (640, 480), (960, 540), (1280, 720), (1920, 1080))
FACES = (1, 2, 3, 4, 6, 8)
CAMERAS = (1, 2, 3, 4)
RATES = (5.0, 10.0, 15.0, 20.0, 30.0)
USUAL_SIZE, WIDE_SIZE = (640, 480), (960, 540)
"""Eight faces side by side need the wide one to be large enough."""
USUAL_RATE = 10.0
RATE = "frame rate"


@dataclass(frozen=True, slots=True)
class Point:
    """One setting and its cost."""

    series: str
    """What is varied: resolution, faces, cameras or frame rate."""
    label: str
    value: float
    """Megapixels, faces, cameras, or frames a second."""
    fps: float
    ours: Spread
    """Milliseconds of the processor for a frame of each camera."""
    naive: Spread

    @property
    def cpu_seconds_a_minute(self) -> float:
        """Of ours, without decoding."""
        return self.ours.mean * self.fps * 60 / 1000


@dataclass(frozen=True, slots=True)
class _Setting:
    series: str
    label: str
    value: float
    size: tuple[int, int] = USUAL_SIZE
    faces: int = 1
    cameras: int = 1
    fps: float = USUAL_RATE


def sweep(
    config: Config, folder: Path, *, seconds: float, progress: Callable[[str], None] = lambda _: None
) -> list[Point]:
    """Measure each setting, both pipelines in turns on the same frames.

    Args:
        config: the user's.
        folder: for the clips, one at a time.
        seconds: of media time for each setting.
        progress: told what is measured.

    Raises:
        VireError: a clip cannot be written, or the model is missing.
    """
    points = []
    for setting in _settings():
        progress(f"{setting.series}: {setting.label}")
        points.append(_measure(setting, config, folder, seconds))
    return points


def _settings() -> Iterator[_Setting]:
    for width, height in RESOLUTIONS:
        yield _Setting("resolution", f"{width}×{height}", width * height / 1e6, size=(width, height))
    for faces in FACES:
        yield _Setting("faces", str(faces), faces, size=WIDE_SIZE, faces=faces)
    for cameras in CAMERAS:
        yield _Setting("cameras", str(cameras), cameras, cameras=cameras)
    for fps in RATES:
        yield _Setting(RATE, f"{fps:g}", fps, fps=fps)


def _measure(setting: _Setting, config: Config, folder: Path, seconds: float) -> Point:
    names = [f"camera-{number}" for number in range(1, setting.cameras + 1)]
    films = [_film(setting, folder / f"{name}.avi", seed, seconds) for seed, name in enumerate(names)]
    both = rivals(config, names)
    turns = [PipelineContestant(OURS, both.ours), PipelineContestant(NAIVE, both.naive)]
    costs: dict[str, list[float]] = {one.name: [] for one in turns}
    moments = zip(*(read_shots(film, fps=setting.fps, seconds=seconds) for film in films), strict=False)
    while block := list(itertools.islice(moments, in_a_turn(setting.fps))):
        for contestant in turns:
            for shots in block:
                watch = Stopwatch()
                for name, shot in zip(names, shots, strict=True):
                    contestant.look(shot, name)
                costs[contestant.name].append(watch.read().cpu_milliseconds)
        turns.reverse()
    return Point(setting.series, setting.label, setting.value, setting.fps, spread(costs[OURS]), spread(costs[NAIVE]))


def _film(setting: _Setting, path: Path, seed: int, seconds: float) -> Scene:
    people: Sequence[tuple[Step, ...]] = [
        (Step(seconds + 1.0, EMOTIONS[number % len(EMOTIONS)]),) for number in range(setting.faces)
    ]
    source = SyntheticSource(Script(tuple(people)), *setting.size, setting.fps, seed=seed)
    return filmed(Scene(setting.label, "", source), path, fps=setting.fps, seconds=seconds)
