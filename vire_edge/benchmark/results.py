"""Runs → figures: plain frozen values, which the report shows and JSON holds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from vire_edge.benchmark.agreement import (
    FaceAgreement,
    Timeline,
    Truth,
    compare_faces,
    compare_timelines,
    compare_truth,
)
from vire_edge.benchmark.alone import Alone
from vire_edge.benchmark.contestants import EACH_READ, NAIVE, OURS, READ
from vire_edge.benchmark.daemon_cost import DaemonCost
from vire_edge.benchmark.keras_call import KerasCall
from vire_edge.benchmark.latency import Latency
from vire_edge.benchmark.machine import Machine
from vire_edge.benchmark.runs import Recording, Run
from vire_edge.benchmark.scaling import Point
from vire_edge.benchmark.scenes import PAUSE_SECONDS
from vire_edge.benchmark.spread import Ratio, Spread, ratio, spread

BLOCK_SECONDS = 1.0
"""Frames this near to each other resemble each other, and a schedule has come round."""


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage of a contestant, milliseconds."""

    name: str
    share: float
    """Of the frames that needed it."""
    mean: float
    """Over all frames."""
    where_needed: Spread


@dataclass(frozen=True, slots=True)
class Standing:
    """One contestant before one scene."""

    name: str
    frame: Spread
    """Milliseconds a frame on the clock."""
    cpu_milliseconds: float
    """Of the processor, mean."""
    times_ours: Ratio
    """Its cost as a multiple of ours, on the clock."""
    times_ours_cpu: Ratio
    cpu_seconds_a_minute: float
    """Of the processor for a minute of video, without decoding."""
    stages: tuple[StageCost, ...]
    faces: FaceAgreement | None
    """Beside the naive pipeline's; None where that is missing."""
    truth: Truth | None
    """Beside what was drawn; None for clips and cameras."""
    timeline: Timeline | None
    """Beside the naive pipeline's; None for those that smooth nothing."""
    reading: Timeline | None
    """Beside that of the same faces read in each frame; None for those that look for faces in another way."""


@dataclass(frozen=True, slots=True)
class SceneResult:
    """One scene."""

    scene: str
    about: str
    width: int
    height: int
    frames: int
    frames_a_second: float
    decoding: Spread
    """Milliseconds a frame."""
    decoding_cpu_seconds_a_minute: float
    limit_cpu_seconds_a_minute: float
    """Decoding and our readings of emotions alone: what no search could go below."""
    standings: tuple[Standing, ...]


@dataclass(slots=True)
class Results:
    """All that was measured in one go."""

    machine: Machine
    command: str
    scenes: list[SceneResult] = field(default_factory=list)
    alone: dict[str, Alone] = field(default_factory=dict)
    """Contestant → what it takes by itself."""
    keras: KerasCall | None = None
    latency: Latency | None = None
    daemons: list[DaemonCost] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    @property
    def has_figures(self) -> bool:
        """Whether anything was measured."""
        return bool(self.scenes or self.points or self.daemons or self.latency or self.keras)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema": 1, **asdict(self)}


def summarize(run: Run) -> SceneResult:
    """Turn a run into figures; it has at least one frame and our recording."""
    ours = run.recording(OURS)
    frames = len(ours.costs)
    rate = frames / _seconds(run)
    decoding = float(np.mean([cost.cpu_milliseconds for cost in run.decoding]))
    reading = sum(stages.get(READ, 0.0) for stages in ours.stages) / frames
    minute = rate * 60 / 1000
    return SceneResult(
        scene=run.scene,
        about=run.about,
        width=run.size[0],
        height=run.size[1],
        frames=frames,
        frames_a_second=rate,
        decoding=spread([cost.milliseconds for cost in run.decoding]),
        decoding_cpu_seconds_a_minute=decoding * minute,
        limit_cpu_seconds_a_minute=(decoding + reading) * minute,
        standings=tuple(_standing(run, recording, rate) for recording in run.recordings),
    )


def _seconds(run: Run) -> float:
    """Media time that was looked at, without the pauses between a clip's end and its next beginning."""
    times = [sight.seconds for sight in run.recording(OURS).sights]
    pauses = sum(after - before >= PAUSE_SECONDS for before, after in pairwise(times))
    return times[-1] - pauses * PAUSE_SECONDS + 1 / run.fps


def _standing(run: Run, recording: Recording, rate: float) -> Standing:
    ours = run.recording(OURS)
    naive = next((one for one in run.recordings if one.name == NAIVE), None)
    block = max(1, round(rate * BLOCK_SECONDS))
    cpu = float(np.mean(recording.cpu_milliseconds))
    each_read = next((one for one in run.recordings if one.name == EACH_READ), None)
    smooths = recording.name in (OURS, EACH_READ, NAIVE)
    return Standing(
        name=recording.name,
        frame=spread(recording.milliseconds),
        cpu_milliseconds=cpu,
        times_ours=ratio(recording.milliseconds, ours.milliseconds, block=block),
        times_ours_cpu=ratio(recording.cpu_milliseconds, ours.cpu_milliseconds, block=block),
        cpu_seconds_a_minute=cpu * rate * 60 / 1000,
        stages=tuple(_stage(name, recording.stages) for name in recording.stage_names),
        faces=None if naive is None else compare_faces(naive.sights, recording.sights),
        truth=compare_truth(run.shown, recording.sights) if run.shown else None,
        timeline=compare_timelines(naive.sights, recording.sights) if naive is not None and smooths else None,
        reading=compare_timelines(each_read.sights, recording.sights)
        if each_read is not None and recording.name in (OURS, EACH_READ)
        else None,
    )


def _stage(name: str, frames: Sequence[dict[str, float]]) -> StageCost:
    needed = [stages[name] for stages in frames if name in stages]
    return StageCost(name, len(needed) / len(frames), sum(needed) / len(frames), spread(needed))
