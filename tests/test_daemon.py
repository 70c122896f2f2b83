"""The daemon as a process: a real broker, real clips, real signals."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, free_port, wait_until
from daemons import ANYBODY, CLIPS, DEVICE, PATIENCE_SECONDS, Daemon, Listener

from vire_edge.config import Config
from vire_edge.daemon.service import build_daemon

MAN = {"name": "room", "source": str(CLIPS / "head-pose-face-detection-male.gif"), "loop": True}
STREET = {"name": "street", "source": str(CLIPS / "face-demographics-walking-and-pause.gif"), "loop": True}
ACTOR = {"name": "room", "source": "synthetic", "loop": True}


def settings(broker: Mosquitto, *cameras: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "mqtt__host": "127.0.0.1",
        "mqtt__port": str(broker.port),
        "cameras": list(cameras),
        "health__interval_seconds": "1",
    } | changes


def status(expected: str) -> Callable[[dict[str, Any]], bool]:
    return lambda payload: payload["status"] == expected


def test_real_clips_reach_a_real_broker_and_every_end_of_the_daemon_is_told(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with Listener(mosquitto.config()) as listener:
        with Daemon(tmp_path, settings(mosquitto, MAN, STREET)) as daemon:
            listener.wait_for("availability", status("online"))
            listener.wait_for("state/room", lambda state: len(state["people"]) == 1)
            listener.wait_for("state/street", lambda state: len(state["people"]) == 3)
            health = listener.wait_for("health", lambda health: health["cameras"]["room"]["fps"] > 1)
            assert health["cameras"]["street"]["status"] == "online"
            assert health["delivery"]["protocol"] == "5"
            # 118 at rest; the models' opening, not yet given back, and coverage add.
            assert 0 < health["memory_mb"] < 200

            daemon.send(signal.SIGKILL)
            daemon.wait()
            listener.wait_for("availability", status("offline"))

        with Daemon(tmp_path, settings(mosquitto, MAN)) as daemon:
            listener.wait_for("availability", status("online"))
            listener.wait_for("state/room", lambda state: len(state["people"]) == 1)
            daemon.send(signal.SIGTERM)
            listener.wait_for("state/room", lambda state: state["people"] == [])
            listener.wait_for("camera/room", status("disabled"))
            listener.wait_for("availability", status("stopped"))
            assert daemon.wait(timeout_seconds=10) == 0
    assert "Traceback" not in daemon.log


def test_a_daemon_that_breaks_is_offline_not_stopped(mosquitto: Mosquitto) -> None:
    config = Config.model_validate(
        {"device_id": DEVICE, "cameras": [ACTOR], "mqtt": {"host": "127.0.0.1", "port": mosquitto.port}}
    )
    with Listener(mosquitto.config()) as listener:
        with (
            contextlib.suppress(ZeroDivisionError),
            ExitStack() as running,
            build_daemon(config, threading.Event(), running) as daemon,
        ):
            daemon.start()
            wait_until(lambda: f"vire-edge-{DEVICE}" in mosquitto.log, what="the connection")
            raise ZeroDivisionError
        listener.wait_for("availability", status("offline"))


def test_an_alert_starts_is_listed_is_acknowledged_and_ends_with_the_daemon(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with (
        Listener(mosquitto.config()) as listener,
        Daemon(tmp_path, settings(mosquitto, ACTOR, alerts=ANYBODY)) as daemon,
    ):
        started = listener.wait_for("alerts", lambda alert: alert["event"] == "started")
        assert (started["rule"], started["camera"], started["sequence"]) == ("anybody", "room", 0)
        active = listener.wait_for("alerts/active", lambda payload: payload["alerts"])
        assert [alert["alert_id"] for alert in active["alerts"]] == [started["alert_id"]]

        listener.ask("acknowledge", alert_id=started["alert_id"], transaction="seen")
        answer = listener.wait_for("response/acknowledge")
        assert (answer["ok"], answer["transaction"]) == (True, "seen")
        acknowledged = listener.wait_for("alerts/active", lambda payload: payload["alerts"])
        assert acknowledged["alerts"][0]["acknowledged_at"] == answer["result"]["acknowledged_at"]

        daemon.send(signal.SIGTERM)
        ended = listener.wait_for("alerts", lambda alert: alert["event"] == "ended")
        assert (ended["alert_id"], ended["end_reason"]) == (started["alert_id"], "stopped")
        assert listener.wait_for("alerts/active", lambda payload: payload["alerts"] == []) is not None
        assert daemon.wait() == 0


def test_commands_are_answered_and_a_pause_stops_the_camera_itself(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Listener(mosquitto.config()) as listener, Daemon(tmp_path, settings(mosquitto, ACTOR)):
        listener.wait_for("state/room", lambda state: len(state["people"]) == 1)
        listener.ask("pause", minutes=10, transaction="p")
        answer = listener.wait_for("response/pause")
        assert (answer["ok"], answer["transaction"], answer["result"]["paused"]) == (True, "p", True)
        listener.wait_for("camera/room", status("disabled"))
        listener.wait_for("state/room", lambda state: state["people"] == [])
        listener.ask("resume")
        assert listener.wait_for("response/resume")["result"] == {"paused": False}
        listener.wait_for("camera/room", status("online"))
        listener.wait_for("state/room", lambda state: len(state["people"]) == 1)

        listener.ask("status", transaction="s")
        assert listener.wait_for("response/status")["result"]["device_id"] == DEVICE
        listener.ask("pause", minutes=-1, transaction="bad")
        refused = listener.wait_for("response/pause")
        assert (refused["ok"], refused["transaction"]) == (False, "bad")
        assert refused["error"] == "minutes must be above 0"
        listener.ask("status", transaction="\ud800")
        assert listener.wait_for("response/status")["transaction"] is None
        listener.ask("acknowledge", alert_id="nothing")
        assert "no open alert has the id 'nothing'" in listener.wait_for("response/acknowledge")["error"]


def test_a_pause_ends_by_itself(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Listener(mosquitto.config()) as listener, Daemon(tmp_path, settings(mosquitto, ACTOR)):
        listener.wait_for("camera/room", status("online"))
        listener.ask("pause", minutes=0.03)
        listener.wait_for("camera/room", status("disabled"))
        listener.wait_for("camera/room", status("online"))


def test_a_broker_that_is_down_at_the_start_delays_nothing_and_gets_everything_later(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    mosquitto.stop()
    with Daemon(tmp_path, settings(mosquitto, ACTOR, alerts=ANYBODY)) as daemon:
        wait_until(lambda: '"alert started"' in daemon.log, what="an alert without a broker")
        mosquitto.start()
        with Listener(mosquitto.config()) as listener:
            listener.wait_for("availability", status("online"))
            listener.wait_for("camera/room", status("online"))
            listener.wait_for("alerts/active", lambda payload: payload["alerts"])


def test_a_camera_that_is_missing_is_told_and_the_other_one_works(tmp_path: Path, mosquitto: Mosquitto) -> None:
    missing = {"name": "attic", "source": "/dev/video97"}
    with Listener(mosquitto.config()) as listener, Daemon(tmp_path, settings(mosquitto, ACTOR, missing)):
        # The very first word may be "opening", said before the camera was tried.
        away = listener.wait_for("camera/attic", lambda camera: camera["reason"] != "opening")
        assert away["status"] == "reconnecting"
        assert "/dev/video97 does not exist" in away["reason"]
        listener.wait_for("state/room", lambda state: len(state["people"]) == 1)


def test_a_recording_that_is_read_to_its_end_ends_the_daemon(tmp_path: Path, mosquitto: Mosquitto) -> None:
    clip = MAN | {"loop": False, "pace": "fast"}
    with Listener(mosquitto.config()) as listener, Daemon(tmp_path, settings(mosquitto, clip)) as daemon:
        listener.wait_for("availability", status("stopped"))
        assert daemon.wait() == 0


def test_systemd_is_told_of_readiness_life_and_end(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(PATIENCE_SECONDS)
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "30000000"}
        # Neither camera nor broker is there: both must not matter.
        cameras = [{"name": "attic", "source": "/dev/video97"}]
        nowhere = {"cameras": cameras, "mqtt__host": "127.0.0.1", "mqtt__port": str(free_port())}
        with Daemon(tmp_path, nowhere, environment) as daemon:
            assert manager.recv(4096) == b"READY=1"
            for _ in range(3):
                assert manager.recv(4096).startswith(b"WATCHDOG=1\nSTATUS=cameras: attic reconnecting; broker: not")
            daemon.send(signal.SIGTERM)
            while (told := manager.recv(4096)) != b"STOPPING=1":
                assert told.startswith(b"WATCHDOG=1")
            assert daemon.wait(timeout_seconds=10) == 0


def test_a_box_that_works_alone_ends_without_a_word_too_many(tmp_path: Path) -> None:
    for _ in range(3):
        alone = {"broker__port": str(free_port()), "cameras": [{"name": "attic", "source": "/dev/video97"}]}
        with Daemon(tmp_path, alone) as daemon:
            wait_until(lambda: "broker_connected" in daemon.log, what="the connection")
            daemon.send(signal.SIGTERM)
            assert daemon.wait(timeout_seconds=10) == 0
            assert "Traceback" not in daemon.log
            daemon.log_path.unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_frozen_broker_does_not_hold_up_the_end(tmp_path: Path, mosquitto: Mosquitto, number: signal.Signals) -> None:
    with Daemon(tmp_path, settings(mosquitto, ACTOR)) as daemon:
        wait_until(lambda: "broker_connected" in daemon.log, what="the connection")
        mosquitto.freeze()
        daemon.send(number)
        try:
            assert daemon.wait(timeout_seconds=10) == 0
        finally:
            mosquitto.thaw()
