"""Contestants before the same scene, in turns, second by second: noise of the machine hits them alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vire_edge.benchmark.agreement import Sight
from vire_edge.benchmark.contestants import Contestant
from vire_edge.benchmark.scenes import Scene, read_shots
from vire_edge.benchmark.stages import Cost, Stopwatch
from vire_edge.camera import ShownFace

TURN_SECONDS = 1.0
"""So long one looks before the next: to change with each frame would have each find the processor's caches full of what
another one needed, and cost the one that needs least the most."""


@dataclass(slots=True)
class Recording:
    """What one contestant saw and what that took, frame by frame."""

    name: str
    sights: list[Sight] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    """Stage → milliseconds; a stage that a frame did not need is missing."""

    @property
    def milliseconds(self) -> list[float]:
        """On the clock, of each frame."""
        return [cost.milliseconds for cost in self.costs]

    @property
    def cpu_milliseconds(self) -> list[float]:
        """Of the processor, of each frame."""
        return [cost.cpu_milliseconds for cost in self.costs]

    @property
    def stage_names(self) -> list[str]:
        """Those that occurred, in the order of their first appearance."""
        return list(dict.fromkeys(name for stages in self.stages for name in stages))


@dataclass(slots=True)
class Run:
    """A scene and what became of it."""

    scene: str
    about: str
    fps: float
    recordings: list[Recording]
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels."""
    decoding: list[Cost] = field(default_factory=list)
    shown: list[tuple[ShownFace, ...]] = field(default_factory=list)
    """The faces that were there in each frame; empty where nobody knows."""

    def recording(self, name: str) -> Recording:
        """Return one contestant's."""
        return next(recording for recording in self.recordings if recording.name == name)


def in_a_turn(fps: float) -> int:
    """Frames that one looks at before the next."""
    return max(1, round(fps * TURN_SECONDS))


def run(
    scene: Scene,
    contestants: Sequence[Contestant],
    *,
    fps: float,
    seconds: float,
    progress: Callable[[float], None] = lambda _: None,
) -> Run:
    """Let all look at a scene.

    Args:
        scene: what they look at.
        contestants: who looks; a fresh one each, for they remember.
        fps: frames a second.
        seconds: of media time.
        progress: told the share that is done.

    Raises:
        CameraError: the scene cannot be read.
    """
    result = Run(scene.name, scene.about, fps, [Recording(one.name) for one in contestants])
    turns = list(zip(contestants, result.recordings, strict=True))
    # A live camera does not wait for a turn of several frames.
    frames = 1 if scene.source.live else in_a_turn(fps)
    shots = read_shots(scene, fps=fps, seconds=seconds)
    while block := list(itertools.islice(shots, frames)):
        height, width = block[0].image.shape[:2]
        result.size = (width, height)
        result.decoding += [shot.decoding for shot in block]
        result.shown += [shot.faces for shot in block if shot.faces is not None]
        for contestant, recording in turns:
            for shot in block:
                watch = Stopwatch()
                sight = contestant.look(shot)
                recording.costs.append(watch.read())
                recording.sights.append(sight)
                recording.stages.append(contestant.take_stages())
        # Whoever comes second finds the pictures in the processor's cache.
        turns.reverse()
        progress(min(1.0, block[-1].seconds / seconds))
    return result
