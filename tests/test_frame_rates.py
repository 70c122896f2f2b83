"""The rates of the cameras in a real daemon and over a computer that gets hot: asked, told, logged."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto
from daemons import ANYBODY, Daemon, Listener
from structlog.testing import capture_logs

from vire_edge.alerts import AlertEngine
from vire_edge.camera import Camera, Script, SyntheticSource
from vire_edge.camera.script import MORPH_SECONDS
from vire_edge.config import Config
from vire_edge.daemon.frame_rates import SETTLED_SECONDS, FrameRates
from vire_edge.daemon.governor import REST_AFTER_SECONDS, Pace
from vire_edge.daemon.machine import Machine
from vire_edge.domain import BoundingBox, Detection, Emotion, Frame, Instant, Slowdown
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.pipeline import Observation, Pipeline
from vire_edge.searching import build_search

START = datetime(2026, 1, 1, tzinfo=UTC)
ROOM = {"name": "room", "source": "synthetic", "loop": True}
FACE = Detection(BoundingBox(10, 10, 60, 60))


class House:
    """Cameras that are not opened, and a computer as warm as a test says."""

    def __init__(self, sysfs: Path, *cameras: dict[str, Any]) -> None:
        self._temperature = sysfs / "class/thermal/thermal_zone0/temp"
        self._temperature.parent.mkdir(parents=True)
        self.heat(50)
        settings = {"cameras": list(cameras) or [ROOM], "performance": {"max_cpu_percent": 6400}}
        self.config = Config.model_validate(settings)
        opened = [Camera(camera, wake=threading.Event()) for camera in self.config.cameras]
        self.rates = FrameRates(opened, self.config, machine=Machine(sysfs))
        self.now = 1000.0

    def heat(self, celsius: float) -> None:
        self._temperature.write_text(f"{celsius * 1000:.0f}\n")

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            self.rates.tick(self.now)

    def show(self, *faces: Detection, camera: str = "room") -> None:
        at = Instant(self.now, START + timedelta(seconds=self.now))
        seen = Observation(camera, at, faces=faces, tracks=(), people=(), flaws=(), not_observed=0, events=())
        self.rates.observed(seen, now=self.now)


def test_heat_is_logged_once_with_its_figures_and_its_end_once_it_is_sure(tmp_path: Path) -> None:
    house = House(tmp_path)
    with capture_logs() as logs:
        house.wait(5)
        assert logs == []
        house.heat(85)
        house.wait(60)
        house.heat(50)
        house.wait(600)
        assert house.rates.pace("room") == Pace(10.0)
    slowed, again = logs
    assert slowed["log_level"] == "warning"
    assert (slowed["event"], slowed["reason"]) == ("fewer frames are looked at", "heat")
    assert (slowed["fps"], slowed["temperature_c"]) == ({"room": 7.5}, 85)
    assert again["event"] == "frames are looked at as often as configured again"


def test_heat_that_comes_back_within_a_minute_is_no_news(tmp_path: Path) -> None:
    house = House(tmp_path)
    with capture_logs() as logs:
        for _ in range(5):
            house.heat(85)
            house.wait(1)
            house.heat(50)
            house.wait(60 + SETTLED_SECONDS / 2)  # two steps up, and not long enough after them
    assert [entry["event"] for entry in logs] == ["fewer frames are looked at"]


def test_a_still_and_empty_room_rests_without_a_word_and_a_first_face_wakes_its_camera(tmp_path: Path) -> None:
    house = House(tmp_path)
    with capture_logs() as logs:
        for _ in range(int(REST_AFTER_SECONDS) + 1):
            house.show()
            house.wait(1)
        assert house.rates.pace("room") == Pace(5.0, Slowdown.AT_REST)
        house.show(FACE)
        assert house.rates.pace("room") == Pace(10.0)
    assert logs == []


def test_whoever_appears_while_a_camera_rests_is_in_view_within_half_a_second(tmp_path: Path) -> None:
    house = House(tmp_path)
    pipeline = Pipeline(
        house.config,
        new_search=lambda: build_search(house.config.faces),
        classifier=OnnxEmotionClassifier(),
        engine=AlertEngine([], ["room"]),
    )
    actor = SyntheticSource(Script.solo((3.0, None), (3.0, Emotion.HAPPY)))
    while house.rates.pace("room").lowered_by is None:
        house.show()
        house.wait(1)
    seconds, in_view, paces = 0.0, False, []
    while not in_view:
        at = house.now + seconds
        seen = pipeline.process(Frame("room", actor.image_at(seconds), START + timedelta(seconds=at), at))
        house.rates.observed(seen, now=at)
        in_view = bool(seen.tracks)
        assert seconds <= 3.0 + MORPH_SECONDS / 2 + 0.5
        paces.append(house.rates.pace("room"))
        seconds += 1 / paces[-1].fps
    assert paces[:10] == [Pace(5.0, Slowdown.AT_REST)] * 10
    assert paces[-1] == Pace(10.0)


def test_a_recording_that_is_read_as_fast_as_possible_keeps_every_frame(tmp_path: Path) -> None:
    house = House(tmp_path, ROOM, ROOM | {"name": "film", "pace": "fast"})
    house.heat(95)
    for _ in range(60):
        house.show(camera="room")
        house.show(camera="film")
        house.wait(1)
    assert house.rates.pace("film") == Pace(10.0)
    assert house.rates.pace("room").fps == 2.0


@pytest.fixture
def in_need(tmp_path: Path, mosquitto: Mosquitto) -> Daemon:
    """A daemon whose budget nothing can meet."""
    return Daemon(
        tmp_path,
        {
            "mqtt__host": "127.0.0.1",
            "mqtt__port": str(mosquitto.port),
            "cameras": [ROOM | {"fps": 4}],
            "alerts": ANYBODY,
            "health__interval_seconds": "1",
            "performance__max_cpu_percent": "1",
        },
    )


def test_under_a_tiny_budget_a_daemon_looks_at_the_fewest_frames_and_still_raises_the_alert(
    in_need: Daemon, mosquitto: Mosquitto
) -> None:
    with Listener(mosquitto.config()) as listener, in_need as daemon:
        listener.wait_for("alerts", lambda alert: alert["event"] == "started")
        health = listener.wait_for("health", lambda health: health["cameras"]["room"]["target_fps"] == 2)
        assert health["cameras"]["room"]["lowered_by"] == "cpu_budget"
        slow = listener.wait_for(
            "health", lambda health: health["cpu_percent"] and health["cameras"]["room"]["fps"] < 3
        )
        assert slow["cpu_percent"] > 1
        assert slow["cameras"]["room"]["status"] == "online"
        assert slow["restarts"] == {}

        listener.ask("pause", minutes=5)
        listener.wait_for("alerts", lambda alert: alert["event"] == "ended")
        listener.ask("resume")
        listener.wait_for("alerts", lambda alert: alert["event"] == "started")
        health = listener.wait_for("health", lambda health: health["cameras"]["room"]["status"] == "online")
        assert health["cameras"]["room"]["target_fps"] < 4
        daemon.stop()
    assert daemon.log.count("fewer frames are looked at") == 1
    assert '"reason": "cpu_budget"' in daemon.log
