"""The demo without a terminal: what its lines tell of a camera."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from vire_edge.cli.demo import _line
from vire_edge.domain import OPENING, CameraState, CameraStatus
from vire_edge.messages import Messages, Topics

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (CameraStatus.RECONNECTING, OPENING, "hall: opening"),
        (CameraStatus.RECONNECTING, "it is gone; plug it in", "hall: reconnecting (it is gone; plug it in)"),
        (CameraStatus.ONLINE, "", "hall: online"),
    ],
)
def test_a_camera_that_begins_is_no_fault_and_a_fault_has_its_reason(
    status: CameraStatus, reason: str, line: str
) -> None:
    message = Messages(Topics("vire", "demo")).camera(CameraState("hall", status, NOW, reason), at=NOW)
    assert _line(message.topic, json.loads(message.payload)) == line


def test_a_webcam_that_is_missing_is_told_with_what_to_do_about_it() -> None:
    command = [sys.executable, "-m", "vire_edge", "demo", "--source", "/dev/video99", "--seconds", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "living-room: reconnecting (/dev/video99 does not exist; plug it in or set --source " in done.stdout
