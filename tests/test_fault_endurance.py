"""Hours of work in minutes: memory, handles and threads stay what they were."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from brokers import Mosquitto
from daemons import Daemon
from fault_table import FaultRow
from faults import AT_ONCE, FRAME_RATE, Caregiver, arrived, raised, record, restless, wait_until_all_arrived

from vire_edge.camera.script import DEMO_SCRIPT

MOST_GROWTH = 0.05
LOOKS, LOOK_SECONDS = 15, 0.1
"""A single look may fall on the eve of a garbage collection."""
SHORT_SECONDS = 9.0
CALM = [rule for rule in AT_ONCE if rule["score"] == 0.5]


class Footprint:
    """What a process holds."""

    def __init__(self, process: psutil.Process) -> None:
        """Look at it for some seconds."""
        looks = []
        for _ in range(LOOKS):
            looks.append((process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()))
            time.sleep(LOOK_SECONDS)
        self.memory_mb = sum(memory for memory, _, _ in looks) / LOOKS
        self.handles = min(handles for _, handles, _ in looks)
        self.threads = min(threads for _, _, threads in looks)


@pytest.mark.fault
def test_hours_of_work_leave_nothing_behind(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    scene = record(tmp_path / "day.avi", DEMO_SCRIPT)
    camera = {"name": "room", "source": str(scene), "loop": True, "fps": FRAME_RATE, "pace": "fast"}
    settings = restless(tmp_path, mosquitto.port, cameras=[camera], alerts=CALM)
    with Caregiver(mosquitto.port) as caregiver, Daemon(tmp_path, settings) as daemon:
        assert daemon.process is not None
        process = psutil.Process(daemon.process.pid)
        began = time.monotonic()
        # Memory settles once everything that the recording holds was seen.
        work_hours(caregiver, 0.5 if fault_full else DEMO_SCRIPT.seconds / 3600)
        before = Footprint(process)
        if fault_full:
            work_hours(caregiver, 8.0)
        else:
            time.sleep(SHORT_SECONDS)
        after = Footprint(process)
        seconds = time.monotonic() - began
        worked = media_hours(caregiver)
        daemon.stop()
        wait_until_all_arrived(daemon, caregiver)
    growth = after.memory_mb / before.memory_mb - 1
    assert growth < MOST_GROWTH, f"{before.memory_mb:.1f} MB became {after.memory_mb:.1f} MB"
    assert after.handles <= before.handles
    assert after.threads <= before.threads
    assert arrived(caregiver.alerts) == set(raised(daemon))
    frames = worked * 3600 * FRAME_RATE
    fault_row(
        "hours of work, compressed",
        done=f"{worked:.2f} hours in {seconds:.0f} s: {frames:,.0f} frames, {len(set(raised(daemon))):,} alert events",
        result=f"memory {before.memory_mb:.1f} → {after.memory_mb:.1f} MB ({growth:+.1%}), handles {before.handles} → "
        f"{after.handles}, threads {before.threads} → {after.threads}",
    )


def media_hours(caregiver: Caregiver) -> float:
    """How far the recording has been played: its alerts carry its own time."""
    times = [datetime.fromisoformat(alert["at"]) for alert in caregiver.alerts]
    return (max(times) - min(times)).total_seconds() / 3600 if times else 0.0


def work_hours(caregiver: Caregiver, hours: float) -> None:
    """Wait until that much of the recording has been played."""
    while media_hours(caregiver) < hours:
        time.sleep(1.0)
