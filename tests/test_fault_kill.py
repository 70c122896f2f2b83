"""SIGKILL at any moment: every alert that the daemon has logged reaches the caregiver."""

from __future__ import annotations

import random
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from brokers import Mosquitto, Wire
from daemons import Daemon
from fault_table import FaultRow
from faults import Caregiver, check_episodes, eventually, raised, restless, wait_until_all_arrived

ALIVE_SECONDS = 3.0
"""A life ends while Python imports, while the state is read, or in so many seconds in which alerts are raised."""


@pytest.mark.fault
def test_every_alert_arrives_though_the_daemon_is_killed_again_and_again(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    kills, alerts = (200, 1000) if fault_full else (8, 40)
    moments = random.Random(20_260_501)
    with closing(Wire(mosquitto.port)) as wire, Caregiver(mosquitto.port) as caregiver:
        daemon = Daemon(tmp_path, restless(tmp_path, wire.port))
        began = time.monotonic()
        with daemon:
            eventually(lambda: raised(daemon), what="the first alert")
            start_seconds = time.monotonic() - began
        killed = 1
        while killed < kills or (killed < 3 * kills and len(raised(daemon)) < 2 * alerts):
            # In every other life no broker answers: what it raises is on the disk alone when it dies.
            wire.stall() if killed % 2 else wire.resume()
            with daemon:
                time.sleep(moments.uniform(0.0, start_seconds + ALIVE_SECONDS))
                daemon.send(signal.SIGKILL)
                assert daemon.wait() == -signal.SIGKILL
                killed += 1
        wire.resume()
        with daemon:
            caregiver.wait_for("availability", "the last life", status="online")
            caregiver.wait_for("camera/room", "the camera", status="online")
            wait_until_all_arrived(daemon, caregiver)
            daemon.stop()
        wait_until_all_arrived(daemon, caregiver)
        caregiver.wait_for("availability", "the end", status="stopped")
        repeats = check_episodes(caregiver.alerts, all_ended=True)
    news = set(raised(daemon))
    episodes = {alert_id for alert_id, _ in news}
    assert len(episodes) >= alerts
    assert "Traceback" not in daemon.log
    fault_row(
        "SIGKILL of the daemon",
        done=f"{killed} times at random moments, in every other life without a broker; {len(episodes)} alerts raised",
        result=f"{len(news)} events logged, 0 lost, each alert in order to its end; {repeats} repeats",
    )
