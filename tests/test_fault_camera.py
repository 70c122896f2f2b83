"""Network cameras that fail in every way, seen from the caregiver's side of a running daemon."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, wait_until
from daemons import Daemon
from fault_table import FaultRow
from faults import PATIENCE_SECONDS, SCENE_SIZE, Caregiver
from network_cameras import Behaviour, HttpCamera, http_camera

from vire_edge.camera.script import Script
from vire_edge.camera.synthetic import SyntheticSource
from vire_edge.domain import CameraStatus, Emotion

REPORTED_SECONDS = 20.0
RECOVERED_SECONDS = 10.0


@dataclass(frozen=True)
class CameraFault:
    """What happens to a camera, and what the device may say of it."""

    name: str
    behaviour: Behaviour | None
    """None: it is unplugged."""
    told: frozenset[CameraStatus]


AWAY = frozenset({CameraStatus.RECONNECTING, CameraStatus.STALLED})
FAULTS = (
    CameraFault("gone", None, AWAY),
    CameraFault("hung", Behaviour.SILENT, AWAY),
    CameraFault("frozen", Behaviour.STILL, frozenset({CameraStatus.STALLED})),
    CameraFault("black", Behaviour.BLACK, frozenset({CameraStatus.DARK})),
    CameraFault("garbage", Behaviour.GARBAGE, AWAY),
)
RESIZED = "resized"


@pytest.mark.fault
def test_cameras_that_fail_are_reported_and_come_back(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    away_seconds = 120.0 if fault_full else 0.0
    # Full length keeps the patience that people have who set nothing.
    patience: dict[str, Any] = {} if fault_full else {"stall_seconds": 3, "dark_seconds": 3}
    actor = SyntheticSource(Script.solo((60.0, Emotion.HAPPY)), *SCENE_SIZE)
    film = [actor.image_at(1 + number / 20) for number in range(100)]
    with ExitStack() as running:
        cameras = {name: running.enter_context(http_camera(film)) for name in (*(f.name for f in FAULTS), RESIZED)}
        settings = {
            "mqtt__host": "127.0.0.1",
            "mqtt__port": str(mosquitto.port),
            "cameras": [{"name": name, "source": one.url, "fps": 5} | patience for name, one in cameras.items()],
            "health__interval_seconds": "1",
            "quality__min_sharpness": "0",
        }
        start = time.monotonic()
        caregiver = running.enter_context(Caregiver(mosquitto.port))
        daemon = running.enter_context(Daemon(tmp_path, settings))
        for name in cameras:
            first(caregiver, start, PATIENCE_SECONDS, f"somebody on {name}", somebody(name))

        cameras[RESIZED].behaviour = Behaviour.LARGE
        began = time.monotonic()
        for fault in FAULTS:
            inflict(cameras[fault.name], fault)
        reported = {
            fault.name: first(caregiver, began, REPORTED_SECONDS, f"{fault.name} is told", told_as(fault))
            for fault in FAULTS
        }
        time.sleep(away_seconds)
        first(caregiver, time.monotonic(), RECOVERED_SECONDS, "a resized picture is looked at", somebody(RESIZED))
        said = [one.payload["status"] for one in list(caregiver.heard) if one.topic == f"camera/{RESIZED}"]
        assert said[said.index(CameraStatus.ONLINE) :] == [CameraStatus.ONLINE]

        back = time.monotonic()
        for fault in FAULTS:
            mend(cameras[fault.name])
        recovered = {
            fault.name: max(
                first(caregiver, back, RECOVERED_SECONDS, f"{fault.name} is online", online(fault.name)),
                first(caregiver, back, RECOVERED_SECONDS, f"somebody on {fault.name}", somebody(fault.name)),
            )
            for fault in FAULTS
        }
        daemon.stop()
    assert "Traceback" not in daemon.log
    fault_row(
        "camera gone, hung, frozen, black, sends garbage",
        done=f"five network cameras at once, for {back - began:.0f} s",
        result=f"reported after {listed(reported)}; somebody in view again after {listed(recovered)}",
    )
    fault_row("camera changes its resolution", done="twice the size, while it runs", result="no interruption")


Sign = Callable[[str, dict[str, Any]], bool]
"""Whether a topic's payload shows what is waited for."""


def listed(seconds: dict[str, float]) -> str:
    return ", ".join(f"{after:.1f} s ({name})" for name, after in seconds.items())


def told_as(fault: CameraFault) -> Sign:
    return lambda topic, payload: topic == f"camera/{fault.name}" and payload["status"] in fault.told


def online(name: str) -> Sign:
    return lambda topic, payload: topic == f"camera/{name}" and payload["status"] == CameraStatus.ONLINE


def somebody(name: str) -> Sign:
    return lambda topic, payload: topic == f"state/{name}" and bool(payload["people"])


def first(caregiver: Caregiver, since: float, limit_seconds: float, what: str, sign: Sign) -> float:
    """Wait for the first message since a moment that is a sign; return how long after that moment it came."""

    def times() -> list[float]:
        return [one.at for one in list(caregiver.heard) if one.at >= since and sign(one.topic, one.payload)]

    wait_until(times, what=what, timeout_seconds=limit_seconds - (time.monotonic() - since))
    return times()[0] - since


def inflict(camera: HttpCamera, fault: CameraFault) -> None:
    if fault.behaviour is None:
        camera.unplug()
    else:
        camera.behaviour = fault.behaviour


def mend(camera: HttpCamera) -> None:
    if not camera.plugged_in:
        camera.plug_in()
    camera.behaviour = Behaviour.MOVING
