"""Following devices from a terminal: the live view, the lines, and the ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from brokers import PATIENCE_SECONDS, Mosquitto, MosquittoFactory, free_port, wait_until
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vire_edge.cli.live_view import LiveView
from vire_edge.config import BrokerConfig
from vire_edge.domain import CameraState, CameraStatus, EmotionScores, EmotionState, Message
from vire_edge.messages import Messages, Topics
from vire_edge.mqtt.embedded import EmbeddedBroker

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MESSAGES = Messages(Topics("vire", "hall"))
SAD = EmotionScores((0.02, 0.01, 0.05, 0.02, 0.8, 0.0, 0.1))
PROGRAM = "import sys; from vire_edge.cli import main; sys.argv[0] = 'vire-edge'; main()"


def feed(view: LiveView, message: Message) -> None:
    view.update(message.topic, json.loads(message.payload))


def picture(view: LiveView, *, width: int = 100, height: int | None = None) -> str:
    console = Console(width=width, file=open(os.devnull, "w"), record=True, force_terminal=True)  # noqa: SIM115, PTH123
    with console.file:
        console.print(view.renderable(), height=height)
        return console.export_text()


def alert(event: str, **changes: object) -> dict[str, Any]:
    return {
        "event": event,
        "alert_id": "a1",
        "severity": "warning",
        "rule": "distress",
        "text": "distress on camera kitchen: sad 80%",
        "at": "2026-11-22T12:00:00.000Z",
        "started_at": "2026-11-22T12:00:00.000Z",
        "acknowledged_at": None,
        **changes,
    }


@pytest.fixture
def view() -> LiveView:
    view = LiveView("vire")
    feed(view, MESSAGES.availability("online", at=NOW))
    feed(view, MESSAGES.camera(CameraState("kitchen", CameraStatus.ONLINE, NOW), at=NOW))
    person = EmotionState(track_id=3, scores=SAD, observed_seconds=12.4, interval_seconds=0.1)
    feed(view, MESSAGES.state("kitchen", [person], not_observed=2, at=NOW))
    return view


def test_people_are_shown_with_their_scores(view: LiveView) -> None:
    shown = picture(view)
    assert "hall online" in shown
    assert "kitchen online" in shown
    assert "face 3" in shown
    assert "seen for 12 s" in shown
    assert "80%" in next(line for line in shown.splitlines() if "sad" in line)
    assert "2 not to be judged" in shown


def test_a_camera_in_trouble_says_since_when_and_why(view: LiveView) -> None:
    feed(view, MESSAGES.camera(CameraState("kitchen", CameraStatus.STALLED, NOW, "no new picture"), at=NOW))
    assert f"kitchen stalled since {NOW.astimezone():%H:%M:%S} (no new picture)" in picture(view)


def test_open_alerts_stay_and_events_are_remembered(view: LiveView) -> None:
    view.update("vire/hall/alerts", alert("started"))
    view.update("vire/hall/alerts/active", {"alerts": [alert("started")]})
    shown = picture(view)
    assert "! distress on camera kitchen: sad 80% since" in shown
    assert "started" in shown
    view.update("vire/hall/alerts", alert("ended", text="distress on camera kitchen is over after 30 s"))
    view.update("vire/hall/alerts/active", {"alerts": []})
    shown = picture(view)
    assert "! distress" not in shown
    assert "is over after 30 s" in shown


def test_alerts_come_first(view: LiveView) -> None:
    view.update("vire/hall/alerts", alert("started"))
    view.update("vire/hall/alerts/active", {"alerts": [alert("started")]})
    shown = picture(view)
    assert shown.index("! distress") < shown.index(" started ") < shown.index("kitchen online")
    assert "! distress" in shown
    view.update("vire/bedroom/availability", {"status": "online"})
    assert "! hall: distress" in picture(view)


@pytest.mark.parametrize("height", [24, 20, 12, 8])
def test_a_short_terminal_keeps_alerts_people_and_note(view: LiveView, height: int) -> None:
    people = [EmotionState(track_id=number, scores=SAD, observed_seconds=9, interval_seconds=0.1) for number in (1, 2)]
    feed(view, MESSAGES.state("kitchen", people, not_observed=0, at=NOW))
    feed(view, MESSAGES.camera(CameraState("hallway", CameraStatus.ONLINE, NOW), at=NOW))
    for number in range(8):
        view.update("vire/hall/alerts", alert("started", text=f"event {number}"))
    view.update("vire/hall/alerts/active", {"alerts": [alert("started")]})
    view.note = "no broker listens on 127.0.0.1:1883; trying again"
    shown = picture(view, width=80, height=height)
    assert len(shown.splitlines()) <= height
    assert "! distress on camera kitchen" in shown
    assert "event 7" in shown
    assert shown.rstrip().endswith("trying again")
    if height == 24:
        assert "neutral" in shown
    if height in {12, 20}:
        assert "face 1" in shown
        assert "face 2" in shown
    assert "face 1  sad 80%, neutral 10%, fear 5%\n" in "".join(
        line.strip("│ ") + "\n" for line in picture(view, width=80, height=12).splitlines()
    )


def test_a_recording_has_no_height(view: LiveView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "5")
    assert "neutral" in picture(view)


def test_the_terminals_height_is_the_limit(view: LiveView) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb"):
        console = Console(file=terminal, width=80, height=6, force_terminal=True)
        assert len(console.render_lines(view.renderable())) <= 6


def test_only_a_camera_that_works_says_that_nobody_is_there(view: LiveView) -> None:
    feed(view, MESSAGES.state("kitchen", [], not_observed=0, at=NOW))
    assert "nobody in view" in picture(view)
    for status in set(CameraStatus) - {CameraStatus.ONLINE}:
        feed(view, MESSAGES.camera(CameraState("kitchen", status, NOW), at=NOW))
        assert "nobody" not in picture(view)
    feed(view, MESSAGES.camera(CameraState("kitchen", CameraStatus.ONLINE, NOW), at=NOW))
    feed(view, MESSAGES.availability("offline", at=NOW))
    assert "nobody" not in picture(view)


def test_a_pause_is_told_until_its_end(view: LiveView) -> None:
    view.update("vire/hall/health", {"paused_until": NOW.isoformat()})
    assert f"hall online paused until {NOW.astimezone():%H:%M} " in picture(view)
    view.update("vire/hall/health", {"paused_until": None})
    assert "paused" not in picture(view)


def test_what_health_leaves_open_is_left_out_and_one_is_no_plural(view: LiveView) -> None:
    camera = {"fps": None, "latency_ms_p95": None}
    delivery = {"delivered": 1, "queued": None, "dropped": None}
    view.update(
        "vire/hall/health",
        {"cameras": {"kitchen": camera}, "memory_mb": None, "temperature_c": None, "delivery": delivery},
    )
    assert "│ 1 alert delivered  " in picture(view)


def test_a_long_note_is_wrapped_not_cut(view: LiveView) -> None:
    view.note = "word " * 30 + "end"
    assert picture(view, width=60).split()[-1] == "end"


def test_health_is_one_line(view: LiveView) -> None:
    health = {
        "cameras": {"kitchen": {"fps": 9.8, "latency_ms_p95": 61.2, "lowered_by": "cpu_budget"}},
        "memory_mb": 143.2,
        "temperature_c": 51.0,
        "delivery": {"delivered": 4, "queued": 2, "dropped": 0},
    }
    view.update("vire/hall/health", health)
    assert "kitchen 9.8 fps 61 ms (cpu budget) · 143 MB · 51 °C · 4 alerts delivered · 2 waiting" in picture(view)


def test_several_devices_stand_side_by_side_and_foreign_topics_are_left_out(view: LiveView) -> None:
    view.update("vire/bedroom/availability", {"status": "offline"})
    view.update("zigbee/lamp/availability", {"status": "online"})
    shown = picture(view)
    assert "bedroom offline" in shown
    assert "hall online" in shown
    assert "lamp" not in shown


@pytest.mark.parametrize("width", [40, 60, 200])
def test_any_terminal_is_wide_enough(view: LiveView, width: int) -> None:
    view.update("vire/hall/alerts", alert("started"))
    view.note = "no broker listens on 127.0.0.1:1883"
    shown = picture(view, width=width)
    assert all(len(line) <= width for line in shown.splitlines())
    assert "neutral" in shown


def test_what_comes_from_the_network_cannot_steer_the_terminal(view: LiveView) -> None:
    view.update("vire/evil\x1b]0;title\x07/availability", {"status": "\x1b[2J[red]online[/red]"})
    view.update("vire/hall/alerts", alert("started", text="\x1b[31m[bold]x"))
    shown = picture(view)
    assert "\x1b" not in shown
    assert "[bold]x" in shown


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["status", "since", "people", "scores", "alerts", "cameras", "delivery", "fps", "memory_mb", "paused_until", "at"]
)
SUBJECTS = st.sampled_from(["availability", "camera/x", "state/x", "alerts", "alerts/active", "health", "", "new/one"])


@given(st.lists(st.tuples(SUBJECTS, st.none() | st.dictionaries(KEYS, JSON, max_size=4)), max_size=6))
def test_no_payload_breaks_the_picture(messages: list[tuple[str, dict[str, Any] | None]]) -> None:
    view = LiveView("vire")
    for subject, payload in messages:
        view.update(f"vire/hall/{subject}", payload)
    picture(view, height=9)
    picture(view)


@contextmanager
def watching(*arguments: str, env: dict[str, str] | None = None, stdout: int = subprocess.PIPE) -> Iterator[Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "watch", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment | {"COLUMNS": "100", "LINES": "40", "TERM": "xterm"} | (env or {}),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def say(broker: Mosquitto, message: Message) -> None:
    options = ["-r"] if message.retain else []
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", message.topic, "-s", *options],
        input=message.payload,
        check=True,
        timeout=PATIENCE_SECONDS,
    )


def test_json_is_one_object_a_line_and_ctrl_c_ends_well(mosquitto: Mosquitto) -> None:
    say(mosquitto, MESSAGES.availability("online", at=NOW))
    with watching("--host", "127.0.0.1", "--port", str(mosquitto.port), "--json") as process:
        first = json.loads(process.stdout.readline())
        assert (first["topic"], first["retained"]) == ("vire/hall/availability", True)
        assert first["payload"]["status"] == "online"
        say(mosquitto, Message("vire/hall/alerts", b"no JSON \xff"))
        second = json.loads(process.stdout.readline())
        assert second["payload"] == "no JSON �"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_without_a_terminal_there_are_plain_lines_of_one_device(mosquitto: Mosquitto) -> None:
    say(mosquitto, MESSAGES.availability("online", at=NOW))
    say(mosquitto, Message("vire/bedroom/availability", b"{}", retain=True))
    arguments = ("--host", "127.0.0.1", "--port", str(mosquitto.port), "--device", "hall")
    with watching(*arguments) as process:
        assert b"vire/hall/availability (retained) {" in process.stdout.readline()
        say(mosquitto, Message("vire/hall/alerts", b"\x1b[2J{}"))
        assert process.stdout.readline().endswith(b"vire/hall/alerts [2J{}\n")


def test_a_terminal_gets_the_live_view_and_is_told_when_the_broker_goes(mosquitto: Mosquitto) -> None:
    say(mosquitto, MESSAGES.availability("online", at=NOW))
    screen = bytearray()
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)

    def shows(words: bytes) -> bool:
        try:
            screen.extend(os.read(ours, 65_536))
        except BlockingIOError:
            return False
        return words in screen

    try:
        with watching("--host", "127.0.0.1", "--port", str(mosquitto.port), stdout=theirs) as process:
            wait_until(lambda: shows(b"hall"), what="the device")
            mosquitto.kill()
            wait_until(lambda: shows(b"trying again"), what="the note")
            screen.clear()
            mosquitto.start()
            say(mosquitto, MESSAGES.availability("stopped", at=NOW))
            wait_until(lambda: shows(b"stopped"), what="the device's new state")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_wrong_password_is_one_line_and_status_69(mosquitto_with_login: Mosquitto, tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("wrong\n")
    arguments = ["--host", "127.0.0.1", "--port", str(mosquitto_with_login.port)]
    with watching(*arguments, "--username", "device", "--password-file", str(password_file)) as process:
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 69
    assert output == b""
    assert errors.decode() == (
        f'vire-edge: 127.0.0.1:{mosquitto_with_login.port} refuses the login of "device" (Not authorized); '
        "check --username and --password-file\n"
    )


def test_a_missing_login_is_asked_for_in_this_commands_own_options(mosquitto_with_login: Mosquitto) -> None:
    with watching("--host", "127.0.0.1", "--port", str(mosquitto_with_login.port)) as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 69
    assert errors.decode().endswith("wants a login (Not authorized); give --username and --password-file\n")


def test_a_device_that_says_nothing_is_told_with_those_that_do(start_mosquitto: MosquittoFactory) -> None:
    empty, other = start_mosquitto(), start_mosquitto()
    say(other, MESSAGES.availability("online", at=NOW))
    screen = bytearray()
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)

    def shows(words: bytes) -> bool:
        with contextlib.suppress(BlockingIOError):
            screen.extend(os.read(ours, 65_536))
        return words in screen

    def arguments(broker: Mosquitto) -> tuple[str, ...]:
        return ("--host", "127.0.0.1", "--port", str(broker.port), "--device", "nope")

    # All at once: each waits for some seconds before it says anything.
    with (
        os.fdopen(theirs, "w") as terminal,
        os.fdopen(ours, "rb"),
        watching(*arguments(empty)) as lonely,
        watching(*arguments(other), "--json") as piped,
        watching(*arguments(other), stdout=terminal.fileno()),
    ):
        assert lonely.stderr.readline() == b"vire-edge: nothing heard from nope yet\n"
        assert piped.stderr.readline() == b"vire-edge: nothing heard from nope yet; heard: hall\n"
        wait_until(lambda: shows(b"nothing heard from nope yet; heard: hall"), what="the note")
        say(other, Message("vire/nope/alerts", b"{}"))
        assert json.loads(piped.stdout.readline())["topic"] == "vire/nope/alerts"


def test_a_certificate_authority_for_the_embedded_broker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    options = ["--config", str(tmp_path / "config.toml"), "--ca-file", str(tmp_path / "ca.pem")]
    command = [sys.executable, "-c", PROGRAM, "watch", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 2
    assert "speaks no TLS" in " ".join(done.stderr.split())


def test_the_right_password_from_a_file(mosquitto_with_login: Mosquitto, tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("correct horse\n")
    arguments = ["--host", "127.0.0.1", "--port", str(mosquitto_with_login.port), "--json"]
    with watching(*arguments, "--username", "device", "--password-file", str(password_file)):
        wait_until(lambda: "as vire-watch" in mosquitto_with_login.log, what="the login")


def test_a_broker_that_is_away_is_waited_for(start_mosquitto: MosquittoFactory) -> None:
    port = free_port()
    with watching("--host", "127.0.0.1", "--port", str(port), "--json") as process:
        assert (
            process.stderr.readline()
            == (
                f"vire-edge: no broker listens on 127.0.0.1:{port} (is vire-edge run running? on another machine: "
                "--host); trying again\n"
            ).encode()
        )
        say(start_mosquitto(port=port), MESSAGES.availability("online", at=NOW))
        assert json.loads(process.stdout.readline())["payload"]["status"] == "online"


def test_without_options_the_configured_embedded_broker_is_followed(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "config.toml"
    config.write_text(f'[broker]\nport = {port}\n[mqtt]\ntopic_prefix = "care"\n')
    broker = EmbeddedBroker(BrokerConfig(port=port))
    broker.start()
    try:
        with watching("--config", str(config), "--json") as process:
            say_here = ["mosquitto_pub", "-p", str(port), "-V", "311", "-r", "-t", "care/hall/health", "-m", "{}"]
            subprocess.run(say_here, check=True, timeout=PATIENCE_SECONDS)
            assert json.loads(process.stdout.readline())["topic"] == "care/hall/health"
    finally:
        assert broker.stop(timeout_seconds=5.0)


def test_the_reader_of_a_pipe_may_leave(mosquitto: Mosquitto) -> None:
    with watching("--host", "127.0.0.1", "--port", str(mosquitto.port)) as process:
        wait_until(lambda: "as vire-watch" in mosquitto.log, what="the connection")
        process.stdout.close()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            say(mosquitto, Message("vire/hall/alerts", b"x"))
        assert process.wait(PATIENCE_SECONDS) == 0
