"""The clock jumps by a day while the daemon works: rules go on as if nothing had happened."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, MosquittoFactory
from daemons import Daemon
from fault_table import FaultRow
from faults import FRAME_RATE, Caregiver, eventually, now, record

from vire_edge.camera.script import Script
from vire_edge.domain import Emotion

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
"""Stands between a process and its clock, and reads from a file how far the two are apart (apt install faketime)."""
SMILES = Script.solo((3.0, Emotion.NEUTRAL), (3.0, Emotion.HAPPY))
RULES = [
    {"kind": "spike", "name": "joy", "emotions": ["happy"], "score": 0.5, "hold_seconds": 1.5, "cooldown_seconds": 8},
    # Neither hours of absence nor a minute of a camera's silence may be made of a jump.
    {"kind": "absence", "name": "absence", "active_hours": "00:00-23:59"},
    {"kind": "camera", "name": "camera-offline"},
]
JUMPS = ((4.0, "+1d"), (7.0, "-1d"), (10.0, "+1d"), (13.0, "+0"))
"""Seconds since the first picture: while a smile is held, while it clears, and in the cooldown."""
TOLERANCE_SECONDS = 3.0
"""Two busy cores show no two films in step."""
PAUSE_MINUTES = 0.05


@pytest.mark.fault
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is missing: apt install faketime")
def test_a_clock_that_jumps_by_a_day_neither_raises_nor_suppresses_an_alert(
    tmp_path: Path, start_mosquitto: MosquittoFactory, fault_full: bool, fault_row: FaultRow
) -> None:
    seconds = 300.0 if fault_full else 20.0
    jumps = tuple(random_jumps(seconds)) if fault_full else JUMPS
    scene = record(tmp_path / "smiles.avi", SMILES)
    with ExitStack() as running:
        steady, jumping = (
            Watched(tmp_path / name, scene, start_mosquitto(), running) for name in ("steady", "jumping")
        )
        began = {watched: watched.first_picture() for watched in (steady, jumping)}
        for at, offset in jumps:
            time.sleep(max(0.0, began[jumping] + at - time.monotonic()))
            jumping.set_clock(offset)
            eventually(partial(jumping.shows, offset), what=f"the daemon's clock shows {offset}")
        time.sleep(max(0.0, max(began.values()) + seconds - time.monotonic()))
        expected, found = (watched.events(began[watched], seconds) for watched in (steady, jumping))
        pause_seconds = jumping.pause_through_a_jump()
        for watched in (steady, jumping):
            watched.daemon.stop()
            assert "Traceback" not in watched.daemon.log
    # What came shortly before the end in one may have come after it in the other.
    count = max(sum(at < seconds - TOLERANCE_SECONDS for _, at in events) for events in (expected, found))
    expected, found = expected[:count], found[:count]
    assert [what for what, _ in expected][:2] == ["joy started", "joy ended"]
    assert [what for what, _ in found] == [what for what, _ in expected]
    apart = [abs(one - other) for (_, one), (_, other) in zip(expected, found, strict=True)]
    assert max(apart) < TOLERANCE_SECONDS, (expected, found)
    assert abs(pause_seconds - 60 * PAUSE_MINUTES) < TOLERANCE_SECONDS
    fault_row(
        "clock set forward and back by a day",
        done=f"{len(jumps)} jumps within {seconds:.0f} s: in holds, episodes and cooldowns; one in a pause",
        result=f"the same {len(found)} events as of a daemon beside it whose clock stands, at most {max(apart):.1f} s "
        f"apart; a pause of {60 * PAUSE_MINUTES:.0f} s lasted {pause_seconds:.1f} s",
    )


def random_jumps(seconds: float) -> Iterator[tuple[float, str]]:
    chance = random.Random(11)
    at, offset = 5.0, "+0"
    while at < seconds - 5:
        offset = chance.choice([other for other in ("-1d", "+0", "+1d") if other != offset])
        yield at, offset
        at += chance.uniform(4, 12)


class Watched:
    """A daemon with a clock that can be set, and who listens to it."""

    def __init__(self, folder: Path, scene: Path, broker: Mosquitto, running: ExitStack) -> None:
        folder.mkdir(mode=0o700)
        self._clock = folder / "clock"
        self.set_clock("+0")
        settings: dict[str, Any] = {
            "mqtt__host": "127.0.0.1",
            "mqtt__port": str(broker.port),
            "cameras": [{"name": "room", "source": str(scene), "loop": True, "fps": FRAME_RATE}],
            "alerts": RULES,
            "smoothing__time_constant_seconds": "0.2",
            "quality__min_sharpness": "0",
            "health__interval_seconds": "1",
        }
        environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            # A clock that is set never moves the monotonic one.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self._caregiver = running.enter_context(Caregiver(broker.port))
        self.daemon = running.enter_context(Daemon(folder, settings, environment))

    def set_clock(self, offset: str) -> None:
        new = self._clock.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self._clock)

    def shows(self, offset: str) -> bool:
        """Whether the newest report bears the date that the clock was set to."""
        days = {"-1d": -1, "+0": 0, "+1d": 1}[offset]
        health = self._caregiver.newest("health")
        there = now() + timedelta(days=days)
        return health is not None and abs(datetime.fromisoformat(health["at"]) - there) < timedelta(hours=1)

    def first_picture(self) -> float:
        eventually(lambda: self._times("state/room"), what="the first picture")
        return self._times("state/room")[0]

    def events(self, since: float, seconds: float) -> list[tuple[str, float]]:
        """Return each alert event with the second in which it came."""
        return [
            (f"{one.payload['rule']} {one.payload['event']}", round(one.at - since, 1))
            for one in list(self._caregiver.heard)
            if one.topic == "alerts" and one.at - since < seconds
        ]

    def pause_through_a_jump(self) -> float:
        """Pause, set the clock, and return after how many seconds the camera is open again."""
        self._caregiver.ask("pause", minutes=PAUSE_MINUTES)
        self._caregiver.wait_for("camera/room", "the pause", status="disabled")
        began = time.monotonic()
        self.set_clock("-1d" if self.shows("+0") else "+0")
        self._caregiver.wait_for("camera/room", "the end of the pause", status="online")
        return time.monotonic() - began

    def _times(self, topic: str) -> list[float]:
        return [one.at for one in list(self._caregiver.heard) if one.topic == topic and one.payload["people"]]
