"""Three scripted minutes through all stages, against what the rules raise for a perfect reader."""

from __future__ import annotations

import threading
from datetime import UTC

import pytest

from vire_edge.alerts import AlertEngine
from vire_edge.camera import Camera, Script, Step, SyntheticSource
from vire_edge.config import Config
from vire_edge.domain import (
    EMOTIONS,
    CameraStatus,
    Emotion,
    EmotionScores,
    EmotionState,
    EpisodeChange,
    EpisodeEvent,
    Instant,
)
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.pipeline import Observation, Pipeline
from vire_edge.searching import build_search

FPS = 5.0
SCRIPT = Script.solo(
    (20.0, Emotion.NEUTRAL),
    (15.0, Emotion.HAPPY),
    (20.0, Emotion.SAD),
    (10.0, Emotion.ANGRY),
    (15.0, Emotion.SAD),
    (35.0, Emotion.NEUTRAL),
    (8.0, Emotion.SURPRISE),
    (22.0, Emotion.NEUTRAL),
    (20.0, None),
    (15.0, Emotion.HAPPY),
)
CONFIG = Config.model_validate(
    {
        "cameras": [{"name": "room", "source": "synthetic", "pace": "fast", "width": 480, "height": 360, "fps": FPS}],
        "alerts": [
            {
                "kind": "sustained", "name": "distress", "emotions": ["sad", "fear", "angry"], "window_seconds": 30,
                "min_observed_seconds": 10, "hold_seconds": 2, "cooldown_seconds": 30,
            },
            {"kind": "spike", "name": "startle", "emotions": ["surprise", "fear"], "hold_seconds": 2},
            {"kind": "spike", "name": "joy", "emotions": ["happy"], "score": 0.7, "hold_seconds": 3,
             "cooldown_seconds": 20, "severity": "info"},
            {"kind": "absence", "name": "absence", "absent_hours": 10 / 3600, "active_hours": "00:00-23:59"},
        ],
    }
)  # fmt: skip


def make_engine() -> AlertEngine:
    return AlertEngine([alert.to_rule() for alert in CONFIG.alerts], ["room"], zone=UTC)


def watch(script: Script) -> tuple[list[Observation], list[EpisodeEvent]]:
    """Through the real stages, as fast as the processor allows, in the script's own time."""
    (camera_config,) = CONFIG.cameras
    wake = threading.Event()
    source = SyntheticSource(script, width=camera_config.width, height=camera_config.height, fps=FPS)
    camera = Camera(camera_config, wake=wake, source=source)
    pipeline = Pipeline(
        CONFIG, new_search=lambda: build_search(CONFIG.faces), classifier=OnnxEmotionClassifier(), engine=make_engine()
    )
    observations: list[Observation] = []
    events: list[EpisodeEvent] = []
    camera.start()
    while not camera.finished:
        wake.wait(1.0)
        wake.clear()
        while (frame := camera.take()) is not None:
            events += pipeline.engine.check_camera("room", CameraStatus.ONLINE, now=frame.instant)
            observations.append(pipeline.process(frame))
            events += observations[-1].events
    camera.stop(timeout_seconds=5.0)
    return observations, events


def foresee(script: Script, moments: list[Instant]) -> list[EpisodeEvent]:
    """What the rules raise when every expression is read at once and without a doubt."""
    engine, events = make_engine(), []
    engine.check_camera("room", CameraStatus.ONLINE, now=moments[0])
    last = moments[0].monotonic
    for moment in moments:
        shown = script.expression(0, moment.monotonic - moments[0].monotonic)
        states = []
        if shown is not None:
            scores = EmotionScores(tuple(float(emotion is shown) for emotion in EMOTIONS))
            states = [EmotionState(1, scores, 0.0, moment.monotonic - last)]
        last = moment.monotonic
        events += engine.observe("room", states, seen=bool(states), remembered=frozenset({1}), now=moment)
    return events


@pytest.mark.timeout(300)
def test_every_scripted_episode_is_raised_once_in_time_and_no_other() -> None:
    observations, events = watch(SCRIPT)
    moments = [observation.at for observation in observations]
    assert moments[-1].monotonic - moments[0].monotonic == pytest.approx(SCRIPT.seconds, abs=1.0)

    raised = [event for event in events if event.change is EpisodeChange.STARTED]
    due = [event for event in foresee(SCRIPT, moments) if event.change is EpisodeChange.STARTED]
    assert [event.episode.rule for event in due] == ["joy", "distress", "startle", "absence", "joy"]
    assert [event.episode.rule for event in raised] == [event.episode.rule for event in due]
    for event, earliest in zip(raised, due, strict=True):
        delay = event.at.monotonic - earliest.at.monotonic
        assert -0.5 <= delay < 2.0, f"{event.episode.rule} came {delay:.1f} s after its earliest moment"


def test_two_people_side_by_side_are_two_tracks_with_a_state_each() -> None:
    script = Script(((Step(20.0, Emotion.HAPPY),), (Step(20.0, Emotion.ANGRY),)))
    observations, _ = watch(script)
    settled = observations[int(4 * FPS) : -int(FPS)]
    assert {track.track_id for observation in settled for track in observation.tracks} == {1, 2}
    left, right = sorted(settled[-1].tracks, key=lambda track: track.box.x)
    for observation in settled:
        dominant = {person.track_id: person.scores.dominant for person in observation.people}
        assert dominant == {left.track_id: Emotion.HAPPY, right.track_id: Emotion.ANGRY}
